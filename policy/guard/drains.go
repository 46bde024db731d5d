package guard

import "github.com/catchment/catchment/policy"

// Drains lets only so many POPs drain at a time: the others wait their turn
// (policy.Turn) and begin by themselves. A stop of the daemon is no drain, nor
// is a pin; a forced drain begins at once, and counts.
type Drains struct{}

// Name returns "drains".
func (Drains) Name() string { return NameDrains }

// Ask vetoes the steps of a drain while it is not this POP's turn.
func (Drains) Ask(q policy.Question) policy.GuardVerdict {
	if !q.Drain || q.Forced || q.Turn.Held || !q.Input.Limits.Queued() || !q.To.Less(q.From) {
		return allow("")
	}
	s := q.Input.Turn(q.Turn, q.Now)
	if q.Turn.Ticket == 0 { // it has no place in the queue while it cannot begin
		s = policy.Standing{Detail: "not in the queue: it " + q.Input.Overloaded()}
	}
	v := object(policy.Veto, "%s", s.Detail)
	v.Ask, v.Queued = s.Ask, true
	return v
}
