package load

import (
	"fmt"
	"math"
	"time"
)

// series makes one smoothed value of the points of one name.
type series struct {
	since time.Time // of its first point
	limit float64
	down  bool
	avg   Average
	stale time.Duration // age at which a value is no longer known
	gap   time.Duration // least time between two readings of a counter
	err   error         // of the last point: it did not count

	// Of a counter: the reading that the next rate begins at; at is zero: none.
	total float64
	epoch uint64
	at    time.Time
	// The reading before the counter went back. If the next is not below it,
	// it did not begin anew, but said something wrong once.
	before   float64
	beforeAt time.Time
}

// add takes in a point of a sample. The error says why it does not count.
func (s *series) add(p Point, at time.Time) error {
	s.limit, s.down = 0, p.Down
	if p.Limit > 0 && !math.IsInf(p.Limit, 0) {
		s.limit = p.Limit
	}
	if _, last := s.avg.Value(); at.Sub(last) > s.stale {
		s.avg = Average{Constant: s.avg.Constant} // what is long ago says nothing of now
	}
	x, kind := p.Value, p.Kind
	if kind == Counter {
		rate, ok, err := s.rate(p, at)
		if !ok {
			return err
		}
		x, kind = rate, Mean
	}
	if err := plausible(p.Unit, x, p.Most); err != nil {
		return err
	}
	if p.Unit.share() {
		x = min(x, 1)
	}
	if kind == Mean {
		s.avg.Mean(x, at)
	} else {
		s.avg.Sample(x, at)
	}
	return nil
}

// rate makes a rate of a counter's reading and the one before; false where
// there is none, or none that would do.
func (s *series) rate(p Point, at time.Time) (float64, bool, error) {
	if math.IsNaN(p.Value) || math.IsInf(p.Value, 0) || p.Value < 0 {
		s.begin(Point{}, time.Time{})
		return 0, false, fmt.Errorf("%s: %v is no total to count by", p.Unit, p.Value)
	}
	d := at.Sub(s.at)
	switch {
	case s.at.IsZero() || p.Epoch != s.epoch || d > s.stale || d < 0:
		s.begin(p, at)
		return 0, false, nil
	case d < s.gap:
		return 0, false, nil // the next one has more to go by
	case p.Value >= s.total && !s.beforeAt.IsZero() && p.Value >= s.before:
		s.total, s.at = s.before, s.beforeAt
	case p.Value < s.total:
		return s.back(p, at)
	}
	rate := (p.Value - s.total) / at.Sub(s.at).Seconds()
	s.begin(p, at)
	return rate, true, nil
}

// begin makes a reading the one that the next rate begins at.
func (s *series) begin(p Point, at time.Time) {
	s.total, s.epoch, s.at, s.beforeAt = p.Value, p.Epoch, at, time.Time{}
}

// back is a counter that went back: it ran over if it can, was in the last
// quarter of its range and would not have carried more than its limit; else it
// began anew or lies, and this reading makes no rate.
func (s *series) back(p Point, at time.Time) (float64, bool, error) {
	if p.Wrap > 0 && s.limit > 0 && s.total < p.Wrap && s.total >= p.Wrap*3/4 {
		if rate := (p.Wrap - s.total + p.Value) / at.Sub(s.at).Seconds(); rate <= s.limit {
			s.begin(p, at)
			return rate, true, nil
		}
	}
	before, beforeAt := s.total, s.at
	s.begin(p, at)
	s.before, s.beforeAt = before, beforeAt
	return 0, false, nil
}

// value is what is known now.
func (s *series) value(now time.Time) Value {
	x, at := s.avg.Value()
	if at.IsZero() || now.Sub(at) > s.stale {
		return Value{At: at}
	}
	return Value{Value: x, Known: true, At: at}
}
