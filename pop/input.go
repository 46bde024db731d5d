package pop

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// stallGrace is added to what a check may take before its runner counts as
// dead.
const stallGrace = 5 * time.Second

// examine looks at the checks: at all of them once a tick, because ages and
// words change without any verdict, and in between at the services whose
// verdicts changed, so that a verdict costs what its own service costs.
func (c *Controller) examine(judged map[policy.ServiceID]bool, now time.Time) {
	if !c.looked.IsZero() && now.Sub(c.looked) < tick {
		for id := range judged {
			if svc := c.services[id]; svc != nil {
				c.judge(svc, c.opt.Checks.ServiceStates(id), now)
			}
		}
		return
	}
	c.looked = now
	c.checks = make(map[policy.ServiceID][]health.State, len(c.plain))
	c.health = make(map[policy.ServiceID]policy.Health, len(c.plain))
	by := make(map[policy.ServiceID][]health.State, len(c.plain))
	for states := c.opt.Checks.States(); len(states) > 0; {
		id, n := states[0].Spec.Service, 1
		for n < len(states) && states[n].Spec.Service == id {
			n++
		}
		if by[id] == nil {
			by[id] = states[:n:n]
		} else { // not together after all
			by[id] = append(by[id], states[:n]...)
		}
		states = states[n:]
	}
	for i := range c.cfg.Services {
		svc := &c.cfg.Services[i]
		c.judge(svc, by[svc.ID], now)
	}
}

// judge puts the checks of a service together.
func (c *Controller) judge(svc *config.Service, states []health.State, now time.Time) {
	c.checks[svc.ID] = states
	if svc.Always {
		return
	}
	h := health.Combine(svc.Combine, states)
	h.Empty = len(svc.Checks) == 0
	for i := range states {
		h.Stalled = h.Stalled || stalled(&states[i], now)
	}
	c.health[svc.ID] = h
}

// input puts together what is known now.
func (c *Controller) input(now time.Time) policy.Input {
	in := policy.Input{
		POP: c.cfg.POP, Services: c.plain, Health: maps.Clone(c.health),
		Intents: append(c.live(now), c.inForce(now)...), Load: c.load, Shed: c.shed, Limits: c.cfg.Limits,
	}
	in.Core = c.core(now)
	if c.opt.Turns != nil && in.Limits.Queued() {
		in.Queue = c.opt.Turns.Queue()
	}
	if c.opt.RPKI != nil {
		in.Invalid = invalid(c.opt.RPKI.Invalid())
	}
	if c.opt.Fleet != nil {
		in.Fleet = c.opt.Fleet.View(now)
		c.disagree(now)
	}
	in.Traffic = c.traffic(&in, now)
	in.Receivers = c.receivers(&in, now)
	return in
}

// stalled reports whether nothing has been done for a check for so long that
// its runner must be dead (deadman).
func stalled(s *health.State, now time.Time) bool {
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
