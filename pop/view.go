package pop

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/fleet"
)

// View is the snapshot of the last round that everybody else reads. Nothing in
// it is changed after it has been published.
type View struct {
	Now       time.Time
	Input     policy.Input
	Decision  policy.Decision
	Checks    map[policy.ServiceID][]health.State
	Alarms    []api.Alarm
	Peers     []bgp.PeerState
	Fleet     []fleet.PeerReport
	Stopping  bool
	windows   []api.MaintenanceWindow
	core      string                         // what we are to the control core; empty: nothing
	resync    string                         // where flows are told to us
	where     map[policy.POPID]*api.Location // of the configuration
	index     announcements
	cover     map[policy.SliceID]bool
	set       map[policy.SliceID]bool // handed to the speaker
	heard     map[policy.SliceID]bool // as decided, by at least one neighbor
	announced []bgp.Announcement
	dry       bool
	blind     bool
	refused   map[policy.SliceID][]string // addresses that take no new connections, by the slice that brings clients to them
	balances  bool                        // load may move slices
	caches    int                         // of the RPKI
	// synchronized is how many of the caches are.
	synchronized int
}

// publish makes the round's snapshot and shows it to the metrics.
func (c *Controller) publish(d policy.Decision, in policy.Input, changed bool, now time.Time) {
	v := &View{
		Now: now, Input: in, Decision: d, Checks: maps.Clone(c.checks), Alarms: c.alarms.list(), Peers: c.opt.Announcer.Peers(),
		dry: c.opt.DryRun, blind: c.blind, balances: c.cfg.Balance.Acts(), index: c.index, where: places(c.cfg), cover: map[policy.SliceID]bool{}, set: map[policy.SliceID]bool{}, heard: map[policy.SliceID]bool{},
	}
	if c.opt.RPKI != nil {
		v.synchronized, v.caches = c.opt.RPKI.Caches()
	}
	if c.opt.Fleet != nil {
		v.Fleet = c.opt.Fleet.Peers(now)
	}
	for _, s := range in.Services {
		for _, id := range s.Cover {
			v.cover[id] = true
		}
	}
	for _, a := range c.set {
		id := policy.SliceID(a.Prefix)
		v.set[id] = !c.opt.DryRun
		v.heard[id] = !c.opt.DryRun && !c.failed[id] && c.opt.Announcer.OnWire(a.Prefix)
	}
	if !c.opt.DryRun {
		v.announced = c.set
	}
	v.core, v.resync = c.cfg.Core.Mode, c.cfg.Resync.Advertise
	for _, p := range c.windows.all {
		v.windows = append(v.windows, c.shown(p, now))
	}
	slices.SortStableFunc(v.windows, func(a, b api.MaintenanceWindow) int { return a.Start.Compare(b.Start) })
	v.Stopping = slices.ContainsFunc(in.Intents, func(i policy.Intent) bool { return i.Kind == policy.IntentStop })
	v.refused = c.refusedBy()
	c.view.Store(v)
	close(*c.newer.Swap(new(make(chan struct{}))))
	c.meter.show(v, changed)
}

// Changed is closed when there is a snapshot later than the one there is now.
func (c *Controller) Changed() <-chan struct{} { return *c.newer.Load() }

// seen is the last snapshot; the first caller waits until there is one.
func (c *Controller) seen(ctx context.Context) (*View, error) {
	select {
	case <-c.ready:
	case <-c.done:
	case <-ctx.Done():
		return nil, fmt.Errorf("nothing is decided yet: %w", ctx.Err())
	}
	return c.view.Load(), nil
}

// unheard says of a slice that is to be announced why no router hears it;
// empty where one does.
func (v *View) unheard(d policy.SliceDecision) string {
	switch {
	case !d.Stance.Announced() || v.heard[d.Slice] || v.dry:
		return ""
	case v.blind:
		return "not announced yet: the state of the life before is lost, the checks are waited for"
	case !v.set[d.Slice]:
		return "not announced: its address is missing"
	case !slices.ContainsFunc(v.Peers, func(p bgp.PeerState) bool { return p.State == bgp.Established }):
		return "no neighbor hears it: no BGP session is up"
	}
	return "no neighbor hears it: it is on no established session"
}
