package main

import (
	"context"
	"log/slog"
	"net/netip"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/addr"
	"github.com/catchment/catchment/bgp/fib"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// routes writes the best learned paths into the kernel. The speaker tells of
// paths one at a time, so nothing here is called by two at once.
type routes struct {
	*fib.Table
	best *fib.Best
	log  *slog.Logger
}

func newRoutes(c config.FIB, log *slog.Logger) (*routes, error) {
	t, err := fib.New(fib.Options{TableID: int(c.Table), Protocol: int(c.Protocol), Metric: int(c.Metric), Logger: log})
	if err != nil {
		return nil, err
	}
	return &routes{Table: t, best: fib.NewBest(c.Multipath), log: log}, nil
}

func (r *routes) path(p bgp.Path, withdrawn bool) {
	d, changed := fib.Decision{}, false
	if withdrawn {
		d, changed = r.best.Withdraw(p.Prefix, p.Neighbor, p.PathID)
	} else {
		d, changed = r.best.Add(p)
	}
	if !changed {
		return
	}
	if err := r.Apply(d); err != nil {
		r.log.Warn("route is not in the kernel yet", "prefix", d.Prefix, "err", err)
	}
}

// onPath tells everybody who listens to learned paths.
func (d *parts) onPath(p bgp.Path, withdrawn bool) {
	d.fleet.Path(p, withdrawn)
	d.flows.onPath()
	if d.routes != nil {
		d.routes.path(p, withdrawn)
	}
}

// onForced hands a route that an operator insists on to the controller.
func (d *parts) onForced(ctx context.Context, f gobgp.Forced) (string, error) {
	by := api.Caller(ctx)
	if by == "unknown" { // by a connection that says nothing of who is at its end
		by = f.By
	}
	return d.controller.ForceRoute(ctx, pop.RouteChange{
		Slice: policy.SliceID(f.Prefix), Withdraw: f.Withdraw, Attributes: f.Attributes, By: by, Why: f.Why,
	})
}

// OnWire asks the speaker what it has sent.
func (a announcer) OnWire(p netip.Prefix) bool { return a.d.speaker.OnWire(p) }

// Invalid asks the speaker what the RPKI calls invalid.
func (a announcer) Invalid() map[netip.Prefix]string { return a.d.speaker.Invalid() }

// Caches counts the RPKI caches: how many are synchronized, of how many.
func (a announcer) Caches() (synchronized, all int) {
	caches := a.d.speaker.RPKI().Caches
	for _, c := range caches {
		if c.Synchronized {
			synchronized++
		}
	}
	return synchronized, len(caches)
}

// vips is the address manager in the controller's words.
type vips struct{ m *addr.Manager }

func (v vips) Ensure(ctx context.Context, want []pop.VIP) ([]pop.VIP, error) {
	all := make([]addr.Address, len(want))
	for i, w := range want {
		all[i] = addr.Address{Addr: w.Address, Device: w.Device, Keep: w.Keep}
	}
	err := v.m.Ensure(ctx, all)
	if err == nil {
		return nil, nil
	}
	gone, cerr := v.m.Check(ctx)
	if cerr != nil {
		return want, err
	}
	var missing []pop.VIP
	for _, a := range gone {
		for _, w := range want {
			if w.Address.Unmap() == a.Addr && (w.Device == a.Device || w.Device == "") {
				missing = append(missing, w)
			}
		}
	}
	return missing, err
}
