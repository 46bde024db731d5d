package main

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/catchment/catchment/bgp/bfd"
)

// resetTime bounds how long closing one session may take.
const resetTime = 5 * time.Second

// resets closes the BGP sessions that BFD has found dead. BFD's own goroutines
// only leave word here, so that no reset, however slow, delays a BFD packet;
// nor does one neighbor's delay another's.
type resets struct {
	reset func(ctx context.Context, neighbor netip.Addr, why string) error
	log   *slog.Logger
	wake  chan struct{} // size one: somebody has left word

	mu     sync.Mutex
	wanted map[netip.Addr]string // neighbor -> why
}

func newResets(reset func(context.Context, netip.Addr, string) error, log *slog.Logger) *resets {
	return &resets{reset: reset, log: log, wake: make(chan struct{}, 1), wanted: map[netip.Addr]string{}}
}

func (r *resets) String() string { return "resets" }

// order asks for the reset of a neighbor's session. It never blocks; one that
// is wanted already is done once.
func (r *resets) order(neighbor netip.Addr, why string) {
	r.mu.Lock()
	r.wanted[neighbor] = why
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run carries out orders until ctx ends, and joins those under way.
func (r *resets) Run(ctx context.Context) error {
	var under sync.WaitGroup
	defer under.Wait()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.wake:
		}
		r.mu.Lock()
		wanted := r.wanted
		r.wanted = map[netip.Addr]string{}
		r.mu.Unlock()
		for neighbor, why := range wanted {
			under.Go(func() { r.carryOut(ctx, neighbor, why) })
		}
	}
}

func (r *resets) carryOut(ctx context.Context, neighbor netip.Addr, why string) {
	ctx, cancel := context.WithTimeout(ctx, resetTime)
	defer cancel()
	if err := r.reset(ctx, neighbor, why); err != nil {
		r.log.Error("BFD is down and the session cannot be reset", "neighbor", neighbor, "err", err)
	}
}

// onBFD has the session closed of a neighbor that was there and is gone. One
// that has never been up says nothing: it may not speak BFD at all. It is
// called from BFD's goroutines and does not block.
func (d *parts) onBFD(e bfd.Event) {
	d.controller.OnBFD(e.Neighbor, e.State.String(), e.Was.String(), e.Diagnostic.String())
	if e.Failure() {
		d.resets.order(e.Neighbor.WithZone(""), "BFD down: "+e.Diagnostic.String())
	}
}
