package cache

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/catchment/catchment/server/cache/accesslog"
	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// Options are what a Server is made of.
type Options struct {
	// Log takes what an operator should know; nil: nothing is logged.
	Log    *slog.Logger
	Config Config
	// Env gives upstream connections other means to look up and dial, in tests.
	Env origin.Env
	// Hooks are the customers' own steps, by the name of the site. They stay over Reload.
	Hooks map[string]*site.Chain
	// Resume, if not nil, is called before the head of an answer that begins after byte 0 is sent, on the goroutine of the
	// request: it must not wait.
	Resume func(Resuming)
	// Starts: Resume hears of large answers from byte 0 on as well.
	Starts bool
	// Steering is what is known beyond this server of POPs that clients can be sent to; nil: nothing, and nobody is.
	Steering *Steering
}

// Config says what the server serves. Reload takes a new one; Name, Front, Fill, Store, StateDir and Identity stay as they
// were given to New, but for how many connections and fills there may be.
type Config struct {
	// Name is this cache in Cache-Status (RFC 9211 §2) and Via; empty: "catchment".
	Name string
	// Front has the listeners and the limits of connections.
	Front front.Options
	// Certificates are for listeners with TLS; loaded again at each Reload.
	Certificates []front.CertFile
	// TicketKeys seal TLS session tickets, newest first, equal in all POPs; empty: made at random.
	TicketKeys [][32]byte
	Store      store.Options
	// Fill bounds what is fetched at once.
	Fill  fill.Options
	Sites []site.Config
	// Identity says who we are to other caches; its Node is Name if empty.
	Identity  origin.Identity
	AccessLog accesslog.Options
	// Peers are the caches of this POP, this one (Name) among them: each object has one that asks upstream for all. Empty:
	// none.
	Peers []origin.Server
	// StateDir holds the journal of purges; empty: purges are forgotten at the end.
	StateDir string
	Limits   Limits
}

// Limits shed load before it hurts: what is above them is answered 503 with Retry-After at once. Zero values take the
// defaults.
type Limits struct {
	// Requests is how many are served at the same time, the fast path not counted; 20000.
	Requests int
	// RetryAfter is told to those turned away; 1 s.
	RetryAfter time.Duration
	// HitForMiss is how long an answer that may not be stored lets those for the same URL go side by side; 2 min.
	HitForMiss time.Duration
	// Refreshes is how many refreshes run in the background at once; 256.
	Refreshes int
	// SizeWait is how long a request for a range waits for the length of an object that upstream sends without one; 5 s.
	// After it the whole object is sent.
	SizeWait time.Duration
	// Sessions are how many clients that play streams are known at once, at sites with steer; 65536.
	Sessions int
}

func (l Limits) withDefaults() Limits {
	def(&l.Requests, 20000)
	def(&l.RetryAfter, time.Second)
	def(&l.HitForMiss, 2*time.Minute)
	def(&l.Refreshes, 256)
	def(&l.SizeWait, 5*time.Second)
	def(&l.Sessions, 1<<16)
	return l
}

func def[T int | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}

func (c Config) withDefaults() Config {
	if c.Name == "" {
		c.Name = "catchment"
	}
	if c.Identity.Node == "" {
		c.Identity.Node = c.Name
	}
	c.Limits = c.Limits.withDefaults()
	return c
}

// fixed names what of a new configuration cannot be changed by Reload.
func (c *Config) fixed(next *Config) error {
	var errs []error
	if c.Name != next.Name {
		errs = append(errs, errors.New("name: cannot change while running"))
	}
	if c.StateDir != next.StateDir {
		errs = append(errs, errors.New("state-dir: cannot change while running"))
	}
	if c.Store.Dir != next.Store.Dir || c.Store.RAM != next.Store.RAM || c.Store.Disk != next.Store.Disk {
		errs = append(errs, errors.New("store: cannot change while running"))
	}
	was, now := c.Front.Limits, next.Front.Limits
	now.Conns, now.ConnsClient = was.Conns, was.ConnsClient // how many may change, not what each may take
	if was != now {
		errs = append(errs, errors.New("limits: those of one connection cannot change while running"))
	}
	if c.Fill.Queue != next.Fill.Queue {
		errs = append(errs, errors.New("limits: the queue of fills cannot change while running"))
	}
	if !bytes.Equal(c.Identity.Secret, next.Identity.Secret) || !slices.Equal(c.Identity.Trusted, next.Identity.Trusted) {
		errs = append(errs, errors.New("identity: cannot change while running"))
	}
	if !sameListen(c.Front.Listen, next.Front.Listen) {
		errs = append(errs, errors.New("listen: cannot change while running"))
	}
	return errors.Join(errs...)
}

func sameListen(a, b []front.Listen) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].Address != b[i].Address || a[i].TLS != b[i].TLS || a[i].H3 != b[i].H3 {
			return false
		}
	}
	return true
}
