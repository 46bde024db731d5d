package rule

import "strings"

// Action is what to do with a request.
type Action uint8

const (
	Fresh          Action = iota // serve the stored response
	Stale                        // serve it although it is stale; Decision.Refresh says whether to renew it in the background
	Revalidate                   // ask upstream with the stored validators first
	Miss                         // ask upstream; store if the answer allows
	Bypass                       // ask upstream, store nothing, wake nobody
	GatewayTimeout               // answer 504: the request or the response forbids every other way
	PassOn                       // after a failed fetch: pass upstream's error on (or 502/504 of our own)
)

var actionText = [...]string{"fresh", "stale", "revalidate", "miss", "bypass", "gateway-timeout", "pass-on"}

// String is the text of the action.
func (a Action) String() string {
	if int(a) < len(actionText) {
		return actionText[a]
	}
	return "unknown"
}

// Decision is what to do with a request and why.
type Decision struct {
	Action  Action
	Reason  Reason
	Refresh bool // with Stale: renew in the background
}

// Request is what a request says about caching. The zero value is not right: use ReadRequest or PlainRequest.
type Request struct {
	NoCache, NoStore, OnlyIfCached bool
	MaxAge, MinFresh, MaxStale     Seconds // -1: not given; max-stale without a value is the largest
	IfError                        Seconds // stale-if-error of the request (RFC 5861 §4)
}

// PlainRequest is a request that says nothing.
func PlainRequest() Request {
	return Request{MaxAge: none, MinFresh: none, MaxStale: none, IfError: none}
}

// ReadRequest reads Cache-Control, and Pragma where there is none (RFC 9111 §5.2.1, §5.4). It does not allocate.
func ReadRequest(h Fields, p *Policy) Request {
	r := PlainRequest()
	lines := h.Values("Cache-Control")
	for _, line := range lines {
		for it := (directives{rest: line}); it.next(); {
			r.add(it.name, it.value)
		}
	}
	if len(lines) == 0 {
		for _, line := range h.Values("Pragma") {
			for it := (directives{rest: line}); it.next(); {
				r.NoCache = r.NoCache || strings.EqualFold(it.name, "no-cache")
			}
		}
	}
	if p.IgnoreClient {
		r = Request{MaxAge: none, MinFresh: none, MaxStale: none, IfError: none, NoStore: r.NoStore, OnlyIfCached: r.OnlyIfCached}
	}
	return r
}

// add takes one directive. The first of two counts; an invalid number counts as the strictest.
func (r *Request) add(name, value string) {
	set := func(s *Seconds, bad Seconds) {
		if *s == none {
			var ok bool
			if *s, ok = parseSeconds(value); !ok {
				*s = bad
			}
		}
	}
	switch {
	case strings.EqualFold(name, "no-cache"):
		r.NoCache = true
	case strings.EqualFold(name, "no-store"):
		r.NoStore = true
	case strings.EqualFold(name, "only-if-cached"):
		r.OnlyIfCached = true
	case strings.EqualFold(name, "max-age"):
		set(&r.MaxAge, 0)
	case strings.EqualFold(name, "min-fresh"):
		set(&r.MinFresh, maxSeconds)
	case strings.EqualFold(name, "max-stale") && value == "":
		r.MaxStale = maxSeconds
	case strings.EqualFold(name, "max-stale"):
		set(&r.MaxStale, 0)
	case strings.EqualFold(name, "stale-if-error"):
		set(&r.IfError, 0)
	}
}

// Cacheable reports whether a method is answered from the store (GET, HEAD), and Safe whether it invalidates nothing.
func Cacheable(method string) bool { return method == "GET" || method == "HEAD" }

// Safe methods change nothing at the origin (RFC 9110 §9.2.1); all others, unknown ones too, invalidate (RFC 9111 §4.4).
func Safe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE":
		return true
	}
	return false
}

// Missing is the decision when nothing stored fits; why is URIMiss, VaryMiss, PartialMiss, Purged or HitForMiss.
func Missing(r *Request, why Reason) Decision {
	if r.OnlyIfCached {
		return Decision{Action: GatewayTimeout, Reason: OnlyIfCached}
	}
	if why == HitForMiss {
		return Decision{Action: Bypass, Reason: why}
	}
	return Decision{Action: Miss, Reason: why}
}

// Decide says what to do with a request for which l is the stored response that fits (RFC 9111 §4). The method must be
// cacheable. It does not allocate.
func Decide(r *Request, l *Life, now Millis) Decision {
	d := l.decide(r, now)
	if d.Action == Revalidate && r.OnlyIfCached {
		return Decision{Action: GatewayTimeout, Reason: OnlyIfCached}
	}
	if d.Refresh && r.OnlyIfCached {
		d.Refresh = false
	}
	return d
}

// decide is Decide without only-if-cached.
func (l *Life) decide(r *Request, now Millis) Decision {
	switch {
	case l.Flags&FlagNoCache != 0:
		return Decision{Action: Revalidate, Reason: ResponseNoCache}
	case r.NoCache:
		return Decision{Action: Revalidate, Reason: RequestNoCache}
	case r.MaxAge >= 0 && now-l.Born > r.MaxAge.millis() && !l.reloadProof(r, now):
		return Decision{Action: Revalidate, Reason: RequestMaxAge}
	case now < l.Fresh && r.MinFresh >= 0 && l.Fresh-now < r.MinFresh.millis():
		return Decision{Action: Revalidate, Reason: RequestMinFresh}
	case now < l.Fresh:
		return Decision{Action: Fresh, Reason: IsFresh}
	case r.MinFresh >= 0:
		return Decision{Action: Revalidate, Reason: RequestMinFresh}
	case now < l.Revalidate:
		return Decision{Action: Stale, Reason: StaleWhileRevalidate, Refresh: true}
	case l.Flags&FlagMustRevalidate != 0:
		return Decision{Action: Revalidate, Reason: MustRevalidate}
	case r.MaxStale >= 0 && now-l.Fresh <= r.MaxStale.millis():
		return Decision{Action: Stale, Reason: StaleAllowed}
	}
	return Decision{Action: Revalidate, Reason: Expired}
}

// reloadProof: an immutable response is not validated for a browser's plain reload (RFC 8246 §2).
func (l *Life) reloadProof(r *Request, now Millis) bool {
	return l.Flags&FlagImmutable != 0 && r.MaxAge == 0 && now < l.Fresh
}

// Failed says what to do when upstream could not answer for a stored response that needed validation. status is what it
// answered, 0 if it could not be reached or broke off. Only 500, 502, 503 and 504 count as errors (RFC 5861 §4).
func Failed(r *Request, l *Life, status int, now Millis) Decision {
	until, reason := l.Error, StaleIfError
	switch status {
	case 0:
		until, reason = l.Disconnected, StaleDisconnected
	case 500, 502, 503, 504:
	default:
		return Decision{Action: PassOn}
	}
	forbidden := l.Flags&FlagNoCache != 0 || r.NoCache
	if !forbidden && now < until {
		return Decision{Action: Stale, Reason: reason}
	}
	if !forbidden && l.Flags&FlagMustRevalidate == 0 && r.IfError >= 0 && now-l.Fresh <= r.IfError.millis() {
		return Decision{Action: Stale, Reason: StaleIfError}
	}
	if status == 0 && l.Flags&(FlagMustRevalidate|FlagNoCache) != 0 {
		return Decision{Action: GatewayTimeout, Reason: MustRevalidate}
	}
	return Decision{Action: PassOn, Reason: Expired}
}
