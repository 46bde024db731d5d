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
		if score.Over <= h.eps || h.spent() {
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

// spent says whether the search has tried as much as it may.
func (h *search) spent() bool {
	effort := h.p.Effort
	if effort == 0 {
		effort = 1_000_000
	}
	return h.tried > effort
}

// improve polishes until nothing helps.
func (h *search) improve() {
	for range 16 {
		better := h.polish()
		if !better && h.score.Over > h.eps && !h.spent() && h.pairs() {
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
	for s := 0; s < k && score.Over > h.eps && !h.spent(); s++ {
		if h.first(s) {
			h.put(s, h.p.Now[s])
			keep()
		}
		for i := 0; i < n && h.first(s); i++ {
			for l := range Level(len(h.p.Response[i])) {
				if h.allowed(s, i, l) && h.level[s][i] == 0 && h.off[s] < h.p.room() && score.Over > h.eps && !h.spent() {
					copy(h.want, h.level[s])
					h.want[i] = l
					if h.p.valid(h.want) {
						h.put(s, h.want)
						keep()
					}
				}
			}
		}
	}
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
				h.steps(s, worst, h.judge(s))
				h.plays(s, h.judge(s))
			}
		}
		if !h.take() {
			stuck[worst] = true
		}
	}
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
				h.steps(s, i, h.judge(s))
			}
		}
		// Each take is better than the one before, but for rounding, which must
		// not make it endless.
		for n := 0; n < 8*k && h.take(); n++ {
			any = true
			for s := range k {
				h.steps(s, i, h.judge(s))
			}
		}
		any = h.exchange(i) || any
	}
	for s := range k {
		if h.first(s) {
			h.plays(s, h.judge(s))
			any = h.take() || any
		}
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
		if !h.p.valid(back) {
			continue
		}
		h.put(s, back)
		h.bar = &before // of both changes
		for o := range k {
			if o != s {
				h.steps(o, i, h.judge(o))
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

// spare undoes every step that is not needed: back towards the level of now
// where that does not cost overload.
func (h *search) spare() {
	n, k := h.p.Size()
	for s := range k {
		for i := range n {
			if h.level[s][i] != h.p.Now[s][i] {
				h.steps(s, i, h.judge(s))
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
					if !h.p.valid(h.want) {
						copy(h.want, h.p.Now[s])
					}
					sc := h.try(s, h.want, every(n)...)
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
