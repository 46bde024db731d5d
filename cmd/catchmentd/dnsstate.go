package main

import (
	"context"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/balance"
	"github.com/catchment/catchment/pop/config"
)

// firstState is that of the beginning: nothing is known of any POP, so that
// each destination's own POPs are answered.
func firstState(c *config.DNS) (s steer.State) {
	for i := range c.Steer.POPs {
		s.POPs = append(s.POPs, steer.POPState{Caches: c.Steer.Caches[i]})
	}
	return s
}

// stateUnder is a state under another configuration: what is known of the POPs
// that are in both, until it is looked at again.
func stateUnder(old *config.DNS, state steer.State, c *config.DNS) steer.State {
	s := firstState(c)
	for i := range c.Steer.POPs {
		for k := range old.Steer.POPs {
			if old.Steer.POPs[k].ID != c.Steer.POPs[i].ID {
				continue
			}
			caches := slices.Clone(s.POPs[i].Caches)
			s.POPs[i] = state.POPs[k]
			for n := range caches {
				caches[n].Down = slices.ContainsFunc(state.POPs[k].Caches, func(x steer.Cache) bool { return x.Addr == caches[n].Addr && x.Down })
			}
			s.POPs[i].Caches = caches
		}
	}
	return s
}

// stateOfPOPs is what is known of the POPs of the configuration in force;
// false: nothing.
func (r *rendezvous) stateOfPOPs(ctx context.Context, now time.Time) (steer.State, bool) {
	r.mu.Lock()
	c := r.cfg
	r.mu.Unlock()
	st, err := r.d.controller.Status(ctx)
	if err != nil {
		return steer.State{}, false
	}
	s := firstState(c)
	view, report := r.d.fleet.View(now), r.d.balance.Report()
	for i := range c.Steer.POPs {
		id, p := c.Steer.POPs[i].ID, &s.POPs[i]
		if id == c.Steer.Self {
			p.Health, p.Stance = ownState(st, c.Steer.Service)
		} else if k := slices.IndexFunc(view.Peers, func(p policy.Peer) bool { return p.POP == id }); k >= 0 && view.Peers[k].Fresh(r.d.inForce.Load().Limits, now) {
			p.Health, p.Stance = peerState(&view.Peers[k], r.slices(c.Steer.Service))
		}
		p.Caches = checkedCaches(st, c, i)
		p.Headroom, p.Room = headroom(report, id)
		p.Offers = offers(report.Loans, id)
	}
	return s, true
}

// checkedCaches are the caches of a POP, down where the check that is named for
// one says so. One that is not checked, or not yet, is up.
func checkedCaches(st api.Status, c *config.DNS, pop int) []steer.Cache {
	caches := slices.Clone(c.Steer.Caches[pop])
	i := slices.IndexFunc(st.Services, func(s api.ServiceStatus) bool { return s.ID == c.Steer.Service })
	if i < 0 {
		return caches
	}
	for n, id := range c.Steer.Checks[pop] {
		caches[n].Down = id != "" && slices.ContainsFunc(st.Services[i].Checks, func(x api.CheckStatus) bool { return x.ID == id && x.Verdict == policy.Down })
	}
	return caches
}

// offers are what DNS lends of a POP's clients: what stands in the control core,
// with room reserved for it, as this POP read it last.
func offers(loans []shed.Loan, from policy.POPID) (out []steer.Offer) {
	for _, x := range loans {
		if x.From == from {
			out = append(out, steer.Offer{To: x.To, Share: x.Share})
		}
	}
	return out
}

// slices are those of a service; nil: of all.
func (r *rendezvous) slices(service policy.ServiceID) []policy.SliceID {
	cfg := r.d.inForce.Load()
	for i := range cfg.Services {
		if cfg.Services[i].ID == service {
			return cfg.Services[i].Slices
		}
	}
	return nil
}

// ownState is how this POP is: a daemon without services has only its word
// that it answers.
func ownState(st api.Status, service policy.ServiceID) (policy.Verdict, policy.Action) {
	if service == "" {
		return policy.Up, policy.Announce
	}
	i := slices.IndexFunc(st.Services, func(s api.ServiceStatus) bool { return s.ID == service })
	if i < 0 {
		return policy.Unknown, policy.Withdraw
	}
	s := &st.Services[i]
	health, stance := s.Health.Verdict, policy.Withdraw
	if s.Always {
		health = policy.Up
	}
	for _, x := range s.Slices {
		if !x.Cover {
			stance = max(stance, x.Stance.Action)
		}
	}
	if st.Stopping {
		stance = min(stance, policy.Drain)
	}
	return health, stance
}

// peerState is how another POP is, by its word on slices; what BGP alone shows
// of it tells no verdict, but that it announces.
func peerState(p *policy.Peer, of []policy.SliceID) (policy.Verdict, policy.Action) {
	health, stance := policy.Unknown, policy.Withdraw
	best := map[policy.Verdict]int{policy.Unknown: 0, policy.Down: 1, policy.Degraded: 2, policy.Up: 3}
	for id, s := range p.Slices {
		if len(of) > 0 && !slices.Contains(of, id) {
			continue
		}
		v := s.Verdict
		if v == policy.Unknown && s.Stance.Announced() {
			v = policy.Up
		}
		if best[v] > best[health] {
			health = v
		}
		stance = max(stance, s.Stance.Action)
	}
	return health, stance
}

// headroom is the share of a POP's capacity that is free; false: not known.
func headroom(r balance.Report, pop policy.POPID) (float64, bool) {
	for _, p := range r.POPs {
		if p.POP == pop && p.Capacity > 0 && !p.At.IsZero() {
			return 1 - p.Load/p.Capacity, true
		}
	}
	return 0, false
}
