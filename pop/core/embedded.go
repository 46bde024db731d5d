package core

import (
	"cmp"
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Embedded is a member of the core inside this process. Zero fields take the
// defaults.
type Embedded struct {
	Dir  string // of the engine alone, made 0700; it holds at least 4 MiB of log
	Name string // the member's; default "alone"
	// Peers makes it a member of several; nil: alone, and then nothing listens
	// at all.
	Peers *Peers
	// Clients is where POPs that are no members ask this one; nil: nowhere.
	// Whoever has a certificate of the fleet may read and write everything.
	Clients *Clients
	// Socket is the path of a Unix socket that speaks etcd's own protocol, for
	// etcdctl and for other processes of this host; empty: none.
	Socket string
	// RTT is the worst round trip between members. Heartbeat is as long, but
	// at least 50 ms, and Election ten times that, unless they are given. One
	// that is alone needs neither and wakes up less often.
	RTT, Heartbeat, Election time.Duration
	Quota                    int64         // bytes of the database; default 512 MiB
	Retention                time.Duration // history kept for watches and reads; default 1 h
	// MinFree bytes on the disk: with fewer, writes fail with Full, before the
	// engine would break over them. Default 48 MiB: its database grows by 16.
	MinFree int64
	Upkeep  Upkeep

	noSync bool                // tests: power is not lost there
	tune   func(*embed.Config) // tests; nil: nothing
}

// Peers says how members find and trust each other.
type Peers struct {
	Listen    string // address:port of this member
	Advertise string // host:port by which the others reach it; default Listen
	// First are the members (name: host:port) the core begins with, this one
	// among them, the same text at each; or what Admit returned, with Join.
	// Looked at only while Dir is empty.
	First map[string]string
	Join  bool
	TLS   Files
}

// Clients says where a member answers those that are none, by mutual TLS.
type Clients struct {
	Listen string // address:port
	TLS    Files
}

// Files are the paths of a member's certificate. Certificate, key and
// revocations are read at each handshake. When the authority's certificates
// change the member starts itself again, one member at a time.
type Files struct {
	Cert, Key, CA string
	CRL           string // may be empty: nothing is revoked
}

func (e Embedded) withDefaults() Embedded {
	e.Name = cmp.Or(e.Name, "alone")
	if e.Peers == nil {
		e.Heartbeat = cmp.Or(e.Heartbeat, 200*time.Millisecond)
		e.Election = cmp.Or(e.Election, 5*e.Heartbeat)
	}
	e.Heartbeat = cmp.Or(e.Heartbeat, max(e.RTT, 50*time.Millisecond))
	e.Election = cmp.Or(e.Election, 10*e.Heartbeat)
	e.Quota = cmp.Or(e.Quota, 512<<20)
	e.Retention = cmp.Or(e.Retention, time.Hour)
	e.MinFree = cmp.Or(e.MinFree, 48<<20)
	e.Upkeep = e.Upkeep.withDefaults()
	if e.Peers != nil {
		p := *e.Peers
		p.Advertise = cmp.Or(p.Advertise, p.Listen)
		e.Peers = &p
	}
	return e
}

func (e Embedded) check() error {
	switch {
	case e.Dir == "":
		return fail(Invalid, "the embedded core needs a directory")
	case strings.ContainsAny(e.Name, "=,"):
		return fail(Invalid, "member name %q has = or , in it", e.Name)
	case e.Election < 5*e.Heartbeat || e.Election > 50*time.Second:
		return fail(Invalid, "election timeout %v: want 5 heartbeats (of %v) to 50 s", e.Election, e.Heartbeat)
	case e.Clients != nil && (e.Clients.TLS.Cert == "" || e.Clients.TLS.Key == "" || e.Clients.TLS.CA == ""):
		return fail(Invalid, "clients are answered by mutual TLS only: certificate, key and CA are needed")
	case e.Peers == nil:
		return nil
	case e.Peers.TLS.Cert == "" || e.Peers.TLS.Key == "" || e.Peers.TLS.CA == "":
		return fail(Invalid, "members speak mutual TLS only: certificate, key and CA are needed")
	}
	if _, _, err := net.SplitHostPort(e.Peers.Listen); err != nil {
		return fail(Invalid, "member's listen address: %v", err)
	}
	return nil
}

// NewEmbedded makes a core that is a member itself. Run starts it.
func NewEmbedded(e Embedded, o Options) (*Core, error) {
	e, o = e.withDefaults(), o.withDefaults()
	if err := e.check(); err != nil {
		return nil, about(err, "new", "")
	}
	m := &embedded{cfg: e, log: o.Log.With("member", e.Name)}
	m.etcd.use = m.client
	return newCore(m, o), nil
}

// nobody is the address a member alone gives itself: it has no one to tell it
// to, and nothing listens there.
const nobody = "http://127.0.0.1:2380"

func (e Embedded) advertise() string {
	if e.Peers == nil {
		return nobody
	}
	return "https://" + e.Peers.Advertise
}

// first is etcd's form of the members the core begins with.
func (e Embedded) first() string {
	if e.Peers == nil || len(e.Peers.First) == 0 {
		return e.Name + "=" + e.advertise()
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(e.Peers.First)) {
		list = append(list, name+"=https://"+e.Peers.First[name])
	}
	return strings.Join(list, ",")
}

// clusterToken keeps members of other cores out that were started with the
// same addresses.
const clusterToken = "catchment"

// engineConfig is what etcd is started with.
func (e Embedded) engineConfig(log *zap.Logger) (*embed.Config, error) {
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir = e.Name, filepath.Join(e.Dir, "etcd")
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	cfg.TickMs, cfg.ElectionMs = uint(e.Heartbeat.Milliseconds()), uint(e.Election.Milliseconds())
	cfg.QuotaBackendBytes = e.Quota
	cfg.AutoCompactionMode, cfg.AutoCompactionRetention = embed.CompactorModePeriodic, e.Retention.String()
	cfg.WatchProgressNotifyInterval = time.Minute
	cfg.EnableGRPCGateway = false
	cfg.UnsafeNoFsync = e.noSync
	cfg.InitialCluster, cfg.InitialClusterToken = e.first(), clusterToken
	cfg.ListenPeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = nil, nil, nil
	own, err := url.Parse(e.advertise())
	if err != nil {
		return nil, err
	}
	cfg.AdvertisePeerUrls = []url.URL{*own}
	if e.Peers == nil { // nobody catches up from its log
		cfg.BackendBatchInterval = time.Second
		cfg.SnapshotCount, cfg.SnapshotCatchUpEntries, cfg.MaxWalFiles = 1000, 100, 1
	}
	if e.tune != nil {
		e.tune(cfg)
	}
	if e.Socket != "" {
		u := url.URL{Scheme: "unix", Path: e.Socket}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{u}, []url.URL{u}
	}
	if c := e.Clients; c != nil {
		u := url.URL{Scheme: "https", Host: c.Listen}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = append(cfg.ListenClientUrls, u), append(cfg.AdvertiseClientUrls, u)
		cfg.ClientTLSInfo = transport.TLSInfo{
			CertFile: c.TLS.Cert, KeyFile: c.TLS.Key, TrustedCAFile: c.TLS.CA, CRLFile: c.TLS.CRL, ClientCertAuth: true,
		}
		cfg.TlsMinVersion = "TLS1.3"
	}
	if p := e.Peers; p != nil {
		if p.Join {
			cfg.ClusterState = embed.ClusterStateFlagExisting
		}
		cfg.ListenPeerUrls = []url.URL{{Scheme: "https", Host: p.Listen}}
		cfg.PeerTLSInfo = transport.TLSInfo{
			CertFile: p.TLS.Cert, KeyFile: p.TLS.Key, TrustedCAFile: p.TLS.CA, CRLFile: p.TLS.CRL,
			ClientCertAuth: true, AllowedHostnames: []string{voterName},
			// Who a member is its certificate says, not the address its packets come from.
			SkipClientSANVerify: true,
		}
		cfg.TlsMinVersion = "TLS1.3"
	}
	return cfg, nil
}
