package plan

import "slices"

// Choice is in which order a client network would reach POPs: the first
// serves it now, the next ones would if those before stepped back. Known from
// measurements of catchments, of paths, or from distance.
type Choice struct {
	N    int // how many are known
	POP  [4]int32
	Cost [4]float32 // of a unit of load at that POP, in the unit of Share.Cost
}

// Fold is the demand of many client networks, added up by POP.
type Fold struct {
	Demand []float64 // by the POP that serves the network now
	next   []map[int32]*part
}

type part struct{ load, cost float64 }

// NewFold adds up networks: weight is a network's demand, and choice its POPs.
// Networks of which no POP is known are left out.
func NewFold(pops int, weight []float64, choice []Choice) *Fold {
	f := &Fold{Demand: make([]float64, pops), next: make([]map[int32]*part, pops)}
	for i := range choice {
		c := &choice[i]
		if c.N == 0 || int(c.POP[0]) >= pops {
			continue
		}
		home := c.POP[0]
		f.Demand[home] += weight[i]
		if c.N < 2 {
			continue
		}
		m := f.next[home]
		if m == nil {
			m = map[int32]*part{}
			f.next[home] = m
		}
		p := m[c.POP[1]]
		if p == nil {
			p = &part{}
			m[c.POP[1]] = p
		}
		p.load += weight[i]
		p.cost += weight[i] * float64(c.Cost[1]-c.Cost[0])
	}
	return f
}

// Next returns to which POPs a POP's networks would go if it stepped back, as
// parts of those of which the next POP is known: what responses are seeded
// with where none was observed.
func (f *Fold) Next(pop int) map[int]float64 {
	var loads []float64
	for _, p := range f.next[pop] {
		loads = append(loads, p.load)
	}
	slices.Sort(loads) // the same order of addition each time
	sum := 0.0
	for _, l := range loads {
		sum += l
	}
	out := make(map[int]float64, len(f.next[pop]))
	for q, p := range f.next[pop] {
		out[int(q)] = p.load / sum
	}
	return out
}

// Cost is what a unit of a POP's load costs more at another POP, as the mean
// over the networks that would go there; false where none would.
func (f *Fold) Cost(from, to int) (float64, bool) {
	p := f.next[from][int32(to)]
	if p == nil || p.load == 0 {
		return 0, false
	}
	return p.cost / p.load, true
}
