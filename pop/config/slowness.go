package config

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Slowness is how client networks that take little are recognized. Without a
// rate nothing is measured, and without lists either nothing of it runs.
type Slowness struct {
	Rate     float64 // bit/s that this POP could send to anybody: who takes less is slow; 0: nothing is measured
	Least    int64   // bytes from which on a transfer says something
	VIPs     []netip.Addr
	Every    time.Duration // from one look at the kernel's flows to the next
	Judge    time.Duration // from one judgement of all networks to the next
	Samples  int           // that a network needs to be judged by itself
	Networks int           // kept at most
	HalfLife time.Duration // of what was seen
	Share    int           // networks told to other POPs at most
	Stale    time.Duration // older than this, what was seen moves nobody
	Most     float64       // share of the networks above which nobody is moved by what was measured
	Export   string        // file of all networks, CSV; empty: none
	Nets     SlowNets
	PowerDNS SlowPowerDNS
	Steer    bool // the DNS server sends clients of slow networks to cheap POPs

	Operator          []string // files of networks that are slow, or "fast", whatever was measured
	Places, Providers SlowPlaces
}

// SlowNets is a file of the slow networks that gdnsd's plugin geoip loads.
type SlowNets struct {
	File        string // empty: none
	Datacenters string
}

// SlowPowerDNS is a zone of one name that PowerDNS's geoip backend loads: an
// alias of Cheap for slow networks, of Near for all others.
type SlowPowerDNS struct {
	File                      string // empty: none
	Name, Server, Near, Cheap string
}

// SlowPlaces are the locations of a database whose clients count as slow.
type SlowPlaces struct {
	Database string
	Slow     []string
}

// On reports whether there is anything to do.
func (s *Slowness) On() bool { return s.Rate > 0 || s.Lists() }

// Lists reports whether there are lists of slow networks.
func (s *Slowness) Lists() bool {
	return len(s.Operator) > 0 || s.Places.Database != "" || s.Providers.Database != ""
}

type rawSlowness struct {
	Rate     bitRate       `mapstructure:"rate"`
	Least    size          `mapstructure:"least"`
	VIPs     []netip.Addr  `mapstructure:"vips"`
	Every    time.Duration `mapstructure:"every"`
	Judge    time.Duration `mapstructure:"judge"`
	Samples  int           `mapstructure:"samples"`
	Networks int           `mapstructure:"networks"`
	HalfLife time.Duration `mapstructure:"half-life"`
	Share    int           `mapstructure:"share"`
	Stale    time.Duration `mapstructure:"stale"`
	Most     float64       `mapstructure:"most"`
	Export   string        `mapstructure:"export"`
	Nets     struct {
		File        string `mapstructure:"file"`
		Datacenters string `mapstructure:"datacenters"`
	} `mapstructure:"nets"`
	PowerDNS struct {
		File   string `mapstructure:"file"`
		Name   string `mapstructure:"name"`
		Server string `mapstructure:"server"`
		Near   string `mapstructure:"near"`
		Cheap  string `mapstructure:"cheap"`
	} `mapstructure:"powerdns"`
	Steer     bool          `mapstructure:"steer"`
	Operator  []string      `mapstructure:"operator"`
	Places    rawSlowPlaces `mapstructure:"places"`
	Providers rawSlowPlaces `mapstructure:"providers"`
}

type rawSlowPlaces struct {
	Database string   `mapstructure:"database"`
	Slow     []string `mapstructure:"slow"`
}

// slowness checks its section; services, cache and dns are there already.
func (b *builder) slowness(o Options) {
	r, c := &b.raw.Slowness, &b.out.Slowness
	*c = Slowness{
		Rate: float64(r.Rate), Least: int64(r.Least), Every: r.Every, Judge: r.Judge, Samples: r.Samples, Networks: r.Networks, HalfLife: r.HalfLife,
		Share: r.Share, Stale: r.Stale, Most: r.Most, Export: r.Export, Nets: SlowNets(r.Nets), PowerDNS: SlowPowerDNS(r.PowerDNS), Steer: r.Steer,
		Operator: r.Operator, Places: SlowPlaces(r.Places), Providers: SlowPlaces(r.Providers),
	}
	b.moveSlow()
	if r.Rate == 0 && b.slownessUnmeasured() {
		return
	}
	before := len(b.errs)
	b.slownessBounds()
	b.slownessFiles()
	b.slownessVIPs()
	b.slownessSteer()
	if !c.On() || o.Slowness == nil || len(b.errs) > before {
		return
	}
	if err := o.Slowness(b.out); err != nil {
		for _, e := range flat(err) {
			b.blame("slowness", e)
		}
	}
}

// slownessUnmeasured refuses what has no meaning where nothing is measured, and
// reports whether there is nothing else.
func (b *builder) slownessUnmeasured() bool {
	r, c := &b.raw.Slowness, &b.out.Slowness
	lists := c.Lists() || len(r.Places.Slow)+len(r.Providers.Slow) > 0
	for _, k := range []struct {
		key string
		set bool
	}{{"vips", len(r.VIPs) > 0}, {"export", r.Export != ""}, {"nets.file", r.Nets.File != "" && !lists}, {"powerdns.file", r.PowerDNS.File != "" && !lists}, {"steer", r.Steer && !lists}} {
		if k.set {
			b.refuse("slowness."+k.key, "has no meaning without slowness.rate: what this POP could send to anybody, such as 5Mbit")
		}
	}
	return !lists
}

func (b *builder) slownessBounds() {
	r := &b.raw.Slowness
	if r.Rate != 0 && (r.Rate < 64e3 || r.Rate > 10e9) {
		b.refuse("slowness.rate", "%.0f bit/s: want 64Kbit to 10Gbit", float64(r.Rate))
	}
	if r.Least < 16<<10 {
		b.refuse("slowness.least", "%d bytes: want at least 16KiB, since less says nothing of a path", r.Least)
	}
	for _, d := range []struct {
		key       string
		got       time.Duration
		low, high time.Duration
	}{
		{"every", r.Every, 500 * time.Millisecond, time.Minute}, {"judge", r.Judge, time.Second, time.Hour},
		{"half-life", r.HalfLife, time.Hour, 10000 * time.Hour}, {"stale", r.Stale, time.Minute, 10000 * time.Hour},
	} {
		if d.got < d.low || d.got > d.high {
			b.refuse("slowness."+d.key, "%s: want %s to %s", d.got, d.low, d.high)
		}
	}
	b.atLeast("slowness.samples", r.Samples, 2)
	b.atLeast("slowness.networks", r.Networks, 1000)
	b.atLeast("slowness.share", r.Share, 0)
	b.share("slowness.most", r.Most)
}

func (b *builder) slownessFiles() {
	r := &b.raw.Slowness
	b.absoluteIf("slowness.export", r.Export)
	b.absoluteIf("slowness.nets.file", r.Nets.File)
	if (r.Nets.File == "") != (r.Nets.Datacenters == "") {
		b.refuse("slowness.nets", "file and datacenters belong together: where the slow networks are written, and the list that they get, such as cheap1,cheap2")
	}
	list := strings.Split(r.Nets.Datacenters, ",")
	for i := range list {
		if list[i] = strings.TrimSpace(list[i]); list[i] == "" && len(list) > 1 || strings.ContainsAny(list[i], " \t") {
			b.refuse("slowness.nets.datacenters", "%q: want names with commas between them, such as cheap1,cheap2", r.Nets.Datacenters)
			break
		}
	}
	b.out.Slowness.Nets.Datacenters = strings.Join(list, ",")
	b.slownessPowerDNS()
	for i, f := range r.Operator {
		b.absolute("slowness.operator["+strconv.Itoa(i)+"]", f)
	}
	for _, p := range []struct {
		key, such string
		is        *rawSlowPlaces
	}{{"slowness.places", "FR or FR-IDF", &r.Places}, {"slowness.providers", "AS64500", &r.Providers}} {
		b.absoluteIf(p.key+".database", p.is.Database)
		switch {
		case p.is.Database == "" && len(p.is.Slow) > 0:
			b.refuse(p.key+".database", "not set: where is it written who is in %s?", p.is.Slow[0])
		case p.is.Database != "" && len(p.is.Slow) == 0:
			b.refuse(p.key+".slow", "not set: which of the database are slow, such as %s", p.such)
		}
	}
}

func (b *builder) slownessPowerDNS() {
	r := &b.raw.Slowness.PowerDNS
	b.absoluteIf("slowness.powerdns.file", r.File)
	for _, k := range []struct{ key, name, what string }{
		{"name", r.Name, "the name that clients are sent by, such as www.slow.example.net; its zone is slow.example.net"},
		{"server", r.Server, "the zone's name server, such as ns1.example.net"},
		{"near", r.Near, "the name that others get, such as www.near.example.net"},
		{"cheap", r.Cheap, "the name that slow networks get, such as www.cheap.example.net"},
	} {
		switch _, ok := dns.IsDomainName(k.name); {
		case (k.name == "") != (r.File == ""):
			b.refuse("slowness.powerdns", "file, name, server, near and cheap belong together; %s is %s", k.key, k.what)
			return
		case k.name != "" && (!ok || strings.ContainsAny(k.name, " \t#:{}[],&*!|>'\"%@`\\") || strings.Count(strings.TrimSuffix(k.name, "."), ".") < 2 && k.key == "name"):
			b.refuse("slowness.powerdns."+k.key, "%q: want %s", k.name, k.what)
		}
	}
}

// slownessVIPs are the addresses named, or those of the services.
func (b *builder) slownessVIPs() {
	r, c := &b.raw.Slowness, &b.out.Slowness
	for i, a := range r.VIPs {
		if slices.Index(r.VIPs, a) < i {
			b.refuse("slowness.vips["+strconv.Itoa(i)+"]", "%s is in the list already", a)
		}
	}
	c.VIPs = r.VIPs
	for i := range b.out.Services {
		if len(r.VIPs) == 0 {
			c.VIPs = append(c.VIPs, b.out.Services[i].VIPs.Addresses...)
		}
	}
	if r.Rate > 0 && len(c.VIPs) == 0 && !b.out.Cache.On() {
		b.warnf("slowness", "no service has vips.addresses, and there is no cache server: there are no flows to look at")
	}
}

// moveSlow warns of sites that move clients of slow networks where nothing tells
// which those are.
func (b *builder) moveSlow() {
	for i := range b.out.Cache.Sites {
		if s := &b.out.Cache.Sites[i]; s.Steer.MoveSlow && !b.out.Slowness.On() {
			b.warnf("cache.sites", "%s: steer.move-slow has no meaning without slowness: no client's network is known to be slow", s.Name)
		}
	}
}

// slownessSteer checks whether somebody could go elsewhere.
func (b *builder) slownessSteer() {
	s := &b.out.DNS.Steer
	switch cheap := len(s.Asked.Cheap) > 0; {
	case !b.raw.Slowness.Steer:
	case !b.out.DNS.On():
		b.refuse("slowness.steer", "there is no DNS server here that could (dns.listen)")
	default:
		for _, d := range s.Destinations {
			cheap = cheap || len(d.Cheap) > 0
		}
		if !cheap {
			b.warnf("slowness.steer", "no destination of dns.steer has a cheap list: slow clients are answered as all are")
		}
	}
}
