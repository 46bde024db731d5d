package assign

import (
	"fmt"
	"slices"
)

// Exact returns the best assignment by looking at all of them; its Next is not
// staged. It refuses problems with more than limit assignments (0: a million).
func Exact(p *Problem, limit int) (Result, error) {
	if err := p.Check(); err != nil {
		return Result{}, err
	}
	if limit <= 0 {
		limit = 1_000_000
	}
	w := newWorld(p)
	e := &enumeration{world: w, options: make([][]int, len(p.Items))}
	total := 1.0
	for i := range p.Items {
		e.options[i] = w.options(i)
		total *= float64(len(e.options[i]))
	}
	if total > float64(limit) {
		return Result{}, fmt.Errorf("assign: %.0f assignments, more than %d", total, limit)
	}
	r := Result{Load: slices.Clone(w.load), Limit: w.limit, Suspect: w.suspect}
	e.walk(0)
	if e.best == nil {
		return Result{}, fmt.Errorf("assign: no assignment is valid")
	}
	for i, t := range e.best {
		w.put(i, t)
	}
	r.Plan, r.Goal, r.Overload = e.best, w.load, e.over
	r.Next, r.After = r.Plan, r.Goal
	return r, nil
}

// enumeration walks all assignments.
type enumeration struct {
	*world
	options    [][]int
	best       []int
	over, cost float64
}

// options are the targets that an item may be at in the end.
func (w *world) options(i int) []int {
	it := &w.p.Items[i]
	var out []int
	if w.of[i] != forced {
		out = append(out, it.Now)
	}
	if w.of[i] == fixed {
		return out
	}
	for t := range w.limit {
		if t != it.Now && w.open(it, t) {
			out = append(out, t)
		}
	}
	return out
}

func (e *enumeration) walk(i int) {
	if i == len(e.options) {
		over, cost := e.score()
		better := e.best == nil || over < e.over-e.eps || over < e.over+e.eps && cost < e.cost
		if better && e.valid() {
			e.best, e.over, e.cost = slices.Clone(e.at), over, cost
		}
		return
	}
	for _, t := range e.options[i] {
		e.put(i, t)
		e.walk(i + 1)
	}
}

// valid says whether nobody went of our own will to where there is no room.
func (w *world) valid() bool {
	for i, t := range w.at {
		if t == None || t == w.p.Items[i].Now || w.of[i] == forced {
			continue
		}
		if w.blind[t] || w.load[t] > w.limit[t]+w.eps {
			return false
		}
	}
	return true
}
