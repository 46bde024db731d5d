package sim

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/catchment/catchment/policy/shed"
)

// TestCut: without some links clients reach other POPs, few reach none, and
// the graph that was cut from is as before.
func TestCut(t *testing.T) {
	g := NewGraph(1, 600, 20, ladder)
	level := make([]shed.Level, 20)
	before := g.Catchment(level)
	cut := g.Without(rand.New(rand.NewPCG(1, 2)), 0.5, 0.7).Catchment(level)
	moved, none := 0, 0
	for i, p := range g.Catchment(level) {
		switch {
		case p != before[i]:
			t.Fatalf("network %d is at %d, was at %d: the cut changed the graph it was made from", i, p, before[i])
		case cut[i] < 0:
			none++
		case cut[i] != p:
			moved++
		}
	}
	if moved < 20 || none > 60 {
		t.Errorf("of 600 networks %d reach another POP and %d none", moved, none)
	}
}

// TestCutRun: a cut shows in the loads while it lasts, and not afterwards.
func TestCutRun(t *testing.T) {
	f := NewFleet(3, 5000, 300, 12, 4, [2]float64{1.4, 1.6})
	sc := f.NewScenario(2, 1)
	sc.Surges = nil
	f.Cut(&sc)
	c := sc.Cuts[0]
	apart := map[string]int{}
	watch := Policy{Name: "watch", All: func(r *run) {
		when := "outside"
		if r.at > c.From+time.Minute && r.at < c.To {
			when = "inside"
		} else if r.at >= c.From && r.at < c.To+time.Minute {
			return
		}
		for i, q := range r.cur[0] {
			if q != f.base[i] {
				apart[when]++
			}
		}
	}}
	f.Play(&sc, watch, f.Matrix(1, 0.002))
	if apart["inside"] == 0 || apart["outside"] > 0 {
		t.Errorf("networks away from home: %v", apart)
	}
}

// TestAttack: an attack overloads, absorbing all does nothing about it, and
// users lose what they cannot be served.
func TestAttack(t *testing.T) {
	f := NewFleet(3, 5000, 300, 30, 4, [2]float64{1.4, 1.6})
	sc := f.NewScenario(2, 1)
	sc.Surges = nil
	f.Attack(&sc)
	got := map[string]Metrics{}
	for _, p := range append(f.Policies(), absorbing()...) {
		if p.Name == "nothing" || p.Name == "ours" || p.Name == "ours, absorb all" {
			got[p.Name] = f.Play(&sc, p, f.Matrix(1, 0.002))
		}
	}
	none, all, ours := got["nothing"], got["ours, absorb all"], got["ours"]
	if none.Over == 0 || none.Denied == 0 || none.Denied >= none.Wanted {
		t.Fatalf("nothing is overloaded: %+v", none)
	}
	if all.Changes != 0 || math.Abs(all.Denied-none.Denied) > 1e-9 {
		t.Errorf("absorbing all: %+v, nothing %+v", all, none)
	}
	if ours.Denied > none.Denied*1.001 {
		t.Errorf("ours loses more of the users' load: %+v, nothing %+v", ours, none)
	}
}

// TestLayers: layered DNS moves only users, and only those whose resolver's
// POP says so; the ideal moves what it is told.
func TestLayers(t *testing.T) {
	f := NewFleet(3, 5000, 300, 12, 4, [2]float64{1.4, 1.6})
	elsewhere := 0
	for i, p := range f.proxy {
		if p != i {
			elsewhere++
		}
	}
	if elsewhere < 30 || elsewhere > 100 {
		t.Errorf("of 300 networks %d use a resolver elsewhere", elsewhere)
	}
	sc := f.NewScenario(2, 1)
	for _, p := range f.Policies() {
		if p.Name != "layered DNS" && p.Name != "ideal DNS" {
			continue
		}
		if m := f.Play(&sc, p, f.Matrix(1, 0.002)); m.Moved <= 0 || m.Changes != 0 {
			t.Errorf("%s: %+v", p.Name, m)
		}
	}
}
