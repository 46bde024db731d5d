package guard

import (
	"time"

	"github.com/catchment/catchment/policy"
)

// Isolated holds a POP whose control core has been out of reach for longer
// than the grace time. Nothing is relaxed for it: what still goes on is judged
// by the other guards on what was last known of the fleet, so that POPs which
// are all cut off at once do not all leave.
type Isolated struct{}

// Name returns "isolated".
func (Isolated) Name() string { return NameIsolated }

// Ask vetoes every change but what an operator wants here, a withdraw because
// the service is down, and its return when it is up again.
func (Isolated) Ask(q policy.Question) policy.GuardVerdict {
	in := q.Input
	if !in.Core.Isolated(in.Limits, q.Now) || q.Forced || !loadOrDoubt(q) {
		return allow("")
	}
	v := object(policy.Veto, "the control core has been out of reach for %v: only an operator here or a service that is down takes anything away",
		q.Now.Sub(in.Core.Lost).Round(time.Second))
	return v
}

// loadOrDoubt reports whether a change is one of load, or of health that is
// not down: all that can wait for the core.
func loadOrDoubt(q policy.Question) bool {
	switch q.Why.Code {
	case policy.Operator, policy.Maintenance, policy.Stopping, policy.Removed, policy.Always, policy.Starting, policy.NoVerdict, policy.CheckDown:
		return false
	}
	return !q.ByHealth() || q.To.Less(q.From)
}
