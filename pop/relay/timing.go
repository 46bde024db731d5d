package relay

import (
	"sync"
	"time"
)

// clock is a monotonic clock in microseconds, by which a node tells ages. Its
// readings mean nothing to others.
type clock struct{ zero time.Time }

func newClock() clock { return clock{time.Now()} }

// now is at least 1: 0 says "none".
func (c clock) now() int64 { return time.Since(c.zero).Microseconds() + 1 }

func (c clock) time(at int64) time.Time { return c.zero.Add(time.Duration(at-1) * time.Microsecond) }

// drift is by how much two clocks may run apart: 200 parts in a million.
const drift = 5000 // the inverse

// timing is what one end of a link knows of the other's clock: by how much it
// is behind ours, at least. With an echo the other says, at its time c, that
// it has our message of our time e; so our clock was past e when its was c.
type timing struct {
	mu    sync.Mutex
	heard uint64 // the other's latest, to be echoed
	known bool
	ahead int64 // our clock minus the other's: no less than this
	at    int64 // by our clock, when that was learned
}

// take learns from a message of the other end.
func (t *timing) take(now int64, clock, echo uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.heard = max(t.heard, clock)
	if echo == 0 || echo > uint64(now) || clock > 1<<62 {
		return
	}
	fresh := int64(echo) - int64(clock)
	if kept := t.ahead - (now-t.at)/drift; !t.known || fresh > kept {
		t.ahead, t.at = fresh, now
	} else {
		t.ahead, t.at = kept, now
	}
	t.known = true
}

// echo is the other's clock as last heard.
func (t *timing) echo() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.heard
}

// made is when something was made, by our clock and not later than it was,
// whose age the other end told at its time c.
func (t *timing) made(now int64, c, age uint64) (int64, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.known || age > 1<<62 || c > 1<<62 {
		return 0, false
	}
	return min(now, int64(c)+t.ahead-(now-t.at)/drift) - int64(age), true
}
