package guard

import (
	"fmt"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
)

// Headroom lets load move nothing that nobody has promised to take: a step
// back for load needs room that is reserved at other POPs, all of it still
// held in the moment in which the route changes. What is moved stays moved
// when the reservation has ended: then it is a part of what the receiver has.
type Headroom struct{}

// Name returns "headroom".
func (Headroom) Name() string { return NameHeadroom }

// Ask vetoes a step back for load whose room is not reserved, or no longer, and
// the begin of a drain that would overload other POPs by its forecast.
func (Headroom) Ask(q policy.Question) policy.GuardVerdict {
	if q.Drain && q.From.Action == policy.Announce && !q.Forced {
		if over := q.Input.Overloaded(); over != "" && !q.Turn.Held {
			v := object(policy.Veto, "%s", over)
			v.Queued = true
			return v
		}
	}
	if q.Why.Code != policy.Load || !q.To.Less(q.From) || q.Forced {
		return allow("")
	}
	s := q.Input.Shed[q.Slice]
	var held, over []string
	for _, r := range s.Room {
		switch {
		case r.POP == q.Input.POP || r.Load <= 0:
			over = append(over, fmt.Sprintf("%.4g at %s is no room elsewhere", r.Load, r.POP))
		case !q.Now.Before(r.Until):
			over = append(over, fmt.Sprintf("what was reserved at %s ended %v ago", r.POP, q.Now.Sub(r.Until).Round(time.Second)))
		default:
			held = append(held, fmt.Sprintf("%.4g at %s", r.Load, r.POP))
		}
	}
	switch {
	case len(over) > 0:
		return object(policy.Veto, "%s", strings.Join(over, ", "))
	case len(held) == 0:
		return object(policy.Veto, "no other POP has reserved room for it")
	}
	return allow("reserved: " + strings.Join(held, ", "))
}
