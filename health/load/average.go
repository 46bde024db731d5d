package load

import (
	"math"
	"time"
)

// Average is an exponentially weighted moving average in continuous time: the
// output of a low-pass of first order with the given time constant, after
// which 63 % of a step is seen and after three of which 95 %. What lies
// between two samples is part of it, so that the same signal sampled at other
// times, irregular ones too, gives the same average; a weight per sample, the
// usual EWMA, would forget the faster the more often it is asked.
//
// The first sample is taken as it is.
type Average struct {
	Constant time.Duration // 0: no smoothing

	value float64
	last  float64 // last Sample
	at    time.Time
}

// Value returns the average and the time of the last sample; zero: none yet.
func (a *Average) Value() (float64, time.Time) { return a.value, a.at }

// Mean takes in that the signal was x on average since the last sample, as a
// rate from two readings of a counter says. Exact for a signal that is
// constant between samples:
//
//	y(t) = x + (y(t0) - x) e^-u, u = (t - t0) / constant
func (a *Average) Mean(x float64, at time.Time) {
	if u, ok := a.step(at); ok {
		a.value = x + (a.value-x)*math.Exp(-u)
	} else {
		a.value = x
	}
	a.last, a.at = x, at
}

// Sample takes in that the signal is x at this moment. Exact for a signal
// that goes in a straight line from sample to sample:
//
//	y(t) = m y(t0) + (n - m) x(t0) + (1 - n) x, m = e^-u, n = (1 - m) / u
func (a *Average) Sample(x float64, at time.Time) {
	if u, ok := a.step(at); ok {
		m := math.Exp(-u)
		n := -math.Expm1(-u) / u
		a.value = m*a.value + (n-m)*a.last + (1-n)*x
	} else {
		a.value = x
	}
	a.last, a.at = x, at
}

// step is the time since the last sample in time constants; false where x
// stands for itself.
func (a *Average) step(at time.Time) (float64, bool) {
	d := at.Sub(a.at)
	if a.at.IsZero() || a.Constant <= 0 || d <= 0 {
		return 0, false
	}
	return float64(d) / float64(a.Constant), true
}
