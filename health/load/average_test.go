package load

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

var epoch = time.Unix(1_000_000, 0)

func at(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * 1e9)) }

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-6*max(1, math.Abs(want)) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// times are irregular sampling times in (0, end], end among them.
func times(rng *rand.Rand, end float64) (ts []float64) {
	for t := rng.Float64() * 3; t < end; t += 0.01 + rng.Float64()*rng.Float64()*9 {
		ts = append(ts, t)
	}
	return append(ts, end)
}

// A step is seen to 63 % after the time constant, whenever it was sampled.
func TestAverageOfStep(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		a := Average{Constant: 10 * time.Second}
		a.Mean(100, at(0))
		for _, s := range times(rng, 10) {
			a.Mean(200, at(s))
		}
		v, last := a.Value()
		near(t, "after one constant", v, 200-100*math.Exp(-1))
		if !last.Equal(at(10)) {
			t.Fatalf("as of %v", last)
		}
		for _, s := range times(rng, 20) {
			a.Mean(200, at(10+s))
		}
		v, _ = a.Value()
		near(t, "after three", v, 200-100*math.Exp(-3))
	}
}

// A straight line gives the same average however it is sampled: what a
// low-pass makes of it.
func TestAverageOfRamp(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		a := Average{Constant: 10 * time.Second}
		a.Sample(50, at(0))
		end := 1 + rng.Float64()*60
		for _, s := range times(rng, end) {
			a.Sample(50+7*s, at(s))
		}
		v, _ := a.Value()
		near(t, "ramp", v, 50+7*(end-10*(1-math.Exp(-end/10))))
	}
}

func TestAverageBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	a := Average{Constant: time.Second}
	for s := range times(rng, 1000) {
		x := rng.Float64()
		if s%2 == 0 {
			a.Mean(x, at(float64(s)))
		} else {
			a.Sample(x, at(float64(s)))
		}
		if v, _ := a.Value(); v < 0 || v > 1 {
			t.Fatalf("%v is outside of what went in", v)
		}
	}
}

func TestAverageEdges(t *testing.T) {
	mixed := Average{Constant: time.Second}
	mixed.Mean(10, at(0))
	mixed.Mean(20, at(1000))
	mixed.Sample(20, at(1001))
	if v, _ := mixed.Value(); math.Abs(v-20) > 1e-9 {
		t.Errorf("a steady signal, told in two ways: %v", v)
	}
	none := Average{}
	none.Sample(5, at(0))
	none.Sample(7, at(1))
	if v, _ := none.Value(); v != 7 {
		t.Errorf("without smoothing: %v", v)
	}
	a := Average{Constant: time.Second}
	if _, last := a.Value(); !last.IsZero() {
		t.Error("knows something before the first sample")
	}
	a.Sample(5, at(0))
	a.Sample(9, at(1e-9)) // almost the same time: almost no weight
	v, _ := a.Value()
	near(t, "no time passed", v, 5)
}
