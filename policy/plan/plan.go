// Package plan chooses, for a whole fleet at once, how far each POP steps
// back on each slice so that no POP carries more than its limit.
//
// It is the assignment problem of a load-aware anycast CDN (Alzoubi et al.,
// TWEB 2011) over responses that were measured, not obeyed exactly: what a
// step moves, and where to, is a mean with an upper bound. The objective is
// ordered: first no overload and no receiver above its limit even at the
// upper bound, then distance and money, then bytes moved, with a quadratic
// term that keeps each round close to what is announced now.
//
// Solve is a heuristic for fleets of any size, Exact enumerates small ones and
// is what the tests compare with. Both are pure functions of a Problem: no
// clock, no randomness, the same answer for the same question. The package
// plans; it reserves, stages and announces nothing (policy/shed does).
//
// POPs and slices are numbered here; the caller keeps the names.
package plan

import "fmt"

// Level says how far a POP steps back on a slice. 0 is the normal
// announcement, 1 and up the rungs of the ladder, mildest first; where load
// may withdraw a slice, the level after the last rung is the withdraw.
type Level uint8

// Share is the part of a POP's own demand for a slice that another POP gets.
type Share struct {
	POP int32
	// Mean is the expected part, 0..1, and High its upper bound.
	Mean, High float64
	// Cost is what one unit of load costs more there than at home, in the
	// unit the caller chose for all costs (for example weighted ms).
	Cost float64
}

// Response is what a level of a POP does to a slice: which parts of the POP's
// own demand go where. What is in no share stays.
type Response struct {
	To []Share
}

// Play is a measured combination of levels of several POPs on one slice.
type Play struct {
	Level []Level // [pop]
	// Leave is the part of each POP's own demand that goes away, and Gain and
	// High the expected part and upper bound of all that goes away that each
	// POP gets, [pop]. The gains add up to 1.
	Leave, Gain, High []float64
}

// Weights are the prices of the soft part of the objective, each for one unit
// of load. The zero value is replaced by DefaultWeights.
type Weights struct {
	Cost float64 // of Share.Cost
	Move float64 // of load whose POP changes against now
	Jump float64 // of (change of a POP's load)² / limit: against jumping (Symphony, arXiv 2510.11937)
	Hops float64 // of load sent to a POP that steps back on the slice itself: not measured, composed
	Step float64 // of each level below normal, in units of a thousandth of the mean limit: prefers the mildest
}

// DefaultWeights let distance and bytes moved weigh alike where costs are
// about 1, and the quadratic term decide between otherwise equal plans.
func DefaultWeights() Weights { return Weights{Cost: 1, Move: 1, Jump: 0.25, Hops: 4, Step: 0.1} }

// Problem is one question to the solver. All loads have one unit (bit/s or
// requests/s, as the fleet measures it). Slices indexed [slice][pop].
type Problem struct {
	Limit []float64 // [pop] most load that the POP may carry
	Load  []float64 // [pop] carried now, over all slices
	// High is an upper bound of Load for its age and noise, [pop]. A POP of
	// which nothing is known has High = max(Load, Limit): it gets nothing.
	High []float64

	// Ceiling is what a POP that is above its limit must not pass by what
	// others send it at most, [pop]: its capacity, or a little above its load.
	// Without (nil) it has overload to be weighed and no risk.
	Ceiling []float64

	// Demand is what the POP would carry of the slice with every POP at
	// level 0, [slice][pop].
	Demand [][]float64
	Now    [][]Level // announced now, [slice][pop]
	// Least and Most bound the levels that may be chosen, [slice][pop]. Equal
	// to Now means: not to be touched. Now may lie outside: then it stays, or
	// moves into the bounds.
	Least, Most [][]Level

	// Response is what each level does, [pop][level]; level 0 is empty.
	Response [][]Response

	// Plays are combinations of levels whose joint effect was measured: where
	// a slice's levels are those of a play, its effect counts, not the
	// composition of single responses. Knobs does not bind plays.
	Plays []Play

	// Keep is the POP's floor: slices that must stay at level 0, [pop].
	Keep []int
	// Normal is how many POPs must stay at level 0 on every slice; at least 1.
	Normal int
	// Knobs is how many POPs may be below normal on one slice at the same
	// time; 0 means any number. Responses are measured one at a time, so a
	// plan with one knob a slice was seen as it is; others are composed.
	Knobs int
	// Tolerance is the part of its limit by which a receiver without room may
	// grow: every change sends crumbs everywhere. 0..1.
	Tolerance float64
	// Effort bounds how many plans Solve tries while an overload is left; 0
	// means a million, about a second.
	Effort int

	Weights Weights
}

// Score orders plans: Over first, then Soft.
type Score struct {
	// Over is the load above limits, plus RiskPrice for each unit that the
	// upper bound of a receiver exceeds its limit.
	Over float64
	// Risk is the second half of Over, without its price.
	Risk float64
	Soft float64
}

// RiskPrice is how many units of overload at home may stay rather than one
// that might be caused elsewhere: in practice none is ever caused knowingly.
const RiskPrice = 1000

// Less reports whether s is better by more than eps (load units) in Over, or
// equal in it and better in Soft.
func (s Score) Less(o Score, eps float64) bool {
	if d := s.Over - o.Over; d < -eps || d > eps {
		return d < 0
	}
	return s.Soft < o.Soft-eps*1e-3
}

// Result is a plan.
type Result struct {
	Level [][]Level // chosen, [slice][pop]
	Load  []float64 // expected afterwards, [pop]
	High  []float64 // upper bound of it, [pop]
	// Moved is the load whose POP changes against now, and Overload what
	// remains above limits, both in load units.
	Moved, Overload float64
	Score           Score
	// Tried counts the plans looked at.
	Tried int
}

// Size returns the number of POPs and slices.
func (p *Problem) Size() (pops, slices int) { return len(p.Limit), len(p.Demand) }

// Check says what is wrong with the shape of a problem, nil if nothing.
func (p *Problem) Check() error {
	n, k := p.Size()
	if n == 0 || k == 0 {
		return fmt.Errorf("plan: %d POPs and %d slices: nothing to plan", n, k)
	}
	for name, l := range map[string]int{"Load": len(p.Load), "High": len(p.High), "Response": len(p.Response)} {
		if l != n {
			return fmt.Errorf("plan: %s of %d POPs, Limit of %d", name, l, n)
		}
	}
	if p.Ceiling != nil && len(p.Ceiling) != n {
		return fmt.Errorf("plan: Ceiling of %d POPs, Limit of %d", len(p.Ceiling), n)
	}
	if p.Keep != nil && len(p.Keep) != n {
		return fmt.Errorf("plan: Keep of %d POPs, Limit of %d", len(p.Keep), n)
	}
	for name, m := range map[string][][]Level{"Now": p.Now, "Least": p.Least, "Most": p.Most} {
		if len(m) != k {
			return fmt.Errorf("plan: %s of %d slices, Demand of %d", name, len(m), k)
		}
		for s := range m {
			if len(m[s]) != n {
				return fmt.Errorf("plan: %s[%d] of %d POPs, Limit of %d", name, s, len(m[s]), n)
			}
		}
	}
	for i, y := range p.Plays {
		if len(y.Level) != n || len(y.Leave) != n || len(y.Gain) != n || len(y.High) != n {
			return fmt.Errorf("plan: play %d is not of %d POPs", i, n)
		}
	}
	return p.checkLevels()
}

// checkLevels looks at what Check has measured already.
func (p *Problem) checkLevels() error {
	for s := range p.Now {
		for i := range p.Limit {
			if top := max(p.Now[s][i], p.Most[s][i]); int(top) >= max(1, len(p.Response[i])) {
				return fmt.Errorf("plan: level %d of POP %d on slice %d has no response", top, i, s)
			}
		}
	}
	for i, levels := range p.Response {
		for l, r := range levels {
			sum := 0.0
			for _, t := range r.To {
				if int(t.POP) >= len(p.Limit) || t.POP < 0 || int(t.POP) == i || t.Mean < 0 || t.High < t.Mean {
					return fmt.Errorf("plan: response of POP %d at level %d: share %+v", i, l, t)
				}
				sum += t.Mean
			}
			if sum > 1+1e-9 {
				return fmt.Errorf("plan: response of POP %d at level %d moves %.3f of its demand", i, l, sum)
			}
		}
	}
	return nil
}
