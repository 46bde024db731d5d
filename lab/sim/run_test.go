package sim

import (
	"testing"
	"time"
)

// TestPlay: one overloaded POP among sixteen sheds to others within minutes,
// overloads nobody, and takes its slices back afterwards.
func TestPlay(t *testing.T) {
	f := NewFleet(3, 5000, 300, 16, 8, [2]float64{1.5, 1.8})
	sc := f.NewScenario(2, 1)
	matrix := f.Matrix(1, 0.002)
	got := map[string]Metrics{}
	for _, p := range f.Policies() {
		if p.Name == "nothing" || p.Name == "ours" || p.Name == "withdraw" {
			got[p.Name] = f.Play(&sc, p, matrix)
		}
	}
	none, ours := got["nothing"], got["ours"]
	if none.Over < 1000 {
		t.Fatalf("nothing is overloaded: %+v", none)
	}
	if ours.Over > none.Over/4 || ours.Caused > 0 || ours.Turns > 1 || ours.Settled > 5*time.Minute {
		t.Errorf("ours %+v, nothing %+v", ours, none)
	}
	if ours.Changes == 0 || ours.Moved == 0 {
		t.Errorf("ours did nothing: %+v", ours)
	}
	f = NewFleet(3, 5000, 300, 16, 8, [2]float64{1.5, 1.8})
	if again := f.Play(&sc, f.Policies()[8], f.Matrix(1, 0.002)); again != ours {
		t.Errorf("not a function of its seed: %+v, %+v", again, ours)
	}
}

// TestFail: a POP that fails carries nothing, is planned around, and comes
// back.
func TestFail(t *testing.T) {
	f := NewFleet(3, 5000, 300, 12, 4, [2]float64{1.4, 1.6})
	sc := f.NewScenario(2, 1)
	f.Fail(&sc, 2)
	if len(sc.Failures) != 2 || sc.Failures[0].POP == sc.Surges[0].POP {
		t.Fatalf("%+v", sc.Failures)
	}
	x := sc.Failures[0]
	down, up := false, false
	watch := Policy{Name: "watch", All: func(r *run) {
		load := sum(r.load[x.POP])
		if r.at > x.From+time.Minute && r.at < x.To {
			down = true
			if load > 0 {
				t.Errorf("%v: the POP that failed carries %.3f", r.at, load)
			}
			if v := r.view(0); r.at > x.From+3*time.Minute && len(v.POPs[x.POP].Level) > 0 {
				t.Errorf("%v: others still hear it announced", r.at)
			}
		}
		up = up || r.at > x.To+2*time.Minute && load > 0
	}}
	f.Play(&sc, watch, f.Matrix(1, 0.002))
	if !down || !up {
		t.Errorf("down %v, back %v", down, up)
	}
}
