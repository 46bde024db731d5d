package api

import (
	"time"

	"github.com/catchment/catchment/policy"
)

// PlanLoads is who would carry how much. What is not known is said, and has no
// number.
type PlanLoads struct {
	// Unit is in or out (bit/s), requests (a second) or connections; percent
	// where only parts of what this POP carries can be told.
	Unit string     `json:"unit,omitempty"`
	POPs []PlanLoad `json:"pops,omitempty"` // this POP first
	// Moved is the load whose POP changes.
	Moved *PlanRange `json:"moved,omitempty"`
	// Over are POPs that carry more than they can at the upper end of the
	// interval, and did not before.
	Over  []policy.POPID `json:"over,omitempty"`
	Notes []string       `json:"notes,omitempty"` // what the numbers are made of, and what is not known
}

// PlanLoad is what one POP carries.
type PlanLoad struct {
	POP      policy.POPID `json:"pop"`
	Capacity float64      `json:"capacity,omitempty"` // 0: not known
	// Supposed is the capacity that is supposed, where it is another.
	Supposed float64    `json:"supposed,omitempty"`
	Before   *float64   `json:"before,omitempty"` // nil: not known
	After    *PlanRange `json:"after,omitempty"`  // nil: not known
	Change   *PlanRange `json:"change,omitempty"` // nil: not known
	At       time.Time  `json:"at,omitzero"`      // of the sample that Before is from
	Note     string     `json:"note,omitempty"`   // why something is not known
}

// PlanRange is an expectation with the interval in which it lies in 95 of 100
// cases.
type PlanRange struct {
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Limit is the capacity that counts in a plan; 0: not known.
func (l PlanLoad) Limit() float64 {
	if l.Supposed > 0 {
		return l.Supposed
	}
	return l.Capacity
}

// PlanAlternative is what could be done instead.
type PlanAlternative struct {
	Text     string   `json:"text"`               // what, in words
	Commands []string `json:"commands,omitempty"` // that do it, at the POPs named in them
	// Part is how much of the load that was to leave leaves with it; nil: no
	// load was to leave.
	Part  *float64   `json:"part,omitempty"`
	Loads *PlanLoads `json:"loads,omitempty"`
	Why   string     `json:"why"` // it is better
}
