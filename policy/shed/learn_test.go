package shed

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

var shares = map[policy.POPID]float64{"A": 0.4, "B": 0.3, "C": 0.2, "D": 0.1}

// event is what the world shows if A goes to a level that moves leave of its
// demand, 70 % to C and 30 % to D, with noise on every share.
func event(r *rand.Rand, level Level, leave, noise float64) Event {
	before, after := map[policy.POPID]float64{}, map[policy.POPID]float64{}
	growth := 0.5 + r.Float64()
	for p, s := range shares {
		before[p] = s * (1 + noise*r.NormFloat64()/math.Sqrt(s))
		after[p] = growth * s * (1 + noise*r.NormFloat64()/math.Sqrt(s))
	}
	moved := leave * after["A"]
	after["A"] -= moved
	after["C"] += 0.7 * moved
	after["D"] += 0.3 * moved
	return Event{POP: "A", To: level, Before: before, After: after, At: t0, Drift: noise * math.Sqrt2}
}

// TestObserve: after one event the split is known, for that level and nearly
// so for others; growth of all demand does not matter.
func TestObserve(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	m := NewMatrix(DefaultModel(), shares, 4)
	before := m.Lookup("A", 1, t0)
	got, err := m.Observe(event(r, 1, 0.8, 0.001))
	if err != nil {
		t.Fatal(err)
	}
	if now := m.Lookup("A", 1, t0); now.Events != 0 || now.Leave != before.Leave {
		t.Error("observing changed the matrix it was asked of")
	}
	k := got.Lookup("A", 1, t0)
	if k.Events != 1 || math.Abs(k.Leave.Mean-0.8) > 0.01 {
		t.Errorf("leaves %.3f after %d events", k.Leave.Mean, k.Events)
	}
	for _, c := range []struct {
		level Level
		tol   float64
	}{{1, 0.02}, {2, 0.06}} {
		for _, p := range got.Lookup("A", c.level, t0).To {
			want := map[policy.POPID]float64{"C": 0.56, "D": 0.24}[p.POP]
			if math.Abs(p.Mean-want) > c.tol {
				t.Errorf("level %d: %.3f to %s, want %.3f", c.level, p.Mean, p.POP, want)
			}
		}
	}
	one, two := k.To[1].SD, got.Lookup("A", 2, t0).To[1].SD
	if one >= two || two >= before.To[1].SD {
		t.Errorf("uncertainty %.3f observed, %.3f of another level, %.3f before", one, two, before.To[1].SD)
	}
	if later := got.Lookup("A", 1, t0.Add(60*24*time.Hour)); later.To[1].SD <= one || later.Age != 60*24*time.Hour {
		t.Errorf("two months later: %.3f, age %v", later.To[1].SD, later.Age)
	}
}

// TestObserveReturn: taking a slice back teaches the same.
func TestObserveReturn(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	e := event(r, 1, 0.8, 0.001)
	back := Event{POP: "A", From: 1, To: 0, Before: e.After, After: e.Before, At: t0, Drift: e.Drift}
	back.Demand = total(back.Before) * 0.4
	m, err := NewMatrix(DefaultModel(), shares, 3).Observe(back)
	if err != nil {
		t.Fatal(err)
	}
	k := m.Lookup("A", 1, t0)
	if math.Abs(k.Leave.Mean-0.8) > 0.02 || math.Abs(k.To[1].Mean-0.56) > 0.03 {
		t.Errorf("leaves %.3f, to C %.3f", k.Leave.Mean, k.To[1].Mean)
	}
}

// TestObserveCoverage: 95 % intervals of amount and split hold about that
// often, whatever the noise and the number of events.
func TestObserveCoverage(t *testing.T) {
	for _, noise := range []float64{0.002, 0.01, 0.02} {
		in, all := 0, 0
		for seed := range uint64(400) {
			r := rand.New(rand.NewPCG(seed, 9))
			m := NewMatrix(DefaultModel(), shares, 3)
			for range 1 + r.IntN(4) {
				m, _ = m.Observe(event(r, 1, 0.8, noise))
			}
			for _, p := range m.Lookup("A", 1, t0).To {
				want := map[policy.POPID]float64{"C": 0.56, "D": 0.24}[p.POP]
				all++
				if math.Abs(p.Mean-want) <= 1.96*p.SD {
					in++
				}
			}
		}
		if part := float64(in) / float64(all); part < 0.93 {
			t.Errorf("noise %g: %.1f %% of 95 %% intervals hold", noise, 100*part)
		}
	}
}

func TestObserveRefuses(t *testing.T) {
	m := NewMatrix(DefaultModel(), shares, 2)
	good := event(rand.New(rand.NewPCG(1, 1)), 1, 0.5, 0)
	for name, spoil := range map[string]func(*Event){
		"a POP not in the matrix": func(e *Event) { e.POP = "Q" },
		"a level it has not":      func(e *Event) { e.To = 7 },
		"no change":               func(e *Event) { e.To = 0 },
		"no load":                 func(e *Event) { e.Before = nil },
		"demand unknown":          func(e *Event) { e.From, e.To = 1, 0 },
	} {
		e := good
		spoil(&e)
		if got, err := m.Observe(e); err == nil || got != m {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSeeds: an operator's neighbours and a measured file replace the spread
// by size, in growing certainty.
func TestSeeds(t *testing.T) {
	size := NewMatrix(DefaultModel(), shares, 2)
	hint := size.Neighbours("A", map[policy.POPID]float64{"C": 3, "D": 1})
	file := size.Measured("A", 1, 0.9, map[policy.POPID]float64{"C": 3, "D": 1}, t0)
	get := func(m *Matrix) Part { return m.Lookup("A", 1, t0).To[1] }
	s, h, f := get(size), get(hint), get(file)
	if s.POP != "C" || math.Abs(s.Mean-0.7/3) > 1e-9 {
		t.Errorf("by size: %+v", s)
	}
	if math.Abs(h.Mean-0.7*(0.9*0.75+0.1/3)) > 1e-9 || math.Abs(f.Mean-0.9*0.75) > 1e-9 {
		t.Errorf("hinted %+v, measured %+v", h, f)
	}
	if !(f.SD < h.SD) {
		t.Errorf("uncertainty: measured %.3f, hinted %.3f", f.SD, h.SD)
	}
}

// TestSurprise: a step that moves what was forecast is none; one that lands
// elsewhere is, and says where.
func TestSurprise(t *testing.T) {
	st := Step{Moves: 8, Arrive: []Arrival{{POP: "C", Mean: 8}}}
	before := map[policy.POPID]float64{"A": 10, "B": 10, "C": 10}
	if wrong, d := Defaults().Surprise("A", st, before, map[policy.POPID]float64{"A": 2.2, "B": 10, "C": 17.8}, 100); wrong {
		t.Error(d)
	}
	wrong, d := Defaults().Surprise("A", st, before, map[policy.POPID]float64{"A": 2, "B": 18, "C": 10}, 100)
	if !wrong || d == "" {
		t.Error("all of it went elsewhere, and nobody is surprised")
	}
}

// TestForecast: intervals of a withdraw, and plans that take room into account.
func TestForecast(t *testing.T) {
	v := four(4)
	var all []Change
	for _, s := range v.Slices {
		all = append(all, Change{POP: "A", Slice: s, To: 2})
	}
	got, err := Forecast(Defaults(), v, all, t0)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for i, want := range []float64{0, 110, 80, 60} {
		if g := got[i]; math.Abs(g.Mean-want) > 0.5 || !g.Known || g.High(1.96) <= g.Mean && want > 0 {
			t.Errorf("%+v, want %.0f", g, want)
		}
		sum += got[i].Mean
	}
	if math.Abs(sum-250) > 1e-6 {
		t.Errorf("%.2f of 250 after the change", sum)
	}
	if _, err := Forecast(Defaults(), v, []Change{{POP: "Q"}}, t0); err == nil {
		t.Error("forecast of a POP of no fleet")
	}
	out, err := Plan(Defaults(), v, t0)
	if err != nil || len(out.Changes) == 0 || out.Overload > 1e-9 {
		t.Errorf("%+v, %v", out, err)
	}
}

// TestFleet: POPs come and go; what was learned of the others stays.
func TestFleet(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	m, err := NewMatrix(DefaultModel(), shares, 3).Observe(event(r, 1, 0.8, 0.001))
	if err != nil {
		t.Fatal(err)
	}
	m = m.Played(map[policy.POPID]Level{"D": 1}, map[policy.POPID]float64{"B": 1, "D": 1}, map[policy.POPID]float64{"D": 2}, t0)
	got := m.Fleet(map[policy.POPID]float64{"A": 0.4, "B": 0.3, "C": 0.2, "E": 0.1}, 3)
	k := got.Lookup("A", 1, t0)
	sum := 0.0
	for _, p := range k.To {
		sum += p.Mean
		if p.POP == "D" {
			t.Error("D has left and still gets load")
		}
		if p.POP == "C" && p.Mean < 0.4 {
			t.Errorf("C gets %.2f, 0.56 was learned", p.Mean)
		}
	}
	if k.Events != 1 || math.Abs(sum-k.Leave.Mean) > 1e-9 || len(k.To) != 3 {
		t.Errorf("%+v", k)
	}
	if e := got.Lookup("E", 1, t0); len(e.To) != 3 || e.Events != 0 {
		t.Errorf("the new one: %+v", e)
	}
	if len(got.Plays) != 0 || len(m.Fleet(shares, 3).Plays) != 1 {
		t.Error("plays of POPs that left stay, or others go")
	}
}
