package fib

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/catchment/catchment/bgp"
)

// Decision is what a prefix's packets should follow now. No next hops: the
// route goes away.
type Decision struct {
	Prefix   netip.Prefix
	NextHops []netip.Addr // sorted, without duplicates
	Best     bgp.Path     // zero where there is none
}

// Best keeps the candidate paths of each prefix and chooses among them, RFC
// 4271 section 9.1.2.2 as far as a learned path shows what it needs. It is
// pure: no clock, no kernel. It is not safe for concurrent use.
//
// Least preferred are stale paths (kept by graceful restart, or marked
// LLGR_STALE, RFC 9494), then those with GRACEFUL_SHUTDOWN (RFC 8326); then
// count the AS path's length, MED among paths from the same neighboring AS (a
// missing one is zero), and the lowest neighbor address. Local preference,
// origin and IGP cost are not known here.
type Best struct {
	multipath  int
	candidates map[netip.Prefix]map[source]bgp.Path
	chosen     map[netip.Prefix][]netip.Addr
}

// source tells the candidates of a prefix apart.
type source struct {
	neighbor netip.Addr
	pathID   uint32 // RFC 7911
}

// NewBest returns an empty table. Up to multipath next hops of paths that tie
// until the neighbor's address are used together; below 2 only the best is.
func NewBest(multipath int) *Best {
	return &Best{multipath: max(multipath, 1), candidates: map[netip.Prefix]map[source]bgp.Path{},
		chosen: map[netip.Prefix][]netip.Addr{}}
}

// Add puts a path in, in place of the one that the same neighbor sent before
// for the prefix. The flag says whether the next hops changed.
func (b *Best) Add(p bgp.Path) (Decision, bool) {
	p.Prefix = p.Prefix.Masked()
	all := b.candidates[p.Prefix]
	if all == nil {
		all = map[source]bgp.Path{}
		b.candidates[p.Prefix] = all
	}
	all[source{p.Neighbor, p.PathID}] = p
	return b.decide(p.Prefix)
}

// Withdraw takes a path out; one that is not there changes nothing.
func (b *Best) Withdraw(prefix netip.Prefix, neighbor netip.Addr, pathID uint32) (Decision, bool) {
	prefix = prefix.Masked()
	delete(b.candidates[prefix], source{neighbor, pathID})
	return b.decide(prefix)
}

// Drop takes out everything that a neighbor sent, after its session ended. It
// returns the prefixes whose next hops changed, sorted.
func (b *Best) Drop(neighbor netip.Addr) []Decision {
	var changed []Decision
	for prefix, all := range b.candidates {
		before := len(all)
		maps.DeleteFunc(all, func(s source, _ bgp.Path) bool { return s.neighbor == neighbor })
		if len(all) == before {
			continue
		}
		if d, ok := b.decide(prefix); ok {
			changed = append(changed, d)
		}
	}
	slices.SortFunc(changed, func(x, y Decision) int { return x.Prefix.Compare(y.Prefix) })
	return changed
}

func (b *Best) decide(prefix netip.Prefix) (Decision, bool) {
	tied := survivors(slices.Collect(maps.Values(b.candidates[prefix])))
	d := Decision{Prefix: prefix}
	for i, p := range tied {
		if i == 0 {
			d.Best = p
		}
		if len(d.NextHops) < b.multipath && !slices.Contains(d.NextHops, p.NextHop) {
			d.NextHops = append(d.NextHops, p.NextHop)
		}
	}
	slices.SortFunc(d.NextHops, netip.Addr.Compare)
	changed := !slices.Equal(d.NextHops, b.chosen[prefix])
	if len(tied) == 0 {
		delete(b.candidates, prefix)
		delete(b.chosen, prefix)
	} else {
		b.chosen[prefix] = d.NextHops
	}
	return d, changed
}

// survivors removes candidates step by step, as the RFC writes it: comparing
// two at a time would depend on their order, because MED counts only within a
// neighboring AS. What is left is sorted, best first.
func survivors(paths []bgp.Path) []bgp.Path {
	paths = slices.DeleteFunc(paths, func(p bgp.Path) bool { return !p.NextHop.IsValid() })
	for _, cost := range []func(bgp.Path) int{staleness, shutdown, func(p bgp.Path) int { return len(p.ASPath) }} {
		least := 0
		for i, p := range paths {
			if c := cost(p); i == 0 || c < least {
				least = c
			}
		}
		paths = slices.DeleteFunc(paths, func(p bgp.Path) bool { return cost(p) > least })
	}
	meds := map[uint32]uint32{}
	for _, p := range paths {
		if least, ok := meds[neighborAS(p)]; !ok || med(p) < least {
			meds[neighborAS(p)] = med(p)
		}
	}
	paths = slices.DeleteFunc(paths, func(p bgp.Path) bool { return med(p) > meds[neighborAS(p)] })
	slices.SortFunc(paths, func(x, y bgp.Path) int {
		return cmp.Or(x.Neighbor.Compare(y.Neighbor), cmp.Compare(x.PathID, y.PathID))
	})
	return paths
}

func staleness(p bgp.Path) int {
	return toInt(p.Stale || slices.Contains(p.Communities, bgp.LLGRStale))
}

func shutdown(p bgp.Path) int { return toInt(slices.Contains(p.Communities, bgp.GracefulShutdown)) }

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func med(p bgp.Path) uint32 {
	if p.MED == nil {
		return 0
	}
	return *p.MED
}

func neighborAS(p bgp.Path) uint32 {
	if len(p.ASPath) == 0 {
		return 0
	}
	return p.ASPath[0]
}
