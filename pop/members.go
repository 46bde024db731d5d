package pop

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/fleet"
)

// here is the source of what this POP knows of itself.
const here = "here"

// Fleet is every POP as this one knows it.
func (c *Controller) Fleet(ctx context.Context) (api.Fleet, error) {
	v, err := c.seen(ctx)
	if err != nil {
		return api.Fleet{}, err
	}
	now := time.Now()
	out := api.Fleet{POP: v.Input.POP, Now: now, All: []api.FleetMember{c.ownMember(v, now)}}
	var differs []fleet.Difference
	if c.opt.Fleet != nil {
		differs = c.opt.Fleet.Differences(now)
	}
	for _, p := range v.Fleet {
		out.All = append(out.All, v.member(p, differs))
	}
	return out, nil
}

// ownMember is this POP.
func (c *Controller) ownMember(v *View, now time.Time) api.FleetMember {
	m := api.FleetMember{
		POP: v.Input.POP, Here: true, Source: here, Location: v.where[v.Input.POP], Weight: cmp.Or(v.Input.Capacity, 1), Heard: v.Now,
	}
	for _, d := range v.Decision.Slices {
		m.Slices.All++
		count(&m, d.Stance, v.Input.Health[d.Service].Verdict)
	}
	takeAbout(&m, v.about(c.opt.Version, now), now)
	for i := range m.Drains {
		in := drainOf(v.Input.Intents, i)
		m.Drains[i].Detail = v.waits(in)
	}
	if c.opt.Measured != nil {
		s := c.opt.Measured.Snapshot()
		m.Load = busiest(&s.POP)
	}
	if v.Input.Core.Isolated(v.Input.Limits, now) {
		m.Follows = append(m.Follows, "isolated: what can wait for the control core is held")
	}
	return m
}

// drainOf is the i-th drain of the intents.
func drainOf(all []policy.Intent, i int) policy.Intent {
	for _, in := range all {
		if in.Kind == policy.IntentDrain {
			if i == 0 {
				return in
			}
			i--
		}
	}
	return policy.Intent{}
}

// busiest is the kind of load that takes most of its capacity.
func busiest(s *load.Subject) *api.LoadStatus {
	var out *api.LoadStatus
	most := -1.0
	for u := range load.Units {
		v := s.Load[u]
		if !s.Measured[u] || !v.Known || s.Capacity[u] <= 0 || v.Value/s.Capacity[u] <= most {
			continue
		}
		st := loadStatus(u, v, s.Capacity[u])
		out, most = &st, v.Value/s.Capacity[u]
	}
	return out
}

// member is another POP.
func (v *View) member(p fleet.PeerReport, differs []fleet.Difference) api.FleetMember {
	m := api.FleetMember{
		POP: p.POP, Source: p.Source, Location: v.where[p.POP], Weight: cmp.Or(p.Capacity, 1), Heard: p.Heard, Stale: p.Stale, Error: p.Error,
	}
	for _, s := range p.Slices {
		m.Slices.All++
		count(&m, s.Stance, s.Verdict)
	}
	if p.About != nil {
		takeAbout(&m, *p.About, p.AboutAt)
	}
	m.Load = toldLoad(p)
	for _, d := range differs {
		if d.POP == p.POP && v.Now.Sub(d.Since) >= disagreeFor {
			m.Differs = append(m.Differs, api.FleetDifference{Slice: d.Slice, Says: d.Says, Shown: d.Shown, Since: d.Since, Follows: d.Follows})
		}
	}
	m.Follows = v.follows(p, m)
	return m
}

// toldLoad is the load that a POP tells.
func toldLoad(p fleet.PeerReport) *api.LoadStatus {
	if p.Load == nil {
		return nil
	}
	total := p.Load.Other
	for _, s := range p.Load.Slices {
		total += s.Load
	}
	total = digits(total)
	return &api.LoadStatus{Unit: p.Load.Unit, Value: &total, Capacity: p.Load.Capacity, At: p.LoadAt}
}

func count(m *api.FleetMember, s policy.Stance, verdict policy.Verdict) {
	switch s.Action {
	case policy.Announce:
		m.Slices.Announced++
		m.Level = max(m.Level, s.Rung)
		if s.Rung > 0 {
			m.Slices.Rungs++
		}
	case policy.Drain:
		m.Slices.Drained++
	}
	if verdict == policy.Down {
		m.Slices.Down++
	}
}

// follows says what the guards make of what is known of a POP.
func (v *View) follows(p fleet.PeerReport, m api.FleetMember) (out []string) {
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	switch {
	case p.Heard.IsZero():
		add("never heard: counted as absent by last-pop%s", v.andDrains())
	case p.Stale:
		add("not heard lately: counted as absent by stale%s", v.andDrains())
	case p.Source == fleet.SourceRIB && p.URL != "":
		add("its status is not heard: counted by what BGP shows alone")
	case p.Source == fleet.SourceRIB:
		add("known by BGP alone: it cannot confirm that it stays")
	}
	if n := len(m.Differs); n > 0 {
		shown := slices.ContainsFunc(m.Differs, func(d api.FleetDifference) bool { return d.Shown })
		what := "BGP shows another thing than it says of %d of its slices: counted as absent there"
		if shown {
			what += ", and traffic may still go to it"
		}
		add(what, n)
	}
	if leaving := leavers(p); leaving > 0 {
		add("wants to leave %d of its slices: counted as absent there", leaving)
	}
	return out
}

// andDrains says what an unheard POP means to the queue of drains.
func (v *View) andDrains() string {
	if v.Input.Limits.Queued() {
		return ", as draining by drains"
	}
	return ""
}

func leavers(p fleet.PeerReport) (n int) {
	for _, s := range p.Slices {
		if s.Leaving && s.Stance.Announced() {
			n++
		}
	}
	return n
}

// takeAbout puts what a POP said of itself at that time into the API's words.
func takeAbout(m *api.FleetMember, a fleet.About, at time.Time) {
	ms := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	m.Version, m.Core, m.CoreLost = a.Version, a.Core, a.CoreLost
	m.Sessions = api.FleetCount{Up: a.SessionsUp, All: a.Sessions}
	for _, d := range a.Drains {
		out := api.FleetDrain{Of: d.Of, By: d.By, Why: d.Why, Since: at.Add(-ms(d.AgeMS)).Round(time.Second), Waits: d.Waits}
		if d.LeftMS > 0 {
			out.Until = at.Add(ms(d.LeftMS)).Round(time.Second)
		}
		m.Drains = append(m.Drains, out)
	}
	for _, w := range a.Windows {
		start := at.Add(ms(w.InMS)).Round(time.Second)
		m.Windows = append(m.Windows, api.FleetWindow{Name: w.Name, Of: w.Of, Why: w.Why, Start: start, End: start.Add(ms(w.LastsMS))})
	}
}
