package shed

import (
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

// TestNotBackIntoAnAttack: the demand of an attacked slice comes from
// elsewhere than that of the others, so what comes back with it is what was
// there when the POP stepped back, as long as the attack lasts.
func TestNotBackIntoAnAttack(t *testing.T) {
	for _, c := range []struct {
		name   string
		asked  float64 // of the slice, now
		before Before
		code   Code
	}{
		{"nothing is remembered", 60, Before{}, Returning},
		{"the attack goes on", 60, Before{Had: 58, Of: 60}, Waiting},
		{"it is half of what it was", 30, Before{Had: 58, Of: 60}, Returning},
		{"it came as users do", 60, Before{Had: 30, Of: 60}, Returning},
		{"it has grown meanwhile", 110, Before{Had: 30, Of: 60}, Waiting},
		{"nonsense is no more than all", 30, Before{Had: 600, Of: 60}, Returning},
	} {
		v := &View{Me: "A", Matrix: NewMatrix(DefaultModel(), map[policy.POPID]float64{"A": 0.5, "B": 0.5}, 2)}
		v.Matrix = v.Matrix.Measured("A", 1, 1, map[policy.POPID]float64{"B": 1}, t0)
		a := POP{ID: "A", Capacity: 100, At: t0, Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]Level{}}
		b := POP{ID: "B", Capacity: 500, At: t0, Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]Level{}}
		for i := range 8 {
			id := sliceID(i)
			v.Slices = append(v.Slices, id)
			a.Load[id], b.Load[id], a.Level[id], b.Level[id] = 4, 4, 0, 0
		}
		a.Load[sliceID(0)], a.Level[sliceID(0)], b.Load[sliceID(0)] = 0, 1, c.asked
		v.POPs = []POP{a, b}
		v.Claims = []Claim{{POP: "A", Slice: sliceID(0), Level: 1, Before: c.before}}
		d, err := Round(Defaults(), v, t0.Add(time.Second))
		if err != nil || d.Code != c.code {
			t.Errorf("%s: %s (%s), %v; want %s", c.name, d.Code, d.Detail, err, c.code)
		}
		if d.Code == Returning && d.Steps[0].Before != c.before {
			t.Errorf("%s: the step says %+v", c.name, d.Steps[0].Before)
		}
	}
}

// TestBeforeIsOfTheFirstStep: a second step back on a slice keeps what the
// claim of the first says.
func TestBeforeIsOfTheFirstStep(t *testing.T) {
	v := &View{Me: "A", Matrix: NewMatrix(DefaultModel(), map[policy.POPID]float64{"A": 0.5, "B": 0.5}, 3)}
	v.Slices = []policy.SliceID{sliceID(0), sliceID(1)}
	load := map[policy.SliceID]float64{sliceID(0): 7, sliceID(1): 9}
	v.POPs = []POP{
		{ID: "A", Capacity: 100, At: t0, Load: load, Level: map[policy.SliceID]Level{sliceID(0): 1, sliceID(1): 0}},
		{ID: "B", Capacity: 100, At: t0, Load: load, Level: map[policy.SliceID]Level{sliceID(0): 0, sliceID(1): 0}},
	}
	v.Claims = []Claim{{POP: "B", Slice: sliceID(0), Level: 1, Before: Before{1, 2}}, {POP: "A", Slice: sliceID(0), Level: 1, Before: Before{30, 40}}}
	f, err := newFleet(Defaults(), v, t0)
	if err != nil {
		t.Fatal(err)
	}
	for s, want := range []Before{{30, 40}, {9, 18}} {
		if got := f.before(s); got != want {
			t.Errorf("slice %d: %+v, want %+v", s, got, want)
		}
	}
}
