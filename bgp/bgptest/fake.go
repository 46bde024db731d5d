// Package bgptest holds what tests of BGP users need: a recording announcer
// that speaks no BGP, and a real neighbor on a loopback address. Daemons do
// not import it.
package bgptest

import (
	"context"
	"slices"
	"sync"

	"github.com/catchment/catchment/bgp"
)

// Announcer records what it is told to announce. The zero value is ready.
type Announcer struct {
	mu      sync.Mutex
	sets    [][]bgp.Announcement
	peers   []bgp.PeerState
	err     error
	gate    chan struct{}
	flushes int
	stopped bool
	left    bool
}

// Fail makes Set, Flush, Stop and Leave return err from now on; nil ends it.
// A Set that fails changes nothing.
func (a *Announcer) Fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

// Block makes Set and Flush wait until the returned function is called or
// their context ends.
func (a *Announcer) Block() (release func()) {
	gate := make(chan struct{})
	a.mu.Lock()
	a.gate = gate
	a.mu.Unlock()
	return sync.OnceFunc(func() {
		a.mu.Lock()
		if a.gate == gate {
			a.gate = nil
		}
		a.mu.Unlock()
		close(gate)
	})
}

func (a *Announcer) wait(ctx context.Context) error {
	a.mu.Lock()
	gate := a.gate
	a.mu.Unlock()
	if gate == nil {
		return ctx.Err()
	}
	select {
	case <-gate:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Set records the set.
func (a *Announcer) Set(ctx context.Context, set []bgp.Announcement) error {
	if err := a.wait(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	a.sets = append(a.sets, sorted(set))
	return nil
}

func sorted(set []bgp.Announcement) []bgp.Announcement {
	out := slices.Clone(set)
	slices.SortFunc(out, func(x, y bgp.Announcement) int { return x.Prefix.Compare(y.Prefix) })
	return out
}

// Announced returns the last set, sorted by prefix; nil before the first.
func (a *Announcer) Announced() []bgp.Announcement {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.sets) == 0 {
		return nil
	}
	return slices.Clone(a.sets[len(a.sets)-1])
}

// Sets returns all sets in their order.
func (a *Announcer) Sets() [][]bgp.Announcement {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.sets)
}

// SetPeers decides what Peers returns.
func (a *Announcer) SetPeers(peers ...bgp.PeerState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.peers = slices.Clone(peers)
}

// Peers returns what SetPeers was given.
func (a *Announcer) Peers() []bgp.PeerState {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.peers)
}

// Flush counts.
func (a *Announcer) Flush(ctx context.Context) error {
	if err := a.wait(ctx); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.flushes++
	return a.err
}

// Flushes is how often Flush was called.
func (a *Announcer) Flushes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.flushes
}

// Stop records an empty set, as the real speaker withdraws everything.
func (a *Announcer) Stop(ctx context.Context) error {
	if err := a.Set(ctx, nil); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	return nil
}

// Leave records that it was called; the set stays.
func (a *Announcer) Leave(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = true
	return a.err
}

// Stopped reports whether Stop was called, Left whether Leave was.
func (a *Announcer) Stopped() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stopped
}

// Left reports whether Leave was called.
func (a *Announcer) Left() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.left
}
