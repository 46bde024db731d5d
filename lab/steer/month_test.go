package steer

import "testing"

// TestMonthIsCheaper: with the share of traffic that moves unnoticed, the month
// is cheaper than beside the nearest POPs, within the budget of delay and
// without a POP above its capacity. make sim-cost plays more of them.
func TestMonthIsCheaper(t *testing.T) {
	all := NewMonth(0, 0.38).Run(0.02)
	ours := all[len(all)-1]
	for _, c := range all {
		t.Log(c)
	}
	if ours.Total > 0.9*all[0].Total || ours.Later > 3.0001 || ours.Stuck > all[0].Stuck+1e-9 {
		t.Errorf("%+v beside %+v", ours, all[0])
	}
}
