// Package rule decides everything that RFC 9111 lets a shared cache decide, and its relatives: whether a response may be
// stored and in what form (§3), how long it is fresh and how old it is (§4.2), which stored variant fits a request (§4.1),
// whether it may be served fresh or stale, must be validated, or the request must go upstream (§4, RFC 5861), what a 304
// or a HEAD changes (§3.2, §4.3), what an unsafe request invalidates (§4.4, RFC 9875), targeted control fields (RFC 9213),
// and how all of that is told in Cache-Status (RFC 9211).
//
// It is pure: now is an argument; it reads no clock, opens nothing, starts nothing, keeps no state. Everything that needs
// parsing is done when a response is stored; a hit compares a few integers of its Life.
//
// It never decides about bytes of a body (package ranges), keys of a customer (package site) or where things are kept.
package rule

import (
	"time"

	"github.com/catchment/catchment/server/cache/ranges"
)

// Fields gives the lines of one header field by its canonical name; http.Header is one.
type Fields = ranges.Fields

// Millis is a point in time: milliseconds since 1970, UTC. Unlike nanoseconds it holds every date HTTP can express.
type Millis int64

// At is t in milliseconds.
func At(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time is m as a time.
func (m Millis) Time() time.Time { return time.UnixMilli(int64(m)) }

// Add is m plus d.
func (m Millis) Add(d time.Duration) Millis { return m + Millis(d.Milliseconds()) }

// Seconds counts as HTTP does: whole, never below zero, held at maxSeconds.
type Seconds int64

// maxSeconds is what larger delta-seconds count as (RFC 9111 §1.2.2), and none stands for "not given".
const (
	maxSeconds Seconds = 1 << 31
	none       Seconds = -1
)

// millis is s in milliseconds.
func (s Seconds) millis() Millis { return Millis(s) * 1000 }

// secondsOf is d in whole seconds, within what Seconds may be.
func secondsOf(d time.Duration) Seconds {
	return min(max(Seconds(d/time.Second), 0), maxSeconds)
}
