package metrics

import "testing"

func someIngress() Ingress {
	return Ingress{
		Targets: []IngressTarget{{POP: "LON", Assigned: 3, Load: 80, Capacity: 100}, {POP: "OSL", Assigned: 1, Load: 7}},
		Waiting: 2, Plain: 1, Moves: map[string]uint64{"overload": 4, "gone": 1},
	}
}

func TestIngress(t *testing.T) {
	got := map[string]float64{} // by name and last label
	for name, f := range gather(t, filled()) {
		for _, m := range f.GetMetric() {
			last := ""
			if l := m.GetLabel(); len(l) > 0 {
				last = l[len(l)-1].GetValue()
			}
			got[name+" "+last] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	for series, want := range map[string]float64{
		IngressAssigned + " LON": 3, IngressLoad + " LON": 80, IngressCapacity + " LON": 100, IngressLoad + " OSL": 7,
		IngressWaiting + " ": 2, IngressUnassigned + " ": 1, IngressMoves + " overload": 4, IngressMoves + " gone": 1,
	} {
		if x, ok := got[series]; !ok || x != want {
			t.Errorf("%s: got %v (%v), want %v", series, x, ok, want)
		}
	}
	if _, ok := got[IngressCapacity+" OSL"]; ok {
		t.Error("a capacity that is not set has a series")
	}
	m := New(Build{})
	m.WatchIngress(func() Ingress { return Ingress{Disabled: true} })
	if _, ok := gather(t, m)[IngressWaiting]; ok {
		t.Error("series without ingress routers")
	}
}
