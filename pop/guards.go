package pop

import (
	"fmt"
	"slices"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/api"
)

// guardRules says what each guard does, in the order in which they are asked.
var guardRules = []struct{ name, rule string }{
	{guard.NameOwnPrefix, "only configured prefixes are announced, and none newly that the RPKI calls invalid"},
	{guard.NameDeadman, "checks that have stopped running change nothing"},
	{guard.NameLastPOP, "never the last announcers of a slice: enough other POPs must announce it, and stay"},
	{guard.NameStale, "a POP that has not been heard lately does not count as announcing"},
	{guard.NameCorrelated, "what fails at many POPs at once, or everywhere, is a failure of the check"},
	{guard.NameIsolated, "while the control core is out of reach only operators here and services that are down take anything away"},
	{guard.NameHeadroom, "load moves only what other POPs have reserved room for, and no drain begins that would overload one by its forecast"},
	{guard.NameDrains, "only so many POPs drain at a time: the others wait their turn and begin by themselves"},
	{guard.NameBlast, "only so much loses preference or is withdrawn within an interval; no checks means hold"},
}

// guards tells which guards there are, which are off and why, and their
// limits. What they said of a slice is with the slice.
func (v *View) guards() []api.GuardStatus {
	out := make([]api.GuardStatus, 0, len(guardRules))
	for _, r := range guardRules {
		g := api.GuardStatus{Guard: r.name, Says: api.On, Rule: r.rule, Limits: v.guardLimits(r.name)}
		if why := v.guardOff(r.name); why != "" {
			g.Says, g.Detail = api.Off, why
		}
		out = append(out, g)
	}
	return out
}

// guardOff says why a guard is switched off; empty: it is on.
func (v *View) guardOff(name string) string {
	l := v.Input.Limits
	switch name {
	case guard.NameLastPOP, guard.NameStale, guard.NameCorrelated:
		if !v.Input.Fleet.Configured {
			return "no fleet source is configured (fleet.peers or fleet.rib)"
		}
	}
	switch {
	case name == guard.NameIsolated && !v.Input.Core.Configured:
		return "no control core is shared with other POPs"
	case name == guard.NameIsolated && l.IsolatedAfter <= 0:
		return "guards.isolated is 0"
	case name == guard.NameHeadroom && !v.balances && l.DrainHeadroom <= 0:
		return "load moves nothing here (balance.mode)"
	case name == guard.NameDrains && !l.Queued():
		return "guards.drains sets no limit"
	case name == guard.NameStale && l.StaleAfter <= 0:
		return "guards.stale is 0"
	case name == guard.NameCorrelated && l.CorrelatedShare <= 0:
		return "guards.correlated.share is 0"
	case name == guard.NameBlast && l.BlastSlices == 0 && l.BlastShare == 0 && l.BlastTraffic == 0:
		return "guards.blast sets no limit"
	}
	return ""
}

func (v *View) guardLimits(name string) []string {
	l := v.Input.Limits
	switch name {
	case guard.NameOwnPrefix:
		return []string{v.rpkiLimit()}
	case guard.NameLastPOP:
		return needs(v.Input.Services)
	case guard.NameStale:
		return []string{fmt.Sprintf("guards.stale %v", l.StaleAfter)}
	case guard.NameCorrelated:
		return []string{fmt.Sprintf("guards.correlated share %.0f %% of the POPs, window %v", l.CorrelatedShare*100, l.CorrelatedWindow)}
	case guard.NameIsolated:
		if !v.Input.Core.Configured {
			return nil
		}
		return []string{fmt.Sprintf("guards.isolated %v", l.IsolatedAfter)}
	case guard.NameHeadroom:
		if l.DrainHeadroom > 0 {
			return []string{fmt.Sprintf("guards.headroom %.0f %% of another POP's capacity after a drain, where loads are known", l.DrainHeadroom*100)}
		}
	case guard.NameDrains:
		return drainLimits(l)
	case guard.NameBlast:
		var out []string
		if l.BlastSlices > 0 {
			out = append(out, fmt.Sprintf("guards.blast %d slices in %v", l.BlastSlices, l.BlastInterval))
		}
		if l.BlastShare > 0 {
			out = append(out, fmt.Sprintf("guards.blast %.0f %% of what is announced in %v", l.BlastShare*100, l.BlastInterval))
		}
		if l.BlastTraffic > 0 {
			out = append(out, fmt.Sprintf("guards.blast %.0f %% of the fleet's traffic in %v%s", l.BlastTraffic*100, l.BlastInterval, v.unknownTraffic()))
		}
		return out
	}
	return nil
}

// needs says how many other POPs each service needs: what most services need
// first, then those that need something else, by name.
func needs(all []policy.Service) []string {
	of := func(s policy.Service) string {
		out := fmt.Sprintf("min-pops %d", max(1, s.MinPOPs))
		if s.MinCapacity > 0 {
			out += fmt.Sprintf(", min-capacity %.0f %%", s.MinCapacity*100)
		}
		return out
	}
	count, most := map[string]int{}, ""
	for _, s := range all {
		if n := of(s); !s.Always {
			count[n]++
			if count[n] > count[most] {
				most = n
			}
		}
	}
	if most == "" {
		return nil
	}
	out := []string{most}
	for _, s := range all {
		if n := of(s); !s.Always && n != most {
			out = append(out, string(s.ID)+": "+n)
		}
	}
	slices.Sort(out[1:])
	return out
}

func drainLimits(l policy.Limits) (out []string) {
	if l.DrainPOPs > 0 {
		out = append(out, fmt.Sprintf("guards.drains %d POPs at a time", l.DrainPOPs))
	}
	if l.DrainShare > 0 {
		out = append(out, fmt.Sprintf("guards.drains %.0f %% of the fleet's capacity at a time", l.DrainShare*100))
	}
	return out
}
