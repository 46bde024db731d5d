package cost

import (
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestBill(t *testing.T) {
	slots := make([]float64, 8640)
	for i := range slots {
		slots[i] = 1e9
	}
	for i := range 432 { // 5 %
		slots[i*20] = 9e9
	}
	p95 := Price{PerMbps: 2}
	near(t, "5 % of slots cost nothing", p95.Bill(slots, 300), 2000)
	slots[1] = 9e9
	near(t, "one more is billed", p95.Bill(slots, 300), 18000)
	near(t, "a commit is paid", (&Price{PerMbps: 2, Commit: 20000}).Bill(slots, 300), 40000)
	near(t, "a half month", p95.Bill(slots[:4320], 300), 9000)
	near(t, "by volume", (&Price{PerGB: 0.01}).Bill([]float64{8e9, 8e9}, 300), 6)
	near(t, "the highest", (&Price{PerMbps: 1, Percentile: 1}).Bill(slots, 300), 9000)
	near(t, "nothing", p95.Bill(nil, 300), 0)
	for _, p := range []Price{{PerGB: -1}, {PerMbps: math.NaN()}, {Percentile: 1.1}, {Commit: math.Inf(1)}} {
		if p.Validate() == nil {
			t.Errorf("%+v: no error", p)
		}
	}
}

// TestPlanKeepsItsWord plays random worlds: what is moved is movable, goes to a
// cheaper POP, fits there, and stays within the budget of delay.
func TestPlanKeepsItsWord(t *testing.T) {
	moved := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 4))
		n := 2 + r.IntN(5)
		w := World{Budget: 1 + 4*r.Float64(), Slots: 200}
		var level []float64
		for i := range n {
			p := POP{Capacity: 50 + 100*r.Float64(), Price: Price{PerMbps: r.Float64() * 1e6}}
			if r.IntN(3) == 0 {
				p.Price = Price{PerGB: r.Float64() * 1e3}
			}
			w.POPs, level = append(w.POPs, p), append(level, 100*r.Float64())
			row := make([]float64, n)
			for j := range row {
				if row[j] = 1 + 20*r.Float64(); r.IntN(6) == 0 {
					row[j] = math.Inf(1)
				}
			}
			row[i] = 0
			w.Distance = append(w.Distance, row)
		}
		p := NewPlan(&w, Targets{Level: level, Burst: level})
		for range w.Slots {
			demand, movable := make([]float64, n), make([]float64, n)
			for i := range n {
				demand[i] = 100 * r.Float64()
				movable[i] = demand[i] * r.Float64()
			}
			load, out := append([]float64(nil), demand...), make([]float64, n)
			for _, m := range p.Slot(demand, movable) {
				moved++
				out[m.From] += m.Rate
				load[m.From], load[m.To] = load[m.From]-m.Rate, load[m.To]+m.Rate
				if m.Rate <= 0 || w.POPs[m.To].Price.marginal() >= w.POPs[m.From].Price.marginal() && w.worth(m.From, m.To) <= 0 || math.IsInf(w.Distance[m.From][m.To], 1) {
					t.Fatalf("world %d: %+v", seed, m)
				}
				if load[m.To] > w.POPs[m.To].Capacity*1.000001 {
					t.Fatalf("world %d: POP %d gets %v, more than %v", seed, m.To, load[m.To], w.POPs[m.To].Capacity)
				}
			}
			for i := range out {
				if out[i] > movable[i]+1e-6 {
					t.Fatalf("world %d: %v of %v moved", seed, out[i], movable[i])
				}
			}
			if p.Later() > w.Budget*1.000001 {
				t.Fatalf("world %d: %v ms later, more than %v", seed, p.Later(), w.Budget)
			}
		}
	}
	if moved < 1000 {
		t.Errorf("%d moves: the worlds try too little", moved)
	}
}

func TestChooseLowersTheBill(t *testing.T) {
	w := World{Budget: 10, Slots: 300, Distance: [][]float64{{0, 5}, {5, 0}}, POPs: []POP{{Price{PerMbps: 5}, 1e12}, {Price{PerMbps: 0.5}, 1e12}}}
	d := Demand{}
	for s := range w.Slots {
		x := 1e9 * (1 + math.Sin(float64(s)/20))
		d.All, d.Movable = append(d.All, []float64{x, x}), append(d.Movable, []float64{x / 2, x / 2})
	}
	none := Targets{Level: []float64{1e15, 1e15}, Burst: []float64{1e15, 1e15}}
	before, _ := Play(&w, none, d, 8640)
	after, later := Play(&w, Choose(&w, d, 8640), d, 8640)
	if after > 0.7*before || later > 10 || later <= 0 {
		t.Errorf("%v, before %v, %v ms later", after, before, later)
	}
}

func TestLedger(t *testing.T) {
	l := Ledger{Links: []Link{{0, Price{PerGB: 2}}, {1, Price{PerGB: 1}}}}
	q := Quality{Moved: 10, Left: 10, MovedStalls: 2, LeftStalls: 1, LaterSum: 50, LaterCounted: 10}
	for s := range int64(3) {
		l.Add(2-s, []float64{8e9, 16e9}, []Move{{0, 1, 8e9}}, []Quality{q}) // in any order
	}
	total := l.Between(0, 3, 0)
	near(t, "cost", total[0].Cost, 2*3*300)
	near(t, "would have cost", total[0].Would, 2*2*3*300)
	near(t, "saved", total[0].Saved()+total[1].Saved(), 3*300)
	near(t, "sent", total[1].Sent, 2*3*300)
	near(t, "moved", total[0].Moved, 3*300)
	near(t, "sent for others", total[1].Moved, -3*300)
	near(t, "slots", float64(total[0].Slots), 3)
	day := l.Between(2, 9, 0)
	near(t, "the last slot", day[0].Cost, 2*300)
	near(t, "extra stalls", day[0].Quality.ExtraStalls(), 0.1)
	near(t, "later", total[0].Quality.Later(), 5)
	near(t, "sessions", total[0].Quality.Moved, 30)
	near(t, "nothing was seen there", total[1].Quality.Moved, 0)
	if a, b, ok := l.Span(); a != 0 || b != 2 || !ok {
		t.Errorf("from %d to %d", a, b)
	}
	l.Add(1, []float64{0, 0}, nil, nil)
	near(t, "replaced", l.Between(0, 3, 0)[0].Cost, 2*2*300)
	l.Drop(2)
	near(t, "forgotten", l.Between(0, 3, 0)[0].Cost, 2*300)
	near(t, "none", l.Between(7, 3, 0)[0].Cost, 0)
	if _, _, ok := (&Ledger{}).Span(); ok {
		t.Error("an empty ledger has slots")
	}
}

// TestLedgerOfLinks: what is moved is of all links of a POP by what they carry;
// a link that is not heard of is not billed, and a POP below nothing sends
// nothing.
func TestLedgerOfLinks(t *testing.T) {
	nan := math.NaN()
	l := Ledger{Links: []Link{{0, Price{PerGB: 1}}, {0, Price{PerGB: 1}}, {1, Price{PerGB: 1}}}, Second: 8}
	for i, c := range []struct {
		sent, would []float64
		moves       []Move
	}{
		{[]float64{3e9, 1e9, 9e9}, []float64{6e9, 2e9, 5e9}, []Move{{0, 1, 4e9}}},
		{[]float64{0, 0, 4e9}, []float64{1e9, 1e9, 2e9}, []Move{{0, 1, 2e9}}},
		{[]float64{nan, 1e9, 4e9}, []float64{nan, 3e9, 2e9}, []Move{{0, 1, 2e9}}},
		{[]float64{1e9, 1e9, 1e9}, []float64{2e9, 2e9, 0}, []Move{{0, 1, 2e9}}},
		{[]float64{nan, nan, 1e9}, []float64{nan, nan, 1e9}, nil},
	} {
		for k, x := range l.Counterfactual(c.sent, c.moves) {
			if math.IsNaN(x) != math.IsNaN(c.would[k]) {
				t.Errorf("case %d, link %d: %v, want %v", i, k, x, c.would[k])
			} else if !math.IsNaN(x) {
				near(t, "would", x, c.would[k])
			}
		}
		l.Add(int64(i), c.sent, c.moves, nil)
	}
	all := l.Between(0, 5, 0)
	near(t, "cost of what was heard of", all[0].Cost, 3+1+0+1+1+1)
	if all[0].Slots != 3 || all[1].Slots != 5 {
		t.Errorf("%d and %d slots", all[0].Slots, all[1].Slots)
	}
	again := Ledger{Links: l.Links, Second: 8}
	for _, e := range l.slots {
		again.Restore(e.at, wide(e.sent), wide(e.would), e.quality)
		again.Restore(e.at, wide(e.would), wide(e.would), e.quality) // is there already
		again.Restore(e.at+100, nil, nil, nil)                       // of other links
	}
	if !reflect.DeepEqual(again.Between(0, 500, 0), all) {
		t.Errorf("restored: %+v, was %+v", again.Between(0, 500, 0), all)
	}
	near(t, "a short month costs as much", (&Price{PerMbps: 1}).BillOf([]float64{1e6}, 10, 10), 1)
}

func wide(l []float32) (out []float64) {
	for _, x := range l {
		out = append(out, float64(x))
	}
	return out
}

func TestCeilingStopsAndLetsGoLater(t *testing.T) {
	c := Ceiling{ExtraStalls: 0.1, Later: 10, Least: 5, Calm: 2}
	good, bad := Quality{Moved: 10, Left: 10}, Quality{Moved: 10, Left: 10, MovedStalls: 2}
	half := Quality{Moved: 10, Left: 10, MovedStalls: 0.8}
	for i, s := range []struct {
		q    Quality
		stop bool
		why  string
	}{
		{good, false, ""}, {half, false, ""}, {bad, true, "stalls"}, {half, true, "stalls"}, {good, true, CalmingDown}, {half, true, "stalls"},
		{good, true, CalmingDown}, {good, true, CalmingDown}, {good, false, ""},
		{Quality{Moved: 4, MovedStalls: 4}, false, ""}, {Quality{LaterSum: 11, LaterCounted: 1}, true, "latency"},
	} {
		if stop, why := c.Judge(s.q); stop != s.stop || why != s.why {
			t.Errorf("step %d: %v %q, want %v %q", i, stop, why, s.stop, s.why)
		}
	}
	if stop, why := c.Stopped(); !stop || why != "latency" {
		t.Errorf("stopped %v by %q", stop, why)
	}
}

// TestChanceIsNoHarm: one stall is chance, three are not; a stop outlives the
// daemon.
func TestChanceIsNoHarm(t *testing.T) {
	c := Ceiling{Least: 5, Sure: 1.64, Calm: 1}
	for _, s := range []struct {
		moved, left float64
		stop        bool
	}{{1, 0, false}, {2, 0, false}, {30, 25, false}, {60, 25, true}} {
		again := c
		if stop, _ := again.Judge(Quality{Moved: 100, Left: 100, MovedStalls: s.moved, LeftStalls: s.left}); stop != s.stop {
			t.Errorf("%v: stop %v", s, stop)
		}
	}
	c.Resume("stalls")
	for i, want := range []bool{true, false} {
		if stop, _ := c.Judge(Quality{}); stop != want {
			t.Errorf("judgement %d: %v", i, stop)
		}
	}
}

// TestEstimate: an answer stands for as much of what its POP sent as any other,
// what redirects brought is known and not counted twice, and nothing is moved
// from a POP to itself.
func TestEstimate(t *testing.T) {
	nan := math.NaN()
	for i, c := range []struct {
		sent       []float64
		answers    []Answers
		redirected []Move
		want       []Move
	}{
		{[]float64{9, 8}, nil, nil, nil},
		{[]float64{9, 8}, []Answers{{0, 0, 5}, {1, 1, 30}, {0, 1, 10}}, nil, []Move{{0, 1, 2}}},
		{[]float64{9, 8}, []Answers{{1, 1, 30}, {0, 1, 6}, {0, 1, 4}}, []Move{{0, 1, 4}, {1, 1, 3}}, []Move{{0, 1, 5}}},
		{[]float64{9, 8}, nil, []Move{{0, 1, 40}}, []Move{{0, 1, 8}}}, // more than it sent
		{[]float64{9, nan, 1}, []Answers{{0, 1, 10}, {0, 2, 1}, {1, 2, 1}}, []Move{{0, 1, 1}}, []Move{{0, 2, 0.5}, {1, 2, 0.5}}},
	} {
		got := Estimate(c.sent, c.answers, c.redirected)
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("case %d: %v, want %v", i, got, c.want)
		}
	}
	q := Later([]float64{9, 8, nan}, []Move{{0, 1, 2}, {0, 2, 1}, {1, 0, 1}}, [][]float64{{0, 20, nan}, {math.Inf(1), 0, 1}, {1, 1, 0}})
	near(t, "of the first", q[0].Later(), 2*20.0/(9+3-1))
	near(t, "of the second", q[1].Later(), 0)
	near(t, "all sessions", q[0].LaterCounted+q[1].LaterCounted+q[2].LaterCounted, 17)
}
