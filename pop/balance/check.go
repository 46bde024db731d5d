package balance

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/matrix"
)

// check is a step with what is needed to say later whether it did what was
// forecast.
type check struct {
	Step   shed.Step                   `json:"step"`
	At     time.Time                   `json:"at"`
	Before map[policy.POPID]float64    `json:"before"` // of the slice
	Totals map[policy.POPID]float64    `json:"totals"` // of all slices
	Demand float64                     `json:"demand"`
	Levels map[policy.POPID]shed.Level `json:"levels"` // of the slice, after the step
	Split  string                      `json:"split"`
	Detail string                      `json:"detail,omitempty"`
	// Outcome is what came of it, empty while it is awaited.
	Outcome string    `json:"outcome,omitempty"`
	Wrong   bool      `json:"wrong,omitempty"`
	Checked time.Time `json:"checked,omitzero"`
}

// begin notes a step that has been made; an older one of the slice that is not
// checked yet never will be.
func (l *Loop) begin(v *shed.View, st shed.Step, now time.Time) {
	c := check{Step: st, At: now, Before: loadsOf(v, st.Slice), Totals: map[policy.POPID]float64{},
		Levels: map[policy.POPID]shed.Level{}, Demand: demand(v, st), Split: l.split()}
	for i := range v.POPs {
		p := &v.POPs[i]
		c.Totals[p.ID] = p.Total()
		if lv, ok := p.Level[st.Slice]; ok {
			c.Levels[p.ID] = lv
		}
	}
	c.Levels[v.Me] = st.To
	if l.saved.Checks == nil {
		l.saved.Checks = map[policy.SliceID]check{}
	}
	l.saved.Checks[st.Slice] = c
}

// split is where our loads by slice come from now.
func (l *Loop) split() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.own.Split
}

// loadsOf is the load of one slice, by POP.
func loadsOf(v *shed.View, id policy.SliceID) map[policy.POPID]float64 {
	out := map[policy.POPID]float64{}
	for i := range v.POPs {
		if !v.POPs[i].At.IsZero() {
			out[v.POPs[i].ID] = v.POPs[i].Load[id]
		}
	}
	return out
}

// demand is what the POP would carry of a step's slice at normal: the slice
// itself before a step back from normal, else its mean over the slices where
// it is normal; 0: not known.
func demand(v *shed.View, st shed.Step) float64 {
	me := &v.POPs[slices.IndexFunc(v.POPs, func(p shed.POP) bool { return p.ID == v.Me })]
	if st.From == 0 {
		return me.Load[st.Slice]
	}
	all, n := 0.0, 0
	for _, id := range v.Slices {
		if l, ok := me.Level[id]; ok && l == 0 && id != st.Slice {
			all += me.Load[id]
			n++
		}
	}
	return all / float64(max(n, 1))
}

// judge compares steps that have settled with their forecasts, and learns from
// them.
func (l *Loop) judge(ctx context.Context, v *shed.View, now time.Time) {
	changed, clear := false, false
	for _, id := range slices.SortedFunc(maps.Keys(l.saved.Checks), compare) {
		c := l.saved.Checks[id]
		if c.Outcome != "" {
			continue
		}
		if !l.settled(&c, v, now) {
			continue
		}
		changed = true
		if c.Wrong {
			l.stop = true
			l.surprises++
			l.opt.Controller.Alarm(ctx, "surprise", true, fmt.Sprintf("%v: %s: load moves no more this round", id, c.Outcome))
			l.note(journal.Alarm, id, "surprise: %v from level %d to %d: %s", id, c.Step.From, c.Step.To, c.Outcome)
		} else {
			clear = clear || c.Checked.Equal(now)
			l.note(journal.Load, id, "%v from level %d to %d: %s", id, c.Step.From, c.Step.To, c.Outcome)
		}
		l.saved.Checks[id] = c
	}
	if clear && !l.stop {
		l.opt.Controller.Alarm(ctx, "surprise", false, "")
	}
	if changed {
		l.save()
	}
}

// settled fills in what came of a step, and reports whether anything did yet.
func (l *Loop) settled(c *check, v *shed.View, now time.Time) bool {
	cfg := &l.opt.Config.Shed
	id := c.Step.Slice
	for i := range v.POPs {
		p := &v.POPs[i]
		was, there := c.Levels[p.ID]
		if is, ok := p.Level[id]; ok != there || is != was {
			c.Outcome = fmt.Sprintf("not checked: %s has changed what it announces meanwhile", p.ID)
			return true
		}
	}
	due := c.At.Add(cfg.Settle)
	for i := range v.POPs {
		p := &v.POPs[i]
		if _, counts := c.Before[p.ID]; counts && p.At.Before(due) {
			if now.After(due.Add(2 * cfg.Stale)) {
				c.Outcome = fmt.Sprintf("not checked: no load of %s since", p.ID)
				return true
			}
			return false
		}
	}
	l.compare(c, v, now)
	return true
}

// compare says whether what was forecast has happened. Where loads of slices
// are not measured the POPs' totals must do, and nothing is learned.
func (l *Loop) compare(c *check, v *shed.View, now time.Time) {
	before, after := c.Before, loadsOf(v, c.Step.Slice)
	bySlice := c.Split != SplitEqually && l.split() == c.Split
	if !bySlice {
		before, after = c.Totals, map[policy.POPID]float64{}
		for i := range v.POPs {
			after[v.POPs[i].ID] = v.POPs[i].Total()
		}
		if l.others(c) {
			c.Outcome = "not checked: loads by slice are not measured, and other slices have changed at the same time"
			return
		}
	}
	maps.DeleteFunc(after, func(p policy.POPID, _ float64) bool { _, ok := before[p]; return !ok })
	c.Checked = now
	wrong, text := l.opt.Config.Shed.Surprise(v.Me, c.Step, before, after, c.Totals[v.Me])
	growth := total(after) / max(total(before), 1e-300)
	moved := before[v.Me] - after[v.Me]/max(growth, 1e-300)
	c.Wrong = wrong
	capacity := max(capacityOf(v), 1e-300)
	c.Outcome = fmt.Sprintf("%.3f of capacity moved, forecast %.3f ± %.3f", moved/capacity, c.Step.Moves/capacity, within95*c.Step.SD/capacity)
	if c.Step.Moves < 0 {
		c.Outcome = fmt.Sprintf("%.3f of capacity came back, forecast %.3f ± %.3f", -moved/capacity, -c.Step.Moves/capacity, within95*c.Step.SD/capacity)
	}
	if wrong {
		c.Outcome += "; " + text
	}
	if bySlice {
		l.learn(c, v, after, now)
	}
}

// within95 is so many standard deviations to each side.
const within95 = 1.96

// capacityOf is our own capacity.
func capacityOf(v *shed.View) float64 {
	for i := range v.POPs {
		if v.POPs[i].ID == v.Me {
			return v.POPs[i].Capacity
		}
	}
	return 0
}

func total(m map[policy.POPID]float64) (all float64) {
	for _, id := range slices.Sorted(maps.Keys(m)) {
		all += m[id]
	}
	return all
}

// others reports whether another slice has changed about when this one did.
func (l *Loop) others(c *check) bool {
	for id, o := range l.saved.Checks {
		if id != c.Step.Slice && o.At.Sub(c.At).Abs() < l.opt.Config.Shed.Settle {
			return true
		}
	}
	return false
}

// learn feeds the response matrix with what happened, if nobody else stands
// back on the slice: where load goes depends on it.
func (l *Loop) learn(c *check, v *shed.View, after map[policy.POPID]float64, now time.Time) {
	for i := range v.POPs {
		p := &v.POPs[i]
		if level, ok := p.Level[c.Step.Slice]; p.ID != v.Me && (!ok || level != 0) {
			return
		}
	}
	t := l.target(c.Step.Slice)
	if t == nil || c.Step.From != 0 && c.Demand <= 0 {
		return
	}
	e := matrix.Event{Service: t.ID, POP: v.Me, From: t.rung(c.Step.From), To: t.rung(c.Step.To), Before: c.Before, After: after, At: now}
	if c.Step.From != 0 {
		e.Demand = c.Demand
	}
	if err := l.opt.Responses.Observe(e); err != nil {
		l.log.Debug("balance: nothing to learn", "slice", c.Step.Slice, "err", err)
		return
	}
	c.Outcome += "; learned"
}

// rung is the name of a level, as events have it.
func (t *Target) rung(l shed.Level) string {
	switch {
	case l == 0:
		return "normal"
	case int(l) >= max(1, len(t.Rungs)):
		return matrix.Withdraw
	}
	return t.Rungs[l]
}
