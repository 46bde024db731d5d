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
	// mostSteps bounds how often a plan decides, mostIdle how often in a row
	// without anything coming of it: a service that is down and passes, say,
	// is looked at each second for ever.
	mostSteps = 5000
	mostIdle  = 64
)

// future is what comes of a situation.
type future struct {
	slices  map[policy.SliceID]*course
	settled bool // nothing more would change by time alone
}

// course is what becomes of one slice.
type course struct {
	last       policy.SliceDecision
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
	end, idle := w.now.Add(horizon), 0
	for now, n := w.now, 0; n < mostSteps; n++ {
		if err := ctx.Err(); err != nil {
			return f, err
		}
		when := w.advance(now)
		state, d := w.decider.Decide(w.state, w.in, now)
		w.state = state
		if f.take(d, now.Sub(w.now), when) {
			idle = 0
		} else {
			idle++
		}
		next := w.next(d, now, idle < mostIdle)
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

// next is when a decision may come out otherwise; zero: never. Unless asleep,
// that is also when the last one asked to be looked at again.
func (s *situation) next(d policy.Decision, now time.Time, awake bool) time.Time {
	var next time.Time
	at := func(t time.Time) {
		if t.After(now) && (next.IsZero() || t.Before(next)) {
			next = t
		}
	}
	if awake {
		at(d.Wake)
		if !d.Wake.IsZero() && !d.Wake.After(now) {
			at(now.Add(time.Millisecond)) // as the controller's round does
		}
		if d.Ask {
			at(now.Add(answerTime))
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

// take notes what a decision changes, and reports whether it does.
func (f *future) take(d policy.Decision, at time.Duration, when string) (news bool) {
	seen := make(map[policy.SliceID]bool, len(d.Slices))
	for _, sd := range d.Slices {
		seen[sd.Slice] = true
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
		c.last = sd
	}
	return news
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
		return "when the flap penalty has decayed"
	case policy.Dwell:
		return "after the least stay on a rung"
	case policy.Guarded:
		for _, g := range before.Guards {
			if g.Guard == before.Reason.Guard && g.Ask {
				return "when other POPs have confirmed"
			}
		}
		return "when guard " + before.Reason.Guard + " lets it"
	}
	if before.Stance.Action == policy.Drain && !now.Stance.Announced() {
		return "after the drain wait"
	}
	if why != "" {
		return why
	}
	return "then"
}
