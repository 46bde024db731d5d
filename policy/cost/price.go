package cost

import (
	"fmt"
	"math"
	"slices"
)

// Price is what the traffic of one POP costs. Currency is the operator's.
type Price struct {
	// PerGB is paid for each gigabyte (10^9 bytes).
	PerGB float64
	// PerMbps is paid a month for each Mbit/s of the percentile of the rates of
	// the slots, of which Commit Mbit/s are paid in any case.
	PerMbps, Commit float64
	// Percentile, 0 to 1; 0: 0.95.
	Percentile float64
}

// Validate says what cannot be.
func (p *Price) Validate() error {
	for what, x := range map[string]float64{"per-gb": p.PerGB, "per-mbps": p.PerMbps, "commit": p.Commit} {
		if x < 0 || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("%s %v: want zero or more", what, x)
		}
	}
	if p.Percentile < 0 || p.Percentile > 1 || math.IsNaN(p.Percentile) {
		return fmt.Errorf("percentile %v: want 0 to 1", p.Percentile)
	}
	return nil
}

func (p *Price) percentile() float64 {
	if p.Percentile == 0 {
		return 0.95
	}
	return p.Percentile
}

// free is how many of n slots cost nothing.
func (p *Price) free(n int) int {
	if p.PerMbps == 0 {
		return 0
	}
	return n - int(math.Ceil(p.percentile()*float64(n)-1e-9))
}

// billed is the rate that is billed: the highest of the slots when the
// highest 5 % (or what p says) are left out. It sorts the slots.
func (p *Price) billed(slots []float64) float64 {
	if len(slots) == 0 {
		return 0
	}
	slices.Sort(slots)
	return slots[len(slots)-1-min(p.free(len(slots)), len(slots)-1)]
}

// Bill is what slots of these rates (bit/s), of so many seconds each, cost in a
// month of which they are all. A shorter time costs the part of a month it is,
// as if it went on alike.
func (p *Price) Bill(slots []float64, seconds float64) float64 {
	return p.BillOf(slots, seconds, Month)
}

// BillOf is Bill of a month of so many seconds.
func (p *Price) BillOf(slots []float64, seconds, month float64) float64 {
	sum := 0.0
	for _, x := range slots {
		sum += x
	}
	total := sum * seconds / 8e9 * p.PerGB
	if p.PerMbps > 0 {
		part := float64(len(slots)) * seconds / month
		total += part * p.PerMbps * max(p.Commit, p.billed(slices.Clone(slots))/1e6)
	}
	return total
}

// Month is 30 days, in seconds.
const Month = 30 * 24 * 3600

// marginal is what a bit/s more costs a month when the level is not at its end.
func (p *Price) marginal() float64 { return p.PerMbps/1e6 + p.PerGB*Month/8e9 }
