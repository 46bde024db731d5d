package shed

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

// TestBest: of a small fleet the best plan of all is shown, of a large one a
// good one; the best leaves no more overload than the good one.
func TestBest(t *testing.T) {
	now := t0.Add(10 * time.Second)
	for _, c := range []struct {
		slices int
		full   float64 // capacity of the others
		exact  bool
	}{{2, 100, true}, {3, 100, true}, {3, 52, true}, {24, 100, false}} {
		v, cfg := four(c.slices), Defaults()
		full(v, c.full)
		best, exact, err := Best(cfg, v, now)
		if err != nil || exact != c.exact {
			t.Fatalf("%+v: exact %v, %v", c, exact, err)
		}
		good, err := Plan(cfg, v, now)
		if err != nil {
			t.Fatal(err)
		}
		if best.Overload > good.Overload+1e-6 {
			t.Errorf("%+v: the best leaves %.3f, a good one %.3f", c, best.Overload, good.Overload)
		}
		if len(best.After) != 4 || (c.full == 52) != (len(best.Changes) == 0) {
			t.Errorf("%+v: %d changes, forecast of %d POPs", c, len(best.Changes), len(best.After))
		}
		after, err := Forecast(cfg, v, best.Changes, now)
		if err != nil || fmt.Sprint(after) != fmt.Sprint(best.After) {
			t.Errorf("%+v: the plan says %v, its forecast %v (%v)", c, best.After, after, err)
		}
	}
}

// TestViewsWithoutSense: nothing is decided, planned or forecast of them, and
// the error says why.
func TestViewsWithoutSense(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*View, *Config)
		want  string
	}{
		"no matrix":      {func(v *View, _ *Config) { v.Matrix = nil }, "no response matrix"},
		"a POP twice":    {func(v *View, _ *Config) { v.POPs = append(v.POPs, v.POPs[1]) }, "B is in the view twice"},
		"without itself": {func(v *View, _ *Config) { v.Me = "Q" }, "Q is not in its own view"},
	} {
		v, cfg := four(2), Defaults()
		c.spoil(v, &cfg)
		_, round := Round(cfg, v, t0)
		_, planned := Plan(cfg, v, t0)
		_, _, best := Best(cfg, v, t0)
		_, forecast := Forecast(cfg, v, nil, t0)
		for what, err := range map[string]error{"round": round, "plan": planned, "best": best, "forecast": forecast} {
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %s: %v, want %q", name, what, err, c.want)
			}
		}
	}
	v := four(2)
	v.Me = ""
	if _, err := Round(Defaults(), v, t0); err == nil {
		t.Error("a round of nobody")
	}
	if _, err := Plan(Config{}, v, t0); err == nil {
		t.Error("a plan with a configuration that is none")
	}
	for _, c := range []Change{{POP: "A", Slice: sliceID(9), To: 1}, {POP: "A", Slice: sliceID(0), To: 3}} {
		if _, err := Forecast(Defaults(), v, []Change{c}, t0); err == nil || !strings.Contains(err.Error(), "not known") {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

// TestMeasuredPlay: where the levels of a slice are those of a measured
// combination, its effect is the forecast, not the composition of single
// responses; and a plan may choose it.
func TestMeasuredPlay(t *testing.T) {
	v := four(1)
	s := v.Slices[0]
	both := []Change{{POP: "A", Slice: s, To: 1}, {POP: "B", Slice: s, To: 1}}
	composed, err := Forecast(Defaults(), v, both, t0)
	if err != nil {
		t.Fatal(err)
	}
	// Measured: all that leaves A and B goes to D.
	v.Matrix = v.Matrix.Played(map[policy.POPID]Level{"A": 1, "B": 1},
		map[policy.POPID]float64{"A": 40, "B": 20, "C": 20, "D": 20}, map[policy.POPID]float64{"A": 20, "B": 10, "C": 20, "D": 50}, t0)
	got, err := Forecast(Defaults(), v, both, t0)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []float64{50, 25, 50, 125} {
		if math.Abs(got[i].Mean-want) > 1e-6 {
			t.Errorf("%s: %.2f, measured %.2f, composed %.2f", got[i].POP, got[i].Mean, want, composed[i].Mean)
		}
	}
	if math.Abs(composed[3].Mean-125) < 10 {
		t.Errorf("composed alone it is the same: %.2f", composed[3].Mean)
	}
	one, err := Forecast(Defaults(), v, both[:1], t0)
	if err != nil || math.Abs(one[3].Mean-58) > 1 {
		t.Errorf("of one of the two: %+v, %v", one[3], err)
	}
	w := four(2) // C is not heard: there is no room for its part of what A alone would send away
	w.Matrix = v.Matrix
	w.pop("C").At = time.Time{}
	w.pop("D").Capacity, w.pop("B").Capacity = 400, 60
	out, _, err := Best(Defaults(), w, t0)
	if err != nil || len(out.Changes) != 2 || out.Overload > 1e-6 {
		t.Errorf("the play is the only way out, and the plan is %+v, %v", out, err)
	}
}

// TestIntervals: more is known of a fresh sample than of an old one, and the
// lower end is never below nothing.
func TestIntervals(t *testing.T) {
	i := Interval{Mean: 10, SD: 20}
	if i.Low(1.96) != 0 || math.Abs(i.High(1.96)-49.2) > 1e-9 {
		t.Errorf("%v to %v", i.Low(1.96), i.High(1.96))
	}
	v := four(2)
	fresh, err1 := Forecast(Defaults(), v, nil, t0)
	old, err2 := Forecast(Defaults(), v, nil, t0.Add(2*time.Minute))
	if err1 != nil || err2 != nil || !(old[1].SD > fresh[1].SD) {
		t.Errorf("sd %.3f fresh, %.3f two minutes old; %v, %v", fresh[1].SD, old[1].SD, err1, err2)
	}
}

// TestKnobs: so many POPs may step back on one slice at a time, and those that
// do not announce it at all for other reasons are not counted.
func TestKnobs(t *testing.T) {
	for _, c := range []struct {
		knobs int
		out   map[policy.POPID]int // slices, from the first, that the POP does not announce
		want  int
	}{{0, map[policy.POPID]int{"D": 2}, 0}, {1, nil, 1}, {1, map[policy.POPID]int{"D": 2}, 2}, {2, map[policy.POPID]int{"D": 1, "C": 2}, 4}} {
		v, cfg := four(3), Defaults()
		cfg.Knobs = c.knobs
		for p, n := range c.out {
			for _, s := range v.Slices[:n] {
				delete(v.pop(p).Level, s)
			}
		}
		f, err := newFleet(cfg, v, t0)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.knobs(); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

// TestNotAnnounced: load gives nothing to a POP that does not announce a slice
// for other reasons, takes nothing of it away, and does not announce it.
func TestNotAnnounced(t *testing.T) {
	v, cfg := four(4), Defaults()
	for _, s := range v.Slices {
		delete(v.pop("D").Level, s)
		v.pop("D").Load[s] = 0
	}
	v.POPs = append(v.POPs, POP{ID: "E", Capacity: 400, At: t0, Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]Level{}})
	f, err := newFleet(cfg, v, t0)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := f.problem()
	for s := range v.Slices {
		for _, i := range []int{3, 4} {
			if !f.out[s][i] || p.Most[s][i] != p.Now[s][i] || p.Demand[s][i] != 0 {
				t.Errorf("slice %d at %s: out %v, level %d up to %d, demand %.1f", s, v.POPs[i].ID, f.out[s][i], p.Now[s][i], p.Most[s][i], p.Demand[s][i])
			}
		}
	}
	d, err := Round(cfg, v, t0.Add(time.Second))
	if err != nil || d.Code != Shedding {
		t.Fatalf("%+v, %v", d, err)
	}
	out, err := Plan(cfg, v, t0)
	for _, c := range out.Changes {
		if c.POP == "D" || c.POP == "E" {
			t.Errorf("the plan changes %+v", c)
		}
	}
	if err != nil {
		t.Error(err)
	}
}

// TestDemandOfWhoIsNormalNowhere: its share is judged by what it keeps, and
// where it keeps next to nothing by what the matrix knows.
func TestDemandOfWhoIsNormalNowhere(t *testing.T) {
	for level, want := range map[Level]float64{1: 100.0 / 8, 2: 0.4 * 150 / 8} {
		v := four(8)
		for _, s := range v.Slices {
			v.pop("A").Level[s], v.pop("A").Load[s] = level, 0
			if level == 1 {
				v.pop("A").Load[s] = 20.0 / 8 // 80 % have left
				v.pop("B").Load[s] = 80.0/8 + 50.0/8 - 50.0/8
			}
		}
		f, err := newFleet(Defaults(), v, t0)
		if err != nil {
			t.Fatal(err)
		}
		f.estimate()
		if got := f.demand[0][0]; math.Abs(got-want) > 0.15*want {
			t.Errorf("level %d: demand %.2f, want about %.2f", level, got, want)
		}
	}
}

// TestCost: of two receivers that are alike the cheaper gets it.
func TestCost(t *testing.T) {
	v, cfg := four(1), Defaults()
	v.Cost = func(from, to policy.POPID) float64 { return map[policy.POPID]float64{"B": 3, "C": 1}[to] }
	f, err := newFleet(cfg, v, t0)
	if err != nil {
		t.Fatal(err)
	}
	r := f.response(0, 1)
	if len(r.To) != 3 || r.To[0].Cost != 3 || r.To[1].Cost != 1 || r.To[2].Cost != 0 {
		t.Errorf("%+v", r.To)
	}
	v.POPs = v.POPs[:3] // D has left, and the matrix does not know it yet
	if f, err = newFleet(cfg, v, t0); err != nil {
		t.Fatal(err)
	}
	if r = f.response(0, 1); len(r.To) != 2 {
		t.Errorf("to a POP that is not there: %+v", r.To)
	}
}

// TestLastPOP: a claim in the core counts before the sample that shows it, and
// a reservation alone is no step back.
func TestLastPOP(t *testing.T) {
	cfg := Defaults() // two others stay normal
	back := Step{Slice: sliceID(0), From: 0, To: 1}
	for name, c := range map[string]struct {
		change func(*View)
		step   Step
		ok     bool
	}{
		"three others": {func(*View) {}, back, true},
		"one has claimed to step back": {func(v *View) {
			v.Claims = []Claim{{POP: "B", Slice: sliceID(0), Level: 1}}
		}, back, true},
		"two have": {func(v *View) {
			v.Claims = []Claim{{POP: "B", Slice: sliceID(0), Level: 1}, {POP: "C", Slice: sliceID(0), Level: 2}}
		}, back, false},
		"of another slice": {func(v *View) {
			v.Claims = []Claim{{POP: "B", Slice: sliceID(1), Level: 1}, {POP: "C", Slice: sliceID(1), Level: 1}}
		}, back, true},
		"two are not heard":     {func(v *View) { v.pop("B").At, v.pop("C").At = time.Time{}, time.Time{} }, back, false},
		"two do not announce":   {func(v *View) { delete(v.pop("B").Level, sliceID(0)); delete(v.pop("C").Level, sliceID(0)) }, back, false},
		"it is taken back":      {func(v *View) { v.POPs = v.POPs[:1] }, Step{Slice: sliceID(0), From: 1, To: 0}, true},
		"to a milder rung only": {func(v *View) { v.POPs = v.POPs[:1] }, Step{Slice: sliceID(0), From: 2, To: 1}, true},
	} {
		v := four(2)
		c.change(v)
		if err := cfg.Admit(v, c.step, t0); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestNothingToLearn: neighbours that are none, and a sample in which nothing
// moved, leave what is known of where load goes.
func TestNothingToLearn(t *testing.T) {
	m := NewMatrix(DefaultModel(), shares, 2)
	if got := m.Neighbours("A", map[policy.POPID]float64{"A": 1}); fmt.Sprint(got.Rows["A"].Split) != fmt.Sprint(m.Rows["A"].Split) {
		t.Error("a POP is its own neighbour")
	}
	same := map[policy.POPID]float64{"A": 40, "B": 30, "C": 20, "D": 10}
	got, err := m.Observe(Event{POP: "A", To: 1, Before: same, After: same, At: t0})
	if err != nil {
		t.Fatal(err)
	}
	if l := got.Rows["A"].Levels[1]; len(l.Split) != 0 || l.Leave.Events != 1 || !(l.Leave.Mean < 0.1) {
		t.Errorf("of an event that moved nothing: %+v", l)
	}
	if k := got.Lookup("Q", 1, t0); k.Events != 0 || len(k.To) != 0 {
		t.Errorf("a POP that is not in the matrix: %+v", k)
	}
	if k := got.Lookup("A", 9, t0); len(k.To) != 0 {
		t.Errorf("a level that it has not: %+v", k)
	}
}
