package apitest

import (
	"context"
	"net/netip"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/maintenance"
)

// Fleet returns Members.
func (b *Backend) Fleet(context.Context) (api.Fleet, error) {
	b.Lock()
	defer b.Unlock()
	all := b.Members
	if all == nil {
		all = Members()
	}
	return api.Fleet{POP: b.POP.POP, Now: b.POP.Now, All: all}, nil
}

// Members is a fleet with everything that can be said of a POP.
func Members() []api.FleetMember {
	use := func(unit string, x, capacity float64) *api.LoadStatus {
		return &api.LoadStatus{Unit: unit, Value: &x, Capacity: capacity, At: Now.Add(-2 * time.Second)}
	}
	return []api.FleetMember{
		{
			POP: "LON", Here: true, Source: "here", Weight: 1, Heard: Now, Version: "1.4.0", Location: &api.Location{Latitude: 51.51, Longitude: -0.13},
			Slices: api.FleetStances{All: 4, Announced: 4, Rungs: 1}, Level: 1, Load: use("out", 6.2e9, 1e10), Sessions: api.FleetCount{Up: 2, All: 2}, Core: "embedded",
			Drains: []api.FleetDrain{{
				Of: "web", By: "uid 1000 (ann)", Why: "new disks", Since: Now.Add(-3 * time.Minute), Waits: true,
				Detail: "drains: waiting: FRA drains until 2026-03-04 07:06 UTC, 1 before you",
			}},
			Windows: []api.FleetWindow{{Name: "power", Of: "all services", Why: "the feed is changed", Start: Now.Add(50 * time.Hour), End: Now.Add(52 * time.Hour)}},
		},
		{
			POP: "FRA", Source: "status", Weight: 2, Heard: Now.Add(-400 * time.Millisecond), Version: "1.4.0", Location: &api.Location{Latitude: 50.11, Longitude: 8.68},
			Slices: api.FleetStances{All: 4, Announced: 1, Drained: 2}, Load: use("out", 9.7e9, 2e10), Sessions: api.FleetCount{Up: 3, All: 4}, Core: "embedded",
			Drains: []api.FleetDrain{{Of: "all services", By: "uid 1001 (bob)", Why: "line card", Since: Now.Add(-time.Hour), Until: Now.Add(2 * time.Hour)}},
			Differs: []api.FleetDifference{{
				Slice: policy.SliceID(netip.MustParsePrefix("2001:db8:5353:5353::/64")), Shown: true, Since: Now.Add(-40 * time.Second),
				Follows: "counted as absent, but routers may still send it traffic",
			}},
			Follows: []string{"BGP shows another thing than it says of 1 of its slices: counted as absent there, and traffic may still go to it"},
		},
		{
			POP: "a-pop-with-a-long-name", Source: "rib", Weight: 1, Heard: Now, Slices: api.FleetStances{All: 3, Announced: 3},
			Follows: []string{"known by BGP alone: it cannot confirm that it stays"},
		},
		{
			POP: "AMS", Source: "status", Weight: 1, Heard: Now.Add(-20 * time.Minute), Stale: true, Error: "connection refused", Version: "1.3.9",
			Slices: api.FleetStances{All: 4, Announced: 4, Down: 1}, Sessions: api.FleetCount{Up: 1, All: 1}, Core: "follow", CoreLost: true,
			Follows: []string{"not heard lately: counted as absent by stale, as draining by drains"},
		},
	}
}

// Maintenance returns POP's windows.
func (b *Backend) Maintenance(context.Context) ([]api.MaintenanceWindow, error) {
	b.Lock()
	defer b.Unlock()
	return b.POP.Maintenance, nil
}

// AddMaintenance remembers the window.
func (b *Backend) AddMaintenance(_ context.Context, w maintenance.Window) (api.Result, error) {
	b.Lock()
	defer b.Unlock()
	if b.Err != nil {
		return api.Result{}, b.Err
	}
	if err := w.Check(); err != nil {
		return api.Result{}, api.Errorf(api.Invalid, "maintenance: %v", err)
	}
	b.POP.Maintenance = append(b.POP.Maintenance, api.MaintenanceWindow{
		Name: w.Name, At: w.At, For: api.Duration(w.For), Lead: api.Duration(w.Lead), Service: w.Service, Slice: w.Slice, By: w.By, Why: w.Why,
	})
	return api.Result{Text: "window " + w.Name + " added"}, nil
}

// RemoveMaintenance forgets the window.
func (b *Backend) RemoveMaintenance(_ context.Context, name, _, _ string) (api.Result, error) {
	b.Lock()
	defer b.Unlock()
	for i, w := range b.POP.Maintenance {
		if w.Name == name {
			b.POP.Maintenance = append(b.POP.Maintenance[:i:i], b.POP.Maintenance[i+1:]...)
			return api.Result{Text: "window " + name + " removed"}, b.Err
		}
	}
	return api.Result{}, api.Errorf(api.NotFound, "there is no window %q", name)
}
