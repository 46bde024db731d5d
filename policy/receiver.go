package policy

import (
	"fmt"
	"strings"
)

// Receiver is the forecast of what another POP carries after a drain here, as
// shares of its capacity: now, expected, and a 95 % interval.
type Receiver struct {
	POP  POPID   `json:"pop"`
	Now  float64 `json:"now"`
	Mean float64 `json:"mean"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

func (r Receiver) String() string {
	return fmt.Sprintf("%s at %.2f [%.2f-%.2f] of capacity", r.POP, r.Mean, r.Low, r.High)
}

// grown is the least share of its capacity by which a POP must get more load
// for that to be an objection.
const grown = 0.001

// Overloaded says which POPs the drains that are asked for here would put
// above what the limits let them; empty: none, as far as is known.
func (in *Input) Overloaded() string {
	limit := in.Limits.DrainHeadroom
	var over []string
	for _, r := range in.Receivers {
		if limit > 0 && r.High > limit && r.Mean > r.Now+grown {
			over = append(over, r.String())
		}
	}
	if len(over) == 0 {
		return ""
	}
	return "would put " + strings.Join(over, ", ")
}

// TrafficOf is the share of the fleet's traffic that is on a slice here. What
// is not known counts as all that may move in one interval.
func (in *Input) TrafficOf(id SliceID) float64 {
	if share, ok := in.Traffic[id]; ok {
		return share
	}
	return in.Limits.BlastTraffic
}
