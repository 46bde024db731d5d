package pop

import (
	"context"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

const (
	// answerTime is about how long other POPs take to answer.
	answerTime = 100 * time.Millisecond
	// mostSteps bounds how often a plan decides, mostIdle how often in a row a
	// slice is looked at, or other POPs are asked, without anything coming of
	// it: a service that is down and passes, say, is looked at each second
	// for ever.
	mostSteps = 5000
	mostIdle  = 64
)

// future is what comes of a situation.
type future struct {
	slices  map[policy.SliceID]*course
	asked   int  // in a row, and nothing came of it
	settled bool // nothing more would change by time alone
}

// course is what becomes of one slice.
type course struct {
	last       policy.SliceDecision
	idle       int // wakes in a row of which nothing came
	steps      []step
	objections []objection
}

// step is a change of stance.
type step struct {
	at   time.Duration
	when string
	d    policy.SliceDecision
}

// objection is a guard that would not have a change, from at until ends.
type objection struct {
	at, ends time.Duration
	open     bool
	verdict  policy.GuardVerdict
	want     policy.Stance
	instead  policy.Stance
}

// foresee decides forward in virtual time until nothing changes any more, or
// the horizon is reached.
func (s *situation) foresee(ctx context.Context, horizon time.Duration) (future, error) {
	w := s.copy()
	f := future{slices: map[policy.SliceID]*course{}}
	for _, d := range w.view.Decision.Slices {
		f.slices[d.Slice] = &course{last: d}
	}
	end := w.now.Add(horizon)
	for now, n := w.now, 0; n < mostSteps; n++ {
		if ctx.Err() != nil {
			return f, context.Cause(ctx)
		}
		when := w.advance(now)
		state, d := w.decider.Decide(w.state, w.in, now)
		w.state = state
		f.take(d, now, now.Sub(w.now), when)
		next := earlier(f.wake(d, now), w.wake(now))
		if next.IsZero() {
			f.settled = true
			return f, nil
		}
		if next.After(end) {
			return f, nil
		}
		now = next
	}
	return f, nil
}

// advance makes the inputs those of now, and says what of them came by time.
func (s *situation) advance(now time.Time) (when string) {
	limits := s.in.Limits
	for i := range s.in.Fleet.Peers {
		p := &s.in.Fleet.Peers[i]
		if s.quiet[p.POP] {
			if was := now.Add(-time.Nanosecond); p.Fresh(limits, was) && !p.Fresh(limits, now) {
				when = "once " + string(p.POP) + " is stale"
			}
			continue
		}
		p.Heard = now
		if !p.Asked.IsZero() {
			p.Asked = now
		}
		if p.Turn.Known {
			p.Turn.Asked = now
		}
	}
	s.in.Intents = slices.DeleteFunc(s.in.Intents, func(in policy.Intent) bool {
		over := !in.Until.IsZero() && !now.Before(in.Until)
		if over {
			when = "when the " + string(in.Kind) + " ends"
		}
		return over
	})
	s.later = slices.DeleteFunc(s.later, func(h happening) bool {
		due := !h.at.After(now)
		if due {
			h.do(s)
			when = h.when
		}
		return due
	})
	return when
}

// wake is when time changes an input; zero: never.
func (s *situation) wake(now time.Time) (next time.Time) {
	at := func(t time.Time) {
		if t.After(now) {
			next = earlier(next, t)
		}
	}
	for _, in := range s.in.Intents {
		at(in.Until)
	}
	for _, h := range s.later {
		at(h.at)
	}
	l := s.in.Limits
	for _, p := range s.in.Fleet.Peers {
		if s.quiet[p.POP] && !p.Heard.IsZero() && l.StaleAfter > 0 {
			at(p.Heard.Add(l.StaleAfter + time.Nanosecond))
		}
		for _, c := range p.Slices {
			if !c.DownSince.IsZero() && l.CorrelatedWindow > 0 {
				at(c.DownSince.Add(l.CorrelatedWindow + time.Nanosecond))
			}
		}
	}
	return next
}

// wake is when a decision asks to be looked at again and something may come of
// it; zero: never.
func (f *future) wake(d policy.Decision, now time.Time) (next time.Time) {
	for _, sd := range d.Slices {
		if !sd.Wake.IsZero() && f.slices[sd.Slice].idle < mostIdle {
			at := sd.Wake
			if !at.After(now) {
				at = now.Add(time.Millisecond) // as the controller's round does
			}
			next = earlier(next, at)
		}
	}
	if d.Ask && f.asked < mostIdle {
		next = earlier(next, now.Add(answerTime))
	}
	return next
}

// earlier is the earlier of two times of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// take notes what a decision changes.
func (f *future) take(d policy.Decision, now time.Time, at time.Duration, when string) {
	news := false
	for _, sd := range d.Slices {
		c := f.slices[sd.Slice]
		if c == nil { // new
			c = &course{last: policy.SliceDecision{Slice: sd.Slice, Service: sd.Service, Reason: policy.Reason{Code: policy.Starting}}}
			f.slices[sd.Slice] = c
		}
		if c.last.Stance != sd.Stance {
			c.steps = append(c.steps, step{at: at, when: whenOf(c.last, sd, at, when), d: sd})
			news = true
		}
		news = c.object(sd, at) || news || c.last.Reason.Code != sd.Reason.Code
		if !c.last.Wake.IsZero() && !c.last.Wake.After(now) {
			c.idle++
		}
		c.last = sd
	}
	f.asked++
	if !news {
		return
	}
	f.asked = 0
	for _, c := range f.slices {
		c.idle = 0
	}
}

// object notes which guards object from now on, and which no longer do.
func (c *course) object(d policy.SliceDecision, at time.Duration) (news bool) {
	still := map[string]bool{}
	for _, g := range d.Guards {
		if g.Answer == policy.Allow {
			continue
		}
		i := slices.IndexFunc(c.objections, func(o objection) bool {
			return o.open && o.verdict.Guard == g.Guard && o.verdict.Answer == g.Answer && o.want == d.Want && o.instead == d.Stance
		})
		if i < 0 {
			c.objections = append(c.objections, objection{at: at, open: true, verdict: g, want: d.Want, instead: d.Stance})
			i, news = len(c.objections)-1, true
		}
		c.objections[i].ends = at
		still[g.Guard] = true
	}
	for i := range c.objections {
		o := &c.objections[i]
		if same := o.want == d.Want && o.instead == d.Stance; o.open && (!still[o.verdict.Guard] || !same) {
			o.open, o.ends, news = false, at, true
		}
	}
	return news
}

// whenOf says what the time of a change is made of.
func whenOf(before, now policy.SliceDecision, at time.Duration, why string) string {
	if at == 0 {
		return "at once"
	}
	switch before.Reason.Code {
	case policy.HoldDown:
		return "after the hold-down"
	case policy.Damped:
		return "after the damping"
	case policy.Dwell:
		return "after the dwell"
	case policy.Guarded:
		for _, g := range before.Guards {
			if g.Guard == before.Reason.Guard && g.Ask {
				return "once others confirm"
			}
		}
		return "once " + before.Reason.Guard + " allows it"
	}
	if before.Stance.Action == policy.Drain && !now.Stance.Announced() {
		return "after the drain wait"
	}
	if why != "" {
		return why
	}
	return "then"
}
