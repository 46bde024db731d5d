package bgptest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/gobgp"
)

// Timeout bounds every wait of a Neighbor.
const Timeout = 20 * time.Second

// Neighbor is a router for tests: a real BGP speaker on an address of its
// own that accepts all routes and remembers what it was told.
type Neighbor struct {
	*gobgp.Speaker
	t      testing.TB
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	paths   map[key]bgp.Path
	events  []Event
	up      map[netip.Addr]bool
	changed chan struct{}
}

type key struct {
	prefix   netip.Prefix
	neighbor netip.Addr
	id       uint32
}

// Event is one thing that the neighbor saw, in order.
type Event struct {
	Path      bgp.Path // of a route
	Withdrawn bool
	Peer      *bgp.PeerEvent // of a session; Path is then empty
}

// Config describes a Neighbor.
type Config struct {
	AS       uint32
	Address  netip.Addr       // it listens here and connects from here
	Port     int              // it listens on; 0: 179
	RouterID string           // default 10.255.0.AS%250
	Peers    []map[string]any // neighbors in gobgpd's keys
	Own      []netip.Prefix   // that it may announce
	Transit  bool
	Logger   *slog.Logger
}

// StartNeighbor runs a neighbor until the test ends.
func StartNeighbor(t testing.TB, c Config) *Neighbor {
	t.Helper()
	conf, err := gobgp.ParseConfig(Section(c.AS, cmp.Or(c.RouterID, fmt.Sprintf("10.255.0.%d", c.AS%250+1)),
		c.Address, c.Port, c.Peers...))
	if err != nil {
		t.Fatalf("neighbor %s: %v", c.Address, err)
	}
	n := &Neighbor{t: t, paths: make(map[key]bgp.Path), up: make(map[netip.Addr]bool),
		changed: make(chan struct{}), done: make(chan struct{})}
	n.Speaker, err = gobgp.New(gobgp.Options{Config: conf, Logger: c.Logger, Own: c.Own, ImportAll: true,
		Transit: c.Transit, OnPath: n.onPath, OnPeer: n.onPeer})
	if err != nil {
		t.Fatalf("neighbor %s: %v", c.Address, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	go func() {
		defer close(n.done)
		if err := n.Run(ctx); err != nil {
			t.Errorf("neighbor %s: %v", c.Address, err)
		}
	}()
	t.Cleanup(n.Close)
	select {
	case <-n.Ready():
	case <-n.done:
		t.FailNow()
	}
	return n
}

// Section builds a "bgp:" section that listens on one address.
func Section(as uint32, routerID string, listen netip.Addr, port int, neighbors ...map[string]any) map[string]any {
	list := make([]any, 0, len(neighbors))
	for _, n := range neighbors {
		list = append(list, n)
	}
	return map[string]any{
		"global": map[string]any{"config": map[string]any{
			"as": as, "router-id": routerID, "port": cmp.Or(port, 179), "local-address-list": []any{listen.String()}}},
		"neighbors": list,
	}
}

// Close ends it; a test may do so early. The sessions are closed by a Cease.
func (n *Neighbor) Close() {
	n.cancel()
	<-n.done
}

func (n *Neighbor) onPath(p bgp.Path, withdrawn bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	k := key{p.Prefix, p.Neighbor, p.PathID}
	if withdrawn {
		delete(n.paths, k)
	} else {
		n.paths[k] = p
	}
	n.record(Event{Path: p, Withdrawn: withdrawn})
}

func (n *Neighbor) onPeer(e bgp.PeerEvent) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.up[e.Peer.Address] = e.Peer.State == bgp.Established
	n.record(Event{Peer: &e})
}

func (n *Neighbor) record(e Event) {
	n.events = append(n.events, e)
	close(n.changed)
	n.changed = make(chan struct{})
}

// Events returns all that happened.
func (n *Neighbor) Events() []Event {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.events)
}

// Paths returns the routes to a prefix, by neighbor.
func (n *Neighbor) Paths(p netip.Prefix) []bgp.Path {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []bgp.Path
	for k, path := range n.paths {
		if k.prefix == p {
			out = append(out, path)
		}
	}
	slices.SortFunc(out, func(a, b bgp.Path) int { return a.Neighbor.Compare(b.Neighbor) })
	return out
}

// All returns the prefixes that it has routes to, sorted.
func (n *Neighbor) All() []netip.Prefix {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []netip.Prefix
	for k := range n.paths {
		out = append(out, k.prefix)
	}
	slices.SortFunc(out, netip.Prefix.Compare)
	return slices.Compact(out)
}

// Await waits until ok holds; it is asked again after each event.
func (n *Neighbor) Await(what string, ok func() bool) {
	n.t.Helper()
	deadline := time.After(Timeout)
	for {
		n.mu.Lock()
		changed := n.changed
		n.mu.Unlock()
		if ok() {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			n.t.Fatalf("waited %v for %s; have %v, sessions %+v", Timeout, what, n.All(), n.Peers())
		}
	}
}

// AwaitUp waits for the session with a neighbor.
func (n *Neighbor) AwaitUp(addr netip.Addr) {
	n.t.Helper()
	n.Await("the session with "+addr.String(), func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.up[addr]
	})
}

// AwaitDown waits for its end.
func (n *Neighbor) AwaitDown(addr netip.Addr) {
	n.t.Helper()
	n.Await("the end of the session with "+addr.String(), func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return !n.up[addr]
	})
}

// AwaitRoute waits for a route that satisfies ok (nil: any) and returns it.
func (n *Neighbor) AwaitRoute(p netip.Prefix, ok func(bgp.Path) bool) bgp.Path {
	n.t.Helper()
	var found bgp.Path
	n.Await("a route to "+p.String(), func() bool {
		for _, path := range n.Paths(p) {
			if ok == nil || ok(path) {
				found = path
				return true
			}
		}
		return false
	})
	return found
}

// AwaitNone waits until there is no route to a prefix.
func (n *Neighbor) AwaitNone(p netip.Prefix) {
	n.t.Helper()
	n.Await("no route to "+p.String(), func() bool { return len(n.Paths(p)) == 0 })
}
