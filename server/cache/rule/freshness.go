package rule

import (
	"net/http"
	"time"

	"github.com/catchment/catchment/server/cache/ranges"
)

// Exchange is one request to upstream and the head of its final answer.
type Exchange struct {
	Method                    string
	Target                    string // URL of the request, absolute; only needed for POST, to compare Content-Location
	Status                    int
	Request                   Fields
	Response                  http.Header
	RequestTime, ResponseTime time.Time // when the request was sent, when the head of the answer was there
}

// heuristicStatus: cacheable by default (RFC 9110 §15.1).
func heuristicStatus(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501:
		return true
	}
	return false
}

// neverStored are statuses that answer one request's condition or range, or that must not be stored (RFC 6585 §3 to §6).
// Storing them would hand one client's trouble to all.
func neverStored(status int) bool {
	switch status {
	case 412, 416, 428, 429, 431, 511:
		return true
	}
	return false
}

// understood are the statuses whose caching rules this cache follows, for must-understand (RFC 9111 §5.2.2.3).
func understood(status int) bool {
	switch status {
	case 200, 203, 204, 206, 300, 301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 406, 410, 414, 421, 451,
		500, 501, 502, 503, 504:
		return true
	}
	return false
}

// times are the dates of a response and its age when it came.
type times struct {
	received Millis
	date     Millis // Date, or received
	born     Millis
	expires  Millis
	hasExp   bool // Expires is there, valid or not
	modified Millis
	hasMod   bool
}

// readTimes does the arithmetic of RFC 9111 §4.2.3. Dates have whole seconds, so the apparent age is taken in whole
// seconds too; else a lifetime of one second would often be over before it began.
func readTimes(x *Exchange) times {
	t := times{received: At(x.ResponseTime)}
	t.date = t.received
	apparent := Millis(0)
	if d, ok := date(x.Response, "Date", x.ResponseTime); ok {
		t.date = d
		apparent = max(0, t.received/1000*1000-d)
	}
	delay := max(0, t.received-At(x.RequestTime))
	t.born = t.received - max(apparent, readAge(x.Response).millis()+delay)
	if lines := x.Response.Values("Expires"); len(lines) > 0 {
		t.hasExp = true
		t.expires, _ = date(x.Response, "Expires", x.ResponseTime)
	}
	t.modified, t.hasMod = date(x.Response, "Last-Modified", x.ResponseTime)
	return t
}

// date reads the first line of a date field.
func date(h Fields, name string, now time.Time) (Millis, bool) {
	lines := h.Values(name)
	if len(lines) == 0 {
		return 0, false
	}
	d, ok := ranges.ParseDate(lines[0], now)
	if !ok {
		return 0, false
	}
	return At(d), true
}

// readAge reads Age: the first member of the first line; what is no number counts as absent (RFC 9111 §5.1).
func readAge(h Fields) Seconds {
	lines := h.Values("Age")
	if len(lines) == 0 {
		return 0
	}
	d := directives{rest: lines[0]}
	if !d.next() || d.given {
		return 0
	}
	n, _ := parseSeconds(d.name)
	return n
}

// freshUntil decides until when a response is fresh and by what (RFC 9111 §4.2.1, then the policy); the reason is None if
// nothing gives it a lifetime. What the origin says and the heuristic count from the moment the origin made the response;
// what the policy says counts from its receipt, so that an origin with a wrong clock or a tier before us cannot undo it.
func freshUntil(status int, c *Control, t *times, p *Policy) (Millis, Reason) {
	if ttl, ok := byStatus(p.Override, status); ok {
		return t.received + secondsOf(ttl).millis(), Override
	}
	if s, ok := explicit(c, t); ok {
		return bound(t.born+s.millis(), t, p), Explicit
	}
	if ttl, ok := byStatus(p.Negative, status); ok {
		return t.received + secondsOf(ttl).millis(), Negative
	}
	if !heuristicStatus(status) && !c.Public {
		return t.born, None
	}
	if t.hasMod && p.Heuristic > 0 && t.date > t.modified {
		s := Seconds(t.date-t.modified) / 1000 * Seconds(p.Heuristic) / 100
		if p.HeuristicCap > 0 {
			s = min(s, secondsOf(p.HeuristicCap))
		}
		return bound(t.born+min(s, maxSeconds).millis(), t, p), Heuristic
	}
	if p.DefaultTTL > 0 {
		return t.received + secondsOf(p.DefaultTTL).millis(), Default
	}
	return t.born, None
}

// explicit is the lifetime the origin gives; ok is false if it gives none.
func explicit(c *Control, t *times) (Seconds, bool) {
	switch {
	case c.Invalid:
		return 0, true
	case c.SharedMaxAge != none:
		return c.SharedMaxAge, true
	case c.MaxAge != none:
		return c.MaxAge, true
	case t.hasExp && !c.Targeted:
		return Seconds(min(max(t.expires-t.date, 0)/1000, maxSeconds.millis())), true
	}
	return 0, false
}

// bound applies MinTTL and MaxTTL, counted from receipt.
func bound(fresh Millis, t *times, p *Policy) Millis {
	if p.MinTTL > 0 {
		fresh = max(fresh, t.received+secondsOf(p.MinTTL).millis())
	}
	if p.MaxTTL > 0 {
		fresh = min(fresh, t.received+secondsOf(p.MaxTTL).millis())
	}
	return fresh
}

// window is one stale window after the end of freshness: what the origin says, else the policy; nothing where the response
// forbids stale service. An explicit window outweighs s-maxage, whose users mean it so (s-maxage with
// stale-while-revalidate), but not must-revalidate or proxy-revalidate, and never no-cache.
func window(said Seconds, def time.Duration, c *Control, fresh Millis) Millis {
	switch {
	case c.NoCache || c.MustRevalidate || c.ProxyRevalidate:
		return fresh
	case said != none:
		return fresh + said.millis()
	case c.SharedMaxAge != none:
		return fresh
	}
	return fresh + secondsOf(def).millis()
}

// makeLife puts the times together.
func makeLife(status int, h Fields, c *Control, t *times, fresh Millis, p *Policy, by Reason) Life {
	l := Life{Received: t.received, Born: t.born, Date: t.date, Fresh: fresh, Status: uint16(status)}
	if status == http.StatusPartialContent {
		l.Status = http.StatusOK // a stored part answers as the whole once it is, and as 206 by its ranges
	}
	l.Revalidate = window(c.Revalidate, p.StaleWhileRevalidate, c, l.Fresh)
	l.Error = window(c.Error, p.StaleIfError, c, l.Fresh)
	l.Disconnected = max(l.Error, window(none, p.StaleDisconnected, c, l.Fresh))
	set := func(on bool, f Flags) {
		if on {
			l.Flags |= f
		}
	}
	set(c.NoCache, FlagNoCache)
	set(c.MustRevalidate || c.ProxyRevalidate || c.SharedMaxAge != none, FlagMustRevalidate)
	set(c.Immutable, FlagImmutable)
	set(by == Heuristic, FlagHeuristic)
	set(by == Override, FlagOverride)
	set(c.mayShare(), FlagShared)
	set(t.hasMod, FlagModified)
	tag := ranges.ParseETag(h.Values("Etag"))
	set(tag != "", FlagETag)
	set(tag.Strong(), FlagStrong)
	return l
}
