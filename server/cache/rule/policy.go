package rule

import "time"

// CookieMode says what happens to a response with Set-Cookie.
type CookieMode uint8

const (
	// CookiePrivate keeps such responses out of the shared store unless the origin says they may be shared: public or
	// s-maxage in Cache-Control or in a targeted field, or any lifetime in a targeted field. The default.
	CookiePrivate CookieMode = iota
	CookieStore              // stored with the cookie, as RFC 9111 §7.3 allows
	CookieStrip              // stored and answered from the store without the cookie
	CookieNever              // never stored, whatever the origin says
)

// StatusTTL gives a lifetime to the statuses From to To, both included.
type StatusTTL struct {
	From, To int
	TTL      time.Duration
}

// Policy is what a site may set. The zero value is not useful; start from DefaultPolicy.
type Policy struct {
	// Targeted fields (RFC 9213) in order of precedence; the first valid one replaces Cache-Control and Expires.
	Targeted []string
	// StripTargeted keeps the targeted fields from clients: see Strip.
	StripTargeted bool

	// DefaultTTL is for responses with a status cacheable by default that say nothing and have no heuristic; 0: not stored.
	DefaultTTL time.Duration
	// MinTTL and MaxTTL bound what the origin or the heuristic says, from receipt on (0: no bound). MinTTL never overrules
	// no-store, no-cache or private.
	MinTTL, MaxTTL time.Duration
	// Override replaces the origin's lifetime by status; it never overrules no-store, no-cache or private. A TTL below zero:
	// never stored.
	Override []StatusTTL
	// Negative gives a lifetime by status where the origin gives none.
	Negative []StatusTTL

	// Heuristic is the share, in percent, of the time since Last-Modified that a response without a lifetime stays fresh
	// (RFC 9111 §4.2.2); 0: off. HeuristicCap bounds it.
	Heuristic    int
	HeuristicCap time.Duration

	// StaleWhileRevalidate and StaleIfError apply where the origin does not say (RFC 5861). StaleDisconnected is how long a
	// stale response may be served while upstream cannot be reached at all (RFC 9111 §4.2.4 allows it). None of them
	// overrules must-revalidate, proxy-revalidate, no-cache or s-maxage.
	StaleWhileRevalidate, StaleIfError, StaleDisconnected time.Duration

	// IgnoreClient ignores Cache-Control and Pragma of requests, except only-if-cached and no-store's effect on storing.
	IgnoreClient bool
	// Cookies says what happens to Set-Cookie.
	Cookies CookieMode
	// Vary says how fields named by Vary are compared; the first rule for a field counts. See DefaultVary.
	Vary []VaryRule
}

// DefaultPolicy is RFC 9111 with nothing added but cookie safety, and a day of stale service while the origin is gone.
func DefaultPolicy() Policy {
	return Policy{
		Targeted:          []string{"CDN-Cache-Control"},
		Heuristic:         10,
		HeuristicCap:      24 * time.Hour,
		StaleDisconnected: 24 * time.Hour,
		Vary:              DefaultVary(),
	}
}

// byStatus finds the lifetime for a status.
func byStatus(list []StatusTTL, status int) (time.Duration, bool) {
	for _, s := range list {
		if status >= s.From && status <= s.To {
			return s.TTL, true
		}
	}
	return 0, false
}

// never: the policy keeps this status out of the store.
func (p *Policy) never(status int) bool {
	ttl, ok := byStatus(p.Override, status)
	return ok && ttl < 0
}
