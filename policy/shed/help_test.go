package shed

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

// TestHelpHelps: a POP that is not overloaded does not make room by bringing
// as much to those that are. In a plan of the whole fleet that may come back
// to it; the others may never do their part. Where its load goes elsewhere it
// helps.
func TestHelpHelps(t *testing.T) {
	for _, c := range []struct {
		seed uint64
		to   map[policy.POPID]float64 // where B's load goes, as an operator said
		code Code
	}{
		{16, map[policy.POPID]float64{"A": 1}, Fine},
		{204, map[policy.POPID]float64{"A": 1}, Fine},
		{612, map[policy.POPID]float64{"A": 1}, Fine},
		{0, map[policy.POPID]float64{"C": 1}, Helping},
	} {
		v, cfg := triangle(rand.New(rand.NewPCG(c.seed, 4)), c.to), Defaults()
		cfg.Normal = 1
		if c.code == Helping {
			helpless(v)
		}
		d, err := Round(cfg, v, t0.Add(10*time.Second))
		if err != nil || d.Code != c.code {
			t.Errorf("seed %d, to %v: %s (%s) %+v, %v; want %s", c.seed, c.to, d.Code, d.Detail, d.Steps, err, c.code)
		}
	}
}

// helpless lets A's load go to B alone, which is nearly full, while C is empty.
func helpless(v *View) {
	v.Matrix = v.Matrix.Measured("A", 1, 0.8, map[policy.POPID]float64{"B": 1}, t0).Measured("B", 1, 0.8, map[policy.POPID]float64{"C": 1}, t0)
	for p, use := range map[policy.POPID]float64{"A": 1.1, "B": 0.9, "C": 0.1} {
		for _, s := range v.Slices {
			v.pop(p).Load[s], v.pop(p).Level[s] = 60*use/8, 0
		}
	}
}

// triangle is a fleet of three: A is overloaded and has stepped back on some
// slices already, and what B does is asked.
func triangle(r *rand.Rand, to map[policy.POPID]float64) *View {
	share := map[policy.POPID]float64{"A": 0.5, "B": 0.25, "C": 0.25}
	m := NewMatrix(DefaultModel(), share, 3)
	m = m.Neighbours("A", map[policy.POPID]float64{"B": 0.5, "C": 0.5})
	m = m.Neighbours("B", to).Neighbours("C", map[policy.POPID]float64{"A": 1})
	v := &View{Me: "B", Matrix: m}
	for i := range 8 {
		v.Slices = append(v.Slices, sliceID(i))
	}
	use := map[policy.POPID]float64{"A": 1 + r.Float64()/2, "B": 0.3 + 0.65*r.Float64(), "C": 0.3 + 0.6*r.Float64()}
	for _, p := range []policy.POPID{"A", "B", "C"} {
		pop := POP{ID: p, Capacity: 60, At: t0, Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]Level{}}
		for _, s := range v.Slices {
			pop.Load[s], pop.Level[s] = 60*use[p]/8*(0.5+r.Float64()), 0
			if p == "A" && r.IntN(3) == 0 {
				pop.Level[s] = 1
			}
		}
		v.POPs = append(v.POPs, pop)
	}
	return v
}
