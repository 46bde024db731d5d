package plan

import "slices"

// search is a state and the neighbourhoods that are searched from it.
type search struct {
	*state
	eps    float64
	want   []Level // scratch: the levels of one slice
	best   move
	joined []int  // scratch: POPs that a play changes
	bar    *Score // what a move must beat; nil: the plan as it is
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

// valid says whether the plan may have these levels on a slice: with plays, a
// slice leaves a play only as a whole.
func (p *Problem) valid(level []Level) bool {
	if len(p.Plays) == 0 || p.Knobs == 0 {
		return true
	}
	off := 0
	for _, l := range level {
		off += min(1, int(l))
	}
	return off <= p.Knobs || p.play(level) != nil
}

// visit is given levels that a slice may have, and the POPs whose level
// differs from now; a negative one counts for none. It must not keep want.
type visit func(want []Level, changed ...int)

// judge returns a visit that tries levels on a slice and remembers the best.
func (h *search) judge(s int) visit {
	return func(want []Level, changed ...int) {
		sc := h.try(s, want, changed...)
		bar := h.score
		if h.bar != nil {
			bar = *h.bar
		}
		if sc.Less(bar, h.eps) && (!h.best.found || sc.Less(h.best.score, h.eps)) {
			h.best.slice, h.best.score, h.best.found = s, sc, true
			h.best.level = append(h.best.level[:0], want...)
		}
	}
}

// steps visits every level of one POP on one slice. Where as many POPs as may
// are below normal already, it takes the place of each of them in turn, and
// of all of them.
func (h *search) steps(s, i int, do visit) {
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
			if h.p.valid(h.want) {
				do(h.want, i, o)
			}
		}
		if h.p.Knobs > 0 && l > 0 && h.off[s] > 1 {
			copy(h.want, h.p.Now[s])
			h.want[i] = l
			if h.playable(s, h.want) && h.p.valid(h.want) {
				do(h.want, h.joined...)
			}
		}
	}
}

// plays visits every play on a slice, and what leads out of one.
func (h *search) plays(s int, do visit) {
	for y := range h.p.Plays {
		if level := h.p.Plays[y].Level; h.playable(s, level) {
			do(level, h.joined...)
		}
	}
	if h.p.play(h.level[s]) != nil && h.playable(s, h.p.Now[s]) {
		do(h.p.Now[s], h.joined...)
	}
}

// playable says whether all POPs whose level on a slice differs may change it,
// and leaves them in joined.
func (h *search) playable(s int, level []Level) bool {
	off := 0
	h.joined = h.joined[:0]
	for i, l := range level {
		off += min(1, int(l))
		if l != h.level[s][i] {
			h.joined = append(h.joined, i)
			if !h.allowed(s, i, l) {
				return false
			}
		}
	}
	return len(h.joined) > 0 && len(level)-off >= max(1, h.p.Normal)
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

// pairLimit bounds the fleets in which pairs of changes are tried: changes of
// one slice times slices.
const pairLimit = 400

// pairs tries two changes at once and takes the first pair that helps. Only
// for small fleets: it costs the square of the changes.
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
		var wants [][]Level
		note := func(want []Level, _ ...int) { wants = append(wants, slices.Clone(want)) }
		for i := range n {
			h.steps(s, i, note)
		}
		h.plays(s, note)
		was := slices.Clone(h.level[s])
		for _, want := range wants {
			if h.spent() {
				return false
			}
			h.put(s, want)
			if h.second(before) {
				return true
			}
			h.put(s, was)
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
			h.steps(o, i, h.judge(o))
		}
		h.plays(o, h.judge(o))
	}
	h.bar = nil
	return h.take()
}

// every lists the numbers of n POPs.
func every(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
