package sim

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Cut is a cable cut: for a while some links between networks are gone, and
// clients reach other POPs than those that responses were learned for.
type Cut struct {
	From, To time.Duration
	world    int // of Fleet.worlds
}

// Without returns the graph without a part of the links between networks that
// cross the line at x, which stands for a sea.
func (g *Graph) Without(r *rand.Rand, x, part float64) *Graph {
	out := &Graph{nets: slices.Clone(g.nets), pops: g.pops, prepend: g.prepend}
	for i := range out.nets {
		n := &out.nets[i]
		n.providers, n.customers, n.peers = slices.Clone(n.providers), slices.Clone(n.customers), slices.Clone(n.peers)
	}
	gone := func(a, b int) bool {
		return (g.nets[a].x < x) != (g.nets[b].x < x) && r.Float64() < part
	}
	drop := func(list []int, n int) []int {
		return slices.DeleteFunc(list, func(o int) bool { return o == n })
	}
	for i := range g.nets {
		for _, p := range g.nets[i].providers {
			if gone(i, p) {
				out.nets[i].providers = drop(out.nets[i].providers, p)
				out.nets[p].customers = drop(out.nets[p].customers, i)
			}
		}
		for _, p := range g.nets[i].peers {
			if p > i && gone(i, p) {
				out.nets[i].peers = drop(out.nets[i].peers, p)
				out.nets[p].peers = drop(out.nets[p].peers, i)
			}
		}
	}
	return out
}

// Cut adds a cable cut of half an hour to a scenario: seven of ten links that
// cross a line somewhere in the middle of the map.
func (f *Fleet) Cut(sc *Scenario) {
	r := rand.New(rand.NewPCG(sc.Seed, 45))
	f.worlds = append(f.worlds, f.graph.Without(r, 0.3+0.4*r.Float64(), 0.7))
	from := 6*time.Minute + time.Duration(r.IntN(240))*time.Second
	from = from.Truncate(tick)
	sc.Cuts = append(sc.Cuts, Cut{From: from, To: from + 30*time.Minute, world: len(f.worlds) - 1})
}

// CableCut is Collide with one surge and a cable cut: loads move by
// themselves, and what was learned of responses is wrong until it is learned
// anew. It has no goals of its own.
func CableCut(x Fleets) *Report {
	w := x.play(func(f *Fleet, seed uint64) Scenario {
		sc := f.NewScenario(seed, 1)
		f.Cut(&sc)
		return sc
	})
	rep := &Report{Name: "cut", Title: x.title() + "; a cable cut for 30 minutes and one POP overloaded, telemetry as before"}
	w.table(rep)
	rep.Notes = append(rep.Notes, "The cut takes seven of ten links between networks that cross a line in the middle of the map. Responses were learned before it.")
	return rep
}
