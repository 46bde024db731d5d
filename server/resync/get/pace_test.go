package get

import (
	"testing"
	"time"
)

// TestPace: the fastest half second counts; what stood still between does not.
func TestPace(t *testing.T) {
	var p pace
	now := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for i, c := range []struct {
		n    int
		wait time.Duration
		want uint64
	}{
		{1e9, 0, 0}, {1000, 400 * time.Millisecond, 0}, {1000, 100 * time.Millisecond, 4000},
		{100, 10 * time.Second, 4000}, {9000, 500 * time.Millisecond, 18_000}, {10, 499 * time.Millisecond, 18_000},
	} {
		now = now.Add(c.wait)
		if p.add(c.n, now); p.best != c.want {
			t.Errorf("step %d: %d, want %d", i, p.best, c.want)
		}
	}
}
