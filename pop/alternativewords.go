package pop

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// distance is that between two POPs in km; 0 where a place is not told.
func (s *situation) distance(a, b policy.POPID) float64 {
	p, q := s.view.where[a], s.view.where[b]
	if p == nil || q == nil {
		return 0
	}
	return kilometres(*p, *q)
}

// describe puts a candidate into the API's words.
func (c *comparison) describe(best *candidate) *api.PlanAlternative {
	out := &api.PlanAlternative{Loads: best.loads}
	type group struct {
		pop policy.POPID
		svc policy.ServiceID
		to  policy.Stance
	}
	groups := map[group][]policy.SliceID{}
	var order []group
	for _, sh := range best.shifts {
		g := group{sh.pop, sh.service, sh.to}
		if groups[g] == nil {
			order = append(order, g)
		}
		groups[g] = append(groups[g], sh.slice)
	}
	var texts []string
	for _, g := range order {
		ids, all := groups[g], 0
		for _, svc := range c.s.view.Input.Services {
			if svc.ID == g.svc {
				all = len(svc.Slices)
			}
		}
		texts = append(texts, c.words(g.pop, g.svc, g.to, ids, all))
		out.Commands = append(out.Commands, c.commands(g.pop, g.svc, g.to, ids, all)...)
	}
	out.Text = strings.Join(texts, "; ")
	if len(best.shifts) == 0 {
		out.Text = "nothing"
	}
	if c.leave > 0 {
		part := digits(best.part)
		out.Part = &part
	}
	out.Why = c.why(best)
	return out
}

func (c *comparison) words(id policy.POPID, svc policy.ServiceID, to policy.Stance, ids []policy.SliceID, all int) string {
	do := "withdraw"
	if to.Announced() {
		do = fmt.Sprintf("rung %s on", c.s.rungName(svc, to))
	}
	of := fmt.Sprintf("all of %s", svc)
	if len(ids) < all {
		of = fmt.Sprintf("%d of %d slices of %s", len(ids), all, svc)
	}
	return fmt.Sprintf("%s: %s %s", id, do, of)
}

func (s *situation) rungName(svc policy.ServiceID, to policy.Stance) string {
	if own := s.service(svc); own != nil && to.Rung < len(own.Ladder) {
		return own.Ladder[to.Rung].Name
	}
	return fmt.Sprint(to.Rung)
}

// mostCommands bounds the list of a candidate.
const mostCommands = 32

func (c *comparison) commands(id policy.POPID, svc policy.ServiceID, to policy.Stance, ids []policy.SliceID, all int) (out []string) {
	at := ""
	if id != c.s.cfg.POP {
		at = "at " + string(id) + ": "
	}
	word := func(of string) string {
		if to.Announced() {
			return fmt.Sprintf("%scatchment pin %s%d", at, of, to.Rung)
		}
		return strings.TrimSpace(at + "catchment drain " + of)
	}
	if len(ids) == all {
		return []string{word(string(svc) + " ")}
	}
	for _, slice := range ids {
		if len(out) < mostCommands {
			out = append(out, word(fmt.Sprintf("--slice %s ", slice)))
		}
	}
	return out
}

// why says in which way a candidate is the better one.
func (c *comparison) why(best *candidate) string {
	switch {
	case best.over < c.asked.over-c.unit && best.over <= c.unit:
		if slices.ContainsFunc(best.loads.POPs, func(l api.PlanLoad) bool { return l.After == nil || l.Limit() == 0 }) {
			return "nobody of whom it is known carries more than they can, at the upper end of the intervals"
		}
		return "nobody carries more than they can, at the upper end of the intervals"
	case best.over < c.asked.over-c.unit:
		return fmt.Sprintf("less is above what POPs can carry: at most %s instead of %s of it", amount(best.over), amount(c.asked.over))
	case best.part > c.asked.part+0.01:
		return "more of what was to leave leaves"
	case best.cost < c.asked.cost-c.unit:
		return "load goes less far"
	}
	return "less moves"
}

// amount is a load with three digits.
func amount(x float64) string {
	for _, u := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if x >= u.size {
			return fmt.Sprintf("%.3g %s", x/u.size, u.name)
		}
	}
	return fmt.Sprintf("%.3g", x)
}

// kilometres is the distance of two places along the earth (haversine).
func kilometres(a, b api.Location) float64 {
	const earth = 6371
	rad := func(deg float64) float64 { return deg * math.Pi / 180 }
	u, v := math.Sin(rad(b.Latitude-a.Latitude)/2), math.Sin(rad(b.Longitude-a.Longitude)/2)
	return 2 * earth * math.Asin(math.Min(1, math.Sqrt(u*u+math.Cos(rad(a.Latitude))*math.Cos(rad(b.Latitude))*v*v)))
}
