package assign

import (
	"cmp"
	"math"
	"slices"
)

// Solve returns a good assignment, not always the best one, and the part of it
// that this round may carry out.
func Solve(p *Problem) (Result, error) {
	if err := p.Check(); err != nil {
		return Result{}, err
	}
	w := newWorld(p)
	r := Result{Load: slices.Clone(w.load), Limit: w.limit, Suspect: w.suspect}
	w.place()
	w.relieve()
	w.improve()
	r.Plan, r.Goal = slices.Clone(w.at), slices.Clone(w.load)
	r.Overload, _ = w.score()
	r.stage(p)
	return r, nil
}

// place moves what must leave its target, the largest first: to the cheapest
// target with room, or else to where it overloads least.
func (w *world) place() {
	var list []int
	for i, f := range w.of {
		if f == forced {
			list = append(list, i)
			w.put(i, None)
		}
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(w.p.Items[b].Demand, w.p.Items[a].Demand) })
	for _, i := range list {
		if t := w.cheapest(i); t != None {
			w.put(i, t)
			continue
		}
		w.put(i, w.leastFull(i))
	}
}

// cheapest is the open target with room where an item costs least, None if
// there is none.
func (w *world) cheapest(i int) int {
	best, least := None, math.Inf(1)
	for t := range w.limit {
		if w.at[i] != t && w.open(&w.p.Items[i], t) && w.fits(i, t) {
			if s := w.soft(i, t); s < least {
				best, least = t, s
			}
		}
	}
	return best
}

// leastFull is the open target that an item fills to the least share of its
// limit.
func (w *world) leastFull(i int) int {
	best, least := None, math.Inf(1)
	for t := range w.limit {
		if !w.open(&w.p.Items[i], t) {
			continue
		}
		share := (w.load[t] + w.p.Items[i].Demand) / max(w.limit[t], 1e-300)
		if share < least-1e-12 || best == None {
			best, least = t, share
		}
	}
	return best
}

// relieve moves demand off targets above their limits, the fullest first, as
// long as somebody has room, or can be made to.
func (w *world) relieve() {
	stuck := make([]bool, len(w.load))
	for range 2 * len(w.at) {
		worst, most := None, w.eps
		for t := range w.load {
			if e := w.load[t] - w.most[t]; e > most && !stuck[t] {
				worst, most = t, e
			}
		}
		if worst == None {
			return
		}
		if !w.shed(worst, most) && !w.chain(worst, most) {
			stuck[worst] = true
		}
	}
}

// shed moves the one item off a target that ends its excess for the least, or
// takes the most of it for the least.
func (w *world) shed(t int, excess float64) bool {
	item, to, least := None, None, math.Inf(1)
	for i, at := range w.at {
		d := w.p.Items[i].Demand
		if at != t || w.of[i] == fixed || d <= 0 {
			continue
		}
		q := w.cheapest(i)
		if q == None {
			continue
		}
		price := w.gain(i, q)
		if price > 0 {
			price *= max(1, excess/d)
		}
		if price < least {
			item, to, least = i, q, price
		}
	}
	if item == None {
		return false
	}
	w.put(item, to)
	return true
}

// chainWidth bounds how many items of a full target are tried for a chain.
const chainWidth = 24

// chain makes room at a second target by moving something of it to a third.
func (w *world) chain(t int, excess float64) bool {
	type link struct{ i, q, j, s int }
	var best link
	found, least := false, math.Inf(1)
	for _, i := range w.largest(t) {
		d := w.p.Items[i].Demand
		for q := range w.load {
			if q == t || w.blind[q] || !w.open(&w.p.Items[i], q) {
				continue
			}
			for _, j := range w.largest(q) {
				e := w.p.Items[j].Demand
				if w.load[q]-e+d > w.limit[q]+w.eps {
					continue
				}
				s := w.elsewhere(j, t)
				if s == None {
					continue
				}
				if price := (w.gain(i, q) + w.gain(j, s)) * max(1, excess/d); price < least {
					found, least, best = true, price, link{i, q, j, s}
				}
			}
		}
	}
	if found {
		w.put(best.j, best.s)
		w.put(best.i, best.q)
	}
	return found
}

// elsewhere is cheapest with one target left out.
func (w *world) elsewhere(i, but int) int {
	best, least := None, math.Inf(1)
	for t := range w.limit {
		if t != but && w.at[i] != t && w.open(&w.p.Items[i], t) && w.fits(i, t) {
			if s := w.soft(i, t); s < least {
				best, least = t, s
			}
		}
	}
	return best
}

// largest are the largest items of a target that may move.
func (w *world) largest(t int) []int {
	var list []int
	for i, at := range w.at {
		if at == t && w.of[i] != fixed && w.p.Items[i].Demand > 0 {
			list = append(list, i)
		}
	}
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(w.p.Items[b].Demand, w.p.Items[a].Demand) })
	return list[:min(len(list), chainWidth)]
}

// improve takes single moves, and exchanges in small problems, as long as they
// save something.
func (w *world) improve() {
	for range 8 {
		better := false
		for i := range w.at {
			if w.of[i] == fixed {
				continue
			}
			best, least := None, -1e-9*w.weight[i]
			for t := range w.limit {
				if t == w.at[i] || !w.allowed(i, t) || !w.fits(i, t) {
					continue
				}
				if g := w.gain(i, t); g < least {
					best, least = t, g
				}
			}
			if best != None {
				w.put(i, best)
				better = true
			}
		}
		if len(w.at) <= exchangeLimit && w.exchange() {
			better = true
		}
		if !better && !w.pairs() {
			return
		}
	}
}

// allowed says whether an item may be at a target: it is open, or the item is
// there now and need not leave.
func (w *world) allowed(i, t int) bool {
	it := &w.p.Items[i]
	return w.open(it, t) || it.Now == t && w.of[i] != forced
}

// exchangeLimit is the number of items up to which pairs are tried.
const exchangeLimit = 512

// exchange lets two items change places where that saves something and one of
// them can go first.
func (w *world) exchange() bool {
	better := false
	for i := range w.at {
		for j := i + 1; j < len(w.at); j++ {
			a, b := w.at[i], w.at[j]
			if w.of[i] == fixed || w.of[j] == fixed || a == b || a == None || b == None || w.blind[a] || w.blind[b] ||
				!w.allowed(i, b) || !w.allowed(j, a) {
				continue
			}
			if w.gain(i, b)+w.gain(j, a) >= -1e-9*(w.weight[i]+w.weight[j]) {
				continue
			}
			d, e := w.p.Items[i].Demand, w.p.Items[j].Demand
			first := w.load[b]+d <= w.limit[b]+w.eps || w.load[a]+e <= w.limit[a]+w.eps
			if first && w.load[b]+d-e <= w.limit[b]+w.eps && w.load[a]+e-d <= w.limit[a]+w.eps {
				w.put(i, b)
				w.put(j, a)
				better = true
			}
		}
	}
	return better
}
