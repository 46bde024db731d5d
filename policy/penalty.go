package policy

import (
	"math"
	"time"
)

// Penalty is the figure of merit of RFC 2439 section 4.2, as a plain value: it
// grows with each withdrawal we send and halves every half-life.
type Penalty struct {
	Value      float64   `json:"value,omitempty"`
	At         time.Time `json:"at,omitzero"`
	Suppressed time.Time `json:"suppressed,omitzero"` // since when; zero: not
}

// At returns the decayed value at now.
func (p Penalty) decayed(d Damping, now time.Time) float64 {
	if p.Value == 0 || d.HalfLife <= 0 || !now.After(p.At) {
		return p.Value
	}
	return p.Value * math.Exp2(-float64(now.Sub(p.At))/float64(d.HalfLife))
}

// add counts one withdrawal.
func (p Penalty) add(d Damping, now time.Time) Penalty {
	p.Value, p.At = p.decayed(d, now)+d.Penalty, now
	if d.Suppress > 0 && p.Value >= d.Suppress && p.Suppressed.IsZero() {
		p.Suppressed = now
	}
	return p
}

// settle ends a suppression whose time is over, and returns when a running one
// ends (zero: none runs).
func (p Penalty) settle(d Damping, now time.Time) (Penalty, time.Time) {
	if p.Suppressed.IsZero() {
		return p, time.Time{}
	}
	end := p.reuseAt(d)
	if d.Max > 0 {
		if limit := p.Suppressed.Add(d.Max); limit.Before(end) {
			end = limit
		}
	}
	if now.Before(end) {
		return p, end
	}
	p.Value, p.At, p.Suppressed = p.decayed(d, now), now, time.Time{}
	return p, time.Time{}
}

// reuseAt is when the value will have decayed to the reuse limit.
func (p Penalty) reuseAt(d Damping) time.Time {
	if p.Value <= d.Reuse || d.Reuse <= 0 || d.HalfLife <= 0 {
		return p.At
	}
	return p.At.Add(time.Duration(math.Log2(p.Value/d.Reuse) * float64(d.HalfLife)))
}
