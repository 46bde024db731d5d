package config

import (
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/health/probe"
	"github.com/catchment/catchment/policy"
)

// Ingress is the route-controller mode: which POP's next hop each ingress
// router is told for a slice, over iBGP.
type Ingress struct {
	Routers []IngressRouter // none: the mode is off
	Targets []IngressTarget
	Slices  []policy.SliceID // that are assigned
	// Prefixes are those of Slices that are no service's here: this daemon
	// announces them to ingress routers alone.
	Prefixes    []netip.Prefix
	LocalPref   uint32
	Communities []bgp.Community
	Unit        load.Unit // of demand and capacity
	Interval    time.Duration
	HoldDown    time.Duration // a POP that was gone gets nothing for so long
	Shed, Fill  float64       // shares of capacity
	MoveCost    float64
	MaxMoves    int     // a round; 0: no limit
	MaxShare    float64 // of all demand, a round; 0: no limit
	Check       CheckTiming
}

// On reports whether the mode is.
func (i *Ingress) On() bool { return len(i.Routers) > 0 }

// IngressRouter is a router where traffic comes in, such as a PE.
type IngressRouter struct {
	Name      string
	Neighbors []netip.Addr             // its iBGP sessions, one or one for each family
	Costs     map[policy.POPID]float64 // of a unit of demand; a POP that is missing gets nothing from it
	Demand    float64                  // of each slice, where no source tells it
	Sources   []IngressSource
}

// IngressSource is a page that tells a router's demand.
type IngressSource struct {
	Slice policy.SliceID // zero: of all slices together, which is split evenly
	Page  load.PageConfig
}

// IngressTarget is a POP that slices can be assigned to.
type IngressTarget struct {
	POP      policy.POPID
	NextHop4 netip.Addr // zero: takes no IPv4 slices
	NextHop6 netip.Addr
	Capacity float64       // for what ingress routers send; 0: no limit
	Check    *probe.Config // nil: none
}

// NextHop is the one for a slice's family; zero: there is none.
func (t *IngressTarget) NextHop(id policy.SliceID) netip.Addr {
	if id.Prefix().Addr().Is4() {
		return t.NextHop4
	}
	return t.NextHop6
}

// CheckTiming is how the checks of targets run.
type CheckTiming struct {
	Interval, Fast, Timeout time.Duration
	Rise, Fall              int
}

// amount is a number, or a rate such as 10Gbit.
type amount float64

func parseAmount(s string) (amount, error) {
	if n, err := strconv.ParseFloat(s, 64); err == nil && n >= 0 && !math.IsInf(n, 0) {
		return amount(n), nil
	}
	if r, err := parseBitRate(s); err == nil {
		return amount(r), nil
	}
	return 0, fmt.Errorf("want a number, or a rate such as 10Gbit, got %q", s)
}

type rawIngress struct {
	Routers     []rawIngressRouter `mapstructure:"routers"`
	Targets     []rawIngressTarget `mapstructure:"targets"`
	Services    []string           `mapstructure:"services"`
	Prefixes    []netip.Prefix     `mapstructure:"prefixes"`
	LocalPref   uint32             `mapstructure:"local-pref"`
	Communities []bgp.Community    `mapstructure:"communities"`
	Unit        string             `mapstructure:"unit"`
	Interval    time.Duration      `mapstructure:"interval"`
	HoldDown    time.Duration      `mapstructure:"hold-down"`
	Shed        float64            `mapstructure:"shed-above"`
	Fill        float64            `mapstructure:"fill-to"`
	MoveCost    float64            `mapstructure:"move-cost"`
	MaxMoves    int                `mapstructure:"max-moves"`
	MaxShare    float64            `mapstructure:"max-share"`
	Check       struct {
		Interval time.Duration `mapstructure:"interval"`
		Fast     time.Duration `mapstructure:"fast"`
		Timeout  time.Duration `mapstructure:"timeout"`
		Rise     int           `mapstructure:"rise"`
		Fall     int           `mapstructure:"fall"`
	} `mapstructure:"check"`
}

type rawIngressRouter struct {
	Name      string             `mapstructure:"name"`
	Neighbors []netip.Addr       `mapstructure:"neighbors"`
	Costs     []rawIngressCost   `mapstructure:"costs"`
	Demand    amount             `mapstructure:"demand"`
	Sources   []rawIngressSource `mapstructure:"sources"`
}

type rawIngressCost struct {
	POP  string  `mapstructure:"pop"`
	Cost float64 `mapstructure:"cost"`
}

type rawIngressSource struct {
	Prefix netip.Prefix `mapstructure:"prefix"`
	URL    string       `mapstructure:"url"`
	Format string       `mapstructure:"format"`
	Metric string       `mapstructure:"metric"`
	Path   string       `mapstructure:"path"`
	Kind   string       `mapstructure:"kind"`
	Scale  float64      `mapstructure:"scale"`
}

type rawIngressTarget struct {
	POP      string       `mapstructure:"pop"`
	NextHops []netip.Addr `mapstructure:"next-hops"`
	Capacity amount       `mapstructure:"capacity"`
	Check    string       `mapstructure:"check"`
}

// ingress checks the section. Services, fleet and neighbors are there already.
func (b *builder) ingress() {
	r, c := &b.raw.Ingress, &b.out.Ingress
	b.ingressRules()
	unit, err := load.ParseUnit(r.Unit)
	if err != nil || unit > load.Connections {
		b.refuse("ingress.unit", "%q: want in, out, requests or connections", r.Unit)
	}
	*c = Ingress{
		LocalPref: r.LocalPref, Communities: r.Communities, Unit: unit, Interval: r.Interval, HoldDown: r.HoldDown, Shed: r.Shed, Fill: r.Fill,
		MoveCost: r.MoveCost, MaxMoves: r.MaxMoves, MaxShare: r.MaxShare, Check: CheckTiming(r.Check),
	}
	slices.Sort(c.Communities)
	c.Communities = slices.Compact(c.Communities)
	b.ingressSlices()
	b.ingressTargets()
	b.ingressRouters()
	switch {
	case len(r.Routers) > 0 && len(r.Targets) == 0:
		b.refuse("ingress.targets", "not set: the POPs that slices can be assigned to")
	case len(r.Routers) > 0 && len(c.Slices) == 0:
		b.refuse("ingress.services", "there is no slice to assign: want services, or ingress.prefixes")
	case len(r.Routers) == 0 && len(r.Targets)+len(r.Prefixes)+len(r.Services) > 0:
		b.refuse("ingress.routers", "not set: the ingress routers, each with its iBGP neighbor")
	}
}

// ingressRules checks the numbers that stand for themselves.
func (b *builder) ingressRules() {
	r := &b.raw.Ingress
	if r.LocalPref == 0 {
		b.refuse("ingress.local-pref", "0: want more than the POPs' own announcements have, which are the fallback")
	}
	if r.Interval < 100*time.Millisecond {
		b.refuse("ingress.interval", "%s: want at least 100ms", r.Interval)
	}
	if !(r.Shed > 0 && r.Shed <= 1) {
		b.refuse("ingress.shed-above", "%v: want a share of the capacity above 0 and at most 1", r.Shed)
	}
	if !(r.Fill > 0 && r.Fill < r.Shed) {
		b.refuse("ingress.fill-to", "%v: want a share above 0 and below shed-above (%v): the room between them keeps routes from swinging", r.Fill, r.Shed)
	}
	if r.MoveCost < 0 {
		b.refuse("ingress.move-cost", "%v: want zero or more", r.MoveCost)
	}
	b.atLeast("ingress.max-moves", r.MaxMoves, 0)
	b.share("ingress.max-share", r.MaxShare)
	b.positive("ingress.check.interval", r.Check.Interval)
	b.positive("ingress.check.fast", r.Check.Fast)
	b.positive("ingress.check.timeout", r.Check.Timeout)
	b.atLeast("ingress.check.rise", r.Check.Rise, 1)
	b.atLeast("ingress.check.fall", r.Check.Fall, 1)
}

// ingressSlices are those of the named services, of all where none is named
// and no prefix is given, and the prefixes that are no service's here.
func (b *builder) ingressSlices() {
	r, c := &b.raw.Ingress, &b.out.Ingress
	for i, name := range r.Services {
		if b.names[name] == "" {
			b.refuse("ingress.services["+strconv.Itoa(i)+"]", "%q: want the name of a service", name)
		}
	}
	all := len(r.Services) == 0 && len(r.Prefixes) == 0 && len(r.Routers) > 0
	for i := range b.out.Services {
		if s := &b.out.Services[i]; all || slices.Contains(r.Services, string(s.ID)) {
			c.Slices = append(c.Slices, s.Slices...)
		}
	}
	for i, p := range r.Prefixes {
		if b.prefix("ingress.prefixes["+strconv.Itoa(i)+"]", p) {
			c.Prefixes = append(c.Prefixes, p)
			c.Slices = append(c.Slices, policy.SliceID(p))
		}
	}
}

func (b *builder) ingressTargets() {
	c := &b.out.Ingress
	known := map[policy.POPID]bool{b.out.POP: true}
	for _, p := range b.out.Fleet.Peers {
		known[p.POP] = true
	}
	for _, p := range b.out.Fleet.RIB {
		known[p.POP] = true
	}
	seen := map[string]bool{}
	for i, r := range b.raw.Ingress.Targets {
		path := "ingress.targets[" + strconv.Itoa(i) + "]"
		if b.name(path+".pop", "name the POP", r.POP) && seen[r.POP] {
			b.refuse(path+".pop", "%q is in the list already", r.POP)
		}
		seen[r.POP] = true
		t := IngressTarget{POP: policy.POPID(r.POP), Capacity: float64(r.Capacity)}
		if r.Capacity < 0 {
			b.refuse(path+".capacity", "%v: want zero (no limit) or more", float64(r.Capacity))
		}
		b.ingressNextHops(path+".next-hops", r.NextHops, &t)
		var err error
		if t.Check, err = ingressCheck(r.Check); err != nil {
			b.refuse(path+".check", "%v", err)
		}
		if r.Check == "" && !known[t.POP] {
			b.refuse(path+".check", "not set, and %s is in neither fleet.peers nor fleet.rib: nothing would tell how it is", r.POP)
		}
		c.Targets = append(c.Targets, t)
	}
	for _, id := range c.Slices {
		if len(c.Targets) > 0 && !slices.ContainsFunc(c.Targets, func(t IngressTarget) bool { return t.NextHop(id).IsValid() }) {
			b.warnf("ingress.targets", "none has a next hop for %v: it follows plain anycast", id)
		}
	}
}

func (b *builder) ingressNextHops(path string, list []netip.Addr, t *IngressTarget) {
	if len(list) == 0 {
		b.refuse(path, "not set: an address of the POP for each family, which the ingress routers can reach")
	}
	for i, a := range list {
		at, to := path+"["+strconv.Itoa(i)+"]", &t.NextHop6
		if a.Is4() {
			to = &t.NextHop4
		}
		switch {
		case !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() || a.Zone() != "":
			b.refuse(at, "%s: want an address that the ingress routers can reach", a)
		case to.IsValid():
			b.refuse(at, "%s: there is one of the family already", a)
		}
		*to = a
	}
}

// ingressCheck makes a check of its short form: http://HOST/PATH, https://...,
// tcp://HOST:PORT or icmp://HOST.
func ingressCheck(s string) (*probe.Config, error) {
	if s == "" {
		return nil, nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("%q: want a URL such as http://192.0.2.11/healthz, tcp://192.0.2.11:443 or icmp://192.0.2.11", s)
	}
	var c probe.Config
	switch u.Scheme {
	case "http", "https":
		c = probe.Config{Type: probe.HTTP, URL: s}
	case "tcp":
		c = probe.Config{Type: probe.TCP, Address: u.Host}
	case "icmp":
		c = probe.Config{Type: probe.ICMP, Address: strings.Trim(u.Host, "[]")}
	default:
		return nil, fmt.Errorf("%q: want http, https, tcp or icmp before ://", s)
	}
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return &c, nil
}

// Target returns the target of a POP, nil if there is none.
func (i *Ingress) Target(id policy.POPID) *IngressTarget {
	for k := range i.Targets {
		if i.Targets[k].POP == id {
			return &i.Targets[k]
		}
	}
	return nil
}
