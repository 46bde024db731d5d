package plan

import "slices"

// Solve returns a plan that is good and not always the best: POPs above their
// limits step back one change at a time, worst first; receivers that this
// fills step back themselves; then single changes, exchanges and, while an
// overload is left, pairs of changes are tried until none helps.
func Solve(p *Problem) (Result, error) {
	if err := p.Check(); err != nil {
		return Result{}, err
	}
	st := newState(p)
	h := &search{state: st, eps: 1e-9 * max(st.unit, 1e-300), want: make([]Level, len(p.Limit))}
	best, score := h.start(RiskPrice)
	for _, price := range []float64{4, 1, 0.25} {
		if score.Over <= h.eps {
			break
		}
		if level, sc := h.start(price); sc.Less(score, h.eps) {
			best, score = level, sc
		}
	}
	h.putAll(best)
	h.again()
	h.safe()
	h.spare()
	return st.result(), nil
}

// start searches from what is announced now. A price of risk below RiskPrice
// goes through plans that would overload a receiver, which may then step back
// itself; the search ends at the full price.
func (h *search) start(price float64) ([][]Level, Score) {
	h.putAll(h.p.Now)
	h.setPrice(price)
	h.relieve()
	if price != RiskPrice {
		h.improve()
		h.setPrice(RiskPrice)
		h.relieve()
	}
	h.improve()
	return clone(h.level), h.score
}

func (h *search) setPrice(price float64) {
	h.price = price
	h.score = h.rate()
}

func (h *search) putAll(level [][]Level) {
	for s := range level {
		h.put(s, level[s])
	}
}

// improve polishes until nothing helps.
func (h *search) improve() {
	for range 16 {
		better := h.polish()
		if !better && h.score.Over > h.eps && h.pairs() {
			h.relieve()
			better = true
		}
		if !better {
			return
		}
	}
}

// again leaves local optima in which one early step blocks all later ones:
// it puts one slice after the other back to what is announced now, or forces
// one step, and plans the rest anew. What is better stays. Small fleets only.
func (h *search) again() {
	n, k := h.p.Size()
	if h.score.Over <= h.eps || n*k*len(h.p.Response[0]) > pairLimit {
		return
	}
	best, score := clone(h.level), h.score
	keep := func() {
		h.relieve()
		h.improve()
		if h.score.Less(score, h.eps) {
			best, score = clone(h.level), h.score
		}
		h.putAll(best)
	}
	for s := 0; s < k && score.Over > h.eps; s++ {
		if h.first(s) {
			h.put(s, h.p.Now[s])
			keep()
		}
		for i := 0; i < n && h.first(s); i++ {
			for l := range Level(len(h.p.Response[i])) {
				if h.allowed(s, i, l) && h.level[s][i] == 0 && h.off[s] < h.p.room() && score.Over > h.eps {
					copy(h.want, h.level[s])
					h.want[i] = l
					h.put(s, h.want)
					keep()
				}
			}
		}
	}
}

// search is a state and the neighbourhoods that are searched from it.
type search struct {
	*state
	eps  float64
	want []Level // scratch: the levels of one slice
	best move
	bar  *Score // what a move must beat; nil: the plan as it is
}

// move sets one slice's levels.
type move struct {
	slice int
	level []Level
	score Score
	found bool
}

// allowed says whether a POP may go to a level on a slice, given what it does
// on the others.
func (st *state) allowed(s, i int, l Level) bool {
	p, old := st.p, st.level[s][i]
	if l == old || l < p.Least[s][i] || l > p.Most[s][i] {
		return false
	}
	if old > 0 || l == 0 {
		return true
	}
	return p.Keep == nil || st.kept[i]-1 >= p.Keep[i]
}

// consider tries the levels in want on a slice, where the named POPs differ
// from now, and remembers the best.
func (h *search) consider(s, i, o int) {
	sc := h.try(s, h.want, i, o)
	bar := h.score
	if h.bar != nil {
		bar = *h.bar
	}
	if sc.Less(bar, h.eps) && (!h.best.found || sc.Less(h.best.score, h.eps)) {
		h.best.slice, h.best.score, h.best.found = s, sc, true
		h.best.level = append(h.best.level[:0], h.want...)
	}
}

// steps considers every level of one POP on one slice. Where as many POPs as
// may are below normal already, it takes the place of each of them in turn.
func (h *search) steps(s, i int) {
	for l := range Level(len(h.p.Response[i])) {
		if !h.allowed(s, i, l) {
			continue
		}
		for _, o := range h.places(s, i, l) {
			copy(h.want, h.level[s])
			if o >= 0 {
				h.want[o] = 0
			}
			h.want[i] = l
			h.consider(s, i, o)
		}
	}
}

// places lists which other POP must return to normal on a slice so that POP i
// may go to level l: -1 where none must.
func (h *search) places(s, i int, l Level) []int {
	if l == 0 || h.level[s][i] > 0 || h.off[s] < h.p.room() {
		return nobody[:]
	}
	var out []int
	for o, lo := range h.level[s] {
		if lo > 0 && h.allowed(s, o, 0) {
			out = append(out, o)
		}
	}
	return out
}

var nobody = [1]int{-1}

// room is how many POPs may be below normal on one slice.
func (p *Problem) room() int {
	most := len(p.Limit) - max(1, p.Normal)
	if p.Knobs > 0 {
		most = min(most, p.Knobs)
	}
	return most
}

// take applies the best move found since the last take, if any.
func (h *search) take() bool {
	ok := h.best.found
	if ok {
		h.put(h.best.slice, h.best.level)
	}
	h.best.found = false
	return ok
}

// relieve lets the POP with the largest overload or risk step back, until
// none that is above its limit can improve the plan.
func (h *search) relieve() {
	n, k := h.p.Size()
	stuck := make([]bool, n)
	for range 4 * n * k {
		worst, most := -1, h.eps
		for i := range n {
			if e := h.excess(i); e > most && !stuck[i] {
				worst, most = i, e
			}
		}
		if worst < 0 {
			return
		}
		for s := range k {
			if h.first(s) {
				h.steps(s, worst)
			}
		}
		if !h.take() {
			stuck[worst] = true
		}
	}
}

// excess is the load of a POP above its limit, or what of its upper bound is.
func (st *state) excess(i int) float64 {
	return max(st.load[i]-st.p.Limit[i], st.p.risk(i, st.load[i]-st.p.Load[i]+st.extra[i]))
}

// first says whether no slice before s looks exactly like it: of slices that
// are alike only the first needs to be tried.
func (st *state) first(s int) bool {
	for o := range s {
		if st.alike(o, s) && slices.Equal(st.level[o], st.level[s]) {
			return false
		}
	}
	return true
}

func (st *state) alike(a, b int) bool {
	p := st.p
	return slices.Equal(p.Demand[a], p.Demand[b]) && slices.Equal(p.Now[a], p.Now[b]) &&
		slices.Equal(p.Least[a], p.Least[b]) && slices.Equal(p.Most[a], p.Most[b])
}

// hot lists the POPs worth changing: above limits, below normal, or all of a
// small fleet.
func (h *search) hot() []int {
	n, k := h.p.Size()
	var out []int
	for i := range n {
		if n <= 16 || h.excess(i) > h.eps || h.kept[i] < k {
			out = append(out, i)
		}
	}
	return out
}

// polish takes single changes and exchanges between two slices of a POP while
// they help. It reports whether any did.
func (h *search) polish() bool {
	_, k := h.p.Size()
	any := false
	for _, i := range h.hot() {
		for s := range k {
			if h.first(s) {
				h.steps(s, i)
			}
		}
		for h.take() {
			any = true
			for s := range k {
				h.steps(s, i)
			}
		}
		any = h.exchange(i) || any
	}
	return any
}

// exchange lets a POP return on one slice and step back on another instead.
func (h *search) exchange(i int) bool {
	_, k := h.p.Size()
	any := false
	for s := range k {
		old := h.level[s][i]
		if old == 0 || !h.allowed(s, i, 0) {
			continue
		}
		before, was := h.score, slices.Clone(h.level[s])
		back := slices.Clone(was)
		back[i] = 0
		h.put(s, back)
		h.bar = &before // of both changes
		for o := range k {
			if o != s {
				h.steps(o, i)
			}
		}
		h.bar = nil
		if !h.take() {
			h.put(s, was)
		} else {
			any = true
		}
	}
	return any
}

// pairLimit bounds the fleets in which pairs of changes are tried: changes of
// one slice times slices.
const pairLimit = 400

// pairs tries two changes at once, on different slices, and takes the first
// pair that helps. Only for small fleets: it costs the square of the changes.
func (h *search) pairs() bool {
	n, k := h.p.Size()
	if n*k*len(h.p.Response[0]) > pairLimit {
		return false
	}
	before := h.score
	for s := range k {
		if !h.first(s) {
			continue
		}
		was := slices.Clone(h.level[s])
		for i := range n {
			for l := range Level(len(h.p.Response[i])) {
				if !h.allowed(s, i, l) {
					continue
				}
				for _, o := range h.places(s, i, l) {
					want := slices.Clone(was)
					if o >= 0 {
						want[o] = 0
					}
					want[i] = l
					h.put(s, want)
					if h.second(before) {
						return true
					}
					h.put(s, was)
				}
			}
		}
	}
	return false
}

// second looks for a change, after a first one, that makes the plan better
// than before both, and takes it.
func (h *search) second(before Score) bool {
	n, k := h.p.Size()
	h.bar = &before
	for o := range k {
		if !h.first(o) {
			continue
		}
		for i := range n {
			h.steps(o, i)
		}
	}
	h.bar = nil
	return h.take()
}

// spare undoes every step that is not needed: back towards the level of now
// where that does not cost overload.
func (h *search) spare() {
	n, k := h.p.Size()
	for s := range k {
		for i := range n {
			if h.level[s][i] != h.p.Now[s][i] {
				h.steps(s, i)
				h.take()
			}
		}
	}
}

// safe takes changes back until no receiver may go above its limit. With none
// left there is no risk, so it ends.
func (h *search) safe() {
	n, k := h.p.Size()
	for h.score.Risk > h.eps {
		var best move
		for s := range k {
			for i := range n {
				if now := h.p.Now[s][i]; h.level[s][i] != now {
					copy(h.want, h.level[s])
					h.want[i] = now
					sc := h.try(s, h.want, i)
					if !best.found || sc.Risk < best.score.Risk-h.eps || sc.Risk < best.score.Risk+h.eps && sc.Less(best.score, h.eps) {
						best = move{slice: s, level: slices.Clone(h.want), score: sc, found: true}
					}
				}
			}
		}
		if !best.found {
			return
		}
		h.put(best.slice, best.level)
	}
}
