package plan

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// random makes a small fleet: POPs with measured responses that mostly feed
// one neighbour, some of them above their limit.
func random(seed uint64, pops, slices, levels int) *Problem {
	r := rand.New(rand.NewPCG(seed, 7))
	p := &Problem{Normal: 1 + r.IntN(2), Tolerance: 0.002}
	for i := range pops {
		load := 0.0
		for s := range slices {
			if i == 0 {
				p.Demand = append(p.Demand, make([]float64, pops))
				p.Now = append(p.Now, make([]Level, pops))
				p.Least = append(p.Least, make([]Level, pops))
				p.Most = append(p.Most, make([]Level, pops))
			}
			if s > 0 && seed%2 == 0 {
				p.Demand[s][i] = p.Demand[0][i] // users are spread evenly over slices
			} else {
				p.Demand[s][i] = 5 + 20*r.Float64()
			}
			p.Most[s][i] = Level(levels - 1)
			load += p.Demand[s][i]
		}
		p.Load = append(p.Load, load)
		p.High = append(p.High, load*1.01)
		p.Limit = append(p.Limit, load*(0.75+0.8*r.Float64()))
		p.Keep = append(p.Keep, r.IntN(2))
		p.Response = append(p.Response, []Response{{}})
		for l := 1; l < levels; l++ {
			p.Response[i] = append(p.Response[i], response(r, i, pops, float64(l)/float64(levels-1)*(0.7+0.3*r.Float64())))
		}
	}
	return p
}

func response(r *rand.Rand, i, pops int, leave float64) (out Response) {
	sum := 0.0
	part := make([]float64, pops)
	for q := range pops {
		if q != i && (pops < 10 || r.IntN(pops) < 6) {
			part[q] = r.Float64() * r.Float64() * r.Float64()
			sum += part[q]
		}
	}
	for q, w := range part {
		if w > 0 {
			m := leave * w / sum
			out.To = append(out.To, Share{POP: int32(q), Mean: m, High: m*1.1 + 0.01, Cost: r.Float64()})
		}
	}
	return out
}

// play lets all POPs but the first two step back once; POP 1 gets most.
func play(p *Problem) Play {
	n := len(p.Limit)
	y := Play{Level: make([]Level, n), Leave: make([]float64, n), Gain: make([]float64, n), High: make([]float64, n)}
	for i := 2; i < n; i++ {
		y.Level[i], y.Leave[i] = 1, 0.3
	}
	y.Gain[0], y.Gain[1], y.High[0], y.High[1] = 0.3, 0.7, 0.33, 0.75
	return y
}

// TestSolveAgainstExact: in small fleets the heuristic leaves no more overload
// than the best plan in nearly all cases, and its soft part is close to it.
func TestSolveAgainstExact(t *testing.T) {
	cases, worse, soft := 0, 0, 0.0
	for seed := range uint64(120) {
		shape := [][3]int{{3, 3, 3}, {4, 3, 2}, {3, 4, 2}, {5, 2, 2}}[seed%4]
		p := random(seed, shape[0], shape[1], shape[2])
		if seed%3 == 0 {
			p.Knobs = 1
		}
		if seed%5 == 0 {
			p.Plays = []Play{play(p)}
		}
		best, err := Exact(p, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		sound(t, p, got)
		sound(t, p, best)
		eps := 1e-6
		if best.Score.Over > got.Score.Over+eps {
			t.Fatalf("seed %d: the heuristic beats the exact solver: %+v %+v", seed, got.Score, best.Score)
		}
		cases++
		if got.Score.Over > best.Score.Over+eps {
			worse++
			t.Logf("seed %d: overload %.2f, best %.2f", seed, got.Score.Over, best.Score.Over)
		} else {
			soft += (got.Score.Soft + 1) / (best.Score.Soft + 1)
		}
	}
	if worse*20 > cases {
		t.Errorf("more overload than the best plan in %d of %d cases", worse, cases)
	}
	if mean := soft / float64(cases-worse); mean > 1.05 {
		t.Errorf("soft part %.3f of the best on average", mean)
	} else {
		t.Logf("%d cases, %d with more overload, soft part %.4f of the best", cases, worse, mean)
	}
}

// sound checks what every plan must hold: bounds, floors, enough POPs at
// normal, no risk beyond what was there before.
func sound(t *testing.T, p *Problem, r Result) {
	t.Helper()
	n, k := p.Size()
	for i := range n {
		kept := 0
		for s := range k {
			l := r.Level[s][i]
			if l != p.Now[s][i] && (l < p.Least[s][i] || l > p.Most[s][i]) {
				t.Fatalf("level %d of POP %d on slice %d out of bounds", l, i, s)
			}
			if l == 0 {
				kept++
			}
		}
		if p.Keep != nil && kept < p.Keep[i] {
			t.Fatalf("POP %d keeps %d slices, its floor is %d", i, kept, p.Keep[i])
		}
	}
	for s := range k {
		normal := 0
		for _, l := range r.Level[s] {
			if l == 0 {
				normal++
			}
		}
		if normal < max(1, p.Normal) {
			t.Fatalf("slice %d: %d POPs at normal, want %d", s, normal, p.Normal)
		}
		if p.Knobs > 0 && n-normal > p.Knobs && p.play(r.Level[s]) == nil {
			t.Fatalf("slice %d: %d POPs below normal, at most %d", s, n-normal, p.Knobs)
		}
	}
	if r.Score.Risk > 1e-6 {
		t.Fatalf("%.3f may go above limits elsewhere", r.Score.Risk)
	}
	load, high := p.Forecast(r.Level)
	before, after := 0.0, 0.0
	for i := range n {
		if d := load[i] - r.Load[i]; d > 1e-6 || d < -1e-6 || high[i] < load[i]-1e-6 {
			t.Fatalf("POP %d: forecast %.3f..%.3f, plan says %.3f", i, load[i], high[i], r.Load[i])
		}
		before += p.Load[i]
		after += load[i]
	}
	if d := before - after; d > 1e-6 || d < -1e-6 {
		t.Fatalf("load is lost: %.3f before, %.3f after", before, after)
	}
}

// TestSolveTouchesNothingWithoutNeed: no overload, no change.
func TestSolveTouchesNothingWithoutNeed(t *testing.T) {
	for seed := range uint64(20) {
		p := random(seed, 12, 8, 3)
		for i := range p.Limit {
			p.Limit[i] = p.High[i] * 1.01
		}
		r, err := Solve(p)
		if err != nil || r.Moved != 0 {
			t.Fatalf("seed %d: moved %.3f, %v", seed, r.Moved, err)
		}
	}
}

// TestSolveLargeIsSound and relieves what it can.
func TestSolveLargeIsSound(t *testing.T) {
	for seed := range uint64(6) {
		p := random(seed, 60, 8, 3)
		r, err := Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		sound(t, p, r)
		before := 0.0
		for i := range p.Limit {
			before += max(0, p.Load[i]-p.Limit[i])
		}
		if r.Overload > before/4 {
			t.Errorf("seed %d: overload %.1f of %.1f left", seed, r.Overload, before)
		}
	}
}

// TestTryIsPut: the score of a change that is only tried is the one it has
// when made, wherever the plan stands.
func TestTryIsPut(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	for seed := range uint64(40) {
		p := random(seed, 9, 4, 3)
		st := newState(p)
		for range 60 {
			s, i, o := r.IntN(4), r.IntN(9), r.IntN(9)
			level := slices.Clone(st.level[s])
			level[i], level[o] = Level(r.IntN(3)), Level(r.IntN(3))
			want := st.try(s, level, i, o)
			if i == o {
				want = st.try(s, level, i)
			}
			st.put(s, level)
			if d := want.Over - st.score.Over; abs(d) > 1e-6 {
				t.Fatalf("seed %d: tried %+v, made %+v", seed, want, st.score)
			}
			if d := want.Soft - st.score.Soft; abs(d) > 1e-6 {
				t.Fatalf("seed %d: tried %+v, made %+v", seed, want, st.score)
			}
		}
	}
}

// TestChain: the only neighbour of an overloaded POP is nearly full, but can
// itself step back; on one slice each.
func TestChain(t *testing.T) {
	to := func(q int32) []Response { return []Response{{}, {To: []Share{{POP: q, Mean: 1, High: 1}}}} }
	p := &Problem{Limit: []float64{80, 100, 200}, Load: []float64{100, 99, 50}, High: []float64{100, 99, 50},
		Response: [][]Response{to(1), to(2), to(0)}, Knobs: 1}
	for range 4 {
		p.Demand = append(p.Demand, []float64{25, 24.75, 12.5})
		p.Now = append(p.Now, make([]Level, 3))
		p.Least = append(p.Least, make([]Level, 3))
		p.Most = append(p.Most, []Level{1, 1, 1})
	}
	r, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	if r.Overload > 0 || r.Score.Risk > 0 {
		t.Errorf("overload %.2f, risk %.2f with %v", r.Overload, r.Score.Risk, r.Level)
	}
	off := [3]int{}
	for _, l := range r.Level {
		for i := range l {
			off[i] += int(l[i])
		}
	}
	if !slices.Equal(off[:], []int{1, 1, 0}) {
		t.Errorf("slices stepped back on: %v", off)
	}
}

func TestCheck(t *testing.T) {
	for name, spoil := range map[string]func(*Problem){
		"no POPs":                func(p *Problem) { p.Limit = nil },
		"load of fewer":          func(p *Problem) { p.Load = p.Load[1:] },
		"slices differ":          func(p *Problem) { p.Now = p.Now[1:] },
		"a slice is short":       func(p *Problem) { p.Most[0] = p.Most[0][1:] },
		"floors of fewer":        func(p *Problem) { p.Keep = p.Keep[1:] },
		"level unknown":          func(p *Problem) { p.Most[0][0] = 9 },
		"share to itself":        func(p *Problem) { p.Response[0][1].To[0].POP = 0 },
		"more than there is":     func(p *Problem) { p.Response[0][1].To[0].Mean, p.Response[0][1].To[0].High = 1.2, 1.3 },
		"upper bound below mean": func(p *Problem) { p.Response[0][1].To[0].High = 0 },
	} {
		p := random(1, 3, 2, 2)
		if err := p.Check(); err != nil {
			t.Fatal(err)
		}
		spoil(p)
		if p.Check() == nil {
			t.Errorf("%s: not noticed", name)
		}
		if _, err := Solve(p); err == nil {
			t.Errorf("%s: solved", name)
		}
	}
}

// BenchmarkSolve varies the fleet's size.
func BenchmarkSolve(b *testing.B) {
	for _, n := range []int{10, 50, 200} {
		b.Run(fmt.Sprintf("pops=%d", n), func(b *testing.B) {
			p := random(3, n, 8, 3)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Solve(p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
