package main

import (
	"context"
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// leaver tells the cache server which service addresses are on their way
// elsewhere: those in a slice that this POP drains or has withdrawn. Clients
// that are connected to one of them are let go after their response, so that
// the next request finds its way by the new route, and so that a drain that
// waits for idle connections comes to its end.
type leaver struct {
	controller *pop.Controller
	cfg        *atomic.Pointer[config.Config] // in force
	leave      func([]netip.Addr)
	dry        bool // what is decided is not done
}

func (leaver) String() string { return "cache leaver" }

// Run follows the decisions until ctx ends.
func (l leaver) Run(ctx context.Context) error {
	var last []netip.Addr
	for {
		changed := l.controller.Changed()
		if st, err := l.controller.Status(ctx); err == nil && !l.dry {
			if now := leaving(l.cfg.Load(), st.Slices()); !slices.Equal(now, last) {
				l.leave(now)
				last = now
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// leaving are the service addresses that the cache server serves, in whose
// slice no client is wanted any more, in order.
func leaving(cfg *config.Config, all []api.SliceStatus) []netip.Addr {
	announced := map[policy.SliceID]bool{}
	for i := range all {
		s := &all[i]
		announced[s.Slice] = s.Stance.Action == policy.Announce
	}
	var out []netip.Addr
	for i := range cfg.Services {
		svc := &cfg.Services[i]
		for _, a := range svc.VIPs.Addresses {
			if id, ok := svc.SliceOf(a); ok && cfg.Cache.Serves(a) {
				if on, decided := announced[id]; decided && !on {
					out = append(out, a)
				}
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}
