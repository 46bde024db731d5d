package site

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Reasons that Admit refuses with.
const (
	LimitClientRequests = "client requests"
	LimitClientBytes    = "client bytes"
	LimitSiteRequests   = "site requests"
	LimitSiteBytes      = "site bytes"
)

const (
	// limitSets times limitWays client networks are told apart at most; at 40
	// bytes each that is 2.6 MB for a site with limits, however many ask.
	limitSets = 8192
	limitWays = 8
	maxRetry  = time.Hour
)

// bucket holds tokens of requests and of bytes. Those of bytes may be less than
// none: a response is paid for when it is sent.
type bucket struct {
	requests, bytes float64
	at              int64 // nanoseconds since the limiter was made, plus one; 0: never
}

// limiter holds a site's token buckets: one for the site, and one for each of
// the client networks seen last. When there are more than it holds, the one
// that has used the least of its allowance goes, so that a flood of addresses
// does not free one that is over its limit.
type limiter struct {
	limits Limits
	seed   maphash.Seed
	base   atomic.Pointer[time.Time] // of bucket.at

	mu   sync.Mutex
	site bucket

	sets []limitSet // nil: no limit of clients
}

type limitSet struct {
	mu      sync.Mutex
	clients [limitWays]clientBucket
}

type clientBucket struct {
	network [16]byte // the prefix's address
	bucket
}

// newLimiter makes the buckets, nil if nothing is limited.
func newLimiter(c *Limits) *limiter {
	if !c.Client.any() && !c.Site.any() {
		return nil
	}
	l := &limiter{limits: *c, seed: maphash.MakeSeed()}
	l.limits.Client, l.limits.Site = c.Client.filled(), c.Site.filled()
	if l.limits.IPv4 == 0 {
		l.limits.IPv4 = 32
	}
	if l.limits.IPv6 == 0 {
		l.limits.IPv6 = 64
	}
	if c.Client.any() {
		l.sets = make([]limitSet, limitSets)
	}
	return l
}

func (r Rate) any() bool { return r.Requests > 0 || r.Bytes > 0 }

// filled is the rate with its defaults.
func (r Rate) filled() Rate {
	if r.Burst == 0 {
		r.Burst = max(1, r.Requests)
	}
	if r.BytesBurst == 0 {
		r.BytesBurst = r.Bytes
	}
	return r
}

// same reports whether the buckets of one limiter can go on in the other's place.
func (l *limiter) same(o *limiter) bool {
	return l.limits.Client == o.limits.Client && l.limits.Site == o.limits.Site &&
		l.limits.IPv4 == o.limits.IPv4 && l.limits.IPv6 == o.limits.IPv6 && equal(l.limits.Exempt, o.limits.Exempt)
}

func equal(a, b []netip.Prefix) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// Limited reports whether the site has rate limits: without, Admit and Charge
// need not be called.
func (s *Site) Limited() bool { return s.limiter != nil }

// Admit takes a request from the buckets of its client network and of the
// site. If there is none, it is to be refused with 429 (RFC 6585 section 4) and
// the time to wait as Retry-After.
func (s *Site) Admit(client netip.Addr, now time.Time) (retryAfter time.Duration, reason string, ok bool) {
	if s.limiter == nil {
		return 0, "", true
	}
	return s.limiter.admit(client, now)
}

// Charge takes the body bytes that were sent to a client.
func (s *Site) Charge(client netip.Addr, bytes int64, now time.Time) {
	if s.limiter != nil {
		s.limiter.charge(client, bytes, now)
	}
}

func (l *limiter) admit(client netip.Addr, t time.Time) (time.Duration, string, bool) {
	now := l.since(t)
	if inside(l.limits.Exempt, client) {
		return 0, "", true
	}
	if l.sets != nil {
		set, b := l.client(client, now)
		wait, bytes := b.take(&l.limits.Client)
		set.mu.Unlock()
		if wait > 0 {
			return bounded(wait), pickReason(bytes, LimitClientBytes, LimitClientRequests), false
		}
	}
	if !l.limits.Site.any() {
		return 0, "", true
	}
	l.mu.Lock()
	l.site.fill(&l.limits.Site, now)
	wait, bytes := l.site.take(&l.limits.Site)
	l.mu.Unlock()
	if wait > 0 {
		return bounded(wait), pickReason(bytes, LimitSiteBytes, LimitSiteRequests), false
	}
	return 0, "", true
}

func pickReason(bytes bool, ofBytes, ofRequests string) string {
	if bytes {
		return ofBytes
	}
	return ofRequests
}

// bounded rounds up to what Retry-After can say, whole seconds.
func bounded(wait float64) time.Duration {
	return min(maxRetry, time.Duration(math.Ceil(min(wait, maxRetry.Seconds())))*time.Second)
}

func (l *limiter) charge(client netip.Addr, bytes int64, t time.Time) {
	now := l.since(t)
	if inside(l.limits.Exempt, client) {
		return
	}
	if l.limits.Client.Bytes > 0 {
		set, b := l.client(client, now)
		b.bytes -= float64(bytes)
		set.mu.Unlock()
	}
	if l.limits.Site.Bytes > 0 {
		l.mu.Lock()
		l.site.fill(&l.limits.Site, now)
		l.site.bytes -= float64(bytes)
		l.mu.Unlock()
	}
}

// since is a time as buckets keep it. It counts from the first time it is asked.
func (l *limiter) since(t time.Time) int64 {
	base := l.base.Load()
	if base == nil {
		first := t
		l.base.CompareAndSwap(nil, &first)
		base = l.base.Load()
	}
	return max(1, int64(t.Sub(*base))+1)
}

// network is the address that stands for the client's network.
func (l *limiter) network(client netip.Addr) [16]byte {
	client = client.Unmap().WithZone("")
	bits := l.limits.IPv6
	if client.Is4() {
		bits = l.limits.IPv4
	}
	p, err := client.Prefix(bits)
	if err != nil {
		return [16]byte{}
	}
	return p.Addr().As16()
}

// client finds the bucket of a client's network, filled up to now, its set
// locked. Where the set is full, the fullest bucket makes room.
func (l *limiter) client(client netip.Addr, now int64) (*limitSet, *bucket) {
	network := l.network(client)
	set := &l.sets[maphash.Comparable(l.seed, network)%limitSets]
	set.mu.Lock()
	rate := &l.limits.Client
	var victim *clientBucket
	fullest := math.Inf(-1)
	for i := range set.clients {
		c := &set.clients[i]
		if c.at == 0 {
			if fullest < math.Inf(1) {
				victim, fullest = c, math.Inf(1)
			}
			continue
		}
		c.fill(rate, now)
		if c.network == network {
			return set, &c.bucket
		}
		if level := c.level(rate); level > fullest {
			victim, fullest = c, level
		}
	}
	*victim = clientBucket{network: network}
	victim.fill(rate, now)
	return set, &victim.bucket
}

// fill adds what came since the last time. A clock that goes back adds nothing.
func (b *bucket) fill(r *Rate, now int64) {
	if b.at == 0 {
		b.requests, b.bytes, b.at = r.Burst, float64(r.BytesBurst), now
		return
	}
	if passed := time.Duration(now - b.at).Seconds(); passed > 0 {
		b.requests = min(r.Burst, b.requests+passed*r.Requests)
		b.bytes = min(float64(r.BytesBurst), b.bytes+passed*float64(r.Bytes))
		b.at = now
	}
}

// level is how full the bucket is: its emptier half, as a share.
func (b *bucket) level(r *Rate) float64 {
	level := 1.0
	if r.Requests > 0 {
		level = min(level, b.requests/r.Burst)
	}
	if r.Bytes > 0 {
		level = min(level, b.bytes/float64(r.BytesBurst))
	}
	return level
}

// take takes one request, or says how many seconds it has to wait and whether
// that is for bytes.
func (b *bucket) take(r *Rate) (wait float64, bytes bool) {
	if r.Bytes > 0 && b.bytes <= 0 {
		// Up to one byte more than none.
		return (1 - b.bytes) / float64(r.Bytes), true
	}
	if r.Requests > 0 {
		if b.requests < 1 {
			return (1 - b.requests) / r.Requests, false
		}
		b.requests--
	}
	return 0, false
}
