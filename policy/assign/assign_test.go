package assign

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// three is three routers, three targets and one slice: each router is nearest
// to the target of its number.
func three(demand ...float64) *Problem {
	p := &Problem{
		Cost:  [][]float64{{10, 20, 30}, {20, 10, 30}, {30, 20, 10}},
		State: [][]State{{Open, Open, Open}}, Down: make([]bool, 3), Capacity: []float64{100, 100, 100},
		Shed: 0.95, Fill: 0.85, MoveCost: 1, MaxMoves: 10, Suspect: 0.5,
	}
	for r, d := range demand {
		p.Items = append(p.Items, Item{Router: r, Now: r, Demand: d, Known: true})
	}
	return p
}

func TestSolve(t *testing.T) {
	const pe1, pe2, pe3 = 0, 1, 2
	const lon, fra, ams = 0, 1, 2
	for name, c := range map[string]struct {
		demand []float64
		edit   func(*Problem)
		next   []int
		why    []Code
		over   float64
	}{
		"as it is": {demand: []float64{50, 50, 50}, next: []int{lon, fra, ams}, why: []Code{Cheapest, Cheapest, Cheapest}},
		"begins at the cheapest": {demand: []float64{50, 50, 50}, edit: func(p *Problem) {
			p.Items[pe1].Now, p.Items[pe2].Now, p.Items[pe3].Now = None, None, None
		}, next: []int{lon, fra, ams}, why: []Code{Cheapest, Cheapest, Cheapest}},
		"begins in stages": {demand: []float64{50, 50, 50}, edit: func(p *Problem) {
			p.Items[pe1].Now, p.Items[pe2].Now, p.MaxMoves = None, None, 1
		}, next: []int{lon, None, ams}, why: []Code{Cheapest, Waiting, Cheapest}},
		"begins when the cheapest is known": {demand: []float64{50, 50, 50}, edit: func(p *Problem) {
			p.Items[pe1].Now, p.Items[pe2].Now, p.State[0][lon] = None, None, Unknown
		}, next: []int{None, fra, ams}, why: []Code{TargetUnknown, Cheapest, Cheapest}},
		"between fill and shed nothing moves": {demand: []float64{94, 10, 50}, next: []int{lon, fra, ams}, why: []Code{Cheapest, Cheapest, Cheapest}},
		"overload goes to the cheapest with room": {demand: []float64{50, 30, 50}, edit: func(p *Problem) {
			p.Items = append(p.Items, Item{Router: pe1, Now: lon, Demand: 46, Known: true})
		}, next: []int{lon, fra, ams, fra}, why: []Code{Cheapest, Cheapest, Cheapest, Overload}},
		"no room anywhere": {demand: []float64{50, 80, 80}, edit: func(p *Problem) {
			p.Items = append(p.Items, Item{Router: pe1, Now: lon, Demand: 50, Known: true})
		}, next: []int{lon, fra, ams, lon}, why: []Code{Cheapest, Cheapest, Cheapest, Cheapest}, over: 15},
		"comes back when there is room": {demand: []float64{50, 30, 50}, edit: func(p *Problem) {
			p.Items = append(p.Items, Item{Router: pe1, Now: fra, Demand: 30, Known: true})
		}, next: []int{lon, fra, ams, lon}, why: []Code{Cheapest, Cheapest, Cheapest, Cheapest}},
		"does not come back above fill": {demand: []float64{50, 30, 50}, edit: func(p *Problem) {
			p.Items = append(p.Items, Item{Router: pe1, Now: fra, Demand: 40, Known: true})
		}, next: []int{lon, fra, ams, fra}, why: []Code{Cheapest, Cheapest, Cheapest, Full}},
		"a move that saves too little": {demand: []float64{50, 30, 50}, edit: func(p *Problem) {
			p.Items[pe1].Now, p.MoveCost = fra, 11
		}, next: []int{fra, fra, ams}, why: []Code{Kept, Cheapest, Cheapest}},
		"a target that is gone is left at once": {demand: []float64{50, 30, 50}, edit: func(p *Problem) {
			p.State[0][lon], p.MaxMoves = Gone, 1
			p.Items = append(p.Items, Item{Router: pe1, Now: lon, Demand: 1, Known: true}, Item{Router: pe2, Now: lon, Demand: 1})
		}, next: []int{fra, fra, ams, fra, fra}, why: []Code{TargetGone, Cheapest, Cheapest, TargetGone, TargetGone}},
		"gone, though it overloads another": {demand: []float64{50, 80, 80}, edit: func(p *Problem) { p.State[0][lon] = Gone },
			next: []int{fra, fra, ams}, why: []Code{TargetGone, Cheapest, Cheapest}, over: 35},
		"a drained target is left in stages": {demand: []float64{20, 30, 50}, edit: func(p *Problem) {
			p.State[0][lon], p.MaxMoves = Drained, 1
			p.Items = append(p.Items, Item{Router: pe1, Now: lon, Demand: 10, Known: true})
		}, next: []int{lon, fra, ams, fra}, why: []Code{Waiting, Cheapest, Cheapest, TargetDrained}},
		"one that our checks do not reach": {demand: []float64{20, 30, 50}, edit: func(p *Problem) { p.Down[lon] = true },
			next: []int{fra, fra, ams}, why: []Code{TargetGone, Cheapest, Cheapest}},
		"two of three at once: the checks are suspect": {demand: []float64{20, 30, 50}, edit: func(p *Problem) { p.Down[lon], p.Down[fra] = true, true },
			next: []int{lon, fra, ams}, why: []Code{Correlated, Correlated, Cheapest}},
		"one was left already, then another goes": {demand: []float64{20, 10, 50}, edit: func(p *Problem) {
			p.Down[lon], p.Down[fra], p.Items[pe1].Now = true, true, ams
		}, next: []int{ams, ams, ams}, why: []Code{Cheapest, TargetGone, Cheapest}},
		"the last target": {demand: []float64{20, 30, 50}, edit: func(p *Problem) { p.State[0] = []State{Gone, Drained, Unknown} },
			next: []int{lon, fra, ams}, why: []Code{LastTarget, LastTarget, TargetUnknown}},
		"what is unknown gets nothing and loses nothing": {demand: []float64{99, 30, 50}, edit: func(p *Problem) {
			p.State[0] = []State{Unknown, Open, Unknown}
			p.Items = append(p.Items, Item{Router: pe3, Now: fra, Demand: 1, Known: true})
		}, next: []int{lon, fra, ams, fra}, why: []Code{TargetUnknown, Cheapest, TargetUnknown, Cheapest}, over: 14},
		"a demand that is not known stays, and nothing joins it": {demand: []float64{50, 30, 30}, edit: func(p *Problem) {
			p.Items[pe2].Known = false
			p.Items = append(p.Items, Item{Router: pe1, Now: lon, Demand: 46, Known: true})
		}, next: []int{lon, fra, ams, ams}, why: []Code{Cheapest, DemandUnknown, Cheapest, Overload}},
		"closed: nothing comes, what is there may go": {demand: []float64{50, 30, 30}, edit: func(p *Problem) {
			p.State[0][lon] = Closed
			p.Items = append(p.Items, Item{Router: pe1, Now: lon, Demand: 46, Known: true}, Item{Router: pe1, Now: ams, Demand: 1, Known: true})
		}, next: []int{lon, fra, ams, fra, fra}, why: []Code{Cheapest, Cheapest, Cheapest, Overload, Cheapest}},
		"held whatever happens": {demand: []float64{50, 30, 50}, edit: func(p *Problem) { p.Items[pe1].Held, p.State[0][lon] = true, Gone },
			next: []int{lon, fra, ams}, why: []Code{Held, Cheapest, Cheapest}},
		"between rounds only what must": {demand: []float64{99, 30, 50}, edit: func(p *Problem) {
			p.Reflex, p.State[0][ams] = true, Gone
			p.Items = append(p.Items, Item{Router: pe2, Now: fra, Demand: 1, Known: true})
			p.Items[3].Now = lon
		},
			next: []int{lon, fra, fra, lon}, why: []Code{Cheapest, Cheapest, TargetGone, Waiting}, over: 14},
		"not above a share of all": {demand: []float64{60, 60, 60}, edit: func(p *Problem) {
			p.Capacity, p.MaxShare = []float64{0, 0, 0}, 0.4
			p.Items[pe1].Now, p.Items[pe2].Now = ams, ams
		}, next: []int{lon, ams, ams}, why: []Code{Cheapest, Waiting, Cheapest}},
		"never sent there": {demand: []float64{20, 30, 50}, edit: func(p *Problem) {
			p.Cost[pe1] = []float64{math.Inf(1), math.Inf(1), 30}
		}, next: []int{ams, fra, ams}, why: []Code{TargetDrained, Cheapest, Cheapest}},
		"room is made by a third": {demand: []float64{0, 0, 0}, edit: func(p *Problem) {
			p.Cost = [][]float64{{10, 20, math.Inf(1)}, {math.Inf(1), 10, 20}, {30, 20, 10}}
			p.Items = []Item{
				{Router: pe1, Now: lon, Demand: 60, Known: true}, {Router: pe1, Now: lon, Demand: 40, Known: true},
				{Router: pe2, Now: fra, Demand: 50, Known: true}, {Router: pe2, Now: fra, Demand: 30, Known: true},
			}
		}, next: []int{lon, fra, ams, fra}, why: []Code{Cheapest, Overload, Room, Cheapest}},
	} {
		t.Run(name, func(t *testing.T) {
			p := three(c.demand...)
			if c.edit != nil {
				c.edit(p)
			}
			r, err := Solve(p)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(r.Next, c.next) || !slices.Equal(r.Why, c.why) {
				t.Errorf("next %v %v, want %v %v (plan %v)", r.Next, r.Why, c.next, c.why, r.Plan)
			}
			if math.Abs(r.Overload-c.over) > 1e-6 {
				t.Errorf("overload %g, want %g", r.Overload, c.over)
			}
		})
	}
}

// random makes a problem with some demand, of which some is above limits.
func random(rng *rand.Rand, routers, targets, kinds int) *Problem {
	p := &Problem{Shed: 0.95, Fill: 0.85, MoveCost: rng.Float64() * 3, Suspect: 0.5, Down: make([]bool, targets)}
	for range routers {
		row := make([]float64, targets)
		for t := range row {
			if row[t] = 1 + 30*rng.Float64(); rng.IntN(12) == 0 {
				row[t] = math.Inf(1)
			}
		}
		p.Cost = append(p.Cost, row)
	}
	for range kinds {
		row := make([]State, targets)
		for t := range row {
			row[t] = []State{Open, Open, Open, Open, Open, Open, Open, Drained, Gone, Unknown, Closed}[rng.IntN(11)]
		}
		p.State = append(p.State, row)
	}
	total := 0.0
	for r := range routers {
		for s := range kinds {
			d := math.Exp(rng.NormFloat64())
			now := rng.IntN(targets+1) - 1
			p.Items = append(p.Items, Item{Router: r, Slice: s, Now: now, Demand: d, Known: rng.IntN(10) > 0, Held: rng.IntN(30) == 0})
			total += d
		}
	}
	for range targets {
		p.Capacity = append(p.Capacity, total*(0.5+rng.Float64())*1.3/float64(targets))
	}
	if rng.IntN(4) == 0 {
		p.Down[rng.IntN(targets)] = true
	}
	return p
}

// TestAgainstExact: beside all assignments, the heuristic leaves no more
// overload but in few cases, and costs little more.
func TestAgainstExact(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	worse, cases := 0, 1500
	sum, best := 0.0, 0.0
	for range cases {
		p := random(rng, 2+rng.IntN(3), 2+rng.IntN(2), 1+rng.IntN(2))
		got, err := Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Exact(p, 0)
		if err != nil {
			t.Fatalf("%v in %+v", err, p)
		}
		if got.Overload < want.Overload-1e-6 {
			t.Fatalf("overload %g is less than the least, %g: %+v", got.Overload, want.Overload, p)
		}
		if got.Overload > want.Overload+1e-6 {
			worse++
			continue
		}
		sum, best = sum+soft(p, got.Plan), best+soft(p, want.Plan)
	}
	t.Logf("%d of %d leave more overload; the others cost %.4f of the least", worse, cases, sum/best)
	if worse > cases/50 || sum > 1.01*best {
		t.Errorf("%d of %d leave more overload than the best, cost %.4f of it", worse, cases, sum/best)
	}
}

func soft(p *Problem, plan []int) float64 {
	w := newWorld(p)
	for i, t := range plan {
		w.put(i, t)
	}
	_, s := w.score()
	return s
}

// TestInvariants: whatever the problem, a round keeps the rules, move by move.
func TestInvariants(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for n := range 4000 {
		p := random(rng, 1+rng.IntN(12), 1+rng.IntN(6), 1+rng.IntN(4))
		p.MaxMoves, p.MaxShare, p.Reflex = rng.IntN(5), []float64{0, 0.1, 0.5}[rng.IntN(3)], rng.IntN(5) == 0
		r, err := Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		judge(t, n, p, r)
		if t.Failed() {
			t.Fatalf("case %d: %+v\n%+v", n, p, r)
		}
	}
}

func judge(t *testing.T, n int, p *Problem, r Result) {
	w := newWorld(p)
	bounded := 0
	for _, m := range r.Moves {
		it := &p.Items[m.Item]
		from, to := it.Now, m.To
		switch {
		case it.Held:
			t.Errorf("case %d: held and moved", n)
		case w.state(it.Slice, to) != Open:
			t.Errorf("case %d: moved to a target that is %v", n, w.state(it.Slice, to))
		case from != None && w.state(it.Slice, from) == Unknown:
			t.Errorf("case %d: moved off a target of which nothing is known", n)
		case !it.Known && w.of[m.Item] != forced:
			t.Errorf("case %d: moved, with a demand that is not known", n)
		case p.Reflex && !w.lost(it):
			t.Errorf("case %d: moved between rounds", n)
		case w.of[m.Item] != forced && !w.fits(m.Item, to):
			t.Errorf("case %d: fills a target above its limit", n)
		}
		if m.Code != TargetGone {
			bounded++
		}
		w.put(m.Item, to)
	}
	if p.MaxMoves > 0 && bounded > p.MaxMoves {
		t.Errorf("case %d: %d moves, more than %d", n, bounded, p.MaxMoves)
	}
	if !slices.Equal(w.at, r.Next) {
		t.Errorf("case %d: the moves lead to %v, Next is %v", n, w.at, r.Next)
	}
	for i, to := range r.Next {
		if p.Items[i].Now != None && to == None {
			t.Errorf("case %d: taken off every target", n)
		}
	}
}

// TestSettles: with nothing new a plan comes to rest, and stays there; nothing
// goes to and fro.
func TestSettles(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for n := range 600 {
		p := random(rng, 1+rng.IntN(12), 2+rng.IntN(4), 1+rng.IntN(4))
		p.MaxMoves = 3
		turns := make(map[[2]int]int)
		for round := 0; ; round++ {
			r, err := Solve(p)
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Moves) == 0 {
				break
			}
			for _, m := range r.Moves {
				if turns[[2]int{m.Item, m.To}]++; turns[[2]int{m.Item, m.To}] > 2 {
					t.Fatalf("case %d: item %d goes to %d a third time", n, m.Item, m.To)
				}
				p.Items[m.Item].Now = m.To
			}
			if round > 60 {
				t.Fatalf("case %d: not at rest after %d rounds", n, round)
			}
		}
	}
}

// TestLarge: 500 routers, 50 targets, 8 slices, a tenth of the targets full.
func TestLarge(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	p := random(rng, 500, 50, 8)
	for i := range p.Items {
		p.Items[i].Known, p.Items[i].Held = true, false
	}
	for at := range 5 {
		p.Capacity[at] /= 4
	}
	begin := time.Now()
	r, err := Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d items, %d moves, overload %.2f of %.0f: %v", len(p.Items), len(r.Moves), r.Overload, newWorld(p).total, time.Since(begin))
	judge(t, 0, p, r)
}

func BenchmarkSolve(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 8))
	p := random(rng, 500, 50, 8)
	for b.Loop() {
		if _, err := Solve(p); err != nil {
			b.Fatal(err)
		}
	}
}

func TestCheck(t *testing.T) {
	for name, edit := range map[string]func(*Problem){
		"no targets":     func(p *Problem) { p.Capacity = nil },
		"down":           func(p *Problem) { p.Down = nil },
		"fill":           func(p *Problem) { p.Fill = 1 },
		"move cost":      func(p *Problem) { p.MoveCost = -1 },
		"cost":           func(p *Problem) { p.Cost[0] = nil },
		"negative cost":  func(p *Problem) { p.Cost[0][0] = -1 },
		"state":          func(p *Problem) { p.State[0] = nil },
		"router":         func(p *Problem) { p.Items[0].Router = 3 },
		"target":         func(p *Problem) { p.Items[0].Now = 3 },
		"not a number":   func(p *Problem) { p.Items[0].Demand = math.NaN() },
		"endless demand": func(p *Problem) { p.Items[0].Demand = math.Inf(1) },
	} {
		p := three(1, 1, 1)
		edit(p)
		if _, err := Solve(p); err == nil {
			t.Errorf("%s: not refused", name)
		}
	}
}

// TestExactRefuses: no assignment is looked for of what makes no sense, or
// where there are too many.
func TestExactRefuses(t *testing.T) {
	if _, err := Exact(&Problem{}, 0); err == nil {
		t.Error("a problem of nothing")
	}
	p := three(50, 50, 50)
	if _, err := Exact(p, 26); err == nil || err.Error() != "assign: 27 assignments, more than 26" {
		t.Errorf("%v", err)
	}
	if _, err := Exact(p, 27); err != nil {
		t.Error(err)
	}
}

// TestStateText: the words that the API and the journal have for states.
func TestStateText(t *testing.T) {
	for s, want := range map[State]string{Unknown: "unknown", Open: "open", Drained: "drained", Gone: "gone", Closed: "closed", 99: "closed"} {
		if got, err := s.MarshalText(); err != nil || string(got) != want {
			t.Errorf("%d: %s, %v", s, got, err)
		}
	}
}
