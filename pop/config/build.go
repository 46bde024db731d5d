package config

import (
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

// builder turns raw structs into the Config and holds what rules need that
// look across sections.
type builder struct {
	*problems
	raw rawConfig
	out *Config
	// partial: what is not set comes from the core.
	partial bool

	neighbors map[netip.Addr]bool
	dynamic   bool                    // neighbors may come that are not listed
	prefixes  map[netip.Prefix]string // slice or cover -> key path
	names     map[string]string       // service -> key path
	vips      map[netip.Addr]string
}

func (p *problems) build(settings map[string]any, o Options) (*Config, error) {
	p.defaulted = map[string]bool{}
	for _, key := range slices.Sorted(maps.Keys(defaults)) {
		p.fill("", settings, strings.Split(key, "."), defaults[key])
	}
	b := &builder{
		problems: p, out: &Config{settings: settings},
		neighbors: map[netip.Addr]bool{}, prefixes: map[netip.Prefix]string{},
		names: map[string]string{}, vips: map[netip.Addr]string{},
	}
	statusText(settings)
	p.decode(settings, &b.raw)
	b.partial = o.Partial && b.raw.Core.Config
	b.alone()
	b.daemon()
	b.group(o)
	b.tlsFiles(o)
	b.bgp(o)
	b.bfd()
	b.fleet()
	b.core()
	b.relay()
	b.guards()
	for i := range b.raw.Services {
		b.service("services["+strconv.Itoa(i)+"]", &b.raw.Services[i])
	}
	b.maintenance()
	b.cache(o)
	b.load()
	b.balance()
	b.cost()
	b.ingress()
	b.matrix(o)
	b.resync()
	b.dns(o)
	b.slowness(o)
	b.lend()
	b.whole()
	if err := p.err(); err != nil {
		return nil, err
	}
	b.out.Warnings = p.warned()
	return b.out, nil
}

// fill puts a default where its key is not set, making the sections around it.
func (p *problems) fill(path string, at map[string]any, key []string, value any) {
	name, list := strings.CutSuffix(key[0], "[]")
	path = join(path, name)
	if list {
		entries, _ := at[name].([]any)
		for i, e := range entries {
			if m, ok := e.(map[string]any); ok {
				p.fill(path+"["+strconv.Itoa(i)+"]", m, key[1:], value)
			}
		}
		return
	}
	if len(key) == 1 {
		if _, ok := at[name]; !ok {
			at[name], p.defaulted[path] = plain(value), true
		}
		return
	}
	if at[name] == nil {
		at[name] = map[string]any{}
	}
	if m, ok := at[name].(map[string]any); ok {
		p.fill(path, m, key[1:], value)
	}
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

const nameWords = "letters, digits, dots, dashes and underscores, at most 63"

// name checks a name that becomes a label, a file name and a word on the
// command line.
func (b *builder) name(path, what, s string) bool {
	switch {
	case s == "":
		b.refuse(path, "not set: %s", what)
	case !nameForm.MatchString(s):
		b.refuse(path, "%q: want %s", s, nameWords)
	default:
		return true
	}
	return false
}

// daemon checks what concerns the process and not its work.
func (b *builder) daemon() {
	r, c := &b.raw, b.out
	b.name("pop", "name this POP, such as LON", r.POP)
	b.absolute("state-dir", r.StateDir)
	b.oneOf("log.level", r.Log.Level, "debug", "info", "warn", "error")
	b.oneOf("log.format", r.Log.Format, "text", "json")
	b.socket("api.socket", r.API.Socket)
	b.socket("api.gobgp-socket", r.API.GoBGPSocket)
	if r.API.Socket != "" && r.API.Socket == r.API.GoBGPSocket {
		b.refuse("api.gobgp-socket", "the same as api.socket")
	}
	b.remoteAPI()
	b.listen("metrics.listen", r.Metrics.Listen)
	if r.Journal.MaxSize < 64<<10 {
		b.refuse("journal.max-size", "%d bytes: want at least 64KiB", r.Journal.MaxSize)
	}
	b.atLeast("journal.keep", r.Journal.Keep, 1)
	b.positive("stop.deadline", r.Stop.Deadline)
	if r.FIB.Table == 0 {
		b.refuse("fib.table", "0: want a routing table from 1; 254 is main")
	}
	if r.FIB.Protocol < 5 {
		b.refuse("fib.protocol", "%d: 0 to 4 belong to the kernel and the administrator; take one of your own such as 186", r.FIB.Protocol)
	}
	b.atLeast("fib.multipath", r.FIB.Multipath, 1)
	b.web()
	c.POP, c.StateDir, c.Location = policy.POPID(r.POP), r.StateDir, b.location("location", r.Location)
	c.Log, c.Metrics = Log(r.Log), Metrics(r.Metrics)
	c.FIB = FIB(r.FIB)
	c.Journal = Journal{MaxSize: int64(r.Journal.MaxSize), Keep: r.Journal.Keep}
	c.Stop = Stop(r.Stop)
}

func (b *builder) group(o Options) {
	if b.raw.API.Group == "" || o.Group == nil {
		return
	}
	if err := o.Group(b.raw.API.Group); err != nil {
		b.refuse("api.group", "%v", err)
	}
}

// bgp hands the section to whoever knows it and learns the neighbors.
func (b *builder) bgp(o Options) {
	b.out.BGP = b.raw.BGP
	if b.partial && len(b.raw.BGP) == 0 {
		b.dynamic = true
		return
	}
	if len(b.raw.BGP) == 0 {
		b.refuse("bgp", "not set: the speaker needs at least global.config.as, global.config.router-id and neighbors")
		return
	}
	_, b.dynamic = b.raw.BGP["dynamic-neighbors"]
	if o.BGP == nil {
		for _, n := range listed(b.raw.BGP) {
			b.neighbors[n] = true
		}
		return
	}
	addrs, err := o.BGP(b.raw.BGP)
	if err != nil {
		b.dynamic = true // not known is not the same as not there
		for _, e := range flat(err) {
			b.blame("bgp", e)
		}
	}
	for _, n := range addrs {
		if n.IsValid() { // an unnumbered neighbor has none yet
			b.neighbors[n.Unmap()] = true
		}
	}
}

// blame refuses the key of a section that an error begins with, or the section.
func (b *builder) blame(section string, err error) {
	path, msg, ok := strings.Cut(err.Error(), ": ")
	if !ok || !within(path, section) {
		path, msg = section, err.Error()
	}
	b.refuse(path, "%s", msg)
}

// alone gives a daemon that is a cache server and nothing else what one that
// speaks BGP has to say: a speaker without neighbors that listens nowhere.
func (b *builder) alone() {
	r := &b.raw
	cache := len(r.Cache.Listen)+len(r.Cache.TLS.Listen) > 0
	if !cache || b.partial || len(r.BGP) > 0 || len(r.Services)+len(r.Ingress.Routers)+len(r.BFD) > 0 || r.FIB.Install || r.Fleet.Listen != "" {
		return
	}
	r.BGP = map[string]any{"global": map[string]any{"config": map[string]any{"as": int64(64512), "router-id": "127.0.0.1", "port": int64(-1)}}}
	if r.POP == "" {
		r.POP = "cache"
	}
}

func flat(err error) []error {
	if m, ok := err.(interface{ Unwrap() []error }); ok {
		return m.Unwrap()
	}
	return []error{err}
}

// listed returns neighbors[].config.neighbor-address of a gobgpd section.
func listed(section map[string]any) (addrs []netip.Addr) {
	list, _ := section["neighbors"].([]any)
	for i := range list {
		s, _ := valueAt(list[i], "config.neighbor-address").(string)
		if a, err := netip.ParseAddr(s); err == nil {
			addrs = append(addrs, a.Unmap())
		}
	}
	return addrs
}

// neighbor checks that an address is one of a BGP neighbor.
func (b *builder) neighbor(path string, a netip.Addr) bool {
	switch {
	case !a.IsValid():
		b.refuse(path, "not set: the address of a neighbor in bgp.neighbors")
	case !b.neighbors[a] && !b.dynamic:
		b.refuse(path, "%s is not in bgp.neighbors", a)
	default:
		return true
	}
	return false
}

func (b *builder) bfd() {
	seen := map[netip.Addr]bool{}
	for i, r := range b.raw.BFD {
		path := "bfd[" + strconv.Itoa(i) + "]"
		if b.neighbor(path+".neighbor", r.Neighbor) && seen[r.Neighbor] {
			b.refuse(path+".neighbor", "%s has a session already", r.Neighbor)
		}
		seen[r.Neighbor] = true
		b.positive(path+".transmit", r.Transmit)
		b.positive(path+".receive", r.Receive)
		if r.Multiplier < 1 || r.Multiplier > 255 {
			b.refuse(path+".multiplier", "%d: want 1 to 255", r.Multiplier)
		}
		b.out.BFD = append(b.out.BFD, BFDSession{
			Neighbor: r.Neighbor, Transmit: r.Transmit, Receive: r.Receive,
			Multiplier: uint8(r.Multiplier), Multihop: r.Multihop,
		})
	}
}

func (b *builder) guards() {
	g := &b.raw.Guards
	b.atLeast("guards.blast.slices", g.Blast.Slices, 0)
	b.share("guards.blast.share", g.Blast.Share)
	b.share("guards.blast.traffic", g.Blast.Traffic)
	b.positive("guards.blast.interval", g.Blast.Interval)
	b.share("guards.correlated.share", g.Correlated.Share)
	b.positive("guards.correlated.window", g.Correlated.Window)
	b.positive("guards.stale", g.Stale)
	b.atLeast("guards.drains.pops", g.Drains.POPs, 0)
	b.share("guards.drains.share", g.Drains.Share)
	if g.Headroom < 0 || g.Headroom > 10 {
		b.refuse("guards.headroom", "%v: want a share of capacity such as 1 or 0.95; 0: off", g.Headroom)
	}
	if g.Isolated < 0 {
		b.refuse("guards.isolated", "%s: want zero (off) or more", g.Isolated)
	}
	b.out.Limits = policy.Limits{
		BlastSlices: g.Blast.Slices, BlastShare: g.Blast.Share, BlastInterval: g.Blast.Interval,
		CorrelatedShare: g.Correlated.Share, CorrelatedWindow: g.Correlated.Window, StaleAfter: g.Stale,
		IsolatedAfter: g.Isolated, DrainPOPs: g.Drains.POPs, DrainShare: g.Drains.Share,
		DrainHeadroom: g.Headroom, BlastTraffic: g.Blast.Traffic,
	}
	if len(b.raw.Fleet.Peers) > 0 && g.Stale <= b.raw.Fleet.Poll {
		b.warnf("guards.stale", "%s is not above fleet.poll (%s): every answer is stale before the next", g.Stale, b.raw.Fleet.Poll)
	}
}

// whole checks what only the whole shows.
func (b *builder) whole() {
	c := b.out
	if b.partial {
		return
	}
	if len(b.raw.Services) == 0 && !b.raw.FIB.Install && len(b.raw.Ingress.Routers) == 0 && !c.Cache.On() {
		b.refuse("", "no services, no fib.install and no cache.listen: nothing to do; an empty configuration is refused, not obeyed")
	}
	byHealth := func(s Service) bool { return !s.Always }
	if slices.ContainsFunc(c.Services, byHealth) && !c.Fleet.Configured() && !c.Relay.On() {
		b.warnf("fleet", "no peers and no rib: the guards last-pop and correlated are inactive, this POP may withdraw as the last one")
	}
	if c.Slowness.Rate > 0 && c.Slowness.Share > 0 && len(c.Fleet.Peers) == 0 && (c.Relay.On() || len(c.Fleet.RIB) > 0) {
		b.warnf("slowness", "no fleet.peers: POPs known by the relay tree or BGP alone are not asked what they know of client networks, so this one judges by what it sees itself (share: 0 where that is meant)")
	}
	for i := range c.Services {
		s := &c.Services[i]
		path := "services[" + strconv.Itoa(i) + "]"
		if s.DrainWait >= c.Stop.Deadline && c.Stop.Deadline > 0 {
			b.warnf(path+".drain.wait", "%s is not below stop.deadline (%s): a stop will cut the drain short", s.DrainWait, c.Stop.Deadline)
		}
		if s.Accept != AcceptAlways && !slices.ContainsFunc(s.VIPs.Addresses, c.Cache.Serves) {
			b.warnf(path+".drain.accept", "%s is for the cache server, and cache.listen has none of the addresses: nobody refuses connections", s.Accept)
		}
		if n := b.others(); c.Fleet.Configured() && s.MinPOPs > n {
			b.warnf(path+".min-pops", "%d, but fleet names %d other: the service will never be withdrawn by health", s.MinPOPs, n)
		}
	}
}

// others counts the other POPs that the fleet section names.
func (b *builder) others() int {
	pops := map[policy.POPID]bool{}
	for _, p := range b.out.Fleet.Peers {
		pops[p.POP] = true
	}
	for _, p := range b.out.Fleet.RIB {
		pops[p.POP] = true
	}
	return len(pops)
}

func (b *builder) oneOf(path, got string, words ...string) {
	if !slices.Contains(words, got) {
		b.refuse(path, "%q: want one of %s", got, strings.Join(words, ", "))
	}
}

func (b *builder) absolute(path, file string) {
	if !filepath.IsAbs(file) {
		b.refuse(path, "%q: want an absolute path", file)
	}
}

// socket checks the path of a Unix socket: 107 bytes is what the kernel takes.
func (b *builder) socket(path, file string) {
	if file == "" {
		return
	}
	b.absolute(path, file)
	if len(file) > 107 {
		b.refuse(path, "%d bytes: the kernel takes at most 107 for a socket", len(file))
	}
}

func (b *builder) listen(path, s string) {
	if s == "" {
		return
	}
	_, port, err := net.SplitHostPort(s)
	if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n == 0 {
		b.refuse(path, "%q: want HOST:PORT such as 127.0.0.1:9798 or [::]:9798", s)
	}
}

func (b *builder) share(path string, x float64) {
	if x < 0 || x > 1 {
		b.refuse(path, "%v: want a share from 0 to 1", x)
	}
}

func (b *builder) atLeast(path string, n, low int) {
	if n < low {
		b.refuse(path, "%d: want at least %d", n, low)
	}
}

// site is the community list that goes on everything.
func (b *builder) site() []bgp.LargeCommunity {
	if s := b.raw.Fleet.Site; s != nil {
		return []bgp.LargeCommunity{*s}
	}
	return nil
}
