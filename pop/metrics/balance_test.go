package metrics

import "testing"

func someBalance() Balance {
	return Balance{Rounds: map[string]uint64{"fine": 7}, Steps: map[string]uint64{"made": 2, "refused": 1},
		POPs: []BalancePOP{{POP: "MAD", Load: 30, Capacity: 60, Room: 20, Reserved: 5, Lent: 0.2}, {POP: "AMS"}}}
}

func TestBalance(t *testing.T) {
	m := New(Build{})
	m.WatchBalance(someBalance)
	got := map[string]float64{} // by name and label
	for name, f := range gather(t, m) {
		for _, s := range f.GetMetric() {
			if l := s.GetLabel(); len(l) == 1 {
				got[name+" "+l[0].GetValue()] = s.GetGauge().GetValue() + s.GetCounter().GetValue()
			}
		}
	}
	for series, want := range map[string]float64{
		BalanceRounds + " fine": 7, BalanceSteps + " made": 2, BalanceSteps + " refused": 1, BalanceUsed + " MAD": 0.5,
		BalanceRoom + " MAD": 20, BalanceReserved + " MAD": 5, BalanceRoom + " AMS": 0, BalanceLent + " MAD": 0.2, BalanceLent + " AMS": 0,
	} {
		if x, ok := got[series]; !ok || x != want {
			t.Errorf("%s: got %v (%v), want %v", series, x, ok, want)
		}
	}
	if _, ok := got[BalanceUsed+" AMS"]; ok {
		t.Error("a share of a capacity that is not known")
	}
	m.WatchBalance(func() Balance { return Balance{Disabled: true} })
	if _, ok := gather(t, m)[BalanceRounds]; ok {
		t.Error("series of a loop that is off")
	}
}
