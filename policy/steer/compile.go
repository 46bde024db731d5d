package steer

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/catchment/catchment/policy"
)

// Chooser is a configuration and a map, compiled: steps 1 and 2 of the choice.
type Chooser struct {
	cfg   Config
	self  int
	pops  map[policy.POPID]int
	dests []destination // the last one is asked
	base  *Nets         // names of values; the map itself only where views look through it
	rules map[string]int
	rule  []rule
	views []view
}

// destination has POPs as numbers; tiers are what is tried one after another.
type destination struct {
	name          string
	normal, cheap [][]weighted
	hasCheap      bool
}

type weighted struct {
	pop    int
	weight float64
}

type rule struct {
	Rule
	view int
}

// view is the map as the names with the same overrides see it.
type view struct {
	key   string
	m     lpm // of Places; empty where overrides are looked through the base
	known []target
	place []Place // of known: by the values of the base
	asked target  // of clients without a location
}

// target is where a location leads, and by which word.
type target struct {
	place Place
	name  string // of the destination
	why   string // "", or whose override
	plain string // the destination without the override
}

// get gives the Place of an address and its scope.
func (c *Chooser) get(v *view, a netip.Addr) (Place, int) {
	if v.key != "" {
		return c.base.m.through(a, v.place)
	}
	val, scope := v.m.get(a)
	return Place(val), scope
}

// New compiles. The error names everything that is wrong. Nets may be nil: then
// nobody has a location. Without overrides the map of the Nets is not kept:
// names without any look clients up in a map of destinations, those with
// overrides look through the Nets.
func New(cfg Config, nets *Nets) (*Chooser, error) {
	if nets == nil {
		nets, _ = NewBuilder().Build()
	}
	c := &Chooser{cfg: cfg, self: -1, pops: map[policy.POPID]int{}, rules: map[string]int{}, base: nets}
	c.cfg.SlowLabel = strings.ToLower(cmp.Or(cfg.SlowLabel, "slowpop"))
	var p problems
	c.addPOPs(&p)
	c.addDestinations(&p)
	locations := c.locations(&p)
	c.addRules(nets, locations, &p)
	if !slices.ContainsFunc(c.views, func(v view) bool { return v.key != "" }) {
		c.base = &Nets{names: nets.names}
	}
	if cfg.Headroom < 0 || cfg.Headroom >= 1 || math.IsNaN(cfg.Headroom) {
		p.add("headroom %v: want a share from 0 to below 1", cfg.Headroom)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Chooser) addPOPs(p *problems) {
	for i, pop := range c.cfg.POPs {
		if _, ok := c.pops[pop.ID]; ok || pop.ID == "" {
			p.add("POP %q: named twice, or not at all", pop.ID)
		}
		c.pops[pop.ID] = i
		if pop.ID == c.cfg.Self {
			c.self = i
		}
	}
	if c.self < 0 {
		p.add("POP %q: this one is not in the list", c.cfg.Self)
	}
}

func (c *Chooser) addDestinations(p *problems) {
	asked := c.cfg.Asked
	asked.Name, asked.POPs = cmp.Or(asked.Name, "asked"), []Weighted{{POP: c.cfg.Self}}
	seen := map[string]bool{}
	for _, d := range append(slices.Clone(c.cfg.Destinations), asked) {
		if seen[d.Name] || d.Name == "" {
			p.add("destination %q: named twice, or not at all", d.Name)
		}
		seen[d.Name] = true
		if len(d.POPs) == 0 {
			p.add("destination %s: no POPs", d.Name)
		}
		out := destination{name: d.Name, hasCheap: len(d.Cheap) > 0}
		first, failover := c.list(d.POPs, d.Name, p), c.tiers(d.Failover, d.Name, p)
		out.normal = append([][]weighted{first}, failover...)
		if out.cheap = out.normal; out.hasCheap {
			out.cheap = append([][]weighted{c.list(d.Cheap, d.Name, p)}, out.normal...)
		}
		out.normal, out.cheap = c.end(out.normal), c.end(out.cheap)
		c.dests = append(c.dests, out)
	}
	if len(c.dests) > math.MaxUint16/2 {
		p.add("%d destinations: more than %d", len(c.dests), math.MaxUint16/2)
	}
}

// end puts this POP behind all tiers, unless it is in one of them.
func (c *Chooser) end(tiers [][]weighted) [][]weighted {
	for _, t := range tiers {
		if slices.ContainsFunc(t, func(w weighted) bool { return w.pop == c.self }) {
			return tiers
		}
	}
	return append(slices.Clip(tiers), []weighted{{c.self, 1}})
}

func (c *Chooser) list(l []Weighted, dest string, p *problems) []weighted {
	var out []weighted
	for _, w := range l {
		i, ok := c.pops[w.POP]
		if !ok {
			p.add("destination %s: POP %q is not in the list of POPs", dest, w.POP)
		}
		if w.Weight < 0 || math.IsInf(w.Weight, 0) || math.IsNaN(w.Weight) {
			p.add("destination %s: POP %s: weight %v: want more than zero", dest, w.POP, w.Weight)
		}
		if slices.ContainsFunc(out, func(x weighted) bool { return x.pop == i }) {
			p.add("destination %s: POP %s is in a list twice", dest, w.POP)
		}
		out = append(out, weighted{i, cmp.Or(w.Weight, 1)})
	}
	return out
}

func (c *Chooser) tiers(l []Weighted, dest string, p *problems) [][]weighted {
	byTier := map[int][]Weighted{}
	var order []int
	for _, w := range l {
		if byTier[w.Tier] == nil {
			order = append(order, w.Tier)
		}
		byTier[w.Tier] = append(byTier[w.Tier], w)
	}
	slices.Sort(order)
	var out [][]weighted
	for _, t := range order {
		out = append(out, c.list(byTier[t], dest, p))
	}
	return out
}

// placeOf gives the Place of a destination: that of the first one that has the
// same lists, so that equal answers are one.
func (c *Chooser) placeOf(d int, cheap bool) Place {
	same := func(a, b [][]weighted) bool { return slices.EqualFunc(a, b, slices.Equal) }
	for i := range d {
		if x, y := &c.dests[i], &c.dests[d]; x.hasCheap == y.hasCheap && same(x.normal, y.normal) && same(x.cheap, y.cheap) {
			return place(i, cheap)
		}
	}
	return place(d, cheap)
}

// dest gives the number of a destination.
func (c *Chooser) dest(name string) (int, bool) {
	i := slices.IndexFunc(c.dests, func(d destination) bool { return d.name == name })
	return i, i >= 0
}

func (c *Chooser) locations(p *problems) map[string]Location {
	out := map[string]Location{}
	for _, l := range c.cfg.Locations {
		if _, ok := out[l.Name]; ok || l.Name == "" {
			p.add("location %q: named twice, or not at all", l.Name)
		}
		if _, ok := c.dest(l.Destination); !ok {
			p.add("location %s: no destination %q", l.Name, l.Destination)
		}
		out[l.Name] = l
	}
	for _, pop := range c.cfg.POPs {
		if _, ok := out[pop.Location]; !ok && pop.Location != "" {
			p.add("POP %s: no location %q", pop.ID, pop.Location)
		}
	}
	return out
}

func (c *Chooser) addRules(nets *Nets, locations map[string]Location, p *problems) {
	customers := map[string]Customer{}
	for _, cu := range c.cfg.Customers {
		if _, ok := customers[cu.Name]; ok || cu.Name == "" {
			p.add("customer %q: named twice, or not at all", cu.Name)
		}
		customers[cu.Name] = cu
	}
	for _, r := range c.cfg.Rules {
		r.Name = canonical(r.Name)
		cu, ok := customers[r.Customer]
		if !ok && r.Customer != "" {
			p.add("name %s: no customer %q", r.Name, r.Customer)
		}
		if _, ok := c.rules[r.Name]; ok || r.Name == "" {
			p.add("name %q: there twice, or empty", r.Name)
		}
		if r.Max < 0 || r.Max > MaxAddresses {
			p.add("name %s: max %d: want 1 to %d", r.Name, r.Max, MaxAddresses)
		}
		r.Max = cmp.Or(r.Max, MaxAddresses)
		c.rules[r.Name] = len(c.rule)
		v := c.viewOf(nets, locations, overrides{"name " + r.Name, r.Overrides}, overrides{"customer " + cu.Name, cu.Overrides}, p)
		c.rule = append(c.rule, rule{r, v})
	}
}

// overrides are a list and whose it is.
type overrides struct {
	whose string
	list  []Override
}

// viewOf finds the view that has these overrides, or makes it. Names without
// any share one.
func (c *Chooser) viewOf(nets *Nets, locations map[string]Location, name, customer overrides, p *problems) int {
	key := fmt.Sprint(name.list, customer)
	if len(name.list) == 0 && len(customer.list) == 0 {
		key = ""
	} else if len(name.list) > 0 {
		key = fmt.Sprint(name, customer)
	}
	if i := slices.IndexFunc(c.views, func(v view) bool { return v.key == key }); i >= 0 {
		return i
	}
	for _, o := range []overrides{name, customer} {
		for _, l := range o.list {
			if _, ok := c.dest(l.Destination); !ok {
				p.add("%s: override of location %q: no destination %q", o.whose, l.Location, l.Destination)
			}
		}
	}
	v := view{key: key}
	v.known = append(v.known, target{}) // without a location the resolver's counts, and then asked
	for _, n := range nets.names[1:] {
		v.known = append(v.known, c.target(n, locations, name, customer))
	}
	for _, t := range v.known {
		v.place = append(v.place, t.place)
	}
	if key == "" {
		v.m = nets.m.project(func(val uint16) uint16 { return uint16(v.place[val]) })
	}
	here := ""
	if c.self >= 0 {
		here = c.cfg.POPs[c.self].Location
	}
	if v.asked = c.target(here, locations, name, customer); v.asked.place == Nowhere {
		v.asked = target{place: c.placeOf(len(c.dests)-1, false), name: c.dests[len(c.dests)-1].name}
	}
	c.views = append(c.views, v)
	return len(c.views) - 1
}

// target is step 2 for one location ("": none is known).
func (c *Chooser) target(loc string, locations map[string]Location, name, customer overrides) target {
	l, known := locations[loc]
	t := target{plain: l.Destination}
	if d, ok := c.dest(l.Destination); known && ok {
		t.place, t.name = c.placeOf(d, l.Slow), l.Destination
	}
	for _, o := range []overrides{name, customer} {
		for _, at := range []string{loc, ""} {
			i := slices.IndexFunc(o.list, func(x Override) bool { return x.Location == at })
			if i < 0 {
				continue
			}
			if d, ok := c.dest(o.list[i].Destination); ok {
				t.place, t.name, t.why = c.placeOf(d, l.Slow), o.list[i].Destination, o.whose
			}
			return t
		}
	}
	return t
}
