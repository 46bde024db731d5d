package main

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/account"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
)

// costs keeps the books of what traffic costs, and what it measures for them.
// Without prices it does nothing.
type costs struct {
	d      *parts
	keeper *account.Keeper
}

// buildCosts makes the books. They are there without prices, too, so that a
// reload can bring some.
func (d *parts) buildCosts(j *journal.Journal) {
	d.cost = &costs{d: d}
	o := account.Options{
		POP: d.cfg.POP, Config: d.cfg.Cost, Meter: d.cost, Peers: d.cost.told, Journal: j, Logger: d.log,
		Alarm: func(ctx context.Context, on bool, detail string) { d.controller.Alarm(ctx, "harm", on, detail) },
	}
	if !d.dry {
		o.Dir = filepath.Join(d.cfg.StateDir, "cost")
	}
	d.cost.keeper = account.New(o)
}

// adopt takes over the prices of a reload.
func (c *costs) adopt(cfg *config.Config) { c.keeper.Set(cfg.Cost) }

// stopped tells whether the ceiling on harm has stopped all steering by cost
// and slowness, and why. It costs next to nothing.
func (c *costs) stopped() (bool, string) {
	if c == nil {
		return false, ""
	}
	return c.keeper.Stopped()
}

// tell adds our slots to what we say of ourselves.
func (c *costs) tell(about json.RawMessage) json.RawMessage {
	if c == nil {
		return about
	}
	m := c.keeper.Message()
	if len(m) == 0 || len(about) == 0 {
		return about
	}
	a, err := fleet.DecodeAbout(about)
	if err != nil {
		return about
	}
	a.Account = m
	return a.Encode()
}

// told is what the other POPs say of their slots.
func (c *costs) told() (out []account.Told) {
	for _, p := range c.d.fleet.Peers(time.Now()) {
		if p.About != nil && !p.Stale {
			out = append(out, account.Told{POP: p.POP, Raw: p.About.Account})
		}
	}
	return out
}

// Rates implements account.Meter.
func (c *costs) Rates() (out []account.Rate) {
	s := c.d.load.Snapshot()
	rate := func(name string, l load.Load) {
		if l[load.Out].Known || l[load.In].Known {
			out = append(out, account.Rate{Link: name, In: known(l[load.In]), Out: known(l[load.Out])})
		}
	}
	rate("", s.POP.Load)
	for i := range s.Sources {
		if device, ok := strings.CutPrefix(s.Sources[i].Name, "link:"); ok {
			rate(device, s.Sources[i].Load)
		}
	}
	return out
}

// known is a value, 0 where it is not known.
func known(v load.Value) float64 {
	if !v.Known {
		return 0
	}
	return max(0, v.Value)
}

// Answers implements account.Meter.
func (c *costs) Answers() (out []account.Answers) {
	for _, a := range c.d.dns.answered() {
		out = append(out, account.Answers{From: a.Near, To: a.To, Why: a.Why.String(), N: a.N})
	}
	return out
}

// Redirects implements account.Meter.
func (c *costs) Redirects() (out []account.Redirected) {
	if c.d.cache == nil {
		return nil
	}
	for pop, n := range c.d.cache.server().Steered().Elsewhere {
		out = append(out, account.Redirected{To: policy.POPID(pop), Requests: n.Requests, Bytes: n.Bytes})
	}
	return out
}

// Harm implements account.Meter: it is measured where players have spoken.
func (c *costs) Harm() *account.Harm {
	if c.d.cache == nil {
		return nil
	}
	h := c.d.cache.server().Steered().Harm
	if h.Moved+h.Left == 0 {
		return nil
	}
	return &account.Harm{Moved: h.Moved, Left: h.Left, MovedStalls: h.MovedStalls, LeftStalls: h.LeftStalls}
}

// means are the ways by which this POP steers clients elsewhere.
func (c *costs) means() (out []string) {
	cfg := c.d.inForce.Load()
	if d := &cfg.DNS; d.On() && len(d.Steer.Rules) > 0 {
		if slices.ContainsFunc(d.Steer.Destinations, func(x steer.Destination) bool { return len(x.Cheap) > 0 }) || len(d.Steer.Asked.Cheap) > 0 {
			out = append(out, "dns")
		}
	}
	if len(steerTargets(cfg)) > 0 {
		out = append(out, "redirects")
	}
	return out
}
