package config

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/server/cache/site"
)

// Cache is the cache server of this POP. Without a place to listen there is
// none.
type Cache struct {
	// Name is this cache's own in Cache-Status, Via and among other caches.
	Name   string
	Listen []netip.AddrPort // HTTP in cleartext
	TLS    CacheTLS
	HTTP2  bool // over TLS
	H2C    bool // in cleartext, by prior knowledge
	HTTP3  bool // on the UDP ports of TLS.Listen
	Store  CacheStore
	// SitesFile holds the sites; empty: they are in the configuration.
	SitesFile string
	Sites     []site.Config // checked, of either place
	// Peers are the caches of this POP, this one among them or not: each object
	// is one's to fetch.
	Peers []CachePeer
	// Trusted are networks whose caches are believed what they say of a
	// request's way here, besides those of the fleet.
	Trusted   []netip.Prefix
	AccessLog CacheLog
	Limits    CacheLimits
}

// On reports whether there is a cache server.
func (c *Cache) On() bool { return len(c.Listen)+len(c.TLS.Listen) > 0 }

// Addresses are the local addresses that clients can connect to, each once;
// unspecified ones are every address of this host.
func (c *Cache) Addresses() []netip.Addr {
	seen := map[netip.Addr]bool{}
	var out []netip.Addr
	for _, list := range [][]netip.AddrPort{c.Listen, c.TLS.Listen} {
		for _, a := range list {
			if !seen[a.Addr()] {
				seen[a.Addr()] = true
				out = append(out, a.Addr())
			}
		}
	}
	return out
}

// Serves reports whether clients that connect to an address reach the cache
// server.
func (c *Cache) Serves(a netip.Addr) bool {
	for _, l := range c.Addresses() {
		if l == a || l.IsUnspecified() && (l.Is6() || a.Is4()) {
			return true
		}
	}
	return false
}

// CachedService is the service that the cache server is all of; empty where it
// serves addresses of several, or of none: then nobody can tell whose a request
// is.
func (c *Config) CachedService() policy.ServiceID {
	found := policy.ServiceID("")
	for i := range c.Services {
		s := &c.Services[i]
		if !slices.ContainsFunc(s.VIPs.Addresses, c.Cache.Serves) {
			continue
		}
		if found != "" {
			return ""
		}
		found = s.ID
	}
	return found
}

// CachePeer is a cache server of this POP.
type CachePeer struct {
	Name   string // its own cache.name
	URL    string
	Weight int
}

// CacheTLS is where the cache server speaks TLS, and with which files, in PEM.
type CacheTLS struct {
	Listen       []netip.AddrPort
	Certificates []CacheCertificate // chosen by the name that the client asks for
	// TicketKeys is a file of keys for session tickets, the same in all POPs;
	// empty: keys of this process.
	TicketKeys string
}

// CacheCertificate is a certificate with its chain, and its key.
type CacheCertificate struct{ Certificate, Key string }

// CacheStore bounds what is stored.
type CacheStore struct {
	RAM  int64  // bytes
	Disk string // directory; empty: RAM alone
	Size int64  // bytes on the disk
	// Objects are how many the index holds at most, about 150 bytes of RAM each.
	Objects int
}

// CacheLog is the access log; without a path there is none.
type CacheLog struct {
	Path    string
	MaxSize int64 // bytes a file
	Keep    int   // full files beside the current one
}

// CacheLimits bound what clients can take; zero means no limit where it is
// said so.
type CacheLimits struct {
	Requests          int // at once, beside plain hits; those above are answered 503
	Fills             int // requests to upstreams under way
	SiteFills         int // of them those of one site
	Connections       int
	ClientConnections int   // of one IPv4 address or IPv6 /64
	ConnRequests      int   // a connection
	Streams           int   // of HTTP/2 and 3, a connection
	Head, URL         int   // bytes
	Fields            int   // of a request head
	Body              int64 // bytes of a request; 0: no limit
	HandshakeTime     time.Duration
	HeadTime          time.Duration
	IdleTime          time.Duration
	BodyTime          time.Duration
	SendRate          int           // bytes a second that a client takes at least
	Window            time.Duration // in which that is judged
	AckTime           time.Duration // without a client's acknowledgement; 0: as the kernel has it
}

type rawCache struct {
	Name   string           `mapstructure:"name"`
	Listen []netip.AddrPort `mapstructure:"listen"`
	TLS    struct {
		Listen       []netip.AddrPort `mapstructure:"listen"`
		Certificates []struct {
			Certificate string `mapstructure:"certificate"`
			Key         string `mapstructure:"key"`
		} `mapstructure:"certificates"`
		TicketKeys string `mapstructure:"ticket-keys"`
	} `mapstructure:"tls"`
	HTTP2 bool `mapstructure:"http2"`
	H2C   bool `mapstructure:"h2c"`
	HTTP3 bool `mapstructure:"http3"`
	Store struct {
		RAM     size   `mapstructure:"ram"`
		Disk    string `mapstructure:"disk"`
		Size    size   `mapstructure:"size"`
		Objects int    `mapstructure:"objects"`
	} `mapstructure:"store"`
	SitesFile string         `mapstructure:"sites-file"`
	Sites     []site.Config  `mapstructure:"sites"`
	Trusted   []netip.Prefix `mapstructure:"trusted"`
	Peers     []struct {
		Name   string `mapstructure:"name"`
		URL    string `mapstructure:"url"`
		Weight int    `mapstructure:"weight"`
	} `mapstructure:"peers"`
	AccessLog struct {
		Path    string `mapstructure:"path"`
		MaxSize size   `mapstructure:"max-size"`
		Keep    int    `mapstructure:"keep"`
	} `mapstructure:"access-log"`
	Limits rawCacheLimits `mapstructure:"limits"`
}

type rawCacheLimits struct {
	Requests          int           `mapstructure:"requests"`
	Fills             int           `mapstructure:"fills"`
	SiteFills         int           `mapstructure:"site-fills"`
	Connections       int           `mapstructure:"connections"`
	ClientConnections int           `mapstructure:"client-connections"`
	ConnRequests      int           `mapstructure:"connection-requests"`
	Streams           int           `mapstructure:"streams"`
	Head              size          `mapstructure:"head"`
	URL               size          `mapstructure:"url"`
	Fields            int           `mapstructure:"fields"`
	Body              size          `mapstructure:"body"`
	HandshakeTime     time.Duration `mapstructure:"handshake-time"`
	HeadTime          time.Duration `mapstructure:"head-time"`
	IdleTime          time.Duration `mapstructure:"idle-time"`
	BodyTime          time.Duration `mapstructure:"body-time"`
	SendRate          size          `mapstructure:"send-rate"`
	Window            time.Duration `mapstructure:"window"`
	AckTime           time.Duration `mapstructure:"ack-time"`
}

// cache checks the section of the cache server.
func (b *builder) cache(o Options) {
	r, c := &b.raw.Cache, &b.out.Cache
	*c = Cache{
		Name: r.Name, Listen: r.Listen, HTTP2: r.HTTP2, H2C: r.H2C, HTTP3: r.HTTP3, SitesFile: r.SitesFile, Sites: r.Sites, Trusted: r.Trusted,
		TLS:       CacheTLS{Listen: r.TLS.Listen, TicketKeys: r.TLS.TicketKeys},
		Store:     CacheStore{RAM: int64(r.Store.RAM), Disk: r.Store.Disk, Size: int64(r.Store.Size), Objects: r.Store.Objects},
		AccessLog: CacheLog{Path: r.AccessLog.Path, MaxSize: int64(r.AccessLog.MaxSize), Keep: r.AccessLog.Keep},
	}
	for _, x := range r.TLS.Certificates {
		c.TLS.Certificates = append(c.TLS.Certificates, CacheCertificate(x))
	}
	if c.Name == "" {
		c.Name = b.raw.POP
	}
	b.cacheLimits()
	if !c.On() {
		b.cacheUnused()
		return
	}
	b.name("cache.name", "name this cache server", c.Name)
	b.cacheListen()
	b.cacheTLS()
	b.cacheFiles()
	b.cachePeers()
	before := len(b.errs)
	b.cacheSites(o)
	if o.Cache == nil || len(b.errs) > before {
		return
	}
	if err := o.Cache(c); err != nil {
		for _, e := range flat(err) {
			b.blame("cache", e)
		}
	}
}

// cacheUnused refuses what has no meaning without a place to listen.
func (b *builder) cacheUnused() {
	r := &b.raw.Cache
	for _, k := range []struct {
		key string
		set bool
	}{
		{"sites", len(r.Sites) > 0}, {"sites-file", r.SitesFile != ""}, {"store.disk", r.Store.Disk != ""}, {"tls.certificates", len(r.TLS.Certificates) > 0},
		{"http3", r.HTTP3}, {"access-log.path", r.AccessLog.Path != ""},
	} {
		if k.set {
			b.refuse("cache."+k.key, "neither cache.listen nor cache.tls.listen is set, so there is no cache server")
			return
		}
	}
}

func (b *builder) cacheListen() {
	seen := map[netip.AddrPort]string{}
	look := func(key string, list []netip.AddrPort) {
		for i, a := range list {
			at := key + "[" + strconv.Itoa(i) + "]"
			switch {
			case !a.IsValid():
				b.refuse(at, "not set: want ADDRESS:PORT such as 192.0.2.1:80 or [::]:80")
			case a.Addr().IsMulticast():
				b.refuse(at, "%s: nobody can connect to a multicast address", a)
			case seen[a] != "":
				b.refuse(at, "%s is there already: %s", a, seen[a])
			}
			seen[a] = at
		}
	}
	look("cache.listen", b.raw.Cache.Listen)
	look("cache.tls.listen", b.raw.Cache.TLS.Listen)
}

// cachePeers checks the other caches of the POP.
func (b *builder) cachePeers() {
	seen := map[string]bool{}
	for i, x := range b.raw.Cache.Peers {
		at := "cache.peers[" + strconv.Itoa(i) + "]"
		if b.name(at+".name", "its cache.name", x.Name) && seen[x.Name] {
			b.refuse(at+".name", "%q is in the list already", x.Name)
		}
		seen[x.Name] = true
		if u, err := url.Parse(x.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
			b.refuse(at+".url", "%q: want http://HOST:PORT or https://HOST:PORT", x.URL)
		}
		b.atLeast(at+".weight", x.Weight, 1)
		b.out.Cache.Peers = append(b.out.Cache.Peers, CachePeer(x))
	}
}

func (b *builder) cacheTLS() {
	r := &b.raw.Cache
	if len(r.TLS.Listen) > 0 && len(r.TLS.Certificates) == 0 {
		b.refuse("cache.tls.certificates", "not set: TLS needs a certificate and its key")
	}
	if len(r.TLS.Listen) == 0 {
		for _, k := range []struct {
			key string
			set bool
		}{{"tls.certificates", len(r.TLS.Certificates) > 0}, {"tls.ticket-keys", r.TLS.TicketKeys != ""}, {"http3", r.HTTP3}} {
			if k.set {
				b.refuse("cache."+k.key, "has no meaning without cache.tls.listen")
			}
		}
	}
	for i, x := range r.TLS.Certificates {
		at := "cache.tls.certificates[" + strconv.Itoa(i) + "]."
		b.absolute(at+"certificate", x.Certificate)
		b.absolute(at+"key", x.Key)
	}
	if r.TLS.TicketKeys != "" {
		b.absolute("cache.tls.ticket-keys", r.TLS.TicketKeys)
	}
}

// cacheFiles checks the store and the access log.
func (b *builder) cacheFiles() {
	r := &b.raw.Cache
	if r.Store.RAM < 1<<20 {
		b.refuse("cache.store.ram", "%d bytes: want at least 1MiB", r.Store.RAM)
	}
	b.atLeast("cache.store.objects", r.Store.Objects, 1000)
	if r.Store.Disk != "" {
		b.absolute("cache.store.disk", r.Store.Disk)
		if r.Store.Size < 16<<20 {
			b.refuse("cache.store.size", "%d bytes: want at least 16MiB", r.Store.Size)
		}
		if within := filepath.Clean(r.Store.Disk); within == filepath.Clean(b.raw.StateDir) {
			b.refuse("cache.store.disk", "is state-dir: want a directory of its own, best a disk of its own")
		}
	}
	if r.AccessLog.Path != "" {
		b.absolute("cache.access-log.path", r.AccessLog.Path)
		if r.AccessLog.MaxSize < 64<<10 {
			b.refuse("cache.access-log.max-size", "%d bytes: want at least 64KiB", r.AccessLog.MaxSize)
		}
		b.atLeast("cache.access-log.keep", r.AccessLog.Keep, 1)
	}
}

func (b *builder) cacheLimits() {
	r := &b.raw.Cache.Limits
	for _, k := range []struct {
		key string
		n   int
	}{
		{"requests", r.Requests}, {"fills", r.Fills}, {"site-fills", r.SiteFills}, {"connections", r.Connections}, {"client-connections", r.ClientConnections},
		{"connection-requests", r.ConnRequests}, {"streams", r.Streams}, {"fields", r.Fields},
	} {
		b.atLeast("cache.limits."+k.key, k.n, 1)
	}
	if r.Head < 1<<10 || r.Head > 64<<10 {
		b.refuse("cache.limits.head", "%d bytes: want 1KiB to 64KiB", r.Head)
	}
	if r.URL < 256 || r.URL > r.Head {
		b.refuse("cache.limits.url", "%d bytes: want at least 256B and not more than cache.limits.head", r.URL)
	}
	for _, k := range []struct {
		key string
		d   time.Duration
	}{
		{"handshake-time", r.HandshakeTime}, {"head-time", r.HeadTime}, {"idle-time", r.IdleTime}, {"body-time", r.BodyTime}, {"window", r.Window},
	} {
		b.positive("cache.limits."+k.key, k.d)
	}
	if r.AckTime < 0 || r.AckTime > 0 && r.AckTime < time.Second {
		b.refuse("cache.limits.ack-time", "%v: want at least 1s, or 0 for what the kernel does", r.AckTime)
	}
	b.out.Cache.Limits = CacheLimits{
		Requests: r.Requests, Fills: r.Fills, SiteFills: r.SiteFills, Connections: r.Connections, ClientConnections: r.ClientConnections, ConnRequests: r.ConnRequests, Streams: r.Streams,
		Head: int(r.Head), URL: int(r.URL), Fields: r.Fields, Body: int64(r.Body), HandshakeTime: r.HandshakeTime, HeadTime: r.HeadTime,
		IdleTime: r.IdleTime, BodyTime: r.BodyTime, SendRate: int(r.SendRate), Window: r.Window, AckTime: r.AckTime,
	}
}
