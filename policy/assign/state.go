package assign

import "math"

// freedom is what may become of an item.
type freedom uint8

const (
	fixed  freedom = iota // stays
	free                  // may move for load and cost
	forced                // must leave its target
)

// world is a problem being worked on.
type world struct {
	p       *Problem
	suspect bool
	of      []freedom // [item]
	at      []int     // [item]
	load    []float64 // [target]
	limit   []float64 // [target]: nothing comes of our own will above it
	most    []float64 // [target]: above it the target sheds
	blind   []bool    // [target]: carries what is not known, so that it has no room
	weight  []float64 // [item]: demand, and a little where there is none
	none    float64   // cost of a unit that has no target
	total   float64   // all demand
	eps     float64   // of load
}

func newWorld(p *Problem) *world {
	n := len(p.Capacity)
	w := &world{p: p, of: make([]freedom, len(p.Items)), at: make([]int, len(p.Items)), load: make([]float64, n),
		limit: make([]float64, n), most: make([]float64, n), blind: make([]bool, n), weight: make([]float64, len(p.Items))}
	w.suspect = p.suspicious()
	for i := range p.Items {
		it := &p.Items[i]
		w.at[i], w.total = it.Now, w.total+it.Demand
		if it.Now == None {
			continue
		}
		w.load[it.Now] += it.Demand
		w.blind[it.Now] = w.blind[it.Now] || !it.Known
	}
	w.eps = 1e-9 * max(w.total, 1e-300)
	for t, c := range p.Capacity {
		switch {
		case c <= 0:
			w.limit[t], w.most[t], w.blind[t] = math.Inf(1), math.Inf(1), false
		case w.load[t] > p.Shed*c:
			w.limit[t], w.most[t] = p.Fill*c, p.Fill*c
		default:
			w.limit[t], w.most[t] = max(p.Fill*c, w.load[t]), p.Shed*c
		}
	}
	little := 1.0
	if w.total > 0 {
		little = w.total / float64(len(p.Items)) / 1000
	}
	for i := range p.Items {
		w.weight[i] = max(p.Items[i].Demand, little)
		w.of[i] = w.freedom(&p.Items[i])
	}
	for _, row := range p.Cost {
		for _, c := range row {
			if !math.IsInf(c, 0) {
				w.none = max(w.none, 2*c)
			}
		}
	}
	w.none += p.MoveCost + 1
	return w
}

// suspicious says whether too many of the targets that carry something are
// down at once. Those that were left already count no longer, either way.
func (p *Problem) suspicious() bool {
	used := make([]bool, len(p.Down))
	for i := range p.Items {
		if p.Items[i].Now != None {
			used[p.Items[i].Now] = true
		}
	}
	down, all := 0, 0
	for t, d := range p.Down {
		if !d || used[t] {
			all++
		}
		if d && used[t] {
			down++
		}
	}
	return p.Suspect > 0 && float64(down) > p.Suspect*float64(all)
}

// state is what a target does with a slice, our checks included.
func (w *world) state(slice, target int) State {
	if !w.p.Down[target] {
		return w.p.State[slice][target]
	}
	if w.suspect {
		return Unknown
	}
	return Gone
}

// open says whether an item may go to a target.
func (w *world) open(it *Item, t int) bool {
	return w.state(it.Slice, t) == Open && !math.IsInf(w.p.Cost[it.Router][t], 0)
}

func (w *world) anyOpen(it *Item) bool {
	for t := range w.limit {
		if w.open(it, t) {
			return true
		}
	}
	return false
}

func (w *world) freedom(it *Item) freedom {
	switch {
	case it.Held:
		return fixed
	case it.Now != None && w.leaves(it):
		if w.anyOpen(it) {
			return forced
		}
		return fixed
	case it.Now == None && w.unknownFirst(it) != None:
		return fixed
	case !it.Known || it.Now != None && w.state(it.Slice, it.Now) == Unknown:
		return fixed
	}
	return free
}

// unknownFirst is a target of which nothing is known and that costs a router no
// more than any open one, None if there is none: before it is known what has
// no target goes nowhere else.
func (w *world) unknownFirst(it *Item) int {
	first, least, open := None, math.Inf(1), math.Inf(1)
	for t, c := range w.p.Cost[it.Router] {
		switch s := w.state(it.Slice, t); {
		case s == Unknown && c < least:
			first, least = t, c
		case s == Open:
			open = min(open, c)
		}
	}
	if least <= open {
		return first
	}
	return None
}

// leaves says whether an item has to leave its target: it is gone or drained,
// or not to be used by this router any more.
func (w *world) leaves(it *Item) bool {
	s := w.state(it.Slice, it.Now)
	return s == Gone || s == Drained || s == Open && math.IsInf(w.p.Cost[it.Router][it.Now], 0)
}

// lost says whether what is sent to the item's target now is not served.
func (w *world) lost(it *Item) bool { return it.Now != None && w.state(it.Slice, it.Now) == Gone }

// soft is what an item costs at a target.
func (w *world) soft(i, t int) float64 {
	it := &w.p.Items[i]
	if t == None {
		return w.weight[i] * w.none
	}
	c := w.p.Cost[it.Router][t]
	if math.IsInf(c, 0) {
		c = w.none // it is there and may stay
	}
	if t != it.Now && it.Now != None {
		c += w.p.MoveCost
	}
	return w.weight[i] * c
}

// gain is what it costs more at t than where it is.
func (w *world) gain(i, t int) float64 { return w.soft(i, t) - w.soft(i, w.at[i]) }

// fits says whether a target has room for an item that comes of our own will.
func (w *world) fits(i, t int) bool {
	return !w.blind[t] && w.load[t]+w.p.Items[i].Demand <= w.limit[t]+w.eps
}

func (w *world) put(i, t int) {
	if from := w.at[i]; from != None {
		w.load[from] -= w.p.Items[i].Demand
	}
	if w.at[i] = t; t != None {
		w.load[t] += w.p.Items[i].Demand
	}
}

// score is the objective: demand above limits, then soft cost.
func (w *world) score() (over, soft float64) {
	for t := range w.load {
		over += max(0, w.load[t]-w.most[t])
	}
	for i, t := range w.at {
		soft += w.soft(i, t)
	}
	return over, soft
}
