package plan

import (
	"math"
	"slices"
	"strings"
	"testing"
)

// TestExactRefuses: problems that are none, and those with too many plans,
// whether that is seen before or while they are counted.
func TestExactRefuses(t *testing.T) {
	if _, err := Exact(&Problem{}, 0); err == nil {
		t.Error("a problem of nothing")
	}
	for limit, want := range map[int]string{1: "about", 100: "more than 100 plans"} {
		p := random(1, 4, 4, 3)
		if limit == 100 {
			p = random(2, 3, 3, 3)
		}
		if _, err := Exact(p, limit); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("limit %d: %v, want %q", limit, err, want)
		}
	}
}

// TestExactKeepsFloors: the best plan leaves every POP the slices that it has
// to keep, and no fewer POPs at normal than must be.
func TestExactKeepsFloors(t *testing.T) {
	p := ring(80, 100, 200, 4)
	p.Keep = []int{4, 0, 0}
	r, err := Exact(p, 0)
	if err != nil {
		t.Fatal(err)
	}
	for s := range r.Level {
		if r.Level[s][0] != 0 {
			t.Errorf("the first POP steps back on slice %d, and keeps all", s)
		}
	}
	p.Keep = nil
	if r, err = Exact(p, 0); err != nil || r.Overload > 0 {
		t.Errorf("without floors: overload %.1f, %v", r.Overload, err)
	}
}

// ring is a fleet of three in which each POP sends all that it lets go of to
// the next one; the first two are full. No more than one may step back on a
// slice.
func ring(a, b, c float64, k int) *Problem {
	to := func(q int32) []Response { return []Response{{}, {To: []Share{{POP: q, Mean: 1, High: 1}}}} }
	p := &Problem{Limit: []float64{a, b, c}, Load: []float64{100, 99, 50}, High: []float64{100, 99, 50},
		Response: [][]Response{to(1), to(2), to(0)}, Knobs: 1}
	for range k {
		n := float64(k)
		p.Demand = append(p.Demand, []float64{100 / n, 99 / n, 50 / n})
		p.Now = append(p.Now, make([]Level, 3))
		p.Least = append(p.Least, make([]Level, 3))
		p.Most = append(p.Most, []Level{1, 1, 1})
	}
	return p
}

// TestCheckShapes: what is of other numbers than the fleet is named.
func TestCheckShapes(t *testing.T) {
	for name, spoil := range map[string]func(*Problem){
		"Ceiling of": func(p *Problem) { p.Ceiling = []float64{1} },
		"play 0":     func(p *Problem) { p.Plays = []Play{{Level: []Level{1}}} },
		"no response": func(p *Problem) {
			p.Now[0][1] = 7
		},
	} {
		p := random(1, 3, 2, 2)
		spoil(p)
		if err := p.Check(); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSafe: whatever the search came to, no receiver that was within its limit
// may be above it at the upper bound, and only as much as that needs goes back.
func TestSafe(t *testing.T) {
	for _, plays := range []bool{false, true} {
		p := ring(80, 100, 200, 4)
		p.Knobs, p.Normal = 0, 1
		if plays {
			p.Knobs = 1
			p.Plays = []Play{{Level: []Level{1, 1, 0}, Leave: []float64{1, 1, 0}, Gain: []float64{0, 0.9, 0.1}, High: []float64{0, 1, 0.2}}}
		}
		st := newState(p)
		h := &search{state: st, eps: 1e-9, want: make([]Level, 3)}
		level := [][]Level{{1, 0, 0}, {0, 1, 0}, {1, 0, 0}, {0, 0, 0}} // the second gets 50 and lets go of 24.75
		if plays {
			level[0] = []Level{1, 1, 0}
		}
		h.putAll(level)
		if h.score.Risk <= 0 {
			t.Fatalf("plays %v: there is no risk to begin with", plays)
		}
		h.safe()
		if h.score.Risk > h.eps {
			t.Errorf("plays %v: risk %.2f is left with %v", plays, h.score.Risk, h.level)
		}
		for s := range h.level {
			if !p.valid(h.level[s]) {
				t.Errorf("plays %v: slice %d may not be at %v", plays, s, h.level[s])
			}
		}
		fresh := newState(p)
		for s := range h.level {
			fresh.put(s, h.level[s])
		}
		if math.Abs(fresh.score.Over-h.score.Over) > 1e-6 || math.Abs(fresh.score.Soft-h.score.Soft) > 1e-6 {
			t.Errorf("plays %v: score %+v, reckoned anew %+v", plays, h.score, fresh.score)
		}
	}
}

// TestInPlaceOfAll: where as many POPs as may are below normal on a slice, one
// step may take the place of all of them.
func TestInPlaceOfAll(t *testing.T) {
	p := ring(80, 100, 200, 1)
	p.Plays = []Play{{Level: []Level{0, 1, 1}, Leave: []float64{0, 1, 1}, Gain: []float64{1, 0, 0}, High: []float64{1, 0, 0}}}
	h := &search{state: newState(p), eps: 1e-9, want: make([]Level, 3)}
	h.put(0, []Level{0, 1, 1})
	var seen [][]Level
	h.steps(0, 0, func(want []Level, changed ...int) {
		seen = append(seen, slices.Clone(want))
		for i, l := range want {
			if (l != h.level[0][i]) != slices.Contains(changed, i) {
				t.Errorf("%v instead of %v, and told as changed: %v", want, h.level[0], changed)
			}
		}
	})
	if !slices.ContainsFunc(seen, func(l []Level) bool { return slices.Equal(l, []Level{1, 0, 0}) }) {
		t.Errorf("visited %v", seen)
	}
}
