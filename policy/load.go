package policy

import (
	"fmt"
	"time"
)

// Shed is how far this POP steps back on a slice because of its load: the
// wish of the load loop (policy/shed says which, pop/balance brings it here).
// It only ever lowers what health wants, and never overrules an operator.
type Shed struct {
	Stance Stance `json:"stance"`
	// Detail is why, for people: it becomes the reason's.
	Detail string `json:"detail"`
	// Room is what was reserved for the step. While the route is not changed
	// yet, guard headroom lets it be changed only where all of it holds.
	Room []Room `json:"room,omitempty"`
	// Since is when the wish came.
	Since time.Time `json:"since"`
}

// Room is load that another POP has promised to take.
type Room struct {
	POP  POPID   `json:"pop"`
	Load float64 `json:"load"` // in the unit of capacities
	// Until is when the promise ends, by our own clock.
	Until time.Time `json:"until"`
}

// forLoad lowers what health wants of a slice to what load wants.
func (r *round) forLoad(t target, to Stance, why Reason) (Stance, Reason) {
	s, ok := r.in.Shed[t.slice]
	if !ok || t.cover || t.service.Always {
		return to, why
	}
	want := s.Stance
	if want.Action == Drain { // load has no drains
		return to, why
	}
	want.Rung = clampRung(t.service, want.Rung)
	if !want.Less(to) {
		return to, why
	}
	return want, Reason{Code: Load, Detail: s.Detail}
}

// Reserved says for people what room was reserved; empty: none.
func (s Shed) Reserved() string {
	out := ""
	for i, m := range s.Room {
		if i > 0 {
			out += ", "
		}
		out += fmt.Sprintf("%.4g at %s until %s", m.Load, m.POP, m.Until.Format(time.TimeOnly))
	}
	return out
}
