package plan

import (
	"fmt"
	"slices"
)

// Exact returns the best plan without risk, by looking at all of them; slices
// that are alike are not permuted. It refuses problems with more than limit
// plans (0: ten million).
func Exact(p *Problem, limit int) (Result, error) {
	if err := p.Check(); err != nil {
		return Result{}, err
	}
	if limit <= 0 {
		limit = 10_000_000
	}
	e := &enumeration{state: newState(p), eps: 1e-9, limit: limit}
	_, k := p.Size()
	total := 1.0
	for s := range k {
		e.options = append(e.options, p.options(s))
		total *= float64(len(e.options[s]))
		if s > 0 && e.alike(s-1, s) {
			total /= 1.5 // a rough guess of what symmetry saves; count stops the rest
		}
	}
	if total > 1e3*float64(limit) {
		return Result{}, fmt.Errorf("plan: about %.0f plans, more than %d", total, limit)
	}
	e.best = e.score
	e.level0 = clone(e.level)
	if err := e.walk(0, 0); err != nil {
		return Result{}, err
	}
	for s := range k {
		e.put(s, e.level0[s])
	}
	return e.result(), nil
}

// enumeration walks all plans, slice by slice.
type enumeration struct {
	*state
	options [][][]Level // [slice][option][pop]
	best    Score
	level0  [][]Level // levels of best
	eps     float64
	limit   int
}

// options lists the levels that a slice may have, Keep aside.
func (p *Problem) options(s int) [][]Level {
	n, _ := p.Size()
	var out [][]Level
	level := make([]Level, n)
	var walk func(i, off int)
	walk = func(i, off int) {
		if i == n {
			if n-off >= max(1, p.Normal) && (p.Knobs == 0 || off <= p.Knobs || p.play(level) != nil) || slices.Equal(level, p.Now[s]) {
				out = append(out, slices.Clone(level))
			}
			return
		}
		for l := range Level(len(p.Response[i])) {
			if l != p.Now[s][i] && (l < p.Least[s][i] || l > p.Most[s][i]) {
				continue
			}
			level[i] = l
			walk(i+1, off+min(1, int(l)))
		}
		level[i] = 0
	}
	walk(0, 0)
	return out
}

// walk chooses for slice s and those after it, from option from on where the
// slice before is alike.
func (e *enumeration) walk(s, from int) error {
	if s == len(e.options) {
		e.tried++
		if e.tried > e.limit {
			return fmt.Errorf("plan: more than %d plans", e.limit)
		}
		if e.score.Risk <= e.eps && e.keeps() && e.score.Less(e.best, e.eps) {
			e.best, e.level0 = e.score, clone(e.level)
		}
		return nil
	}
	for o := from; o < len(e.options[s]); o++ {
		e.put(s, e.options[s][o])
		next := 0
		if s+1 < len(e.options) && e.alike(s, s+1) {
			next = o
		}
		if err := e.walk(s+1, next); err != nil {
			return err
		}
	}
	return nil
}

// keeps says whether every POP that the plan changes keeps its floor.
func (e *enumeration) keeps() bool {
	for i, keep := range e.p.Keep {
		was := 0
		for s := range e.p.Now {
			if e.p.Now[s][i] == 0 {
				was++
			}
		}
		if e.kept[i] < min(keep, was) {
			return false
		}
	}
	return true
}

func clone(level [][]Level) [][]Level {
	out := make([][]Level, len(level))
	for s := range level {
		out[s] = slices.Clone(level[s])
	}
	return out
}
