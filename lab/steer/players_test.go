package steer

import "testing"

// TestPlayersDoNotNotice: of 10,000 players none stalls more often than beside
// the nearest POP, a good part of the bytes goes to the cheap one, and sending
// everybody there is noticed, or the worlds would prove nothing.
func TestPlayersDoNotNotice(t *testing.T) {
	const n = 10_000
	sums, extras := Players(n)
	for mode := range modes {
		s, extra := &sums[mode], extras[mode]
		away := s.Cheap / (s.Cheap + s.Near)
		t.Logf("%-14v stalls %d (%.0f s), extra for %d players, startup %.2f s; %.1f %% of bytes from the cheap POP, %d redirects, %d paced, %d seeks, peak of the near POP %.2f MB/s",
			mode, s.Stalls, s.Stalled, extra, s.Startup/float64(n), 100*away, s.Redirects, s.Paced, s.Seeks, s.PeakNear/float64(n)/1e6)
		if mode != Cheapest && extra > 0 || s.TooSure > 0 {
			t.Errorf("%v: %d players stall more often, %d redirects with less buffer than thought", mode, extra, s.TooSure)
		}
		if (mode == Ours || mode == DNS) && away < 0.2 {
			t.Errorf("%.1f %% of bytes from the cheap POP: too little to prove anything", 100*away)
		}
		if mode == Cheapest && extra == 0 {
			t.Error("nobody notices anything: the worlds prove nothing")
		}
	}
}
