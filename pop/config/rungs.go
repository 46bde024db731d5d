package config

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/catchment/catchment/bgp"
)

// rungs makes normal, the ladder and drain, each with its complete attributes.
//
// A rung starts from normal: its communities are added to normal's, its
// prepend, MED, local preference and next hop replace normal's where set. What
// normal says toward single neighbors goes on, but a rung's own prepend, MED
// or local preference is never undone by it: toward no neighbor is a rung
// preferred more than it says.
func (b *builder) rungs(path string, r *rawService, s *Service) {
	base := Rung{Attributes: bgp.Attributes{LargeCommunities: b.site()}}
	s.Normal = b.rung(path+".attributes", "normal", base, &r.Attributes, s)
	s.Ladder = []Rung{s.Normal}
	for i := range r.Ladder {
		q := path + ".ladder[" + strconv.Itoa(i) + "]"
		name := r.Ladder[i].Name
		if b.name(q+".name", "name the rung", name) {
			switch {
			case name == "normal" || name == "drain":
				b.refuse(q+".name", "%q is a rung of its own: take another name", name)
			case rungIndex(s.Ladder, name) > 0:
				b.refuse(q+".name", "%q is in the ladder already", name)
			}
		}
		rung := b.rung(q, name, s.Normal, &r.Ladder[i].rawAttributes, s)
		if same(rung, s.Ladder[i]) {
			b.warnf(q, "announces the same as %s: the step moves nothing", s.Ladder[i].Name)
		}
		s.Ladder = append(s.Ladder, rung)
	}
	s.Rungs = len(s.Ladder)
	s.DegradedRung = b.named(path+".degraded", r.Degraded, s.Ladder)
	s.SharedRung = b.named(path+".shared", r.Shared, s.Ladder)
	s.LastRung = b.named(path+".last-resort", r.LastResort, s.Ladder)
	s.Drain = b.rung(path+".drain", "drain", s.Normal, &r.Drain.rawAttributes, s)
	if same(s.Drain, s.Normal) {
		b.warnf(path+".drain", "announces the same as normal: nobody moves away before the withdraw")
	}
}

func rungIndex(ladder []Rung, name string) int {
	return slices.IndexFunc(ladder, func(r Rung) bool { return r.Name == name })
}

// named finds a rung by its name; not set is the last one.
func (b *builder) named(path, name string, ladder []Rung) int {
	if name == "" {
		return len(ladder) - 1
	}
	if i := rungIndex(ladder, name); i >= 0 {
		return i
	}
	var known []string
	for _, r := range ladder {
		known = append(known, r.Name)
	}
	hint := ""
	if near := nearest(name, known); near != "" {
		hint = " (did you mean " + strconv.Quote(near) + "?)"
	}
	b.refuse(path, "%q is no rung of the ladder%s", name, hint)
	return 0
}

func same(a, b Rung) bool {
	x := bgp.Announcement{Attributes: a.Attributes, Neighbors: a.Neighbors}
	return x.Equal(bgp.Announcement{Attributes: b.Attributes, Neighbors: b.Neighbors})
}

// What an announcement may say at most; the speaker takes no more.
const (
	maxPrepend     = 32
	maxCommunities = 256
	maxLarge       = 100
)

// communities refuses more than an UPDATE is sure to have room for. Those of
// the rung that it builds on count.
func (b *builder) communities(path string, a bgp.Attributes) {
	if n := len(a.Communities); n > maxCommunities {
		b.refuse(path+".communities", "%d communities: at most %d", n, maxCommunities)
	}
	if n := len(a.LargeCommunities); n > maxLarge {
		b.refuse(path+".large-communities", "%d large communities: at most %d", n, maxLarge)
	}
}

func (b *builder) rung(path, name string, from Rung, r *rawAttributes, s *Service) Rung {
	to := Rung{Name: name, Attributes: bgp.Attributes{
		MED:              cmp.Or(r.MED, from.MED),
		LocalPref:        cmp.Or(r.LocalPref, from.LocalPref),
		Prepend:          *cmp.Or(r.Prepend, &from.Prepend),
		Communities:      union(from.Communities, r.Communities),
		LargeCommunities: union2(from.LargeCommunities, r.LargeCommunities),
		NextHop:          from.NextHop,
	}, Neighbors: map[netip.Addr]bgp.Override{}}
	b.prepend(path, r.Prepend)
	b.nextHop(path, r.NextHop, s)
	if r.NextHop.Addr.IsValid() {
		to.NextHop = r.NextHop.Addr
	}
	for a, o := range from.Neighbors {
		to.Neighbors[a] = inherit(o, r, to)
	}
	seen := map[netip.Addr]bool{}
	for i := range r.Neighbors {
		q := path + ".neighbors[" + strconv.Itoa(i) + "]"
		n := &r.Neighbors[i]
		if b.neighbor(q+".neighbor", n.Neighbor) && seen[n.Neighbor] {
			b.refuse(q+".neighbor", "%s is in the list already", n.Neighbor)
		}
		seen[n.Neighbor] = true
		to.Neighbors[n.Neighbor] = b.override(q, to.Neighbors[n.Neighbor], n, to, s)
	}
	b.communities(path, to.Attributes)
	for a, o := range to.Neighbors {
		b.communities(path+".neighbors["+a.String()+"]", o.Attributes)
	}
	if len(to.Neighbors) == 0 {
		to.Neighbors = nil
	}
	return to
}

// inherit carries what normal says toward one neighbor to the rung to.
func inherit(o bgp.Override, r *rawAttributes, to Rung) bgp.Override {
	if r.MED != nil && o.MED != nil {
		o.MED = new(max(*o.MED, *r.MED))
	}
	if r.LocalPref != nil && o.LocalPref != nil {
		o.LocalPref = new(min(*o.LocalPref, *r.LocalPref))
	}
	if r.Prepend != nil && o.Prepend > 0 {
		o.Prepend = max(o.Prepend, *r.Prepend)
	}
	if o.Communities != nil {
		o.Communities = union(o.Communities, to.Communities)
	}
	if o.LargeCommunities != nil {
		o.LargeCommunities = union2(o.LargeCommunities, to.LargeCommunities)
	}
	if r.NextHop.Addr.IsValid() {
		o.NextHop = netip.Addr{}
	}
	return o
}

// override puts a rung's own words toward one neighbor over the inherited.
func (b *builder) override(path string, o bgp.Override, n *rawOverride, to Rung, s *Service) bgp.Override {
	o.Withhold = o.Withhold || n.Withhold
	o.MED = cmp.Or(n.MED, o.MED)
	o.LocalPref = cmp.Or(n.LocalPref, o.LocalPref)
	b.prepend(path, n.Prepend)
	if n.Prepend != nil {
		o.Prepend = *n.Prepend
		if *n.Prepend == 0 && to.Prepend > 0 {
			b.refuse(path+".prepend", "0 toward one neighbor cannot undo the prepend toward all; set prepend at the neighbors that need it")
		}
	}
	if n.Communities != nil {
		o.Communities = union(union(o.Communities, to.Communities), n.Communities)
	}
	if n.LargeCommunities != nil {
		o.LargeCommunities = union2(union2(o.LargeCommunities, to.LargeCommunities), n.LargeCommunities)
	}
	b.nextHop(path, n.NextHop, s)
	if n.NextHop.Addr.IsValid() {
		o.NextHop = n.NextHop.Addr
	}
	return o
}

func (b *builder) prepend(path string, n *int) {
	if n != nil && (*n < 0 || *n > maxPrepend) {
		b.refuse(path+".prepend", "%d: want 0 to %d", *n, maxPrepend)
	}
}

// nextHop refuses an address that cannot be the next hop of every prefix.
func (b *builder) nextHop(path string, nh nextHop, s *Service) {
	if !nh.Addr.IsValid() {
		return
	}
	for _, slice := range append(slices.Clone(s.Slices), s.Cover...) {
		if p := slice.Prefix(); p.Addr().Is4() != nh.Addr.Is4() {
			b.refuse(path+".next-hop", `%s is of another family than %s; make two services or take "self"`, nh.Addr, p)
			return
		}
	}
}

// union is both lists, sorted, each entry once; nil where both are empty.
func union(a, b []bgp.Community) []bgp.Community {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}

func union2(a, b []bgp.LargeCommunity) []bgp.LargeCommunity {
	seen := map[bgp.LargeCommunity]bool{}
	for _, c := range slices.Concat(a, b) {
		seen[c] = true
	}
	return slices.SortedFunc(maps.Keys(seen), func(a, b bgp.LargeCommunity) int {
		return cmp.Or(cmp.Compare(a.Global, b.Global), cmp.Compare(a.Local1, b.Local1), cmp.Compare(a.Local2, b.Local2))
	})
}
