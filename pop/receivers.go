package pop

import (
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/api"
)

// receivers are what the other POPs would carry once all that is asked to be
// drained here is, by the forecast of plans. It is made once a tick while a
// drain has not begun.
func (c *Controller) receivers(in *policy.Input, now time.Time) []policy.Receiver {
	v := c.view.Load()
	if in.Limits.DrainHeadroom <= 0 || v.Now.IsZero() || len(toDrain(in, v)) == 0 {
		c.foreseen = foreseen{}
		return nil
	}
	if f := &c.foreseen; f.at.IsZero() || now.Sub(f.at) >= tick || f.intents != len(in.Intents) {
		s := c.situation(now)
		s.in.Intents, s.in.Health = in.Intents, in.Health
		*f = foreseen{at: now, intents: len(in.Intents), receivers: s.receivers()}
	}
	return c.foreseen.receivers
}

// foreseen is the last forecast of a drain that has not begun.
type foreseen struct {
	at        time.Time
	intents   int
	receivers []policy.Receiver
}

// toDrain are the slices that are asked to be drained and are announced as if
// they were not.
func toDrain(in *policy.Input, v *View) (out []policy.SliceDecision) {
	static := map[policy.ServiceID]bool{}
	for _, s := range in.Services {
		static[s.ID] = s.Always
	}
	for _, d := range v.Decision.Slices {
		if d.Stance.Action != policy.Announce {
			continue
		}
		wanted := in.Health[d.Service].Maintenance && !static[d.Service] && !v.cover[d.Slice]
		for _, i := range in.Intents {
			named := i.Slice == d.Slice || i.Service != "" && !v.cover[d.Slice] || !static[d.Service] && !v.cover[d.Slice]
			wanted = wanted || i.Kind == policy.IntentDrain && i.Covers(d.Service, d.Slice) && named
		}
		if wanted {
			out = append(out, d)
		}
	}
	return out
}

// receivers are the forecasts of the other POPs' use. What is not known of a
// POP objects to nothing.
func (s *situation) receivers() (out []policy.Receiver) {
	var shifts []shift
	for _, d := range toDrain(&s.in, s.view) {
		if !s.view.cover[d.Slice] && s.elsewhere(d.Slice) { // what nobody else announces stays, by last-pop
			shifts = append(shifts, shift{pop: s.cfg.POP, service: d.Service, slice: d.Slice})
		}
	}
	loads := s.loads(shifts)
	if len(shifts) == 0 || loads == nil {
		return nil
	}
	for _, l := range loads.POPs {
		limit := l.Limit()
		if l.POP == s.cfg.POP || limit <= 0 || l.Before == nil || l.After == nil {
			continue
		}
		out = append(out, policy.Receiver{POP: l.POP, Now: *l.Before / limit, Mean: l.After.Mean / limit, Low: l.After.Low / limit, High: l.After.High / limit})
	}
	return out
}

// overloading says which POPs a drain would overload by its forecast; empty:
// none, as far as is known. It is called on the controller's goroutine.
func (c *Controller) overloading(in policy.Intent, now time.Time) string {
	if in.Kind != policy.IntentDrain || c.cfg.Limits.DrainHeadroom <= 0 || c.view.Load().Now.IsZero() {
		return ""
	}
	s := c.situation(now)
	s.in.Limits = c.cfg.Limits
	s.in.Intents = append(s.in.Intents, in)
	s.in.Receivers = s.receivers()
	return s.in.Overloaded()
}

// refuseOverload refuses a drain that would overload others.
func refuseOverload(over string) error {
	return api.Errorf(api.Refused, "headroom: it %s; --force goes over it, and the journal keeps who did", over)
}

// elsewhere reports whether another POP counts as announcing a slice.
func (s *situation) elsewhere(id policy.SliceID) bool {
	return slices.ContainsFunc(s.in.Fleet.Peers, func(p policy.Peer) bool {
		return p.Fresh(s.in.Limits, s.now) && guard.WhyNot(p, id) == ""
	})
}
