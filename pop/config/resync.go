package config

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/catchment/catchment/policy"
)

// Whom flows are told to.
const (
	TellLikely = "likely" // POPs that would get our clients; all where nothing is known of that
	TellAll    = "all"
)

// Resync is how downloads go on at another POP. Without a place to listen
// nothing of it runs.
type Resync struct {
	// Listen is where other POPs tell of their flows, and Advertise how they
	// reach it; empty: it is told to nobody.
	Listen, Advertise string
	// Peers are the POPs to tell; empty: those that say their Advertise in the
	// fleet exchange or the relay tree.
	Peers []ResyncPeer
	Tell  string
	TLS   *CoreTLS // nil: the core's
	// VIPs are the addresses whose flows count: those named, or all of the
	// services.
	VIPs     []netip.Addr
	Least    int64 // bytes to send from which on a flow counts
	Interval time.Duration
	Flows    int           // of each POP that are kept, and of our own that are told
	Keep     time.Duration // for which what a POP said is good after its last word
	Probes   int           // segments a second to clients of a POP that is gone; 0: none
	Warm     ResyncWarm
	// ResetAfter is how long after the withdraw what is still connected to an
	// address is reset; 0: never.
	ResetAfter time.Duration
	Jump       ResyncJump
}

// ResyncPeer is a POP to tell of flows.
type ResyncPeer struct{ POP, Address string }

// ResyncWarm bounds what is fetched for clients that are about to come.
type ResyncWarm struct {
	Ahead int64 // bytes of each flow; 0: nothing
	Fills int   // at once
}

// ResyncJump bounds how flows from other POPs begin.
type ResyncJump struct {
	Services []policy.ServiceID // whose flows may jump over slow start
	Pin      string             // directory of a BPF file system; empty: none
	Window   int64              // largest, bytes
	Rate     int64              // largest, bytes a second
	// InitCWND is the largest of a route to a client network, in segments,
	// where there is no BPF; 0: routes stay as they are.
	InitCWND int
	// Stated is the largest rate by a client's word alone, bytes a second; 0:
	// what clients say of their bandwidth counts for nothing.
	Stated int64
}

// On reports whether there is anything to do.
func (r *Resync) On() bool { return r.Listen != "" }

// Jumps reports whether flows of a service may jump.
func (r *Resync) Jumps(id policy.ServiceID) bool { return slices.Contains(r.Jump.Services, id) }

type rawResync struct {
	Listen     string          `mapstructure:"listen"`
	Advertise  string          `mapstructure:"advertise"`
	Peers      []rawResyncPeer `mapstructure:"peers"`
	Tell       string          `mapstructure:"tell"`
	TLS        rawCoreTLS      `mapstructure:"tls"`
	VIPs       []netip.Addr    `mapstructure:"vips"`
	Least      size            `mapstructure:"least"`
	Interval   time.Duration   `mapstructure:"interval"`
	Flows      int             `mapstructure:"flows"`
	Keep       time.Duration   `mapstructure:"keep"`
	Probes     int             `mapstructure:"probes"`
	Warm       rawResyncWarm   `mapstructure:"warm"`
	ResetAfter time.Duration   `mapstructure:"reset-after"`
	Jump       rawResyncJump   `mapstructure:"jump"`
}

type rawResyncPeer struct {
	POP     string `mapstructure:"pop"`
	Address string `mapstructure:"address"`
}

type rawResyncWarm struct {
	Ahead size `mapstructure:"ahead"`
	Fills int  `mapstructure:"fills"`
}

type rawResyncJump struct {
	Services []string `mapstructure:"services"`
	Pin      string   `mapstructure:"pin"`
	Window   size     `mapstructure:"window"`
	Rate     size     `mapstructure:"rate"`
	InitCWND int      `mapstructure:"initcwnd"`
	Stated   size     `mapstructure:"stated"`
}

// resync checks the section of flows that go on elsewhere. Services, fleet,
// core and relay are there already.
func (b *builder) resync() {
	r, c := &b.raw.Resync, &b.out.Resync
	if r.Listen == "" {
		b.resyncUnused()
		return
	}
	b.listen("resync.listen", r.Listen)
	*c = Resync{
		Listen: r.Listen, Advertise: r.Advertise, Tell: r.Tell, Least: int64(r.Least), Interval: r.Interval, Flows: r.Flows, Keep: r.Keep, Probes: r.Probes,
		Warm: ResyncWarm{Ahead: int64(r.Warm.Ahead), Fills: r.Warm.Fills}, ResetAfter: r.ResetAfter,
	}
	if r.Advertise != "" {
		b.hostPort("resync.advertise", r.Advertise)
	} else if host, _, err := net.SplitHostPort(r.Listen); err == nil && host != "" && host != "::" && host != "0.0.0.0" {
		c.Advertise = r.Listen
	}
	b.oneOf("resync.tell", r.Tell, TellLikely, TellAll)
	b.resyncBounds()
	b.resyncPeers()
	b.resyncTLS()
	b.resyncVIPs()
	b.resyncJump()
}

// resyncUnused refuses what has no meaning without a place to listen.
func (b *builder) resyncUnused() {
	r := &b.raw.Resync
	for _, k := range []struct {
		key string
		set bool
	}{{"peers", len(r.Peers) > 0}, {"advertise", r.Advertise != ""}, {"vips", len(r.VIPs) > 0}, {"tls", r.TLS != rawCoreTLS{}}, {"jump.services", len(r.Jump.Services) > 0}} {
		if k.set {
			b.refuse("resync."+k.key, "has no meaning without resync.listen")
		}
	}
}

func (b *builder) resyncBounds() {
	r := &b.raw.Resync
	if r.Least < 16<<10 {
		b.refuse("resync.least", "%d bytes: want at least 16KiB", r.Least)
	}
	if r.Interval < 100*time.Millisecond || r.Interval > 10*time.Second {
		b.refuse("resync.interval", "%s: want 100ms to 10s", r.Interval)
	}
	if r.Keep < time.Second || r.Keep > 10*time.Minute {
		b.refuse("resync.keep", "%s: want 1s to 10m", r.Keep)
	}
	b.atLeast("resync.flows", r.Flows, 1)
	b.atLeast("resync.probes", r.Probes, 0)
	b.atLeast("resync.warm.fills", r.Warm.Fills, 1)
	if r.ResetAfter < 0 {
		b.refuse("resync.reset-after", "%s: want zero (never) or more", r.ResetAfter)
	}
}

func (b *builder) resyncPeers() {
	seen := map[string]bool{}
	for i, p := range b.raw.Resync.Peers {
		path := "resync.peers[" + strconv.Itoa(i) + "]"
		b.otherPOP(path, p.POP, 1, seen)
		b.hostPort(path+".address", p.Address)
		b.out.Resync.Peers = append(b.out.Resync.Peers, ResyncPeer(p))
	}
}

// resyncTLS finds out whose certificate is shown to other POPs. Its name has to
// be the POP's, by which they know what is said.
func (b *builder) resyncTLS() {
	t, c := b.raw.Resync.TLS, &b.raw.Core
	if t != (rawCoreTLS{}) {
		for _, f := range []struct{ path, file string }{
			{"resync.tls.certificate", t.Certificate}, {"resync.tls.key", t.Key}, {"resync.tls.ca", t.CA},
		} {
			if f.file == "" {
				b.refuse(f.path, "not set: mutual TLS needs certificate, key and ca")
				continue
			}
			b.absolute(f.path, f.file)
		}
		b.absoluteIf("resync.tls.revoked", t.Revoked)
		b.out.Resync.TLS = (*CoreTLS)(&t)
		return
	}
	alone := c.Mode == CoreEmbedded && c.Listen == "" && c.Clients.Listen == "" && c.Joins.Listen == "" && c.TokenFile == "" && c.TLS.Certificate == ""
	switch {
	case c.Mode == "" || alone || c.Mode == CoreExternal && c.TLS.Certificate == "":
		b.refuse("resync.tls", "not set: POPs meet by mutual TLS only, and the core here (core.mode) has no certificate; "+
			"want certificate, key and ca, whose common name is this POP's name")
	case c.Name != b.raw.POP:
		b.refuse("core.name", "%q: with resync it must be the POP's name, by which the others know it", c.Name)
	}
}

// resyncVIPs are the addresses named, or those of the services.
func (b *builder) resyncVIPs() {
	all := map[netip.Addr]bool{}
	for i := range b.out.Services {
		for _, a := range b.out.Services[i].VIPs.Addresses {
			all[a] = true
			if len(b.raw.Resync.VIPs) == 0 {
				b.out.Resync.VIPs = append(b.out.Resync.VIPs, a)
			}
		}
	}
	for i, a := range b.raw.Resync.VIPs {
		if !all[a] {
			b.refuse("resync.vips["+strconv.Itoa(i)+"]", "%s is in no service's vips.addresses", a)
		}
		b.out.Resync.VIPs = append(b.out.Resync.VIPs, a)
	}
	if len(b.out.Resync.VIPs) == 0 {
		b.warnf("resync", "no service has vips.addresses: there are no flows to look at")
	}
}

func (b *builder) resyncJump() {
	r, c := &b.raw.Resync.Jump, &b.out.Resync.Jump
	*c = ResyncJump{Pin: r.Pin, Window: int64(r.Window), Rate: int64(r.Rate), InitCWND: r.InitCWND, Stated: int64(r.Stated)}
	if r.Pin != "" {
		b.absolute("resync.jump.pin", r.Pin)
	}
	if r.Window < 64<<10 || r.Window > 64<<20 {
		b.refuse("resync.jump.window", "%d bytes: want 64KiB to 64MiB", r.Window)
	}
	if r.Rate < 64<<10 {
		b.refuse("resync.jump.rate", "%d bytes a second: want at least 64KiB", r.Rate)
	}
	if r.InitCWND != 0 && (r.InitCWND < 10 || r.InitCWND > 1000) {
		b.refuse("resync.jump.initcwnd", "%d: want 0 (routes stay as they are) or 10 to 1000 segments", r.InitCWND)
	}
	if r.Stated < 0 || int64(r.Stated) > c.Rate {
		b.refuse("resync.jump.stated", "%d bytes a second: want 0 (what clients say counts for nothing) up to resync.jump.rate", r.Stated)
	}
	for i, name := range r.Services {
		found := name == "*"
		for k := range b.out.Services {
			if id := b.out.Services[k].ID; name == "*" || string(id) == name {
				found = true
				if !slices.Contains(c.Services, id) {
					c.Services = append(c.Services, id)
				}
			}
		}
		if !found {
			b.refuse("resync.jump.services["+strconv.Itoa(i)+"]", "no service %q", name)
		}
	}
}
