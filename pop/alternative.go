package pop

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/matrix"
)

// candidate is something that could be done, and what would come of it, in the
// order in which candidates are compared: nobody overloaded first, then what
// was asked for, then distance, then how much moves.
type candidate struct {
	shifts []shift
	over   float64 // load above capacities at the upper ends of the intervals
	part   float64 // of the load that was to leave, 0 to 1
	cost   float64 // load times what it costs more there, and distance in thousands of km
	moved  float64
	loads  *api.PlanLoads
}

// better reports whether a is to be preferred to b; unit is the load below
// which differences mean nothing.
func (a *candidate) better(b *candidate, unit float64) bool {
	switch {
	case a.over < b.over-unit || b.over < a.over-unit:
		return a.over < b.over
	case a.part > b.part+0.01 || b.part > a.part+0.01:
		return a.part > b.part
	case a.cost < b.cost-unit || b.cost < a.cost-unit:
		return a.cost < b.cost
	case a.moved < b.moved-unit || b.moved < a.moved-unit:
		return a.moved < b.moved
	}
	return len(a.shifts) < len(b.shifts)
}

// comparison looks for something cheaper than what is asked.
type comparison struct {
	s     *situation // with what is supposed beside it
	f     *fleetState
	pop   policy.POPID // whose load is to leave, or is too much
	asked candidate
	leave float64 // load that is to leave; 0: only that nothing is too much
	unit  float64
	fixed bool // what happens at pop is nobody's choice
	tried int
	best  []candidate // by preference, at most mostBest
}

const (
	mostBest   = 8
	mostSlices = 32 // steps in which numbers of slices are tried
	// mostSolved is with how many slices the planner of the fleet is asked.
	mostSolved = 64
	// solveEffort is how many plans the planner of the fleet looks at.
	solveEffort = 20_000
	// alternativeTime bounds the search.
	alternativeTime = 3 * time.Second
)

// compare makes a comparison of what is supposed; nil where there is nothing
// to compare, or where too little is known.
func (s *situation) compare(what api.Supposition, shifts []shift, loads *api.PlanLoads) *comparison {
	if loads == nil || loads.Unit == percent || s.matrices == nil {
		return nil
	}
	f := s.fleetNow()
	c := &comparison{s: s, f: &f}
	switch what.Kind {
	case api.SupposeCapacity:
		c.pop = cmp.Or(what.POP, s.cfg.POP)
	case api.SupposeDrain, api.SupposeWithdraw, api.SupposePin, api.SupposePrepend:
		c.pop = cmp.Or(what.POP, s.cfg.POP)
	case api.SupposeStop, api.SupposeCheck, api.SupposePOP, api.SupposeNeighbor:
		c.pop, c.fixed = s.cfg.POP, true
		if what.Kind == api.SupposePOP {
			c.pop = what.POP
		}
	default:
		return nil
	}
	for i := range f.pops {
		if !f.pops[i].known {
			continue
		}
		c.unit = max(c.unit, 1e-3*f.pops[i].total)
	}
	if slices.ContainsFunc(shifts, func(sh shift) bool { return sh.pop != c.pop }) {
		return nil // two POPs at once
	}
	c.asked = c.rate(shifts)
	for _, l := range loads.POPs {
		if l.POP == c.pop && l.Change != nil {
			c.leave = max(0, -l.Change.Mean)
		}
	}
	if c.asked.loads == nil || len(c.asked.loads.POPs) == 0 || len(shifts) > 0 && (c.asked.loads.Moved == nil || c.leave == 0) {
		return nil
	}
	c.asked.part = 1
	return c
}

// rate says what would come of shifts.
func (c *comparison) rate(shifts []shift) candidate {
	out := candidate{shifts: shifts, loads: c.s.loads(shifts)}
	if out.loads == nil { // nothing is done
		out.loads = &api.PlanLoads{}
		t := telling{s: c.s, f: c.f, out: out.loads}
		t.tell()
	}
	for _, l := range out.loads.POPs {
		if l.After == nil {
			continue
		}
		if limit := l.Limit(); limit > 0 {
			out.over += max(0, l.After.High-limit)
		}
		if l.Change == nil {
			continue
		}
		if l.POP == c.pop && c.leave > 0 {
			out.part = min(1, max(0, -l.Change.Mean/c.leave))
		}
		if gain := max(0, l.Change.Mean); gain > 0 {
			out.moved += gain
			cost := c.s.cfg.Balance.Cost
			out.cost += gain * (c.s.distance(c.pop, l.POP)/1000 + cost[l.POP] - cost[c.pop])
		}
	}
	return out
}

// try rates a candidate and keeps it if it is among the best.
func (c *comparison) try(shifts []shift) {
	if len(shifts) == 0 && c.leave > 0 || same(shifts, c.asked.shifts) {
		return
	}
	for i := range c.best {
		if same(shifts, c.best[i].shifts) {
			return
		}
	}
	c.tried++
	got := c.rate(shifts)
	if len(shifts) > 0 && got.loads.Moved == nil || !got.better(&c.asked, c.unit) {
		return
	}
	at, _ := slices.BinarySearchFunc(c.best, got, func(a, b candidate) int {
		if a.better(&b, c.unit) {
			return -1
		}
		return 1
	})
	c.best = slices.Insert(c.best, at, got)
	c.best = c.best[:min(len(c.best), mostBest)]
}

func same(a, b []shift) bool {
	if len(a) != len(b) {
		return false
	}
	in := make(map[shift]bool, len(a))
	for _, x := range a {
		in[x] = true
	}
	return !slices.ContainsFunc(b, func(x shift) bool { return !in[x] })
}

// search tries milder and deeper rungs, fewer slices, help by the POPs that
// would get too much, and what the planner of the fleet finds.
func (c *comparison) search(ctx context.Context) {
	if !c.fixed {
		for _, sh := range c.ways(c.pop, c.scope()) {
			if ctx.Err() != nil {
				return
			}
			c.try(sh)
		}
	}
	base := c.asked.shifts
	for _, over := range c.asked.loads.Over {
		if over == c.pop || !c.learned(over) {
			continue
		}
		for _, sh := range c.ways(over, c.scope()) {
			if ctx.Err() != nil {
				return
			}
			c.try(slices.Concat(base, sh))
		}
	}
	if ctx.Err() == nil {
		c.solve()
	}
}

// learned reports whether anything is known of where a POP's load goes.
func (c *comparison) learned(id policy.POPID) bool {
	for _, svc := range c.scope() {
		if c.s.matrices.Known(svc.ID, id, shed.Level(max(1, svc.Rungs))).To == matrix.BySize {
			return false
		}
	}
	return true
}

// scope are the services that are asked about: all, where it is a capacity.
func (c *comparison) scope() (out []policy.Service) {
	for _, svc := range c.s.view.Input.Services {
		if len(c.asked.shifts) == 0 || slices.ContainsFunc(c.asked.shifts, func(sh shift) bool { return sh.service == svc.ID }) {
			out = append(out, svc)
		}
	}
	return out
}

// ways are the ways in which a POP may step back on services: each rung, and
// each number of slices, those that carry most first.
func (c *comparison) ways(id policy.POPID, services []policy.Service) (out [][]shift) {
	var carrier carrier
	for i := range c.f.pops {
		if c.f.pops[i].id == id {
			carrier = c.f.pops[i]
		}
	}
	most := 1
	for _, svc := range services {
		most = max(most, svc.Rungs)
	}
	for level := 1; level <= most; level++ {
		var all []shift
		for _, svc := range services {
			to := policy.Stance{} // the withdraw
			if level < svc.Rungs {
				to = policy.Stance{Action: policy.Announce, Rung: level}
			}
			for _, slice := range svc.Slices {
				now := c.f.stances[id][slice]
				if now.Action == policy.Announce && to.Less(now) {
					all = append(all, shift{id, svc.ID, slice, to})
				}
			}
		}
		slices.SortStableFunc(all, func(a, b shift) int { return cmp.Compare(carrier.slice[b.slice], carrier.slice[a.slice]) })
		step := max(1, len(all)/mostSlices)
		if len(all) > 8*mostSlices {
			step = len(all) / 8 // each costs more to forecast
		}
		for n := step; n <= len(all); n += step {
			out = append(out, all[:n:n])
		}
	}
	return out
}

// solve asks the planner of the fleet, for a single service: of a small fleet
// it looks at every plan.
func (c *comparison) solve() {
	services := c.scope()
	if len(services) != 1 || len(services[0].Slices) > mostSolved {
		return
	}
	svc := services[0]
	v := c.s.shedView(c.f, &svc, nil)
	if v.Matrix == nil {
		return
	}
	cfg := shed.Defaults()
	cfg.Trigger, cfg.Target, cfg.Return, cfg.Receive, cfg.Z = 1, 1, 0.5, 1, within95
	cfg.Deepest, cfg.Normal, cfg.Keep, cfg.Tolerance = shed.Level(max(1, svc.Rungs)), 1, 0, 1e-3
	cfg.Effort = solveEffort
	for i := range v.POPs {
		p := &v.POPs[i]
		for j := range c.f.pops {
			if q := &c.f.pops[j]; q.id == p.ID {
				p.Capacity = q.capacity
				if !q.known {
					p.At = time.Time{}
				}
				if other := q.total - p.Total(); other > 0 {
					p.Load[policy.SliceID{}] = other // of other services: it stays
				}
				if p.ID == c.pop && c.leave > 0 {
					// Less than any one slice is as good as nothing.
					p.Capacity = max(q.total-c.leave, 0.2*q.total/float64(len(svc.Slices)))
				}
			}
		}
	}
	out, _, err := shed.Best(cfg, v, c.s.now)
	if err != nil {
		return
	}
	var shifts []shift
	for _, ch := range out.Changes {
		if ch.POP != c.pop && !c.learned(ch.POP) || ch.POP == c.pop && c.fixed {
			return
		}
		shifts = append(shifts, shift{ch.POP, svc.ID, ch.Slice, shed.Stance(ch.To, svc.Rungs)})
	}
	c.try(shifts)
}

// instead looks for the cheapest alternative to a plan that this POP's guards
// would let pass.
func (s *situation) instead(ctx context.Context, would *situation, r api.PlanRequest, shifts []shift, without future, p *api.Plan) {
	if len(r.Suppose) != 1 {
		return // what is supposed beside it cannot be chosen otherwise
	}
	c := would.compare(would.meant(r.Suppose[0]), shifts, p.Loads)
	if c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, alternativeTime)
	defer cancel()
	c.search(ctx)
	p.Compared = c.tried
	for i := range c.best {
		objected, err := s.objected(ctx, c.best[i].shifts, without)
		if err != nil {
			return // no time is left; the plan itself is there
		}
		if !objected {
			p.Alternative = c.describe(&c.best[i])
			return
		}
	}
}

// objected reports whether a guard of this POP would keep something of shifts
// from happening, within an hour.
func (s *situation) objected(ctx context.Context, shifts []shift, without future) (bool, error) {
	w, own := s.copy(), map[policy.SliceID]bool{}
	for _, sh := range shifts {
		if sh.pop != s.cfg.POP {
			continue
		}
		own[sh.slice] = true
		what := api.Supposition{Kind: api.SupposeWithdraw, Slice: sh.slice}
		if sh.to.Announced() {
			what.Kind, what.Stance = api.SupposePin, &sh.to
		}
		w.ask(what)
	}
	if len(own) == 0 {
		return false, nil
	}
	f, err := w.foresee(ctx, api.PlanHorizon)
	if err != nil {
		return false, err
	}
	for id, course := range f.slices {
		for _, o := range course.objections {
			anyway := without.slices[id] != nil && slices.ContainsFunc(without.slices[id].objections, func(b objection) bool { return b.verdict.Guard == o.verdict.Guard })
			if own[id] && o.open && !anyway {
				return true, nil
			}
		}
	}
	return false, nil
}
