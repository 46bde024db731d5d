package metrics

import (
	"math"
	"testing"
	"time"
)

// someLoad has a series of each kind.
func someLoad() Load {
	return Load{
		Values: []LoadValue{
			{Of: "pop", Unit: "out", Value: 5e9, Known: true, Capacity: 10e9, At: time.Now()},
			{Of: "host", Name: "local", Unit: "cpu"},
		},
		Sources: []LoadSource{{"eth0", true}, {"nginx", false}},
	}
}

// TestUnknownLoadIsNoZero: what is not known has no series, but an age.
func TestUnknownLoadIsNoZero(t *testing.T) {
	got := map[string]float64{} // by name and last label
	for name, f := range gather(t, filled()) {
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); len(l) > 0 {
				got[name+" "+l[len(l)-1].GetValue()] = m.GetGauge().GetValue()
			}
		}
	}
	if age := got[LoadAge+" out"]; age < 0 || age > 60 || !math.IsInf(got[LoadAge+" cpu"], 1) {
		t.Errorf("ages %v, %v", age, got[LoadAge+" cpu"])
	}
	for series, want := range map[string]float64{
		LoadCurrent + " out": 5e9, LoadCapacity + " out": 10e9, LoadSourceUp + " eth0": 1, LoadSourceUp + " nginx": 0,
	} {
		if x, ok := got[series]; !ok || x != want {
			t.Errorf("%s: got %v, want %v", series, x, want)
		}
	}
	for _, series := range []string{LoadCurrent + " cpu", LoadCapacity + " cpu"} {
		if x, ok := got[series]; ok {
			t.Errorf("%s is there: %v", series, x)
		}
	}
}
