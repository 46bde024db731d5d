package slowness

import "time"

// looks is what is seen of a transfer by looking at it again and again, which
// its counters at the end do not tell.
type looks struct {
	last   counters
	at     time.Time // last look
	moved  time.Time // last look that found more taken, or more waited for
	n      int
	rate   uint64 // highest delivery rate
	speed  uint64 // most that was taken between two looks, bytes a second
	window uint64 // added up
	quiet  time.Duration
}

// begin forgets all but where the counters are.
func (l *looks) begin(from counters, now time.Time) { *l = looks{last: from, at: now, moved: now} }

// see is a look.
func (l *looks) see(c counters, rate, window uint64, now time.Time) {
	took, busy := c.acked-min(c.acked, l.last.acked), max(0, c.busy-l.last.busy)
	if d := now.Sub(l.at).Seconds(); d > 0 {
		l.speed = max(l.speed, uint64(float64(took)/d))
	}
	if took == 0 {
		l.quiet += busy
	}
	if took > 0 || busy > 0 {
		l.moved = now
	}
	l.rate = max(l.rate, rate)
	l.window += window
	l.n++
	l.last, l.at = c, now
}

// sample is what happened since from, up to the last look.
func (l *looks) sample(from *counters, since time.Time) Sample {
	s := l.last.since(from)
	s.Elapsed, s.Peak, s.Speed, s.Looks, s.Quiet = l.moved.Sub(since), l.rate, l.speed, l.n, l.quiet
	s.Window = l.window / uint64(max(1, l.n))
	return s
}
