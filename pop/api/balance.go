package api

import (
	"time"

	"github.com/catchment/catchment/policy"
)

// BalanceStatus is the load loop: what it decided last and from what, and what
// came of its steps.
type BalanceStatus struct {
	Mode   string    `json:"mode"` // observe or act
	Unit   string    `json:"unit"` // of all loads: in, out, requests or connections
	At     time.Time `json:"at,omitzero"`
	Code   string    `json:"code,omitempty"` // e.g. "fine", "shedding", "no-room"; stable words
	Detail string    `json:"detail,omitempty"`
	// Overload is what stays above the target if all of the fleet's plan
	// happened, over all POPs.
	Overload float64   `json:"overload,omitempty"`
	Lost     time.Time `json:"lost,omitzero"`   // since when the control core is out of reach: nothing moves
	Notes    []string  `json:"notes,omitempty"` // what was not used or not done, and why
	// POPs are the loads that the last round went by, this POP's among them.
	POPs []BalancePOP `json:"pops,omitempty"`
	// Steps are the last one of each slice, and those that observe would make.
	Steps []BalanceStep `json:"steps,omitempty"`
	// Reserved is all room that is reserved now, by whomever.
	Reserved []BalanceRoom `json:"reserved,omitempty"`
}

// BalancePOP is what a POP carries, and what can be sent to it.
type BalancePOP struct {
	POP      policy.POPID `json:"pop"`
	Load     float64      `json:"load"`
	Capacity float64      `json:"capacity"`    // 0: not known
	At       time.Time    `json:"at,omitzero"` // of the sample; zero: never heard
	Room     float64      `json:"room"`        // that may still be reserved
	Over     bool         `json:"over,omitempty"`
	// Low and High bound, with 95 %, what it carries after the steps of the
	// round; unset without any.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
}

// BalanceStep is a step of this POP.
type BalanceStep struct {
	Slice   policy.SliceID   `json:"slice"`
	Service policy.ServiceID `json:"service"`
	From    string           `json:"from"` // "normal", a rung, or "withdraw"
	To      string           `json:"to"`
	At      time.Time        `json:"at,omitzero"` // zero: it would be made
	Moves   float64          `json:"moves"`       // forecast of what leaves; negative: comes back
	Within  float64          `json:"within"`      // and by how much more or less, with 95 %
	Arrive  []BalanceRoom    `json:"arrive,omitempty"`
	Probe   bool             `json:"probe,omitempty"`   // nothing was known of this rung
	Outcome string           `json:"outcome,omitempty"` // what came of it; empty: not known yet
	Wrong   bool             `json:"wrong,omitempty"`   // something else than forecast
}

// BalanceRoom is load of one POP's slice that is to arrive at another.
type BalanceRoom struct {
	From    policy.POPID   `json:"from"`
	To      policy.POPID   `json:"to"` // From itself: it takes the slice back
	Slice   policy.SliceID `json:"slice"`
	Mean    float64        `json:"mean"`              // that is expected
	High    float64        `json:"high"`              // for which room is kept
	Applied bool           `json:"applied,omitempty"` // the route has changed
	Until   time.Time      `json:"until,omitzero"`    // ours: when the reservation ends by itself
}

// Of is the part that speaks of one slice; nil: nothing does.
func (b *BalanceStatus) Of(id policy.SliceID) *BalanceStatus {
	if b == nil {
		return nil
	}
	out := *b
	out.Steps, out.Reserved = nil, nil
	for _, s := range b.Steps {
		if s.Slice == id {
			out.Steps = append(out.Steps, s)
		}
	}
	for _, r := range b.Reserved {
		if r.Slice == id {
			out.Reserved = append(out.Reserved, r)
		}
	}
	if len(out.Steps)+len(out.Reserved) == 0 {
		return nil
	}
	return &out
}
