package get

import "time"

// pace measures how fast bytes come: the fastest half second counts, in bytes a
// second. A server that is asked to go on is told of it (Catchment-Bandwidth),
// and makes of it what it wants.
type pace struct {
	since time.Time // of what n counts; zero: it counts nothing
	n     int64
	best  uint64
}

// paceOver is what one measurement goes over.
const paceOver = 500 * time.Millisecond

func (p *pace) add(n int, now time.Time) {
	if p.since.IsZero() { // these were under way before
		p.since, p.n = now, 0
		return
	}
	p.n += int64(n)
	if d := now.Sub(p.since); d >= paceOver {
		p.best = max(p.best, uint64(float64(p.n)/d.Seconds()))
		p.since, p.n = now, 0
	}
}
