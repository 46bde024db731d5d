package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
)

func (b *builder) ingressRouters() {
	names, sessions := map[string]bool{}, map[netip.Addr]string{}
	for i := range b.raw.Ingress.Routers {
		r := &b.raw.Ingress.Routers[i]
		path := "ingress.routers[" + strconv.Itoa(i) + "]"
		if b.name(path+".name", "name the router", r.Name) && names[r.Name] {
			b.refuse(path+".name", "%q is the name of another router", r.Name)
		}
		names[r.Name] = true
		if len(r.Neighbors) == 0 {
			b.refuse(path+".neighbors", "not set: the router's addresses in bgp.neighbors")
		}
		for k, a := range r.Neighbors {
			at := path + ".neighbors[" + strconv.Itoa(k) + "]"
			if b.neighbor(at, a) && sessions[a] != "" {
				b.refuse(at, "%s is of router %s already", a, sessions[a])
			}
			sessions[a] = r.Name
			b.ingressSession(at, a)
		}
		if r.Demand < 0 {
			b.refuse(path+".demand", "%v: want zero or more", float64(r.Demand))
		}
		out := IngressRouter{Name: r.Name, Neighbors: r.Neighbors, Demand: float64(r.Demand), Costs: b.ingressCosts(path, r.Costs)}
		for k := range r.Sources {
			out.Sources = append(out.Sources, b.ingressSource(path+".sources["+strconv.Itoa(k)+"]", &r.Sources[k], out.Sources))
		}
		b.out.Ingress.Routers = append(b.out.Ingress.Routers, out)
	}
}

func (b *builder) ingressCosts(path string, list []rawIngressCost) map[policy.POPID]float64 {
	costs := map[policy.POPID]float64{}
	for i, c := range list {
		at, id := path+".costs["+strconv.Itoa(i)+"]", policy.POPID(c.POP)
		_, twice := costs[id]
		switch {
		case !slices.ContainsFunc(b.out.Ingress.Targets, func(t IngressTarget) bool { return t.POP == id }):
			b.refuse(at+".pop", "%q: want the pop of one of ingress.targets", c.POP)
		case twice:
			b.refuse(at+".pop", "%q is in the list already", c.POP)
		case c.Cost < 0:
			b.refuse(at+".cost", "%v: want zero or more", c.Cost)
		}
		costs[id] = c.Cost
	}
	if len(list) == 0 {
		b.refuse(path+".costs", "not set: what a unit of traffic costs from this router to each POP that may get it")
	}
	return costs
}

func (b *builder) ingressSource(path string, r *rawIngressSource, before []IngressSource) IngressSource {
	s := IngressSource{Slice: policy.SliceID(r.Prefix), Page: load.PageConfig{
		URL: r.URL, Format: r.Format, Metric: r.Metric, Path: r.Path, Kind: r.Kind, Scale: r.Scale, Unit: b.out.Ingress.Unit,
	}}
	if r.Format == load.StubStatus {
		b.refuse(path+".format", "%q: want prometheus or json", r.Format)
		return s
	}
	if _, _, err := load.NewPage(s.Page); err != nil {
		key, msg, _ := strings.Cut(err.Error(), ": ")
		b.refuse(path+"."+key, "%s", msg)
	}
	switch {
	case r.Prefix.IsValid() && !slices.Contains(b.out.Ingress.Slices, s.Slice):
		b.refuse(path+".prefix", "%s is no slice that is assigned", r.Prefix)
	case slices.ContainsFunc(before, func(o IngressSource) bool { return o.Slice == s.Slice }):
		b.refuse(path+".prefix", "another source of this router tells the same")
	}
	return s
}

// ingressSession looks at what the bgp section says of a router's session,
// itself or by its peer group.
func (b *builder) ingressSession(path string, a netip.Addr) {
	var of []any // the neighbor and its group
	list, _ := b.raw.BGP["neighbors"].([]any)
	for _, n := range list {
		s, _ := valueAt(n, "config.neighbor-address").(string)
		if addr, err := netip.ParseAddr(s); err == nil && addr.Unmap() == a {
			of = append(of, n)
			group, _ := valueAt(n, "config.peer-group").(string)
			groups, _ := b.raw.BGP["peer-groups"].([]any)
			for _, g := range groups {
				if valueAt(g, "config.peer-group-name") == any(group) && group != "" {
					of = append(of, g)
				}
			}
		}
	}
	if len(of) == 0 {
		return // comes by dynamic-neighbors, or the address is refused
	}
	said := func(key string) any {
		for _, m := range of {
			if v := valueAt(m, key); v != nil {
				return v
			}
		}
		return nil
	}
	us, _ := valueAt(b.raw.BGP, "global.config.as").(int64)
	if as, ok := said("config.peer-as").(int64); ok && as != us {
		b.refuse(path, "%s is in AS %d, we in AS %d: local preference goes to internal neighbors alone", a, as, us)
	}
	if on, _ := said("graceful-restart.config.enabled").(bool); !on {
		b.warnf(path, "no graceful-restart with %s: it drops its assignments as soon as this daemon dies", a)
	}
}
