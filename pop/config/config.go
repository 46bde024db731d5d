// Package config turns the operator's file (YAML or TOML, with CATCHMENT_*
// environment variables on top) into a typed, validated Config, or into a list
// of every mistake in it, each with its key path and, for YAML, its line.
//
// It decides what is a valid configuration and what a key that is not set
// means (defaults.go, one table). It owns nothing: it starts nothing, opens no
// socket and touches no file but the one it was asked to read. It never
// changes a running daemon: a reload parses fully, asks CheckReload, and only
// then is the new Config handed over.
package config

import (
	"net/netip"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/account"
	"github.com/catchment/catchment/pop/maintenance"
)

// Config is a validated configuration. Every duration, size, prefix and
// community in it was parsed once, here.
type Config struct {
	POP      policy.POPID
	Location *Location // nil: not told
	StateDir string    // absolute
	Log      Log
	API      API
	Web      Web
	Metrics  Metrics
	// BGP is the section as gobgpd knows it, keys in lower case, integers as
	// int64, lists as []any. bgp/gobgp makes it typed.
	BGP      map[string]any
	BFD      []BFDSession
	Services []Service
	Limits   policy.Limits
	Fleet    Fleet
	Core     Core
	Relay    Relay
	Load     Loads
	Balance  Balance
	Cost     account.Config
	Ingress  Ingress
	Cache    Cache
	Matrix   Matrix
	Resync   Resync
	DNS      DNS
	Slowness Slowness
	FIB      FIB
	Journal  Journal
	Stop     Stop

	Maintenance []maintenance.Window // checked

	// Warnings are things that are allowed and probably not meant, in the
	// same form as errors.
	Warnings []string

	settings map[string]any // as read, with defaults and environment: what Diff compares
}

// Log says how much is logged and how it looks.
type Log struct {
	Level  string // debug, info, warn or error
	Format string // text or json
}

// API names where the daemon listens for its operator. Empty means not at all.
type API struct {
	Socket      string // Unix socket of our own control API
	Group       string // name or number of who may use it to change things, besides root and the daemon's user
	GoBGPSocket string // Unix socket of the gRPC server: GoBGP's API, and ours
	GoBGPListen string // host:port of the same; with TLS where that is not nil
	GoBGPChange bool   // whoever reaches GoBGPListen without TLS may change things
	Listen      string // host:port of our control API and the page, by TLS only
	TLS         *TLS   // nil: none
}

// TLS names the files of mutual TLS, in PEM.
type TLS struct {
	Certificate string   // of this daemon, with its chain
	Key         string   // of Certificate
	ClientCA    string   // signs the certificates of those who may connect
	Change      []string // names of certificates that may change things, too; "*": every one
}

// Web says where the page is served, on loopback only.
type Web struct {
	Listen  string // host:port; empty: nowhere
	Change  bool   // whoever reaches the page may change things by it
	Default bool   // nobody has set Listen: it matters little if the port is taken
}

// Location is where a POP is, in degrees: north and east are positive. It is
// for pictures only.
type Location struct{ Latitude, Longitude float64 }

// Metrics says where Prometheus may ask.
type Metrics struct {
	Listen string // host:port; empty: nowhere
}

// BFDSession is a BFD session beside a BGP session (RFC 5880).
type BFDSession struct {
	Neighbor   netip.Addr
	Transmit   time.Duration // desired min TX interval
	Receive    time.Duration // required min RX interval
	Multiplier uint8         // detect multiplier, 1 to 255
	Multihop   bool          // RFC 5883
}

// Service is one anycast service: what decisions need (policy.Service), what
// is announced on each rung, and how its health is known.
type Service struct {
	policy.Service
	VIPs    VIPs
	Normal  Rung
	Ladder  []Rung // index 0 is Normal, so len(Ladder) == policy.Service.Rungs
	Drain   Rung
	Accept  Accept // what the cache server does with new connections while the route leaves
	Combine health.Rule
	Checks  []Check
	// Capacity is what this POP can carry of the service.
	Capacity load.Capacity
}

// Accept says how long the cache server takes new connections to a service's
// addresses that is drained or withdrawn: drain.accept.
type Accept string

const (
	AcceptAlways         Accept = "always"          // as long as the route brings them
	AcceptUntilWithdrawn Accept = "until-withdrawn" // until it has been told that the route is gone
	AcceptNever          Accept = "never"           // not from the beginning of the drain on
)

// SliceOf is the longest slice of the service that an address is in: the one by
// which clients come to it.
func (s *Service) SliceOf(a netip.Addr) (policy.SliceID, bool) {
	best := policy.SliceID{}
	for _, id := range s.Slices {
		if p := id.Prefix(); p.Contains(a) && (!best.Prefix().IsValid() || p.Bits() > best.Prefix().Bits()) {
			best = id
		}
	}
	return best, best.Prefix().IsValid()
}

// VIPs are the addresses of a service and the device that holds them.
type VIPs struct {
	Addresses []netip.Addr
	Device    string
	Keep      bool // keep them while the service is withdrawn
}

// Rung is a way to announce: the complete attributes, with those inherited
// from normal and the site community already in it.
type Rung struct {
	Name string
	bgp.Attributes
	Neighbors map[netip.Addr]bgp.Override
}

// Fleet says how this POP hears of the others and they of it.
type Fleet struct {
	Listen     string // host:port where other POPs ask; empty: nowhere
	SecretFile string // shared HMAC key
	Poll       time.Duration
	Peers      []StatusPeer
	Site       *bgp.LargeCommunity // put on everything this POP announces
	RIB        []RIBPeer
}

// Configured reports whether any source of a fleet view is there.
func (f Fleet) Configured() bool { return len(f.Peers) > 0 || len(f.RIB) > 0 }

// StatusPeer is another POP that is asked over HTTP.
type StatusPeer struct {
	POP      policy.POPID
	URL      string
	Capacity float64
	Location *Location // nil: not told
}

// RIBPeer is another POP recognized in our own RIB by its site community.
type RIBPeer struct {
	POP      policy.POPID
	Site     bgp.LargeCommunity
	Capacity float64
	Location *Location // nil: not told
}

// FIB says whether and how best learned paths are written into the kernel.
type FIB struct {
	Install  bool
	Table    uint32
	Protocol uint8
	Metric   uint32
	// Multipath is how many equally good next hops share a prefix's traffic.
	Multipath int
	// Transit passes learned routes on: for the routers of a lab only.
	Transit bool
}

// Journal bounds the journal on disk.
type Journal struct {
	MaxSize int64 // bytes a file
	Keep    int   // rotated files kept
}

// Stop bounds how long leaving may take.
type Stop struct {
	Deadline time.Duration
}
