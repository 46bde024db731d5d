package pop

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/policy"
)

// stallGrace is added to what a check may take before its runner counts as
// dead.
const stallGrace = 5 * time.Second

// input puts together what is known now.
func (c *Controller) input(states []health.State, now time.Time) policy.Input {
	in := policy.Input{
		POP: c.cfg.POP, Health: make(map[policy.ServiceID]policy.Health, len(c.cfg.Services)),
		Intents: c.live(now), Load: c.load, Limits: c.cfg.Limits,
	}
	by := make(map[policy.ServiceID][]health.State, len(c.cfg.Services))
	for _, s := range states {
		by[s.Spec.Service] = append(by[s.Spec.Service], s)
	}
	for i := range c.cfg.Services {
		svc := &c.cfg.Services[i]
		in.Services = append(in.Services, svc.Service)
		if svc.Always {
			continue
		}
		h := health.Combine(svc.Combine, by[svc.ID])
		h.Empty = len(svc.Checks) == 0
		for _, s := range by[svc.ID] {
			h.Stalled = h.Stalled || stalled(s, now)
		}
		in.Health[svc.ID] = h
	}
	if c.opt.Fleet != nil {
		in.Fleet = c.opt.Fleet.View(now)
		c.disagree(now)
	}
	return in
}

// stalled reports whether nothing has been done for a check for so long that
// its runner must be dead (deadman).
func stalled(s health.State, now time.Time) bool {
	if s.LastAlive.IsZero() {
		return false
	}
	return now.Sub(s.LastAlive) > 2*(s.Spec.Interval+s.Spec.Timeout)+stallGrace
}

// live drops the intents whose time is over.
func (c *Controller) live(now time.Time) []policy.Intent {
	over := func(in policy.Intent) bool { return !in.Until.IsZero() && !now.Before(in.Until) }
	for _, in := range c.intents {
		if over(in) {
			c.note(entryIntent(in, "ended: its time is over", in.By))
		}
	}
	c.intents = slices.DeleteFunc(c.intents, over)
	return slices.Clone(c.intents)
}

// measure counts the connections of services that are being drained, which is
// the only thing that load decides about here.
func (c *Controller) measure(ctx context.Context) {
	if c.opt.Loads == nil {
		return
	}
	var addrs []netip.Addr
	drained := map[policy.ServiceID]bool{}
	for _, s := range c.state.Slices {
		if svc := c.services[s.Service]; svc != nil && s.Stance.Action == policy.Drain && len(svc.VIPs.Addresses) > 0 && !drained[svc.ID] {
			drained[svc.ID] = true
			addrs = append(addrs, svc.VIPs.Addresses...)
		}
	}
	load := map[policy.ServiceID]float64{}
	if len(addrs) > 0 {
		n, err := c.opt.Loads.Connections(ctx, addrs)
		c.alarms.set("load-unknown", err != nil, fmt.Sprintf("connections cannot be counted: %v", err), time.Now())
		for id := range drained {
			if err != nil {
				break
			}
			load[id] = 0
			for _, a := range c.services[id].VIPs.Addresses {
				load[id] += float64(n[a])
			}
		}
	}
	c.load = load
}

// disagreeFor is how long a POP's word and our RIB may differ before a person
// should know: longer than BGP takes to converge.
const disagreeFor = 5 * time.Second

// disagree raises an alarm for a POP that says it announces what our routers
// no longer show.
func (c *Controller) disagree(now time.Time) {
	var words []string
	for _, d := range c.opt.Fleet.Disagreements() {
		if now.Sub(d.Since) >= disagreeFor {
			words = append(words, d.String())
		}
	}
	c.alarms.set("fleet-disagrees", len(words) > 0, strings.Join(words, "; "), now)
}
