package config

import (
	"maps"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Modes of the core.
const (
	CoreEmbedded = "embedded" // a member runs inside the daemon
	CoreFollow   = "follow"   // members elsewhere are asked, by what a join brought
	CoreExternal = "external" // an etcd cluster that somebody else runs is asked
	CoreNone     = "none"     // there is none
)

// Core says what this POP's share of the control core is. A POP with services
// has one of its own where nothing else is said.
type Core struct {
	Mode string // empty: no core
	// Alone: no other POP asks it or is asked by it, so what it says of
	// reservations and of the fleet's drains is of this POP only, and nobody is
	// cut off without it.
	Alone bool
	Name  string // of the member, and of the POP to the others
	Dir   string // absolute; of the engine, certificates and what was fetched last
	// Config: the rest of the configuration comes from the core.
	Config bool

	Listen, Advertise string        // host:port, of members among themselves; Listen empty: alone
	First             []CoreMember  // the core begins with; empty: this one alone, or as a join says
	Clients           CoreListener  // where POPs that are no members ask
	Joins             CoreListener  // where POPs join: the fleet's authority lives here
	TokenFile         string        // what lets this POP join, once
	TLS               *CoreTLS      // nil: those that a join, or the own authority, made in Dir
	RTT               time.Duration // worst between members
	Quota, MinFree    int64         // bytes
	Retention         time.Duration // history that can be read back
	Socket            string        // for etcdctl; empty: none

	Endpoints    []string // with external
	User         string
	PasswordFile string
}

// CoreMember is a member that the core begins with.
type CoreMember struct{ Name, Address string }

// CoreListener is where others ask, and by which address they know it.
type CoreListener struct{ Listen, Advertise string }

// CoreTLS names the files of certificates made elsewhere, in PEM; Revoked is a
// list in DER and may be empty.
type CoreTLS struct{ Certificate, Key, CA, Revoked string }

type rawCore struct {
	Mode         string          `mapstructure:"mode"`
	Name         string          `mapstructure:"name"`
	Dir          string          `mapstructure:"dir"`
	Config       bool            `mapstructure:"config"`
	Listen       string          `mapstructure:"listen"`
	Advertise    string          `mapstructure:"advertise"`
	First        []rawCoreMember `mapstructure:"first"`
	Clients      rawListener     `mapstructure:"clients"`
	Joins        rawListener     `mapstructure:"joins"`
	TokenFile    string          `mapstructure:"token-file"`
	RTT          time.Duration   `mapstructure:"rtt"`
	Quota        size            `mapstructure:"quota"`
	MinFree      size            `mapstructure:"min-free"`
	Retention    time.Duration   `mapstructure:"retention"`
	Socket       string          `mapstructure:"socket"`
	Endpoints    []string        `mapstructure:"endpoints"`
	User         string          `mapstructure:"user"`
	PasswordFile string          `mapstructure:"password-file"`
	TLS          rawCoreTLS      `mapstructure:"tls"`
}

type rawCoreMember struct {
	Name    string `mapstructure:"name"`
	Address string `mapstructure:"address"`
}

type rawListener struct {
	Listen    string `mapstructure:"listen"`
	Advertise string `mapstructure:"advertise"`
}

type rawCoreTLS struct {
	Certificate string `mapstructure:"certificate"`
	Key         string `mapstructure:"key"`
	CA          string `mapstructure:"ca"`
	Revoked     string `mapstructure:"revoked"`
}

// core checks the section of the control core.
func (b *builder) core() {
	r := &b.raw.Core
	if !b.coreMode(r) {
		return
	}
	if r.Name == "" {
		r.Name = b.raw.POP
	} else {
		b.name("core.name", "the name of this member", r.Name)
	}
	if r.Dir == "" {
		r.Dir = filepath.Join(b.raw.StateDir, "core")
	} else {
		b.absolute("core.dir", r.Dir)
	}
	switch r.Mode {
	case CoreEmbedded:
		b.coreUnused("has no meaning with mode embedded", []string{"endpoints", "user", "password-file"})
		b.coreMember(r)
	case CoreFollow:
		b.coreUnused("has no meaning with mode follow", append(memberKeys, "joins.listen", "joins.advertise", "user", "password-file"))
		b.coreFollow(r)
	case CoreExternal:
		b.coreUnused("has no meaning with mode external", append(memberKeys, "joins.listen", "joins.advertise", "token-file"))
		b.coreExternal(r)
	}
	b.out.Core = Core{
		Mode: r.Mode, Alone: r.Mode == CoreEmbedded && r.Listen == "" && r.Clients.Listen == "" && r.Joins.Listen == "", Name: r.Name, Dir: r.Dir, Config: r.Config, Listen: r.Listen, Advertise: r.Advertise,
		Clients: CoreListener(r.Clients), Joins: CoreListener(r.Joins), TokenFile: r.TokenFile, TLS: b.coreTLS(r),
		RTT: r.RTT, Quota: int64(r.Quota), MinFree: int64(r.MinFree), Retention: r.Retention, Socket: r.Socket,
		Endpoints: r.Endpoints, User: r.User, PasswordFile: r.PasswordFile,
	}
	for _, m := range r.First {
		b.out.Core.First = append(b.out.Core.First, CoreMember(m))
	}
}

// coreMode settles the mode, and reports whether there is a core at all. What
// is not set is a member alone, where there is a service whose changes it
// keeps; a daemon that only caches, or gets its services from a core, has none
// by itself.
func (b *builder) coreMode(r *rawCore) bool {
	switch {
	case r.Mode == CoreNone:
		b.coreUnused("core.mode is none", nil)
		return false
	case r.Mode != "":
		b.oneOf("core.mode", r.Mode, CoreEmbedded, CoreFollow, CoreExternal, CoreNone)
		return true
	case len(b.raw.Services) == 0 || b.raw.Relay.set():
		b.coreUnused("core.mode is not set, so there is no core", nil)
		return false
	}
	r.Mode = CoreEmbedded
	return !b.coreUnused("core.mode is not set, so the core is of this POP alone: want embedded, follow or external", sharedKeys)
}

// sharedKeys have a meaning only where the core is more than this POP's own.
var sharedKeys = []string{
	"listen", "advertise", "first", "clients.listen", "clients.advertise", "joins.listen", "joins.advertise", "token-file", "rtt",
	"endpoints", "user", "password-file", "tls.certificate", "tls.key", "tls.ca", "tls.revoked",
}

// memberKeys are those of a member alone.
var memberKeys = []string{"listen", "advertise", "first", "clients.listen", "clients.advertise", "rtt", "quota", "min-free", "retention", "socket"}

// coreUnused refuses keys that are set and would do nothing, and reports
// whether there are such; nil: any key.
func (b *builder) coreUnused(why string, keys []string) bool {
	section, _ := b.out.settings["core"].(map[string]any)
	set := map[string]any{}
	flatten(set, "", section)
	said := map[string]bool{}
	for _, path := range slices.Sorted(maps.Keys(set)) {
		key, _, _ := strings.Cut(path, "[")
		if path != "mode" && !said[key] && !b.defaulted["core."+path] && (keys == nil || slices.Contains(keys, key)) {
			said[key] = true
			b.refuse("core."+key, "%s", why)
		}
	}
	return len(said) > 0
}

func (b *builder) coreMember(r *rawCore) {
	b.listen("core.listen", r.Listen)
	b.listen("core.clients.listen", r.Clients.Listen)
	b.listen("core.joins.listen", r.Joins.Listen)
	b.socket("core.socket", r.Socket)
	if r.Listen == "" {
		for _, key := range []string{"advertise", "first"} {
			if key == "advertise" && r.Advertise != "" || key == "first" && len(r.First) > 0 {
				b.refuse("core."+key, "has no meaning without core.listen: a member that listens nowhere is alone")
			}
		}
	}
	r.Advertise = b.advertise("core", r.Listen, r.Advertise)
	r.Clients.Advertise = b.advertise("core.clients", r.Clients.Listen, r.Clients.Advertise)
	r.Joins.Advertise = b.advertise("core.joins", r.Joins.Listen, r.Joins.Advertise)
	b.coreFirst(r)
	if r.Joins.Listen != "" && r.TokenFile != "" {
		b.refuse("core.token-file", "this POP keeps the fleet's authority (core.joins), it joins nobody")
	}
	certified := r.Joins.Listen != "" || r.TokenFile != "" || r.TLS.Certificate != ""
	if (r.Listen != "" || r.Clients.Listen != "") && !certified {
		b.refuse("core.listen", "members and clients are met by mutual TLS only: it needs core.joins.listen (this POP keeps the fleet's authority), "+
			"core.token-file (it joins with a token) or core.tls")
	}
	b.absoluteIf("core.token-file", r.TokenFile)
	if r.Quota < 16<<20 || r.Quota > 8<<30 {
		b.refuse("core.quota", "%d bytes: want 16MiB to 8GiB", r.Quota)
	}
	if r.MinFree < 24<<20 {
		b.refuse("core.min-free", "%d bytes: want at least 24MiB: the engine's database grows by 16MiB, its log by 2MiB", r.MinFree)
	}
	if r.RTT > 5*time.Second {
		b.refuse("core.rtt", "%v: members cannot be that far apart", r.RTT)
	}
	if r.Retention < time.Minute {
		b.refuse("core.retention", "%v: want at least 1m", r.Retention)
	}
}

// advertise is what others call a listener: an address that they can reach.
func (b *builder) advertise(path, listen, advertise string) string {
	switch {
	case listen == "" && advertise != "":
		if path != "core" {
			b.refuse(path+".advertise", "has no meaning without %s.listen", path)
		}
		return advertise
	case listen == "":
		return ""
	case advertise != "":
		b.hostPort(path+".advertise", advertise)
		return advertise
	}
	if host, _, err := net.SplitHostPort(listen); err == nil && (host == "" || host == "::" || host == "0.0.0.0") {
		b.refuse(path+".advertise", "not set: %q is every address, others need the one to ask", listen)
	}
	return listen
}

// hostPort checks an address that others dial.
func (b *builder) hostPort(path, s string) {
	host, port, err := net.SplitHostPort(s)
	n, perr := strconv.ParseUint(port, 10, 16)
	if err != nil || perr != nil || n == 0 || host == "" || strings.ContainsAny(s, "/ @") {
		b.refuse(path, "%q: want HOST:PORT such as lon.example.net:9795 or [2001:db8::1]:9795", s)
	}
}

func (b *builder) coreFirst(r *rawCore) {
	names, addrs, own := map[string]bool{}, map[string]bool{}, false
	for i, m := range r.First {
		path := "core.first[" + strconv.Itoa(i) + "]"
		b.name(path+".name", "the name of a member", m.Name)
		b.hostPort(path+".address", m.Address)
		if names[m.Name] || addrs[m.Address] {
			b.refuse(path, "%s, %s: in the list already", m.Name, m.Address)
		}
		names[m.Name], addrs[m.Address] = true, true
		if m.Name == r.Name {
			own = true
			if r.Advertise != "" && m.Address != r.Advertise {
				b.refuse(path+".address", "%q, but core.advertise is %q", m.Address, r.Advertise)
			}
		}
	}
	if len(r.First) > 0 && !own {
		b.refuse("core.first", "this member (%s) is not in the list", r.Name)
	}
}

func (b *builder) coreFollow(r *rawCore) {
	b.absoluteIf("core.token-file", r.TokenFile)
	for i, e := range r.Endpoints {
		b.hostPort("core.endpoints["+strconv.Itoa(i)+"]", e)
	}
	if len(r.Endpoints) == 0 && r.TokenFile == "" && (len(b.raw.Relay.Parents) == 0 || r.TLS.Certificate == "") {
		b.refuse("core.token-file", "not set: the POP joins with a token (catchment core token), which tells where the members are; or name core.endpoints and core.tls")
	}
	if len(r.Endpoints) > 0 && r.TokenFile == "" && r.TLS.Certificate == "" {
		b.refuse("core.tls", "not set: without core.token-file it needs certificate, key and ca")
	}
}

func (b *builder) coreExternal(r *rawCore) {
	if len(r.Endpoints) == 0 {
		b.refuse("core.endpoints", "not set: the URLs of the cluster, such as https://10.0.0.1:2379")
	}
	for i, e := range r.Endpoints {
		u, err := url.Parse(e)
		switch path := "core.endpoints[" + strconv.Itoa(i) + "]"; {
		case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
			b.refuse(path, "%q: want a URL such as https://10.0.0.1:2379", e)
		case u.Scheme == "http" && beyondLoopback(u.Host):
			b.warnf(path, "%s is not encrypted and beyond loopback: whoever is on the way reads and changes the core", e)
		}
	}
	b.absoluteIf("core.password-file", r.PasswordFile)
	if (r.User == "") != (r.PasswordFile == "") {
		b.refuse("core.user", "user and password-file go together")
	}
}

func (b *builder) absoluteIf(path, file string) {
	if file != "" {
		b.absolute(path, file)
	}
}

func (b *builder) coreTLS(r *rawCore) *CoreTLS {
	t := r.TLS
	if t == (rawCoreTLS{}) {
		return nil
	}
	for _, f := range []struct{ path, file string }{
		{"core.tls.certificate", t.Certificate}, {"core.tls.key", t.Key}, {"core.tls.ca", t.CA},
	} {
		if f.file == "" {
			b.refuse(f.path, "not set: mutual TLS needs certificate, key and ca")
			continue
		}
		b.absolute(f.path, f.file)
	}
	b.absoluteIf("core.tls.revoked", t.Revoked)
	if r.TokenFile != "" || r.Joins.Listen != "" {
		b.refuse("core.tls", "the certificate comes from the fleet's own authority (core.token-file, core.joins): one or the other")
	}
	return &CoreTLS{Certificate: t.Certificate, Key: t.Key, CA: t.CA, Revoked: t.Revoked}
}
