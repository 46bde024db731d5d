package ingress

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/catchment/catchment/policy/assign"
	"github.com/catchment/catchment/pop/api"
)

// Sums are what metrics want. Nothing in it changes.
type Sums struct {
	Rounds   uint64
	Routers  int
	Moves    map[assign.Code]uint64
	Targets  []api.IngressTarget
	Assigned int
	Waiting  int
	Plain    int // follow plain anycast
}

// Sums are those of the last decision.
func (c *Controller) Sums() *Sums { return c.sums.Load() }

// Report is the last decision, false before the first.
func (c *Controller) Report() (api.IngressReport, bool) {
	r := c.view.Load()
	if r == nil {
		return api.IngressReport{}, false
	}
	out := *r
	out.Now = time.Now()
	return out, true
}

func (c *Controller) publish(in *input, r *assign.Result, now time.Time) {
	cfg := &c.cfg.Ingress
	out := &api.IngressReport{
		POP: c.cfg.POP, Now: now, Round: c.began, Interval: api.Duration(cfg.Interval), Unit: cfg.Unit.String(), DryRun: c.opt.DryRun,
		LocalPref: cfg.LocalPref,
	}
	sums := &Sums{Rounds: c.rounds, Moves: maps.Clone(c.moves), Routers: len(cfg.Routers)}
	for t := range in.targets {
		out.Targets = append(out.Targets, c.target(in, r, t))
	}
	for i, at := range in.places {
		a := api.IngressAssignment{
			Router: at.router, Slice: at.slice, Service: in.service[at.slice], Reason: string(r.Why[i]), Detail: in.detail(r, i, r.Why[i]),
			Known: in.problem.Items[i].Known, Demand: digits(in.problem.Items[i].Demand), Since: c.at[at].Since,
		}
		if t := r.Next[i]; t != assign.None {
			a.POP = in.targets[t]
			sums.Assigned++
		} else {
			sums.Plain++
		}
		a.Planned = a.POP
		if t := r.Plan[i]; t != assign.None {
			a.Planned = in.targets[t]
		}
		if a.Planned != a.POP {
			sums.Waiting++
		}
		out.Assignments = append(out.Assignments, a)
	}
	for _, al := range c.alarms {
		out.Alarms = append(out.Alarms, al)
	}
	slices.SortFunc(out.Alarms, func(a, b api.Alarm) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.Slice.Prefix().Compare(b.Slice.Prefix()))
	})
	sums.Targets = out.Targets
	c.view.Store(out)
	c.sums.Store(sums)
}

// target is a target as it is after the round: of all its slices the state
// that says most against it.
func (c *Controller) target(in *input, r *assign.Result, t int) api.IngressTarget {
	cfg := &c.cfg.Ingress.Targets[t]
	out := api.IngressTarget{
		POP: cfg.POP, Capacity: cfg.Capacity, Load: digits(r.After[t]), Planned: digits(r.Goal[t]), Check: in.checks[t].text,
	}
	if !math.IsInf(r.Limit[t], 0) {
		out.Limit = digits(r.Limit[t])
	}
	for _, a := range []string{addr(cfg.NextHop4.IsValid(), cfg.NextHop4.String()), addr(cfg.NextHop6.IsValid(), cfg.NextHop6.String())} {
		if a != "" {
			out.NextHops = append(out.NextHops, a)
		}
	}
	worst := -1
	rank := []assign.State{assign.Open, assign.Closed, assign.Unknown, assign.Drained, assign.Gone}
	for s := range in.slices {
		w := in.words[s][t]
		if in.problem.Down[t] {
			w = word{assign.Gone, in.checks[t].text}
		}
		if k := slices.Index(rank, w.state); k > worst && cfg.NextHop(in.slices[s]).IsValid() {
			worst, out.State, out.Detail = k, w.state.String(), w.text
		}
	}
	for _, at := range r.Next {
		if at == t {
			out.Assigned++
		}
	}
	return out
}

func addr(ok bool, s string) string {
	if ok {
		return s
	}
	return ""
}

// digits rounds to four significant digits: what hardly moves is no news.
func digits(x float64) float64 {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return x
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(math.Abs(x))))
	return math.Round(x*scale) / scale
}
