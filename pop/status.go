package pop

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/fleet"
)

// Status is the POP as the last round saw it.
func (c *Controller) Status(ctx context.Context) (api.Status, error) {
	v, err := c.seen(ctx)
	if err != nil {
		return api.Status{}, err
	}
	st := api.Status{
		POP: v.Input.POP, Location: v.where[v.Input.POP], Version: c.opt.Version, Now: time.Now(), Started: c.started, DryRun: c.opt.DryRun,
		Stopping: v.Stopping, Neighbors: v.Peers, Intents: v.Input.Intents, Alarms: v.Alarms, Guards: v.guards(), Maintenance: v.windows,
	}
	by := make(map[policy.ServiceID][]api.SliceStatus, len(v.Input.Services))
	for _, d := range v.Decision.Slices {
		by[d.Service] = append(by[d.Service], v.slice(d))
	}
	for _, s := range v.Input.Services {
		out := v.service(s)
		out.Slices = by[s.ID]
		st.Services = append(st.Services, out)
		delete(by, s.ID)
	}
	for _, id := range slices.Sorted(maps.Keys(by)) { // removed, and not off the air yet
		st.Services = append(st.Services, api.ServiceStatus{ID: id, Slices: by[id]})
	}
	for _, p := range v.Fleet {
		st.Fleet = append(st.Fleet, fleetPeer(p, v.where[p.POP]))
	}
	c.measured(&st)
	st.Balance = c.balanced()
	return st, nil
}

// service is a service without its slices.
func (v *View) service(s policy.Service) api.ServiceStatus {
	out := api.ServiceStatus{ID: s.ID, Health: v.Input.Health[s.ID], Always: s.Always}
	if load, ok := v.Input.Load[s.ID]; ok {
		out.Load = &load
	}
	for _, check := range v.Checks[s.ID] {
		out.Checks = append(out.Checks, api.CheckOf(check))
	}
	return out
}

func (v *View) slice(d policy.SliceDecision) api.SliceStatus {
	out := api.SliceStatus{
		Slice: d.Slice, Service: d.Service, Cover: v.cover[d.Slice], Stance: d.Stance, Since: d.Since, Reason: d.Reason,
	}
	if a, rung, ok := v.index.decided(d); ok {
		out.Rung = rung.Name
		if v.set[d.Slice] {
			attrs := api.AttributesOf(a)
			out.Announced = &attrs
		}
	}
	if d.Want != d.Stance {
		out.Wanted, out.WantedReason = &d.Want, &d.Why
	}
	for _, g := range d.Guards {
		out.Guards = append(out.Guards, api.GuardOf(g))
	}
	out.Note = v.unheard(d)
	out.Refused = v.refused[d.Slice]
	out.Next, out.NextAt = next(d, v.Now), d.Wake
	if d.Intent != nil {
		out.Intent = *d.Intent
	}
	return out
}

// next says what happens by itself if no input changes.
func next(d policy.SliceDecision, now time.Time) string {
	if d.Wake.IsZero() {
		return ""
	}
	in := d.Wake.Sub(now).Round(100 * time.Millisecond)
	switch d.Reason.Code {
	case policy.HoldDown, policy.Damped:
		return fmt.Sprintf("announced in %v, if it stays up", in)
	case policy.Dwell:
		return fmt.Sprintf("the milder rung in %v, if it stays up", in)
	case policy.Guarded:
		return fmt.Sprintf("asked again in %v", in)
	}
	if d.Stance.Action == policy.Drain {
		return fmt.Sprintf("withdrawn in %v at the latest", in)
	}
	return fmt.Sprintf("decided again in %v", in)
}

func fleetPeer(p fleet.PeerReport, where *api.Location) api.FleetPeerStatus {
	out := api.FleetPeerStatus{
		POP: p.POP, URL: p.URL, Source: p.Source, Capacity: p.Capacity, Location: where, Heard: p.Heard, Asked: p.Asked,
		RTT: api.Duration(p.RTT), Stale: p.Stale, Error: p.Error,
	}
	apart := map[policy.SliceID]bool{}
	for _, id := range p.Disagrees {
		apart[id] = true
	}
	for _, cl := range p.Claims {
		s := api.FleetSliceStatus{Slice: cl.Slice, Stance: cl.Stance, Verdict: cl.Verdict, Leaving: cl.Leaving, Failing: cl.Failing, Reason: cl.Reason}
		if apart[cl.Slice] {
			s.Note = "says that it announces, but its path is gone from our RIB: does not count"
		}
		out.Slices = append(out.Slices, s)
	}
	if p.URL == "" { // never asked: its routes are all we know
		for id, s := range p.Slices {
			out.Slices = append(out.Slices, api.FleetSliceStatus{Slice: id, Stance: s.Stance, Verdict: s.Verdict})
		}
		slices.SortFunc(out.Slices, func(a, b api.FleetSliceStatus) int { return a.Slice.Prefix().Compare(b.Slice.Prefix()) })
	}
	return out
}
