package bench

import (
	"slices"
	"time"
)

// series are the samples of one figure of a row.
type series []time.Duration

// quantile returns the nearest-rank quantile, 0 for no samples. With fewer
// than 100 samples the 99th percentile is the maximum.
func (s series) quantile(q float64) time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	rank := int(q*float64(len(sorted)) + 0.9999999)
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// median is the middle sample, or the mean of the two in the middle.
func (s series) median() time.Duration {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func (s series) p99() time.Duration { return s.quantile(0.99) }

func (s series) min() time.Duration { return s.quantile(0) }

func (s series) max() time.Duration { return s.quantile(1) }

// phase is the i-th of n waits that are spread evenly over the interval and
// begin a quarter of it or half a second later, when what the last change set
// off is over. The order jumps about, so that drift over a run does not look
// like phase.
func phase(i, n int, interval time.Duration) time.Duration {
	step := 7
	for gcd(step, n) != 1 {
		step += 2
	}
	slot := i * step % n
	return min(interval/4, 500*time.Millisecond) + time.Duration((float64(slot)+0.5)/float64(n)*float64(interval))
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
