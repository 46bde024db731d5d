package origin

import (
	"sync"
	"time"
)

// steady is how many good answers in a row forget earlier ejections.
const steady = 10

// health is what is known of one server. Failures in a row eject it for a while
// that doubles; then one request is let through and decides. Active checks, if
// any, hold it down and bring it back by their own counts.
type health struct {
	cfg Health

	mu        sync.Mutex
	fails     int       // bad answers in a row
	goods     int       // good answers in a row
	ejections int       // in a row, for the doubling
	until     time.Time // ejected until then; zero: not ejected
	trial     bool      // the one request after that is under way
	down      bool      // by active checks
	run       int       // active checks alike in a row; negative: bad
	since     time.Time // of the present state
	last      error     // the last failure
}

// usable tells whether the server may be asked at now.
func (h *health) usable(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.down && (h.until.IsZero() || !now.Before(h.until) && !h.trial)
}

// begin notes that it is asked, and tells whether this is the trial.
func (h *health) begin(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.until.IsZero() || now.Before(h.until) || h.trial {
		return false
	}
	h.trial = true
	return true
}

// given up: the answer says nothing about the server.
func (h *health) forget(trial bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if trial {
		h.trial = false
	}
}

// good notes an answer.
func (h *health) good(trial bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fails = 0
	h.goods++
	if h.goods >= steady {
		h.ejections = 0
	}
	if trial {
		h.trial = false
	}
	if trial && !h.until.IsZero() {
		h.until, h.since = time.Time{}, now
	}
}

// bad notes a failure and tells whether it ejected the server.
func (h *health) bad(trial bool, err error, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.goods = 0
	h.fails++
	h.last = err
	if trial {
		h.trial = false
	}
	if !trial && (h.cfg.Failures < 0 || h.fails < h.cfg.Failures || !h.until.IsZero()) {
		return false
	}
	d := h.cfg.Eject
	for range h.ejections {
		d = min(2*d, h.cfg.MaxEject)
	}
	if d < h.cfg.MaxEject {
		h.ejections++
	}
	h.until, h.fails, h.since = now.Add(d), 0, now
	return true
}

// checked notes the result of an active check and tells whether it changed
// anything.
func (h *health) checked(err error, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.cfg.Check
	if err != nil {
		h.last = err
		h.run = min(h.run, 0) - 1
		if -h.run >= c.Fall && !h.down {
			h.down, h.since = true, now
			return true
		}
		return false
	}
	h.run = max(h.run, 0) + 1
	if h.run < c.Rise || !h.down && h.until.IsZero() {
		return false
	}
	h.down, h.until, h.fails, h.since = false, time.Time{}, 0, now
	return true
}

// State is a server's health in a word.
type State string

// The states of a server.
const (
	Up      State = "up"
	Ejected State = "ejected" // by failures seen
	Trial   State = "trial"   // ejected, its time is over, the next request decides
	Down    State = "down"    // by active checks
)

func (h *health) state(now time.Time) (State, time.Time, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.down:
		return Down, h.since, h.last
	case h.until.IsZero():
		return Up, h.since, h.last
	case now.Before(h.until):
		return Ejected, h.since, h.last
	}
	return Trial, h.since, h.last
}
