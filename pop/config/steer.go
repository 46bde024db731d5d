package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/steer"
)

type rawSteer struct {
	Nets         []string         `mapstructure:"nets"`
	Slow         []string         `mapstructure:"slow"`
	SlowLabel    string           `mapstructure:"slow-label"`
	TTL          time.Duration    `mapstructure:"ttl"`
	Headroom     float64          `mapstructure:"headroom"`
	Service      string           `mapstructure:"service"`
	POPs         []rawSteerPOP    `mapstructure:"pops"`
	Locations    []rawLocated     `mapstructure:"locations"`
	Destinations []rawDestination `mapstructure:"destinations"`
	Asked        struct {
		Failover []rawWeighted `mapstructure:"failover"`
		Cheap    []rawWeighted `mapstructure:"cheap"`
	} `mapstructure:"asked"`
	Customers []struct {
		Name      string        `mapstructure:"name"`
		Overrides []rawOverrule `mapstructure:"overrides"`
	} `mapstructure:"customers"`
	Names []struct {
		Name      string        `mapstructure:"name"`
		Customer  string        `mapstructure:"customer"`
		Overrides []rawOverrule `mapstructure:"overrides"`
		Max       int           `mapstructure:"max"`
		Direct    bool          `mapstructure:"direct"`
	} `mapstructure:"names"`
}

type rawSteerPOP struct {
	POP      string `mapstructure:"pop"`
	Name     string `mapstructure:"name"`
	Location string `mapstructure:"location"`
	Caches   []struct {
		Address netip.Addr `mapstructure:"address"`
		Weight  *float64   `mapstructure:"weight"`
		Check   string     `mapstructure:"check"`
	} `mapstructure:"caches"`
}

type rawLocated struct {
	Name        string `mapstructure:"name"`
	Destination string `mapstructure:"destination"`
	Slow        bool   `mapstructure:"slow"`
}

type rawDestination struct {
	Name     string        `mapstructure:"name"`
	POPs     []rawWeighted `mapstructure:"pops"`
	Failover []rawWeighted `mapstructure:"failover"`
	Cheap    []rawWeighted `mapstructure:"cheap"`
}

type rawWeighted struct {
	POP    string   `mapstructure:"pop"`
	Weight *float64 `mapstructure:"weight"`
	Tier   int      `mapstructure:"tier"`
}

type rawOverrule struct {
	Location    string `mapstructure:"location"`
	Destination string `mapstructure:"destination"`
}

// steer fills in to which POPs clients are sent; policy/steer judges whether it
// fits together.
func (b *builder) steer() {
	r, c := &b.raw.DNS.Steer, &b.out.DNS.Steer
	*c = DNSSteer{
		Config: steer.Config{Self: policy.POPID(b.raw.POP), SlowLabel: r.SlowLabel, Headroom: r.Headroom},
		Nets:   r.Nets, Slow: r.Slow, TTL: r.TTL,
	}
	b.steerFiles(r)
	b.steerService(r)
	b.steerPOPs(r)
	b.steerChecks()
	at := "dns.steer."
	for _, l := range r.Locations {
		c.Locations = append(c.Locations, steer.Location(l))
	}
	for i, d := range r.Destinations {
		at := at + "destinations[" + strconv.Itoa(i) + "]."
		c.Destinations = append(c.Destinations, steer.Destination{
			Name: d.Name, POPs: b.weighted(at+"pops", d.POPs), Failover: b.weighted(at+"failover", d.Failover), Cheap: b.weighted(at+"cheap", d.Cheap),
		})
	}
	c.Asked.Failover, c.Asked.Cheap = b.weighted(at+"asked.failover", r.Asked.Failover), b.weighted(at+"asked.cheap", r.Asked.Cheap)
	for _, x := range r.Customers {
		c.Customers = append(c.Customers, steer.Customer{Name: x.Name, Overrides: overrules(x.Overrides)})
	}
	for i, x := range r.Names {
		name := strings.ToLower(strings.TrimSuffix(x.Name, "."))
		if !slices.ContainsFunc(b.out.DNS.Zones, func(z DNSZone) bool { return strings.HasSuffix("."+name+".", "."+z.Name) }) {
			b.refuse(at+"names["+strconv.Itoa(i)+"].name", "%q is in none of dns.zones", x.Name)
		}
		c.Rules = append(c.Rules, steer.Rule{Name: name, Customer: x.Customer, Overrides: overrules(x.Overrides), Max: x.Max, Direct: x.Direct})
	}
}

func (b *builder) steerFiles(r *rawSteer) {
	for i, f := range r.Nets {
		b.absolute("dns.steer.nets["+strconv.Itoa(i)+"]", f)
	}
	for i, f := range r.Slow {
		b.absolute("dns.steer.slow["+strconv.Itoa(i)+"]", f)
	}
	if r.TTL < 0 || r.TTL > 24*time.Hour {
		b.refuse("dns.steer.ttl", "%s: want 0 to 24h", r.TTL)
	}
}

// steerService finds the service whose state is that of a POP.
func (b *builder) steerService(r *rawSteer) {
	var all []string
	for i := range b.out.Services {
		all = append(all, string(b.out.Services[i].ID))
	}
	switch {
	case r.Service == "" && len(all) > 1 && len(r.Names) > 0:
		b.refuse("dns.steer.service", "not set: which of %s tells whether a POP takes clients?", strings.Join(all, ", "))
	case r.Service == "" && len(all) == 1:
		r.Service = all[0]
	case r.Service != "" && !slices.Contains(all, r.Service):
		b.refuse("dns.steer.service", "no service %q", r.Service)
	}
	b.out.DNS.Steer.Service = policy.ServiceID(r.Service)
}

func (b *builder) steerPOPs(r *rawSteer) {
	c := &b.out.DNS.Steer
	if len(r.POPs) == 0 && len(r.Names) > 0 {
		b.refuse("dns.steer.pops", "not set: the POPs that clients can be sent to, this one too")
	}
	own := false
	for i, p := range r.POPs {
		at := "dns.steer.pops[" + strconv.Itoa(i) + "]"
		name := p.Name
		if name != "" && !strings.HasSuffix(name, ".") {
			name += "."
		}
		own = own || p.POP == b.raw.POP
		c.POPs = append(c.POPs, steer.POP{ID: policy.POPID(p.POP), Location: p.Location, Name: name})
		var caches []steer.Cache
		var checks []policy.CheckID
		for k, x := range p.Caches {
			at := at + ".caches[" + strconv.Itoa(k) + "]"
			if !x.Address.IsValid() {
				b.refuse(at+".address", "not set: the cache's address")
			}
			caches = append(caches, steer.Cache{Addr: x.Address, Weight: b.weight(at+".weight", x.Weight)})
			checks = append(checks, policy.CheckID(x.Check))
		}
		c.Caches, c.Checks = append(c.Caches, caches), append(c.Checks, checks)
	}
	b.steerUnheard()
	if !own && len(r.POPs) > 0 {
		b.refuse("dns.steer.pops", "this POP, %s, is not among them", b.raw.POP)
	}
	if len(r.POPs) == 0 { // static zones need none, the compiler of choices does
		c.POPs, c.Caches, c.Checks = []steer.POP{{ID: policy.POPID(b.raw.POP)}}, [][]steer.Cache{nil}, [][]policy.CheckID{nil}
	}
}

// steerChecks looks for the checks that tell whether a cache is up.
func (b *builder) steerChecks() {
	c := &b.out.DNS.Steer
	k := slices.IndexFunc(b.out.Services, func(s Service) bool { return s.ID == c.Service })
	for i := range c.Checks {
		for j, id := range c.Checks[i] {
			at := "dns.steer.pops[" + strconv.Itoa(i) + "].caches[" + strconv.Itoa(j) + "].check"
			switch {
			case id == "":
			case k < 0:
				b.refuse(at, "there is no service that could have a check %q (dns.steer.service)", id)
			case !slices.ContainsFunc(b.out.Services[k].Checks, func(x Check) bool { return x.ID == id }):
				b.refuse(at, "service %s has no check %q", c.Service, id)
			}
		}
	}
}

// steerUnheard warns of POPs of which nothing will ever be known.
func (b *builder) steerUnheard() {
	f := &b.out.Fleet
	if b.out.Relay.On() {
		return // it brings all
	}
	for i, p := range b.out.DNS.Steer.POPs {
		heard := slices.ContainsFunc(f.Peers, func(x StatusPeer) bool { return x.POP == p.ID }) ||
			slices.ContainsFunc(f.RIB, func(x RIBPeer) bool { return x.POP == p.ID })
		if !heard && string(p.ID) != b.raw.POP {
			b.warnf("dns.steer.pops["+strconv.Itoa(i)+"]", "neither fleet.peers, fleet.rib nor relay tells how %s is: it gets clients only when no other POP can take them", p.ID)
		}
	}
}

func (b *builder) weighted(at string, list []rawWeighted) (out []steer.Weighted) {
	for i, w := range list {
		out = append(out, steer.Weighted{POP: policy.POPID(w.POP), Weight: b.weight(at+"["+strconv.Itoa(i)+"].weight", w.Weight), Tier: w.Tier})
	}
	return out
}

// weight is 1 where it is not set.
func (b *builder) weight(at string, w *float64) float64 {
	if w == nil {
		return 1
	}
	if !(*w > 0) {
		b.refuse(at, "%v: want more than zero; who is to get nothing is left out", *w)
	}
	return *w
}

func overrules(list []rawOverrule) (out []steer.Override) {
	for _, o := range list {
		out = append(out, steer.Override(o))
	}
	return out
}
