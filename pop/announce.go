package pop

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// retryAfter is when a set or an address that failed is tried again.
const retryAfter = time.Second

// announcements says how each slice is announced on each rung. Slices that
// left the configuration keep the way they were announced, so that they can be
// withdrawn in the guards' own time.
type announcements map[policy.SliceID]sliceRungs

type sliceRungs struct {
	rungs []config.Rung
	drain config.Rung
	vips  []VIP
	site  *bgp.LargeCommunity // put on everything
	gone  bool
}

func index(cfg *config.Config, old announcements) announcements {
	a := announcements{}
	for id, r := range old {
		r.gone = true
		a[id] = r
	}
	for i := range cfg.Services {
		svc := &cfg.Services[i]
		vips := vipsOf(svc)
		for _, id := range svc.Slices {
			a[id] = sliceRungs{rungs: svc.Ladder, drain: svc.Drain, vips: vips, site: cfg.Fleet.Site}
		}
		for _, id := range svc.Cover {
			a[id] = sliceRungs{rungs: svc.Ladder[:1], drain: svc.Drain, vips: vips, site: cfg.Fleet.Site}
		}
	}
	return a
}

// of returns the announcement of a slice in a stance.
func (a announcements) of(id policy.SliceID, s policy.Stance) (bgp.Announcement, config.Rung, bool) {
	r, ok := a[id]
	if !ok || !s.Announced() || len(r.rungs) == 0 {
		return bgp.Announcement{}, config.Rung{}, false
	}
	rung := r.rungs[min(s.Rung, len(r.rungs)-1)]
	if s.Action == policy.Drain {
		rung = r.drain
	}
	return bgp.Announcement{Prefix: id.Prefix(), Attributes: rung.Attributes, Neighbors: rung.Neighbors}, rung, true
}

// own lists every prefix.
func (a announcements) own() []netip.Prefix {
	var ps []netip.Prefix
	for id := range a {
		ps = append(ps, id.Prefix())
	}
	slices.SortFunc(ps, netip.Prefix.Compare)
	return ps
}

// announce hands the set of the decision to the speaker. Addresses come before
// the first announcement that needs them and go after the last.
func (c *Controller) announce(ctx context.Context, d policy.Decision, detected time.Time) {
	if c.waits(d) {
		c.ensureAddresses(ctx)
		return
	}
	set := make([]bgp.Announcement, 0, len(d.Slices))
	for _, s := range d.Slices {
		if a, _, ok := c.index.decided(s); ok {
			set = append(set, a)
		}
	}
	c.moveAddresses(ctx)
	now := time.Now()
	due := !c.retry.IsZero() && !now.Before(c.retry)
	if c.setOnce && !due && slices.EqualFunc(c.set, set, bgp.Announcement.Equal) { // both by prefix
		return
	}
	c.retry = time.Time{}
	missing := c.ensureAddresses(ctx)
	set = c.withhold(set, missing)
	c.mu.Lock()
	c.unsent = detected
	c.mu.Unlock()
	var err error
	if !c.opt.DryRun {
		err = c.opt.Announcer.Set(ctx, set)
	}
	c.set, c.setOnce, c.failed = set, true, nil
	if err != nil {
		c.failed = notTaken(set, c.opt.Announcer.Announced())
	}
	if c.alarms.set("announce-failed", err != nil, fmt.Sprint(err), now) {
		c.log.Error("announcements are not all out", "err", err)
	}
	if err != nil || len(missing) > 0 {
		c.retry = now.Add(retryAfter)
	}
	c.ensureAddresses(ctx)
}

// notTaken lists what of a set is not in force as it was wanted.
func notTaken(set, inForce []bgp.Announcement) map[policy.SliceID]bool {
	failed := map[policy.SliceID]bool{}
	for _, a := range bgp.Diff(inForce, set).Announce {
		failed[policy.SliceID(a.Prefix)] = true
	}
	return failed
}

// withhold leaves out what is not announced yet and has no address to be
// served from: an announcement without its address is a black hole.
func (c *Controller) withhold(set []bgp.Announcement, missing map[policy.ServiceID]bool) []bgp.Announcement {
	if len(missing) == 0 {
		return set
	}
	return slices.DeleteFunc(set, func(a bgp.Announcement) bool {
		had := slices.ContainsFunc(c.set, func(b bgp.Announcement) bool { return a.Prefix == b.Prefix })
		return !had && missing[c.state.Slices[policy.SliceID(a.Prefix)].Service]
	})
}

// moveAddresses looks at the addresses after a reload, which may have changed
// them and nothing that is announced.
func (c *Controller) moveAddresses(ctx context.Context) {
	if !c.moved {
		return
	}
	c.moved = false
	if missing := c.ensureAddresses(ctx); len(missing) > 0 {
		c.retry = time.Now().Add(retryAfter)
	}
}

// ensureAddresses puts the addresses of announced services on their devices,
// and of all services that keep theirs. It returns the services whose
// addresses could not be had.
func (c *Controller) ensureAddresses(ctx context.Context) map[policy.ServiceID]bool {
	if c.opt.Addresses == nil || c.opt.DryRun {
		return nil
	}
	if c.placed && c.steady {
		return nil
	}
	used := map[policy.ServiceID]bool{}
	for _, s := range c.state.Slices {
		if s.Stance.Announced() {
			used[s.Service] = true
		}
	}
	for _, a := range c.set {
		if s, ok := c.state.Slices[policy.SliceID(a.Prefix)]; ok {
			used[s.Service] = true
		}
	}
	c.steady = true
	var want []VIP
	for i := range c.cfg.Services {
		svc := &c.cfg.Services[i]
		c.steady = c.steady && svc.VIPs.Keep
		if !svc.VIPs.Keep && !used[svc.ID] {
			continue
		}
		want = append(want, vipsOf(svc)...)
	}
	want = append(want, c.spared(want)...)
	if c.placed && slices.Equal(want, c.addresses) {
		return nil
	}
	failed, err := c.opt.Addresses.Ensure(ctx, want)
	if c.alarms.set("address", err != nil, fmt.Sprint(err), time.Now()) {
		c.log.Error("service addresses", "missing", len(failed), "err", err)
	}
	c.addresses, c.placed = want, err == nil
	if err == nil {
		return nil
	}
	missing := map[policy.ServiceID]bool{}
	for i := range c.cfg.Services {
		svc := &c.cfg.Services[i]
		missing[svc.ID] = slices.ContainsFunc(failed, func(v VIP) bool {
			return v.Device == svc.VIPs.Device && slices.Contains(svc.VIPs.Addresses, v.Address)
		})
	}
	return missing
}
