package pop

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// planned puts what would happen into the API's words, beside what would
// happen anyway.
func planned(is, would *situation, without, with future) []api.PlanSlice {
	out := make([]api.PlanSlice, 0, len(with.slices))
	before := map[policy.SliceID]policy.SliceDecision{}
	for _, d := range is.view.Decision.Slices {
		before[d.Slice] = d
	}
	for id, c := range with.slices {
		d, had := before[id]
		if !had {
			d = policy.SliceDecision{Slice: id, Service: c.last.Service, Reason: policy.Reason{Code: policy.Starting, Detail: "not configured"}}
		}
		p := api.PlanSlice{Slice: id, Service: c.last.Service, Cover: would.cover(id), Before: is.stance(d), After: would.stance(c.last)}
		anyway := without.slices[id]
		if anyway == nil {
			anyway = &course{}
		}
		for _, st := range c.steps {
			p.Steps = append(p.Steps, api.PlanStep{
				At: rounded(st.at), When: st.when, PlanStance: would.stance(st.d),
				Anyway: slices.ContainsFunc(anyway.steps, func(o step) bool { return o.d.Stance == st.d.Stance && o.at == st.at }),
			})
		}
		if now, is := would.stance(d), p.Before; (len(c.steps) == 0 || c.steps[0].at > 0) && heardOtherwise(is, now) {
			now.Reason = is.Reason
			p.Steps = slices.Insert(p.Steps, 0, api.PlanStep{When: "at once", PlanStance: now})
		}
		for _, o := range c.objections {
			p.Objections = append(p.Objections, would.objection(id, o, anyway))
		}
		p.Advice = advice(id, c)
		out = append(out, p)
	}
	slices.SortFunc(out, func(a, b api.PlanSlice) int { return a.Slice.Prefix().Compare(b.Slice.Prefix()) })
	return out
}

// mostPrevented bounds how many slices notes list.
const mostPrevented = 8

// prevented says what would happen otherwise, and would not then.
func prevented(without, with future) []string {
	var out []string
	ids := slices.SortedFunc(maps.Keys(without.slices), func(a, b policy.SliceID) int { return a.Prefix().Compare(b.Prefix()) })
	for _, id := range ids {
		then := with.slices[id]
		if then == nil {
			continue
		}
		for _, st := range without.slices[id].steps {
			if !slices.ContainsFunc(then.steps, func(o step) bool { return o.d.Stance == st.d.Stance && o.at == st.at }) {
				out = append(out, fmt.Sprintf("Without this %v would go to %v %s, in %v.", id, st.d.Stance, st.when, st.at.Round(100*time.Millisecond)))
			}
		}
	}
	if more := len(out) - mostPrevented; more > 0 {
		out = append(out[:mostPrevented], fmt.Sprintf("%d changes more would happen without it.", more))
	}
	return out
}

// rounded hides the nanosecond after which something is stale.
func rounded(d time.Duration) api.Duration { return api.Duration(d.Round(time.Millisecond)) }

// heardOtherwise reports whether routers would hear another thing although the
// stance is the same: by a reload, or because a session is another.
func heardOtherwise(a, b api.PlanStance) bool {
	return a.Stance == b.Stance && (!slices.Equal(a.HeardBy, b.HeardBy) || !sameAttributes(a.Announced, b.Announced))
}

func sameAttributes(a, b *api.Attributes) bool {
	return string(encode(a)) == string(encode(b))
}

func (s *situation) cover(id policy.SliceID) bool {
	return slices.ContainsFunc(s.in.Services, func(svc policy.Service) bool { return slices.Contains(svc.Cover, id) })
}

// stance is what routers would hear of a decision.
func (s *situation) stance(d policy.SliceDecision) api.PlanStance {
	out := api.PlanStance{Stance: d.Stance, Reason: d.Reason}
	a, rung, ok := s.index.decided(d)
	if !ok {
		return out
	}
	out.Rung = rung.Name
	if s.view.dry {
		return out
	}
	attrs := api.AttributesOf(a)
	out.Announced = &attrs
	for _, p := range s.peers {
		if p.State == bgp.Established && !a.Neighbors[p.Address].Withhold && s.links.carry(p.Address, a.Prefix) {
			out.HeardBy = append(out.HeardBy, p.Address)
		}
	}
	return out
}

func (s *situation) objection(id policy.SliceID, o objection, anyway *course) api.PlanObjection {
	out := api.PlanObjection{GuardStatus: api.GuardOf(o.verdict), At: rounded(o.at), Wanted: o.want, Instead: o.instead}
	if _, rung, ok := s.index.of(id, o.instead); ok {
		out.Rung = rung.Name
	}
	if !o.open {
		out.Ends = rounded(o.ends)
	}
	out.Anyway = slices.ContainsFunc(anyway.objections, func(b objection) bool {
		return b.verdict.Guard == o.verdict.Guard && b.want == o.want && b.instead == o.instead && b.at == o.at
	})
	return out
}

// advice says what an operator can do where a guard keeps something to the end.
func advice(id policy.SliceID, c *course) []string {
	var out []string
	force := false
	for _, o := range c.objections {
		if !o.open {
			continue
		}
		switch o.verdict.Guard {
		case guard.NameLastPOP:
			out = append(out, fmt.Sprintf("Have another POP announce %v first, or lower min-pops or min-capacity of %s.", id, c.last.Service))
		case guard.NameStale:
			out = append(out, "Mend the way to the POPs that are not heard (catchment pop says why).")
		case guard.NameCorrelated:
			out = append(out, fmt.Sprintf("Look whether the check is right before you believe it: catchment check %s.", c.last.Service))
		case guard.NameDeadman:
			out = append(out, "The checks have stopped running: restart the daemon (systemctl restart catchmentd moves no traffic).")
		case guard.NameIsolated:
			out = append(out, "Bring the control core back within reach; until then nothing that can wait changes.")
		case guard.NameHeadroom:
			out = append(out, "Drain less at a time (a service, a slice), or make room at the POPs that would be overloaded first.")
		case guard.NameDrains:
			out = append(out, "It begins by itself when it is its turn (catchment fleet shows who drains).")
		case guard.NameBlast:
			out = append(out, "Do less at once, or raise guards.blast.")
			continue // time does it too
		case guard.NameOwnPrefix:
			out = append(out, fmt.Sprintf("Put %v into a service of the configuration first.", id))
			continue // not even by force
		}
		force = force || c.last.Want.Action == policy.Withdraw && o.verdict.Guard != guard.NameDeadman
	}
	if force {
		out = append(out, fmt.Sprintf("catchment drain --slice %v --force does it over the guards; the journal keeps who did.", id))
	}
	return out
}

// links says which families a neighbor's session carries. Where that cannot be
// told from the configuration, all.
type links map[netip.Addr][2]bool // IPv4, IPv6

func (l links) carry(n netip.Addr, p netip.Prefix) bool {
	f, ok := l[n]
	if !ok || f == [2]bool{} {
		return true
	}
	return p.Addr().Is4() && f[0] || p.Addr().Is6() && f[1]
}

// linksOf reads the families from a bgp section: those that the neighbor or
// its group lists, else the one of its address, as gobgpd has it.
func linksOf(cfg *config.Config) links {
	groups := map[string][2]bool{}
	for _, g := range sections(cfg.BGP["peer-groups"]) {
		groups[text(g, "peer-group-name")] = families(g)
	}
	out := links{}
	for _, n := range sections(cfg.BGP["neighbors"]) {
		addr, err := netip.ParseAddr(text(n, "neighbor-address"))
		if err != nil {
			continue
		}
		f := families(n)
		if f == [2]bool{} {
			f = groups[text(n, "peer-group")]
		}
		if f == [2]bool{} {
			f = [2]bool{addr.Is4(), addr.Is6()}
		}
		out[addr] = f
	}
	return out
}

func sections(v any) []map[string]any {
	var out []map[string]any
	list, _ := v.([]any)
	for _, e := range list {
		if m, ok := e.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// text is a key of the part `config` of a section.
func text(section map[string]any, key string) string {
	c, _ := section["config"].(map[string]any)
	s, _ := c[key].(string)
	return s
}

func families(section map[string]any) (f [2]bool) {
	for _, a := range sections(section["afi-safis"]) {
		name := text(a, "afi-safi-name")
		f[0] = f[0] || strings.HasPrefix(name, "ipv4")
		f[1] = f[1] || strings.HasPrefix(name, "ipv6")
	}
	return f
}
