package bench

import (
	"slices"
	"testing"
	"time"
)

func TestQuantiles(t *testing.T) {
	var hundred series
	for i := range 100 {
		hundred = append(hundred, time.Duration(100-i))
	}
	for _, c := range []struct {
		name                   string
		s                      series
		median, p99, low, high time.Duration
	}{
		{"none", nil, 0, 0, 0, 0},
		{"one", series{5}, 5, 5, 5, 5},
		{"two", series{8, 2}, 5, 8, 2, 8},
		{"odd", series{9, 1, 4}, 4, 9, 1, 9},
		{"hundred", hundred, 50, 99, 1, 100},
	} {
		before := slices.Clone(c.s)
		if got := c.s.median(); got != c.median {
			t.Errorf("%s: median %d, want %d", c.name, got, c.median)
		}
		if got := c.s.p99(); got != c.p99 {
			t.Errorf("%s: p99 %d, want %d", c.name, got, c.p99)
		}
		if lo, hi := c.s.min(), c.s.max(); lo != c.low || hi != c.high {
			t.Errorf("%s: %d to %d, want %d to %d", c.name, lo, hi, c.low, c.high)
		}
		if !slices.Equal(before, c.s) {
			t.Errorf("%s: the samples were moved", c.name)
		}
	}
}

func TestPhasesAreEvenlySpread(t *testing.T) {
	for interval, settle := range map[time.Duration]time.Duration{
		time.Second:      250 * time.Millisecond,
		10 * time.Second: 500 * time.Millisecond,
	} {
		for _, n := range []int{1, 2, 3, 7, 14, 20, 100} {
			var got []time.Duration
			for i := range n {
				got = append(got, phase(i, n, interval)-settle)
			}
			slices.Sort(got)
			for i, p := range got {
				want := time.Duration((float64(i) + 0.5) / float64(n) * float64(interval))
				if d := p - want; d < -time.Microsecond || d > time.Microsecond {
					t.Fatalf("%v, n=%d: phase %d is %v, want %v", interval, n, i, p, want)
				}
			}
		}
	}
}

func TestCPUTime(t *testing.T) {
	const stat = "812 (a (b) c) S 1 812 812 0 -1 4194304 100 200 0 0 3 4 50 60 20 0 1 0 99 0 0"
	if got, want := cpuTime(stat), 1170*time.Millisecond; got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := cpuTime("812 (x"); got != 0 {
		t.Errorf("broken line: %v", got)
	}
}

func TestGoalLines(t *testing.T) {
	r := newResult(subject{name: "assist-1s"})
	r.down["frr"] = series{60 * time.Millisecond, 76 * time.Millisecond}
	r.down["bird"] = series{2 * time.Millisecond, 15 * time.Millisecond}
	slow, peer := newResult(subject{name: "poll-checker", peer: "checker"}), newResult(subject{name: "checker"})
	for _, router := range routers {
		slow.down[router], peer.down[router] = series{11 * time.Second}, series{10 * time.Second}
	}
	slow.down["bird"] = series{9 * time.Second}
	var got []string
	for _, g := range goals(map[string]*result{"assist-1s": r, "poll-checker": slow, "checker": peer}) {
		got = append(got, g.String())
	}
	want := []string{
		"goal kill-frr-p99-ms 76 75 missed",
		"goal kill-bird-p99-ms 15 15 met",
		"goal polling-vs-fastest-peer 1.1 1 missed",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
}
