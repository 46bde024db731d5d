package cost

import (
	"cmp"
	"math"
	"slices"
)

// POP is a place that traffic can be sent from.
type POP struct {
	Price    Price
	Capacity float64 // bit/s
}

// World is what does not change in a month.
type World struct {
	POPs []POP
	// Distance is how much later clients of a POP get an answer from another one,
	// in milliseconds; +Inf: never sent there. [from][to]
	Distance [][]float64
	// Budget is the mean of that over all traffic that is never exceeded, in ms.
	Budget float64
	// Slots a month has.
	Slots int
}

// Move is traffic of one POP's clients that another one sends.
type Move struct {
	From, To int
	Rate     float64 // bit/s
}

// Plan keeps the bill of a month low, slot by slot. New ones begin with
// targets of Choose.
type Plan struct {
	w                *World
	level            []float64 // bit/s that a POP should stay under, outside of its free slots
	free             []int     // free slots left
	burst            []float64 // demand from which one is used
	reached          []float64 // that the month is billed in any case
	mean, sum, grown []float64 // demand of the month before, of this one so far, and their ratio
	slot             int
	order            [][]int // of targets, for each POP
	dear             []int   // POPs by what a bit more costs there, the dearest first
	sent             float64 // bit/s x slots so far
	excess           float64 // of it, times how many ms later
}

// Targets are what a plan goes by.
type Targets struct {
	Level []float64 // of each POP: bit/s that it should stay under
	// Burst is the demand at each POP above which a slot is let be one of the free
	// ones. The plan corrects it when these are used up too fast.
	Burst []float64
	// Mean demand of each POP in the month that these were chosen by; empty:
	// levels do not follow the traffic.
	Mean []float64
	// Worth is what a bit/s must save a month for each ms by which it is sent
	// later: what is not worth its delay leaves the budget to what is.
	Worth float64
}

// NewPlan makes a plan.
func NewPlan(w *World, t Targets) *Plan {
	p := &Plan{w: w, level: slices.Clone(t.Level), burst: slices.Clone(t.Burst), reached: make([]float64, len(w.POPs)), mean: t.Mean, sum: make([]float64, len(w.POPs)), grown: slices.Repeat([]float64{1}, len(w.POPs)), dear: w.dearest()}
	for i := range w.POPs {
		p.free = append(p.free, w.POPs[i].Price.free(w.Slots))
		var to []int
		for j := range w.POPs {
			if i != j && !math.IsInf(w.Distance[i][j], 1) && w.worth(i, j) > t.Worth {
				to = append(to, j)
			}
		}
		// The least harm first: what is saved in a slot hardly depends on the target.
		slices.SortFunc(to, func(a, b int) int {
			return cmp.Or(cmp.Compare(w.Distance[i][a], w.Distance[i][b]), cmp.Compare(w.POPs[a].Price.marginal(), w.POPs[b].Price.marginal()))
		})
		p.order = append(p.order, to)
	}
	return p
}

// worth is what moving a bit/s all month saves for each ms of delay; 0 or less:
// nothing. A slot of a link billed by percentile counts where it is among those
// near the level, about a quarter of all.
func (w *World) worth(from, to int) float64 {
	value := func(i int) float64 {
		p := &w.POPs[i].Price
		return p.PerMbps/1e6/0.25 + p.PerGB*Month/8e9
	}
	return (value(from) - value(to)) / max(0.1, w.Distance[from][to])
}

// Slot says what to move in a slot with this demand at each POP, of which at
// most movable can be. What stays above a level takes a free slot, and without
// one left raises the level: the month is billed so much in any case.
func (p *Plan) Slot(demand, movable []float64) []Move {
	load := slices.Clone(demand)
	for _, d := range demand {
		p.sent += d
	}
	var moves []Move
	for _, i := range p.dear {
		over, may := load[i]-p.level[i], movable[i]
		if p.bursts(i, demand[i]) {
			continue
		}
		if p.w.POPs[i].Price.PerMbps == 0 {
			over = may // each byte costs: all that may go is too much
		}
		for _, j := range p.order[i] {
			x := min(over, may, p.room(j, load[j]), p.allowed(p.w.Distance[i][j]))
			if x <= 0 {
				continue
			}
			load[i], load[j] = load[i]-x, load[j]+x
			over, may = over-x, may-x
			p.excess += x * p.w.Distance[i][j]
			moves = append(moves, Move{i, j, x})
		}
	}
	for i := range load {
		p.settle(i, load[i])
	}
	p.grow(demand)
	return moves
}

// dearest orders POPs by what a bit more costs there.
func (w *World) dearest() []int {
	l := make([]int, len(w.POPs))
	for i := range l {
		l[i] = i
	}
	slices.SortStableFunc(l, func(a, b int) int {
		return cmp.Compare(w.POPs[b].Price.marginal(), w.POPs[a].Price.marginal())
	})
	return l
}

// bursts reports whether a POP uses a free slot rather than move: when its
// demand is so high that few slots of the month have more, and moving would take
// the most.
func (p *Plan) bursts(i int, demand float64) bool {
	return p.free[i] > 0 && demand > p.burst[i]
}

// grow makes levels follow the traffic of the whole days of this month: the last
// month is only where to begin.
func (p *Plan) grow(demand []float64) {
	day := max(1, p.w.Slots/30)
	for i, d := range demand {
		p.sum[i] += d
	}
	if p.slot++; p.slot%day != 0 {
		return
	}
	for i, mean := range p.mean {
		if mean <= 0 {
			continue
		}
		now := p.sum[i] / float64(p.slot) / mean
		p.burst[i] *= now / p.grown[i]
		p.level[i] = max(p.level[i]*now/p.grown[i], p.reached[i])
		p.grown[i] = max(now, 1e-6)
	}
}

// room is how much more a POP takes in this slot without paying more for the month.
func (p *Plan) room(j int, load float64) float64 {
	pop := &p.w.POPs[j]
	limit := pop.Capacity
	if pop.Price.PerMbps > 0 {
		limit = min(limit, max(p.level[j], pop.Price.Commit*1e6))
	}
	return limit - load
}

// allowed is how much may be sent so much later without the mean of the month
// so far going over the budget.
func (p *Plan) allowed(later float64) float64 {
	if later <= 0 {
		return math.Inf(1)
	}
	return max(0, p.w.Budget*p.sent-p.excess) / later
}

func (p *Plan) settle(i int, load float64) {
	switch {
	case load <= p.level[i]*(1+1e-9):
	case p.free[i] > 0:
		p.free[i]--
	default:
		p.level[i], p.reached[i] = load, load
	}
}

// Level is what a POP should stay under now: above it there is pressure to pace
// and to redirect (policy/redirect).
func (p *Plan) Level(i int) float64 { return p.level[i] }

// Later is the mean of how much later traffic was answered, in ms.
func (p *Plan) Later() float64 {
	if p.sent == 0 {
		return 0
	}
	return p.excess / p.sent
}

// Demand is what clients want of their nearest POPs, one slot after another, and
// how much of it could be moved, [slot][POP].
type Demand struct{ All, Movable [][]float64 }

// Choose finds targets by playing a month like the last one: from the bill of
// the nearest POPs on, a level is lowered or raised, and what is worth its delay
// made more or less, while the month gets cheaper by it.
func Choose(w *World, past Demand, seconds float64) Targets {
	t := Targets{Level: make([]float64, len(w.POPs))}
	for i := range w.POPs {
		t.Level[i] = w.POPs[i].Price.billed(column(past.All, i))
	}
	t.Burst, t.Mean = slices.Clone(t.Level), make([]float64, len(w.POPs))
	for i := range t.Mean {
		for _, d := range past.All {
			t.Mean[i] += d[i] / float64(len(past.All))
		}
	}
	best, _ := Play(w, t, past, seconds)
	for step := 0.4; step > 0.04; step /= 2 {
		for range 4 {
			better := false
			for _, change := range w.changes(step) {
				try := t
				try.Level = slices.Clone(t.Level)
				change(&try)
				if total, _ := Play(w, try, past, seconds); total < best*(1-1e-4) {
					best, t, better = total, try, true
				}
			}
			if !better {
				break
			}
		}
	}
	return t
}

// changes are what is tried, a step at a time.
func (w *World) changes(step float64) (out []func(*Targets)) {
	worths := []float64{0}
	for _, i := range w.dearest() {
		for _, f := range []float64{1 - step, 1 + step} {
			out = append(out, func(t *Targets) { t.Level[i] *= f })
		}
		// Less here is of use only with more room there.
		for j := range w.POPs {
			if x := w.worth(i, j); i != j && x > 0 {
				worths = append(worths, x)
				out = append(out, func(t *Targets) {
					t.Level[j] += step * t.Level[i]
					t.Level[i] -= step * t.Level[i]
				})
			}
		}
	}
	slices.Sort(worths)
	for k := range 9 {
		out = append(out, func(t *Targets) { t.Worth = worths[k*(len(worths)-1)/9] })
	}
	return out
}

// Play plays slots under a plan, and gives what they cost and how much later
// traffic was answered in the mean, in ms.
func Play(w *World, t Targets, d Demand, seconds float64) (total, later float64) {
	p := NewPlan(w, t)
	loads := make([][]float64, len(w.POPs))
	for s, demand := range d.All {
		load := slices.Clone(demand)
		for _, m := range p.Slot(demand, d.Movable[s]) {
			load[m.From] -= m.Rate
			load[m.To] += m.Rate
		}
		for i, x := range load {
			loads[i] = append(loads[i], x)
		}
	}
	for i := range loads {
		total += w.POPs[i].Price.Bill(loads[i], seconds)
	}
	return total, p.Later()
}

func column(slots [][]float64, i int) []float64 {
	out := make([]float64, len(slots))
	for s := range slots {
		out[s] = slots[s][i]
	}
	return out
}
