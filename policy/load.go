package policy

import "time"

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

// Outcome is what would come of a wish of load.
type Outcome uint8

// Outcomes.
const (
	Refused Outcome = iota // something else would be announced, now or for good
	Waits                  // a guard waits for other POPs, and may allow it then
	Reached                // it would be announced as wished
)

// Wish says what would come of a wish of load for a slice, without changing
// anything. A wish for the normal announcement takes back the one there is.
func (d Decider) Wish(last State, in Input, id SliceID, want Shed, now time.Time) (SliceDecision, Outcome) {
	in.Shed = With(in.Shed, id, want)
	_, all := d.Decide(last, in, now)
	for _, s := range all.Slices {
		if s.Slice != id {
			continue
		}
		switch {
		case s.Stance == want.Stance:
			return s, Reached
		case s.Want != want.Stance || s.Stance != s.Before:
			return s, Refused
		}
		for _, g := range s.Guards {
			if g.Answer != Allow && !g.Ask {
				return s, Refused
			}
		}
		return s, Waits
	}
	return SliceDecision{Slice: id, Reason: Reason{Code: Removed, Detail: "there is no such slice"}}, Refused
}

// With is a set of wishes with one put in the place of the former: none where
// it is for the normal announcement, or of no time.
func With(all map[SliceID]Shed, id SliceID, s Shed) map[SliceID]Shed {
	out := make(map[SliceID]Shed, len(all)+1)
	for k, v := range all {
		if k != id {
			out[k] = v
		}
	}
	if s.Stance != (Stance{Action: Announce}) && !s.Since.IsZero() {
		out[id] = s
	}
	return out
}
