package origin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"time"
)

// Config is one upstream: the servers that hold what a customer publishes, and
// the cache servers that are asked before them.
type Config struct {
	// Name is how logs, metrics and limits call the upstream.
	Name string
	// Origins are the customer's own servers.
	Origins []Server
	// Parents are cache servers in other POPs, by rank: the first rank with a
	// healthy server is asked. With parents the origins are asked only if Bypass.
	Parents [][]Server
	// Bypass allows to ask the origins when no parent answers.
	Bypass bool
	// Peers are the cache servers of this POP, shared by all upstreams; nil: none.
	Peers *Peers
	// Balance says how an origin is picked.
	Balance  Balance
	Timeouts Timeouts
	Health   Health
	Retry    Retry
	Forward  Forward
	// Identity is who we are to the next hop; nil sends none of Via, CDN-Loop
	// and our mark, and detects no circles.
	Identity *Identity
	// MaxHeader limits the bytes of a response's header; 0 means 256 KiB.
	MaxHeader int64
}

// Balance is the way to pick one of several equal origins.
type Balance uint8

const (
	// RoundRobin takes turns, smoothly, by weight.
	RoundRobin Balance = iota
	// ByKey gives each key the same origin (weighted rendezvous hashing).
	ByKey
	// LeastBusy takes the one with the fewest requests under way for its weight.
	LeastBusy
)

// Protocol is the version of HTTP spoken to a server.
type Protocol uint8

const (
	// Auto lets TLS choose (ALPN); HTTP/1.1 without TLS.
	Auto Protocol = iota
	// HTTP1 is HTTP/1.1 only.
	HTTP1
	// HTTP2 is HTTP/2 only; without TLS by prior knowledge (RFC 9113 §3.3).
	HTTP2
)

// Server is one server of an upstream: an origin, a peer or a parent.
type Server struct {
	// Name is unique in the upstream; empty: the URL's host. The name of a peer
	// or parent is its Identity.Node.
	Name string
	// URL is http://host:port or https://host:port; its path, if any, is put
	// before the path of each request.
	URL string
	// Weight is its share beside others; 0 means 1.
	Weight int
	// Backup servers are asked only when no other is usable.
	Backup bool
	// Host is sent instead of the client's host; empty keeps the client's.
	Host     string
	TLS      TLS
	Protocol Protocol
	// MaxConns limits connections to it (requests wait for one), 0: no limit.
	MaxConns int
	// MaxIdle is how many idle connections are kept; 0 means 64.
	MaxIdle int
}

// TLS is what a server of https is checked by. The zero value: the system's CAs.
type TLS struct {
	// ServerName is sent as SNI and checked in the certificate; empty: Server.Host,
	// else the URL's host.
	ServerName string
	// CAs replaces the system's authorities.
	CAs *x509.CertPool
	// Insecure checks nothing.
	Insecure bool
	// Certificates are ours, for servers that ask for one.
	Certificates []tls.Certificate
}

// Timeouts limit one attempt. Zero values take the defaults.
type Timeouts struct {
	// Connect is for the name, the connection and the TLS handshake, each; 5 s.
	Connect time.Duration
	// FirstByte is from the request written to the response's header; 30 s.
	FirstByte time.Duration
	// Idle is the longest gap inside a body; 30 s.
	Idle time.Duration
	// KeepAlive is how long an idle connection is kept; 90 s.
	KeepAlive time.Duration
	// MinRate in bytes a second, measured over RateWindow (30 s) of waiting for
	// the body; 0: no minimum. Time in which nobody reads does not count.
	MinRate    int64
	RateWindow time.Duration
}

// Health says when a server is taken out, and how it comes back.
type Health struct {
	// Failures in a row take a server out; 0 means 3, negative never.
	Failures int
	// Eject is how long it then stays out, doubled each time up to MaxEject; one
	// request is let through after that, and decides. 10 s and 5 min.
	Eject, MaxEject time.Duration
	// Statuses are the response codes that count as failures besides errors.
	Statuses []int
	// Check probes each server by itself; nil: none.
	Check *Check
}

// Check is an active probe by GET.
type Check struct {
	Path     string        // path and query; "/" if empty
	Host     string        // Host field; empty: Server.Host, else the URL's host
	Interval time.Duration // 5 s
	Timeout  time.Duration // 2 s
	Statuses []int         // what is healthy; empty: 200 to 399
	Rise     int           // good probes in a row to come back; 2
	Fall     int           // bad probes in a row to be taken out; 3
}

// Retry says what may be asked again. Only requests that are idempotent (RFC
// 9110 §9.2.2) and have no body are, and only before their answer was handed
// on; a connection that never came up is tried elsewhere for every method.
type Retry struct {
	// Attempts is the number of requests in all for one stage (peers, parents,
	// origins); 0 means 3.
	Attempts int
	// Statuses are asked again if there is another server; nil: 502, 503, 504.
	Statuses []int
	// Budget is the share of requests that may be retries; 0 means 0.2, negative
	// no retry. Reserve is what may be retried at once beyond it; 0 means 10.
	Budget  float64
	Reserve int
	// Backoff is waited before a server is asked again that has just failed; 50 ms.
	Backoff time.Duration
}

// Forward says what the origin learns about the client.
type Forward struct {
	// Forwarded adds to Forwarded (RFC 7239), XForwardedFor to X-Forwarded-For
	// and -Proto. Without it the field is passed on as it came, unless Hide.
	Forwarded, XForwardedFor bool
	// Hide removes what the client sent of these fields.
	Hide bool
	// NoVia leaves out Via.
	NoVia bool
}

// Env is what an upstream stands on; the zero value is the real network.
type Env struct {
	Log *slog.Logger
	// Lookup finds the addresses of a name.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Dial connects to an address and port.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// TTL is the longest time addresses are believed (30 s); they are used on for
	// Stale (10 min) if the name cannot be resolved again.
	TTL, Stale time.Duration
	// Stagger is the head start of one address over the next (RFC 8305 §5); 250 ms.
	Stagger time.Duration
}

func def[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func (t Timeouts) withDefaults() Timeouts {
	def(&t.Connect, 5*time.Second)
	def(&t.FirstByte, 30*time.Second)
	def(&t.Idle, 30*time.Second)
	def(&t.KeepAlive, 90*time.Second)
	def(&t.RateWindow, 30*time.Second)
	return t
}

func (h Health) withDefaults() Health {
	def(&h.Failures, 3)
	def(&h.Eject, 10*time.Second)
	def(&h.MaxEject, 5*time.Minute)
	if h.Check == nil {
		return h
	}
	c := *h.Check
	def(&c.Path, "/")
	def(&c.Interval, 5*time.Second)
	def(&c.Timeout, 2*time.Second)
	def(&c.Rise, 2)
	def(&c.Fall, 3)
	h.Check = &c
	return h
}

func (r Retry) withDefaults() Retry {
	def(&r.Attempts, 3)
	def(&r.Budget, 0.2)
	def(&r.Reserve, 10)
	def(&r.Backoff, 50*time.Millisecond)
	if r.Statuses == nil {
		r.Statuses = []int{502, 503, 504}
	}
	return r
}

func (e Env) withDefaults() Env {
	if e.Log == nil {
		e.Log = slog.New(slog.DiscardHandler)
	}
	if e.Lookup == nil {
		e.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if e.Dial == nil {
		d := &net.Dialer{KeepAlive: 30 * time.Second}
		e.Dial = d.DialContext
	}
	def(&e.TTL, 30*time.Second)
	def(&e.Stale, 10*time.Minute)
	def(&e.Stagger, 250*time.Millisecond)
	return e
}

// Validate says what is wrong with the server, by name.
func (s Server) Validate() error {
	_, err := s.parse()
	return err
}

func (s Server) parse() (*url.URL, error) {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil:
		return nil, fmt.Errorf("server %s: %w", s.name(), err)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("server %s: URL %q must begin with http:// or https://", s.name(), s.URL)
	case u.Hostname() == "":
		return nil, fmt.Errorf("server %s: URL %q has no host", s.name(), s.URL)
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return nil, fmt.Errorf("server %s: URL %q may have host, port and path only", s.name(), s.URL)
	case s.Weight < 0 || s.MaxConns < 0 || s.MaxIdle < 0:
		return nil, fmt.Errorf("server %s: weight and limits must not be negative", s.name())
	case s.Protocol > HTTP2:
		return nil, fmt.Errorf("server %s: unknown protocol", s.name())
	}
	return u, nil
}

func (s Server) name() string {
	if s.Name != "" {
		return s.Name
	}
	if u, err := url.Parse(s.URL); err == nil {
		return u.Host
	}
	return s.URL
}

// Validate says what is wrong with the upstream, all of it.
func (c Config) Validate() error {
	var errs []error
	if len(c.Origins) == 0 && len(c.Parents) == 0 {
		errs = append(errs, errors.New("no origin and no parent"))
	}
	if c.Bypass && len(c.Origins) == 0 {
		errs = append(errs, errors.New("bypass of parents without an origin"))
	}
	seen := map[string]bool{}
	for _, rank := range append([][]Server{c.Origins}, c.Parents...) {
		for _, s := range rank {
			if err := s.Validate(); err != nil {
				errs = append(errs, err)
			}
			if seen[s.name()] {
				errs = append(errs, fmt.Errorf("server %s: named twice", s.name()))
			}
			seen[s.name()] = true
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("upstream %s: %w", c.Name, errors.Join(errs...))
}
