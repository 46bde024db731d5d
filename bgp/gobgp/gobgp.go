// Package gobgp speaks BGP: it embeds GoBGP v3 behind our own types and is
// the only package that imports it.
//
// It owns the sessions and the set of announcements: Set takes the whole
// desired set, sends the difference and knows when each change has been
// written to every neighbor's socket. It decides nothing about health or
// policy. Two things never happen, whatever is configured or typed into the
// gobgp client: a prefix that is not in Options.Own, or was not handed to
// Set, leaves; and a learned route leaves (but on a lab's transit router).
//
// How it ends matters. Stop withdraws everything, waits until that has been
// written, and only then closes the sessions with a Cease. Leave closes
// nothing: the caller exits at once, the kernel closes the sockets, and
// neighbors that help with graceful restart (RFC 4724) keep the routes until
// the next process is back with Options.Restarting. An end by cancelling
// Run's context alone closes the sessions without a withdrawal.
//
// Long-lived graceful restart (RFC 9494) follows after the restart time where
// graceful-restart.config.long-lived-enabled is set and the neighbor has the
// capability: it keeps our routes, marked LLGR_STALE, for another hour, or as
// long-lived-graceful-restart.config.restart-time of the family says. GoBGP
// v3.37.0 is a helper for others too, with these limits. The time is the
// neighbor's alone; there is no limit of our own to it. It takes no heed of
// the forwarding-state bit. Any failed attempt at a session within the restart
// time, not only its end, begins the long-lived time. Towards internal
// neighbors without the capability stale routes are withheld; they are not
// sent with NO_EXPORT and local preference 0 (section 4.6). A restart time of 0
// ("long-lived at once") is taken for the hold time.
//
// Next hops: "self" (no next hop given) is the session's own address. An IPv6
// prefix over a session between IPv4 addresses has none; give one in the
// announcement, or for the neighbor, else it is withheld from that neighbor.
// An IPv4 prefix over an IPv6 session goes out with the IPv6 next hop (RFC
// 8950), which the neighbor must support.
//
// The best route selection options are variables of GoBGP's package, so a
// process should have one speaker; tests have several with equal options.
package gobgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/osrg/gobgp/v3/pkg/server"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/catchment/catchment/bgp"
)

// Options say how a Speaker is to be. Only Config is needed.
type Options struct {
	Config *Config
	Logger *slog.Logger // nil: none

	// Own lists all prefixes that may ever leave, exactly.
	Own []netip.Prefix
	// Import lists the prefixes whose learned routes are accepted, exactly;
	// they are seen by OnPath and lose against our own. ImportAll accepts
	// everything, for a router that writes a FIB.
	Import    []netip.Prefix
	ImportAll bool
	// Transit passes learned routes on to the other neighbors.
	Transit bool

	APISocket string // path of GoBGP's gRPC API; empty: none
	APIListen string // the same on TCP, host:port
	APIGroup  int    // number of the group that owns the socket; 0: the daemon's own

	// What stands around the API; all may be nil. APICredentials tell who
	// connects, APIServices adds services beside GoBGP's. MayChange refuses a
	// call that changes something; SeesSecrets says whether the neighbors'
	// passwords are shown.
	APICredentials credentials.TransportCredentials
	APIServices    func(grpc.ServiceRegistrar)
	MayChange      func(ctx context.Context, call string) error
	SeesSecrets    func(context.Context) bool

	// Restarting: we come back within the time that neighbors keep our
	// routes. Sessions are opened after the first Set, so that the table is
	// complete when the End-of-RIB marker tells neighbors to drop the rest.
	Restarting bool

	// The callbacks are called one at a time and must not call Set, Reload,
	// Stop or Leave themselves.
	OnPeer    func(bgp.PeerEvent)
	OnPath    func(path bgp.Path, withdrawn bool)
	OnWritten func(start time.Time, took time.Duration) // a Set's last UPDATE was written

	// OnForced is called for each change of an own route that an operator
	// insists on by the API (gobgp's words and --force), by many at once. It
	// may call Set. Its note is for the operator, its error refuses. nil: all
	// such changes are refused.
	OnForced func(context.Context, Forced) (note string, err error)
}

// Speaker is a BGP speaker. Its methods may be called from any goroutine.
type Speaker struct {
	opts Options
	log  *slog.Logger
	wire *wire
	glog *logger

	calls sync.Mutex // one Set, Reload, Stop or Leave at a time
	met   bool       // the config's neighbors are in; guarded by calls

	mu       sync.Mutex // guards what follows; never held across GoBGP calls
	srv      *server.BgpServer
	phase    phase
	config   *Config
	scope    scope
	facts    facts
	desired  []bgp.Announcement // nil: no set yet
	current  map[netip.Prefix]bgp.Announcement
	used     map[netip.Prefix]string // the variant's key of what is announced
	variants variants
	// returning are neighbors without a session since our restart, and until
	// when they may keep our routes.
	returning map[netip.Addr]time.Time

	peers   *peerTable
	paths   *pathTable
	rpki    *rpkiTable
	ready   chan struct{}
	first   chan struct{} // closed by the first Set
	ended   chan struct{} // closed by Stop and Leave
	endOnce sync.Once
	setOnce sync.Once
}

type phase int

const (
	idle phase = iota
	running
	stopping
	left
)

// New checks the options; nothing is started.
func New(o Options) (*Speaker, error) {
	if o.Config == nil {
		return nil, errors.New("gobgp: no config")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	sc := scope{own: slices.Clone(o.Own), imports: slices.Clone(o.Import), importAll: o.ImportAll, transit: o.Transit}
	if err := sc.check(o.Config); err != nil {
		return nil, err
	}
	s := &Speaker{
		opts: o, log: o.Logger, config: o.Config, scope: sc, facts: factsOf(o.Config),
		wire:      newWire(),
		current:   make(map[netip.Prefix]bgp.Announcement),
		used:      make(map[netip.Prefix]string),
		variants:  variants{byKey: make(map[string]*variant)},
		returning: make(map[netip.Addr]time.Time),
		ready:     make(chan struct{}),
		first:     make(chan struct{}),
		ended:     make(chan struct{}),
	}
	s.wire.reaches = reach(s.facts)
	s.glog = newLogger(o.Logger, s.wire)
	s.peers = newPeerTable()
	s.paths = newPathTable(o.OnPath)
	s.rpki = newRPKITable()
	return s, nil
}

// check refuses what would defeat the guards.
func (s scope) check(c *Config) error {
	for _, p := range slices.Concat(s.own, s.imports) {
		if !p.IsValid() || p != p.Masked() {
			return fmt.Errorf("prefix %s: host bits set", p)
		}
	}
	if s.transit {
		return nil
	}
	for i, n := range c.set.Neighbors {
		for _, a := range n.AfiSafis {
			if a.AddPaths.Config.SendMax > 0 {
				return fmt.Errorf("bgp.neighbors[%d].add-paths.config.send-max: not supported: there is one path "+
					"for each prefix, and v3 would not withdraw what is withheld from this neighbor", i)
			}
		}
	}
	return nil
}

func factsOf(c *Config) facts {
	f := make(facts)
	for _, n := range c.Neighbors() {
		if n.Address.IsValid() {
			f[n.Address] = n
		}
	}
	return f
}

// reach tells whether a neighbor is meant to get an announcement. Neighbors
// that are not in the config (dynamic ones) are; what a policy of the user's
// holds back is found out later (see Speaker.doubt).
func reach(f facts) func(netip.Addr, bgp.Announcement) bool {
	return func(addr netip.Addr, a bgp.Announcement) bool {
		o, named := a.Neighbors[addr]
		if o.Withhold || a.Only && !named || slices.Contains(f.unreachable(a), addr) {
			return false
		}
		n, known := f[addr]
		return !known || (n.IPv4 && a.Prefix.Addr().Is4()) || (n.IPv6 && a.Prefix.Addr().Is6())
	}
}

// Ready is closed once the speaker takes calls: it listens, its policies are
// in force, and neighbors are being contacted (with Restarting: will be,
// after the first Set).
func (s *Speaker) Ready() <-chan struct{} { return s.ready }

func (s *Speaker) String() string { return "bgp" }

// server returns GoBGP while it runs.
func (s *Speaker) server() (*server.BgpServer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.phase {
	case idle:
		return nil, errors.New("bgp: not running yet")
	case stopping, left:
		return nil, errors.New("bgp: has been stopped")
	}
	return s.srv, nil
}

// Flush waits until everything Set so far has been written to the sockets of
// all established neighbors. Its error names those that still owe a write.
func (s *Speaker) Flush(ctx context.Context) error {
	if err := s.wire.flush(ctx); err != nil {
		return fmt.Errorf("bgp: %w", err)
	}
	return nil
}
