package main

import (
	"context"

	"github.com/catchment/catchment/pop/fleet"
)

// buildFleet makes the view of the other POPs, and what tells them of this one.
func (d *parts) buildFleet() (*fleet.Fleet, error) {
	f := d.cfg.Fleet
	c := fleet.Config{POP: d.cfg.POP, Listen: f.Listen, Poll: f.Poll, Stale: d.cfg.Limits.StaleAfter, Tree: d.cfg.Relay.On(), Load: d.carries}
	for _, p := range f.Peers {
		c.Peers = append(c.Peers, fleet.Peer{POP: p.POP, URL: p.URL, Capacity: p.Capacity})
	}
	for _, r := range f.RIB {
		c.Sites = append(c.Sites, fleet.Site{POP: r.POP, Community: r.Site, Capacity: r.Capacity})
	}
	c.About = d.about
	if d.cfg.Slowness.Rate > 0 && d.cfg.Slowness.Share > 0 {
		c.Aside = d.tellSlowness
	}
	if f.SecretFile != "" {
		secrets, err := fleet.ReadSecrets(f.SecretFile)
		if err != nil {
			return nil, err
		}
		c.Secrets = secrets
	}
	return fleet.New(c, func(ctx context.Context) ([]fleet.Claim, error) { return d.controller.Claims(ctx) }, d.log)
}
