package balance

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/journal"
)

// gather puts the facts of a round together. Where the core is out of reach
// what was last read of it goes on to count.
func (l *Loop) gather(ctx context.Context, now time.Time) Facts {
	l.measure(now)
	f := Facts{Me: l.opt.POP, Memory: l.saved.Memory, Cost: l.opt.Config.Cost, Peers: l.opt.Peers.Peers(now)}
	l.mu.Lock()
	f.Own, f.OwnAt = l.own, l.ownAt
	l.mu.Unlock()
	for _, t := range l.opt.Targets {
		if !t.Moves {
			continue
		}
		f.Services = append(f.Services, Service{ID: t.ID, Slices: t.Slices, Rungs: len(t.Rungs)})
	}
	if len(f.Services) > 0 {
		f.Matrix = l.opt.Responses.Matrix(f.Services[0].ID)
	}
	if l.opt.Core == nil {
		return f
	}
	p, err := read(ctx, l.opt.Core, &l.ledger, now)
	if err == nil {
		err = l.responses(ctx)
	}
	switch {
	case err == nil:
		l.last, l.lost, l.why = p, time.Time{}, nil
		l.ledger.forget(&p)
	default:
		l.why = err
		if l.lost.IsZero() {
			l.lost = now
			l.log.Warn("balance: the control core cannot be read, load moves nothing", "err", err)
		}
		f.Isolated = l.opt.Config.Mode == Act
	}
	f.Book = l.last.Book
	return f
}

// round is one round.
func (l *Loop) round(ctx context.Context, now time.Time) {
	cfg := &l.opt.Config
	if cfg.Mode != Act {
		l.letGo(ctx, now)
	}
	if cfg.Mode == Off {
		l.rest(ctx, now)
		return
	}
	f := l.gather(ctx, now)
	v, notes := f.View(cfg.Shed)
	if l.why != nil {
		notes = append(notes, l.why.Error())
	}
	if len(f.Services) == 0 {
		l.tell(now, f, nil, shed.Decision{Code: shed.Fine, Detail: "load moves no service"}, notes)
		return
	}
	l.stop = false
	l.judge(ctx, v, now)
	f.Matrix = l.opt.Responses.Matrix(f.Services[0].ID)
	v.Surprised, v.Matrix = l.stop, f.matrix(cfg.Shed, v.POPs)
	if d, done := l.lend(ctx, &f, v, now); done {
		l.tell(now, f, v, d, notes)
		return
	} else if d.Detail != "" {
		notes = append(notes, d.Detail)
	}
	d, err := shed.Round(cfg.Shed, v, now)
	if err != nil {
		l.log.Error("balance: no round", "err", err)
		l.tell(now, f, v, shed.Decision{Code: shed.Blind, Detail: err.Error()}, notes)
		return
	}
	done := l.carryOut(ctx, &f, v, &d, now)
	notes = append(notes, l.last.bad...)
	l.tell(now, f, v, d, append(notes, done...))
}

// rest is a round of a loop that is off: nothing of it stays in the core.
func (l *Loop) rest(ctx context.Context, now time.Time) {
	if l.opt.Core == nil || l.opt.Dry || l.tidy {
		return
	}
	p, err := read(ctx, l.opt.Core, &l.ledger, now)
	if err == nil {
		l.last = p
		err = errors.Join(l.callIn(ctx), l.reconcile(ctx, nil, now))
	}
	l.tidy = err == nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report = Report{Mode: Off, Unit: l.report.Unit, Core: true}
}

// letGo takes back what a loop that moves nothing any more has moved: one slice
// at a time, so that the POP does not get all of it at once.
func (l *Loop) letGo(ctx context.Context, now time.Time) {
	moved := l.opt.Controller.Situation().Shed
	if l.opt.Dry || len(moved) == 0 || now.Sub(l.let) < l.opt.Config.Shed.Settle {
		return
	}
	ids := slices.SortedFunc(maps.Keys(moved), func(a, b policy.SliceID) int {
		return cmp.Or(cmp.Compare(l.level(moved, a), l.level(moved, b)), strings.Compare(a.String(), b.String()))
	})
	id := ids[0]
	if err := l.opt.Controller.Unshed(ctx, id, policy.Shed{}); err != nil {
		l.log.Warn("balance: what load has moved is not back yet", "slice", id, "err", err)
		return
	}
	l.let, l.tidy = now, false
	l.note(journal.Load, id, "%v: load moves nothing any more (balance.mode %s): back to what health wants, %d others follow one at a time", id, l.opt.Config.Mode, len(ids)-1)
}

// level is how far load has moved a slice.
func (l *Loop) level(moved map[policy.SliceID]policy.Shed, id policy.SliceID) shed.Level {
	return shed.LevelOf(moved[id].Stance, l.rungs(id))
}

// carryOut does what a round decided, and says what became of it.
func (l *Loop) carryOut(ctx context.Context, f *Facts, v *shed.View, d *shed.Decision, now time.Time) (notes []string) {
	if f.Isolated || l.opt.Core == nil || l.opt.Dry {
		return nil
	}
	if err := l.reconcile(ctx, d.Free, now); err != nil {
		l.log.Warn("balance: the core and what is announced are brought together in the next round", "err", err)
		return []string{err.Error()}
	}
	if l.opt.Config.Mode != Act {
		if err := l.callIn(ctx); err != nil {
			notes = append(notes, err.Error())
		}
		return notes
	}
	var made []shed.Step
	for _, st := range d.Steps {
		if err := l.step(ctx, f, v, st, now); err != nil {
			l.refused++
			notes = append(notes, fmt.Sprintf("%v: %v", st.Slice, err))
			continue
		}
		l.made++
		made = append(made, st)
	}
	d.Steps = made
	return notes
}

// target is the service that a slice belongs to.
func (l *Loop) target(id policy.SliceID) *Target {
	for i := range l.opt.Targets {
		if slices.Contains(l.opt.Targets[i].Slices, id) {
			return &l.opt.Targets[i]
		}
	}
	return nil
}

// rungs is the number of rungs of the slice's ladder, at least 1.
func (l *Loop) rungs(id policy.SliceID) int {
	if t := l.target(id); t != nil {
		return max(1, len(t.Rungs))
	}
	return 1
}

// note writes into the journal.
func (l *Loop) note(kind journal.Kind, id policy.SliceID, format string, args ...any) {
	e := journal.Entry{POP: l.opt.POP, Kind: kind, Slice: id, Text: fmt.Sprintf(format, args...)}
	if t := l.target(id); t != nil {
		e.Service = t.ID
	}
	l.opt.Journal.Append(e)
	l.log.Info(strings.ToLower(string(kind)), "text", e.Text)
}
