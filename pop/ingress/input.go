package ingress

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/assign"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// input is what one decision goes by, with the names of what assign numbers.
type input struct {
	problem assign.Problem
	places  []place        // [item]
	targets []policy.POPID // [target]
	slices  []policy.SliceID
	words   [][]word // [slice][target]
	checks  []word   // [target]
	service map[policy.SliceID]policy.ServiceID
}

// word is what a target, or our check of it, says.
type word struct {
	state assign.State
	text  string
}

func (c *Controller) gather(st api.Status, now time.Time) *input {
	cfg := &c.cfg.Ingress
	in := &input{slices: cfg.Slices, service: map[policy.SliceID]policy.ServiceID{}}
	p := &in.problem
	*p = assign.Problem{Shed: cfg.Shed, Fill: cfg.Fill, MoveCost: cfg.MoveCost, MaxMoves: cfg.MaxMoves, MaxShare: cfg.MaxShare,
		Suspect: c.cfg.Limits.CorrelatedShare}
	checks := map[policy.ServiceID]health.State{}
	for _, s := range c.opt.Checks() {
		checks[s.Spec.Service] = s
	}
	for i := range cfg.Targets {
		t := &cfg.Targets[i]
		in.targets = append(in.targets, t.POP)
		p.Capacity = append(p.Capacity, t.Capacity)
		w := checked(t, checks, now)
		in.checks = append(in.checks, w)
		p.Down = append(p.Down, w.state == assign.Gone)
	}
	c.ask(in, st, now)
	held := holds(st)
	demand := c.demand()
	for r := range cfg.Routers {
		p.Cost = append(p.Cost, costs(&cfg.Routers[r], in.targets))
		for s, id := range cfg.Slices {
			at := place{cfg.Routers[r].Name, id}
			d, known := c.demandOf(&cfg.Routers[r], at, demand)
			in.places = append(in.places, at)
			p.Items = append(p.Items, assign.Item{
				Router: r, Slice: s, Now: slices.Index(in.targets, c.at[at].POP), Demand: d, Known: known,
				Held: held(in.service[id], id),
			})
		}
	}
	return in
}

// costs are a router's to each target.
func costs(r *config.IngressRouter, targets []policy.POPID) []float64 {
	out := make([]float64, len(targets))
	for t, id := range targets {
		cost, ok := r.Costs[id]
		if !ok {
			cost = math.Inf(1)
		}
		out[t] = cost
	}
	return out
}

// stallGrace is added to what a check may take before its runner counts as
// dead.
const stallGrace = 5 * time.Second

// checked is what our check of a target says.
func checked(t *config.IngressTarget, checks map[policy.ServiceID]health.State, now time.Time) word {
	s, ok := checks[CheckService(t.POP)]
	switch {
	case t.Check == nil:
		return word{assign.Open, ""}
	case !ok || s.Verdict == policy.Unknown:
		return word{assign.Unknown, "our check cannot tell yet"}
	case !s.LastAlive.IsZero() && now.Sub(s.LastAlive) > 2*(s.Spec.Interval+s.Spec.Timeout)+stallGrace:
		return word{assign.Unknown, "our check does not run"}
	case s.Verdict == policy.Down:
		return word{assign.Gone, "our check: " + s.Last.Detail}
	}
	return word{assign.Open, "our check passes"}
}

// ask fills in what the targets themselves say of each slice.
func (c *Controller) ask(in *input, st api.Status, now time.Time) {
	own := map[policy.SliceID]word{}
	for _, svc := range st.Services {
		for _, s := range svc.Slices {
			in.service[s.Slice] = svc.ID
			leaving := s.Wanted != nil && !s.Wanted.Announced()
			own[s.Slice] = said(policy.PeerSlice{Stance: s.Stance, Verdict: svc.Health.Verdict, Leaving: leaving})
		}
	}
	fleet := c.opt.Fleet(now)
	for _, id := range in.slices {
		row := make([]assign.State, len(in.targets))
		words := make([]word, len(in.targets))
		for t, pop := range in.targets {
			w := c.wordOf(pop, id, own, fleet, in.checks[t], now)
			if !c.cfg.Ingress.Targets[t].NextHop(id).IsValid() {
				w = word{assign.Gone, "has no next hop of the family"}
			}
			w = c.holdDown(visit{pop, id}, w, in.problem.Down[t], now)
			words[t], row[t] = w, w.state
		}
		in.words = append(in.words, words)
		in.problem.State = append(in.problem.State, row)
	}
}

// wordOf is what a target does with a slice: by its own word, else by our
// check alone where it is not of the fleet.
func (c *Controller) wordOf(pop policy.POPID, id policy.SliceID, own map[policy.SliceID]word, fleet policy.Fleet, check word, now time.Time) word {
	if pop == c.cfg.POP {
		if w, ok := own[id]; ok {
			return w
		}
		return word{assign.Gone, "is no slice of this POP"}
	}
	i := slices.IndexFunc(fleet.Peers, func(p policy.Peer) bool { return p.POP == pop })
	if i < 0 {
		return check
	}
	p := &fleet.Peers[i]
	stale := c.cfg.Limits.StaleAfter
	switch s, ok := p.Slices[id]; {
	case p.Heard.IsZero():
		return word{assign.Unknown, "never heard"}
	case stale > 0 && now.Sub(p.Heard) > stale:
		return word{assign.Unknown, fmt.Sprintf("not heard for %v", now.Sub(p.Heard).Round(time.Second))}
	case ok:
		return said(s)
	case p.Source == "rib":
		return word{assign.Unknown, "our RIB does not show it"}
	}
	return word{assign.Gone, "does not have the slice"}
}

// said is the state that a POP's word means.
func said(s policy.PeerSlice) word {
	switch {
	case s.Stance.Action == policy.Withdraw:
		return word{assign.Gone, "withdrawn"}
	case s.Verdict == policy.Down:
		return word{assign.Gone, "its checks are down"}
	case s.Stance.Action == policy.Drain:
		return word{assign.Drained, "drained"}
	case s.Leaving:
		return word{assign.Drained, "wants to withdraw"}
	case s.Stance.Rung > 0:
		return word{assign.Closed, fmt.Sprintf("on rung %d", s.Stance.Rung)}
	}
	return word{assign.Open, "announced"}
}

// holds says which slices operators hold.
func holds(st api.Status) func(policy.ServiceID, policy.SliceID) bool {
	return func(svc policy.ServiceID, id policy.SliceID) bool {
		return slices.ContainsFunc(st.Intents, func(in policy.Intent) bool {
			return in.Kind == policy.IntentHold && (in.Service == "" || in.Service == svc) && (in.Slice == policy.SliceID{} || in.Slice == id)
		})
	}
}

// demand is what the sources of all routers say, by name.
func (c *Controller) demand() map[string]load.Value {
	out := map[string]load.Value{}
	for _, s := range c.opt.Demand().Sources {
		out[s.Name] = s.Load[c.cfg.Ingress.Unit]
	}
	return out
}

// demandOf is what a router sends to a slice, and whether that is known: what
// is measured of the slice, else an even part of what is measured of the
// router, else what is configured. What is not known now is as it was last.
func (c *Controller) demandOf(r *config.IngressRouter, at place, measured map[string]load.Value) (float64, bool) {
	part := 1.0
	source := slices.IndexFunc(r.Sources, func(s config.IngressSource) bool { return s.Slice == at.slice })
	if source < 0 {
		source = slices.IndexFunc(r.Sources, func(s config.IngressSource) bool { return s.Slice == policy.SliceID{} })
		part = 1 / float64(len(c.cfg.Ingress.Slices))
	}
	if source < 0 {
		return r.Demand, true
	}
	v := measured[SourceName(r.Name, r.Sources[source].Slice)]
	if v.Known {
		c.last[at] = v.Value * part
	}
	return c.last[at], v.Known
}
