package pop

import (
	"maps"
	"slices"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// Kept is how a slice was announced last, and the addresses that served it:
// what a slice needs to be taken off the air in the guards' own time once the
// configuration has lost it.
type Kept struct {
	bgp.Announcement
	VIPs []VIP
}

// kept is what is announced now.
func (c *Controller) kept() []Kept {
	out := make([]Kept, len(c.set))
	for i, a := range c.set {
		out[i] = Kept{Announcement: a, VIPs: c.index[policy.SliceID(a.Prefix)].vips}
	}
	return out
}

// remembered is the index of what a former life announced.
func remembered(all []Kept) announcements {
	a := announcements{}
	for _, k := range all {
		rung := config.Rung{Name: "as before", Attributes: k.Attributes, Neighbors: k.Neighbors}
		a[policy.SliceID(k.Prefix)] = sliceRungs{rungs: []config.Rung{rung}, drain: rung, vips: k.VIPs}
	}
	return a
}

func vipsOf(svc *config.Service) []VIP {
	var out []VIP
	for _, a := range svc.VIPs.Addresses {
		out = append(out, VIP{Address: a, Device: svc.VIPs.Device, Keep: svc.VIPs.Keep})
	}
	return out
}

// spared are addresses that must not go yet although no service of the
// configuration wants them: those of slices that it has lost and that are
// still announced, and, as long as nothing is known of what routers still
// hold, those of every service.
func (c *Controller) spared(want []VIP) []VIP {
	var out []VIP
	add := func(all []VIP) {
		for _, v := range all {
			if !slices.Contains(want, v) && !slices.Contains(out, v) {
				out = append(out, v)
			}
		}
	}
	on := map[policy.SliceID]bool{}
	for id, s := range c.state.Slices {
		on[id] = s.Stance.Announced() && c.index[id].gone
	}
	for _, a := range c.set {
		on[policy.SliceID(a.Prefix)] = c.index[policy.SliceID(a.Prefix)].gone
	}
	for _, id := range slices.SortedFunc(maps.Keys(on), func(a, b policy.SliceID) int { return a.Prefix().Compare(b.Prefix()) }) {
		if on[id] {
			add(c.index[id].vips)
		}
	}
	for i := range c.cfg.Services {
		if c.blind {
			add(vipsOf(&c.cfg.Services[i]))
		}
	}
	return out
}
