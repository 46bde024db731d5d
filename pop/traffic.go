package pop

import (
	"time"

	"github.com/catchment/catchment/policy"
)

// shares are the last shares of the fleet's traffic.
type shares struct {
	at time.Time
	of map[policy.SliceID]float64
}

// traffic is the share of the fleet's traffic that comes here by each slice,
// as far as it is known, once a tick while a guard needs it. A POP whose load
// is not known is left out of the whole: what is here counts for more then.
func (c *Controller) traffic(in *policy.Input, now time.Time) map[policy.SliceID]float64 {
	if in.Limits.BlastTraffic <= 0 || c.view.Load().Now.IsZero() {
		return nil
	}
	if s := &c.shares; s.at.IsZero() || now.Sub(s.at) >= tick {
		is := c.situation(now)
		*s = shares{now, is.shareOfFleet()}
	}
	return c.shares.of
}

func (s *situation) shareOfFleet() map[policy.SliceID]float64 {
	f := s.carried()
	total := 0.0
	for i := range f.pops {
		if f.pops[i].known {
			total += f.pops[i].total
		}
	}
	me := &f.pops[0]
	if !me.known || total <= 0 {
		return nil
	}
	out := make(map[policy.SliceID]float64, len(me.slice))
	for id, x := range me.slice {
		out[id] = x / total
	}
	return out
}

// unknownTraffic says of how many slices it is not known what is on them.
func (v *View) unknownTraffic() string {
	for _, d := range v.Decision.Slices {
		if _, ok := v.Input.Traffic[d.Slice]; !ok && d.Stance.Announced() && !v.cover[d.Slice] {
			return " (what is on some slices is not known: one of them at a time)"
		}
	}
	return ""
}
