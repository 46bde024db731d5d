package shed

import (
	"fmt"
	"time"

	"github.com/catchment/catchment/policy"
)

// Event is a change of one POP's level on one slice that was seen to happen:
// the slice's load at every POP before it, and after it had settled. Only
// events are worth learning from in which no other POP steps back on the
// slice, or changes there in between: where load goes depends on it.
type Event struct {
	POP      policy.POPID
	From, To Level
	Before   map[policy.POPID]float64
	After    map[policy.POPID]float64
	// Demand is what the POP would carry of the slice at the normal
	// announcement, in the unit of Before; 0 where From is 0: Before says it.
	Demand float64
	// Drift is how much shares change between two such measurements with
	// nothing done, per square root of the share; 0: Model.Drift.
	Drift float64
	At    time.Time
}

// Observe returns the matrix after learning from an event. Both samples are
// compared as shares of their totals, so that the demand's own growth does
// not count. Amount and split are updated by their variances (a Kalman step
// for each part): a small move says little about where load goes, a large
// one says nearly all. It refuses events that say nothing.
func (m *Matrix) Observe(e Event) (*Matrix, error) {
	before, after := total(e.Before), total(e.After)
	row := m.Rows[e.POP]
	deep := max(e.From, e.To)
	switch {
	case row == nil || int(deep) >= len(row.Levels):
		return m, fmt.Errorf("shed: event of %s at level %d: not in the matrix", e.POP, deep)
	case before <= 0 || after <= 0 || e.From == e.To:
		return m, fmt.Errorf("shed: event of %s from level %d to %d: no load or no change", e.POP, e.From, e.To)
	}
	home := e.Before[e.POP] / before
	if e.From != 0 {
		home = e.Demand / before
	}
	if home <= 0 {
		return m, fmt.Errorf("shed: event of %s: its demand is not known", e.POP)
	}
	drift := e.Drift
	if drift == 0 {
		drift = m.Model.Drift
	}
	out, row := m.with(e.POP)
	at := e.After[e.POP] / after
	if e.To < e.From {
		at = e.Before[e.POP] / before
	}
	noise := drift * drift * home
	l := &row.Levels[deep].Leave
	*l = m.aged(*l, e.At).observe(min(max(1-at/home, 0), 1), noise/(home*home), e.At)
	m.observeSplit(row, e, deep, drift, before, after)
	return out, nil
}

// observeSplit learns where the load went, for the level and for the POP.
func (m *Matrix) observeSplit(row *Row, e Event, deep Level, drift, before, after float64) {
	moved := e.Before[e.POP]/before - e.After[e.POP]/after
	gain := map[policy.POPID]float64{}
	for q := range row.Split {
		gain[q] = max(0, (e.After[q]/after-e.Before[q]/before)/moved)
	}
	sum := total(gain)
	if moved == 0 || sum == 0 {
		return
	}
	level := &row.Levels[deep]
	own := Split{}
	for q, pooled := range row.Split {
		part := gain[q] / sum
		share := max(e.Before[q]/before, 0.001)
		noise := drift * drift * share / (moved * moved)
		prior, seen := level.Split[q]
		if !seen {
			prior = Estimate{Mean: pooled.Mean, Var: pooled.Var + m.Model.Level*spread(pooled.Mean)}
		}
		own[q] = m.aged(prior, e.At).observe(part, noise, e.At)
		row.Split[q] = m.aged(pooled, e.At).observe(part, noise+m.Model.Level*spread(part), e.At)
	}
	level.Split = normal(own)
	row.Split = normal(row.Split)
}

// observe is the Kalman step of one part.
func (e Estimate) observe(value, noise float64, at time.Time) Estimate {
	k := e.Var / max(e.Var+noise, 1e-12)
	return Estimate{Mean: e.Mean + k*(value-e.Mean), Var: (1-k)*e.Var + 1e-6, Events: e.Events + 1, At: at, Certain: e.Certain}
}

// sum adds up the parts that are not negative.
func (s Split) sum() float64 {
	parts := make(map[policy.POPID]float64, len(s))
	for q, e := range s {
		parts[q] = max(0, e.Mean)
	}
	return total(parts)
}

// normal scales a split to add up to 1.
func normal(s Split) Split {
	sum := s.sum()
	for q, e := range s {
		e.Mean = max(0, e.Mean) / max(sum, 1e-12)
		s[q] = e
	}
	return s
}
