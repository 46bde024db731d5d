package balance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/journal"
)

// reachTime bounds how long a step waits for guards that wait for other POPs.
const reachTime = 10 * time.Second

// step makes one step: reserve, change the route, note it. Where a guard does
// not let the route change, all is given back.
func (l *Loop) step(ctx context.Context, f *Facts, v *shed.View, st shed.Step, now time.Time) error {
	st, err := reserving(st, l.opt.Config.Shed.Hold, v.Me, now)
	if err != nil {
		return err
	}
	held, name, err := l.take(ctx, f.Own.Unit, v, st, now)
	if err != nil {
		return fmt.Errorf("not reserved: %w", err)
	}
	before := l.opt.Controller.Situation().Shed[st.Slice]
	_, err = l.reach(ctx, st, l.wish(v, st, held, now))
	if err != nil {
		l.giveBack(ctx, st, held, before)
		l.note(journal.Load, st.Slice, "%v: not moved (%v), what was reserved is given back", st.Slice, err)
		return err
	}
	l.applied(ctx, v, st, held, name)
	return nil
}

// reserving is a step with at least one reservation. A step so small that none
// of its receivers would notice still has one, at the largest of them: no
// route changes without.
func reserving(st shed.Step, hold time.Duration, me policy.POPID, now time.Time) (shed.Step, error) {
	if len(st.Reserve) > 0 {
		return st, nil
	}
	var most shed.Arrival
	for _, a := range st.Arrive {
		if a.High > most.High {
			most = a
		}
	}
	if most.High <= 0 {
		return st, errors.New("nothing would move")
	}
	st.Reserve = []shed.Reservation{{
		ReservationID: shed.ReservationID{From: me, To: most.POP, Slice: st.Slice},
		Level:         st.To, Mean: most.Mean, High: most.High, Taken: now, Until: now.Add(hold),
	}}
	return st, nil
}

// wish is what the controller is asked for.
func (l *Loop) wish(v *shed.View, st shed.Step, held []core.Held, now time.Time) policy.Shed {
	w := policy.Shed{Stance: shed.Stance(st.To, l.rungs(st.Slice)), Since: now, Detail: because(v, st, held)}
	for i, r := range st.Reserve {
		if r.To != v.Me {
			w.Room = append(w.Room, policy.Room{POP: r.To, Load: r.High, Until: held[i].Lease.Until})
		}
	}
	return w
}

// because says why a slice steps back, in shares of our capacity.
func because(v *shed.View, st shed.Step, held []core.Held) string {
	me := &v.POPs[slices.IndexFunc(v.POPs, func(p shed.POP) bool { return p.ID == v.Me })]
	of := func(x float64) string { return fmt.Sprintf("%.2f", x/max(me.Capacity, 1e-300)) }
	var to, room []string
	for _, a := range st.Arrive {
		if a.POP != v.Me && (a.Mean >= 0.005*me.Capacity || len(st.Arrive) == 1) {
			to = append(to, of(a.Mean)+" to "+string(a.POP))
		}
	}
	for i, r := range st.Reserve {
		room = append(room, of(r.High)+" at "+string(r.To)+" until "+held[i].Lease.Until.UTC().Format("15:04 MST"))
	}
	text := of(me.Total()) + " of capacity, " + of(st.Moves) + " of it moved to others"
	switch {
	case st.Moves < 0:
		text = of(me.Total()) + " of capacity, " + of(-st.Moves) + " comes back"
	case len(to) > 0:
		text = of(me.Total()) + " of capacity, of it moved " + strings.Join(to, ", ")
	}
	return text + " (reserved " + strings.Join(room, ", ") + ")"
}

// reach gives the controller the wish and waits until it is so, or surely not.
func (l *Loop) reach(ctx context.Context, st shed.Step, want policy.Shed) (policy.SliceDecision, error) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	d, reached, err := l.opt.Controller.Shed(ctx, st.Slice, want)
	if err != nil || reached {
		return d, err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		s := l.opt.Controller.Situation()
		i := slices.IndexFunc(s.Decision, func(d policy.SliceDecision) bool { return d.Slice == st.Slice })
		if i >= 0 && s.Decision[i].Stance == want.Stance {
			return s.Decision[i], nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if i >= 0 {
				d = s.Decision[i]
			}
			return d, fmt.Errorf("a guard still waits: %v", d.Reason)
		}
	}
}

// giveBack undoes a step that could not be made. What cannot be undone now is
// found by reconcile, or ends by itself.
func (l *Loop) giveBack(ctx context.Context, st shed.Step, held []core.Held, before policy.Shed) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*coreTime)
	defer cancel()
	if err := l.opt.Controller.Unshed(ctx, st.Slice, before); err != nil {
		l.log.Warn("balance: a wish that could not be had is not taken back yet", "slice", st.Slice, "err", err)
		return // the claim stays as long as the wish may come true
	}
	stays := st.Claim(l.opt.POP)
	stays.Level = st.From
	if err := l.opt.Core.Release(ctx, l.write("load: %v stays at level %d, a guard refused", st.Slice, st.From), held, claimOp(stays)); err != nil {
		l.log.Warn("balance: reservations are not given back yet", "slice", st.Slice, "err", err)
	}
}

// applied notes that the route has changed.
func (l *Loop) applied(ctx context.Context, v *shed.View, st shed.Step, held []core.Held, name string) {
	now := time.Now()
	m := &l.saved.Memory
	m.Changed = now
	if st.To > st.From {
		m.Shed = now
	} else {
		m.Returned = now
	}
	l.begin(v, st, now)
	l.save()
	l.note(journal.Load, st.Slice, "%v: level %d -> %d: %s", st.Slice, st.From, st.To, because(v, st, held))
	for i, r := range st.Reserve {
		l.ledger.first[seenKey{r.ReservationID, name, true}] = now
		l.noteApplied(ctx, held[i], detail{Step: name, Level: r.Level, Mean: r.Mean, High: r.High})
	}
	if st.To < st.From {
		ctx, cancel := context.WithTimeout(ctx, coreTime)
		defer cancel()
		if _, err := l.opt.Core.Txn(ctx, l.write("load: %v is back at level %d", st.Slice, st.To), nil, []core.Op{claimOp(st.Claim(l.opt.POP))}); err != nil {
			l.log.Warn("balance: the claim of what was taken back is removed later", "slice", st.Slice, "err", err)
		}
	}
}

// noteApplied tells the others that a reservation's load is on its way. If it
// cannot be told the reservation counts as long as its lease lasts.
func (l *Loop) noteApplied(ctx context.Context, h core.Held, d detail) {
	ctx, cancel := context.WithTimeout(ctx, coreTime)
	defer cancel()
	d.Applied = true
	if _, err := l.opt.Core.Note(ctx, l.write("load: the route of %s has changed", h.Slice), h, d.encode()); err != nil {
		l.log.Warn("balance: it is not noted in the core that a route has changed", "slice", h.Slice, "err", err)
	}
}

// reconcile brings what this POP has in the core in line with what it wants
// and announces: reservations that are over or were never used go, those whose
// route has changed are noted so, and claims are those of the wishes.
func (l *Loop) reconcile(ctx context.Context, free []shed.ReservationID, now time.Time) error {
	s := l.opt.Controller.Situation()
	if err := l.hopeless(ctx, &s); err != nil {
		return err
	}
	var release []core.Held
	for i, r := range l.last.mine {
		want := shed.LevelOf(wanted(s, r.Slice), l.rungs(r.Slice))
		switch {
		case slices.Contains(free, r.ReservationID), r.Applied.IsZero() && want != r.Level:
			release = append(release, l.last.held[i])
		case r.Applied.IsZero() && inForce(&s, r.Slice):
			l.ledger.first[seenKey{r.ReservationID, l.last.step[i], true}] = now
			l.noteApplied(ctx, l.last.held[i], detail{Step: l.last.step[i], Level: r.Level, Mean: r.Mean, High: r.High})
		}
	}
	also := l.claims(&s)
	const most = 40 // in one transaction, and well below what a writer may write at once
	for len(release)+len(also) > 0 {
		n, m := min(len(release), most), min(len(also), most)
		c, cancel := context.WithTimeout(ctx, coreTime)
		err := l.opt.Core.Release(c, l.write("load: what has arrived, or was not needed"), release[:n], also[:m]...)
		cancel()
		if err != nil {
			return err
		}
		release, also = release[n:], also[m:]
	}
	return nil
}

// hopeless takes back wishes that guard headroom will never let come true: the
// room that was reserved for them has ended before the route could change.
func (l *Loop) hopeless(ctx context.Context, s *Situation) error {
	for _, d := range s.Decision {
		if _, ok := s.Shed[d.Slice]; !ok || d.Reason.Code != policy.Guarded || d.Reason.Guard != "headroom" {
			continue
		}
		if err := l.opt.Controller.Unshed(ctx, d.Slice, policy.Shed{}); err != nil {
			return err
		}
		delete(s.Shed, d.Slice)
		l.note(journal.Load, d.Slice, "%v: the wish is taken back: %s", d.Slice, d.Reason.Detail)
	}
	return nil
}

// wanted is what load wants of a slice.
func wanted(s Situation, id policy.SliceID) policy.Stance {
	if w, ok := s.Shed[id]; ok {
		return w.Stance
	}
	return policy.Stance{Action: policy.Announce}
}

// inForce reports whether a slice is announced as load wants it.
func inForce(s *Situation, id policy.SliceID) bool {
	for _, d := range s.Decision {
		if d.Slice == id {
			return d.Stance == wanted(*s, id) && (s.Heard[id] || !d.Stance.Announced())
		}
	}
	return false
}

// claims are the writes that make the claims in the core those of the wishes.
func (l *Loop) claims(s *Situation) (ops []core.Op) {
	there := map[policy.SliceID]shed.Claim{}
	for _, c := range l.last.Claims {
		if c.POP == l.opt.POP {
			there[c.Slice] = c
		}
	}
	for id := range s.Shed {
		if l.opt.Config.Mode != Act {
			break
		}
		if want := shed.LevelOf(wanted(*s, id), l.rungs(id)); there[id].Level != want {
			ops = append(ops, claimOp(shed.Claim{POP: l.opt.POP, Slice: id, Level: want, Before: there[id].Before}))
		}
		delete(there, id)
	}
	for id := range there {
		ops = append(ops, claimOp(shed.Claim{POP: l.opt.POP, Slice: id}))
	}
	slices.SortFunc(ops, func(a, b core.Op) int { return strings.Compare(a.Key.Name, b.Key.Name) })
	return ops
}
