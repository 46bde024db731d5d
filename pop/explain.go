package pop

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/journal"
)

// lastEntries is how many journal entries an explanation ends with.
const lastEntries = 5

// Explain answers for one slice: what is announced, since when, why, from what
// inputs, what the guards said and what would change it.
func (c *Controller) Explain(ctx context.Context, id policy.SliceID) (api.Explanation, error) {
	v, err := c.seen(ctx)
	if err != nil {
		return api.Explanation{}, err
	}
	for _, d := range v.Decision.Slices {
		if d.Slice != id {
			continue
		}
		e := v.explain(d)
		e.Now = time.Now()
		e.Balance = c.balanced().Of(id)
		filter := journal.Filter{Slice: id, Limit: lastEntries}
		entries := c.opt.Journal.Recent(filter)
		if len(entries) < lastEntries {
			entries, err = c.opt.Journal.Read(filter)
		}
		for _, j := range entries {
			e.Journal = append(e.Journal, journalEntry(j))
		}
		if err != nil {
			c.log.Warn("explain without journal", "err", err)
		}
		return e, nil
	}
	return api.Explanation{}, api.Errorf(api.NotFound, "no slice %v here%s", id, v.left(id))
}

// left names the intents that speak of a slice that is not there.
func (v *View) left(id policy.SliceID) string {
	var out string
	for _, in := range v.Input.Intents {
		if in.Slice == id {
			out += ", but " + orphan(in)
		}
	}
	return out
}

func (v *View) explain(d policy.SliceDecision) api.Explanation {
	e := api.Explanation{POP: v.Input.POP, Slice: v.slice(d), Health: v.Input.Health[d.Service]}
	for _, s := range v.Input.Services {
		if s.ID == d.Service {
			st := v.service(s)
			e.Checks, e.Always, e.Load = st.Checks, s.Always || v.cover[d.Slice], st.Load
			e.WouldChange = v.wouldChange(d, s)
		}
	}
	for _, in := range v.Input.Intents {
		if in.Covers(d.Service, d.Slice) {
			e.Intents = append(e.Intents, in)
		}
	}
	for _, p := range v.Input.Fleet.Peers {
		e.Fleet = append(e.Fleet, v.peer(p, d.Slice))
	}
	return e
}

// peer says whether another POP counts as announcing, by the guards' own words.
func (v *View) peer(p policy.Peer, id policy.SliceID) api.FleetView {
	out := api.FleetView{POP: p.POP, Source: p.Source, Heard: p.Heard, Stale: !p.Fresh(v.Input.Limits, v.Now)}
	if !p.Heard.IsZero() {
		out.Age = api.Duration(v.Now.Sub(p.Heard).Round(time.Millisecond))
	}
	s := p.Slices[id]
	out.Slice = api.FleetSliceStatus{Slice: id, Stance: s.Stance, Verdict: s.Verdict, Leaving: s.Leaving, Failing: s.Failing}
	for _, r := range v.Fleet {
		for _, c := range r.Claims {
			if r.POP == p.POP && c.Slice == id && c.Stance == s.Stance {
				out.Slice.Reason = c.Reason
			}
		}
	}
	out.Because = guard.WhyNot(p, id)
	if out.Because == "" && out.Stale {
		out.Because = "is stale"
	}
	out.Counts = out.Because == ""
	return out
}

// wouldChange says, a sentence each, what would change the stance.
func (v *View) wouldChange(d policy.SliceDecision, s policy.Service) []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	h := v.Input.Health[d.Service]
	switch d.Reason.Code {
	case policy.Healthy:
		add("The checks say down: %s.", onDown(s))
	case policy.CheckDown:
		add("%s up again, and then for the hold-down of %v: announced.", checks(h.Failing), s.HoldDown)
	case policy.Recovering:
		add("%s: up after passing rise times in a row; a failure means %s.", checks(h.Failing), onDown(s))
	case policy.CheckPart, policy.SharedDown:
		add("%s up again: the normal rung, at the earliest %v after the last step.", checks(append(h.Failing, h.Shared...)), s.Dwell)
	case policy.HoldDown, policy.Damped, policy.Dwell:
		add("%s: %s.", d.Reason, next(d, v.Now))
	case policy.Load:
		add("The load falls, or other POPs stop sending theirs: taken back as soon as, with it, this POP surely stays below balance.return.")
		add("The checks say down: %s.", onDown(s))
	case policy.Operator, policy.Maintenance:
		if d.Intent != nil && d.Intent.Route != nil {
			add("The route that the operator forced is released (catchment release --slice %v, or global rib del %v --force of one that was added): health decides again.", d.Slice, d.Slice)
			break
		}
		add("The operator's intent ends (catchment release or undrain): health decides again.")
	case policy.Starting, policy.NoVerdict:
		add("A verdict of the checks: up announces, down means %s.", onDown(s))
	case policy.Always:
		add("Only a pin or drain that names it, or the end of the daemon.")
	}
	for _, g := range d.Guards {
		if g.Answer != policy.Allow {
			add("Guard %s no longer objects (%s): %v.", g.Guard, g.Detail, d.Want)
		}
	}
	if next := next(d, v.Now); next != "" && d.Reason.Code == policy.Guarded {
		add("Time: %s.", next)
	}
	return out
}

func onDown(s policy.Service) string {
	if !s.WithdrawOnDown {
		return "the last rung (withdraw-on-down is off)"
	}
	return "withdrawn, if the guards agree"
}

func checks(fs []policy.Failure) string {
	var names []string
	for _, f := range fs {
		names = append(names, string(f.Check))
	}
	if len(names) == 0 {
		return "The checks"
	}
	return "Check " + strings.Join(names, ", ")
}
