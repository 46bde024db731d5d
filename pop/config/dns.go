package config

import (
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/steer"
)

// DNS is the rendezvous DNS server. Without a place to listen nothing of it
// runs.
type DNS struct {
	Listen   []netip.AddrPort // UDP and TCP
	TLS      DNSTLS
	Identity string       // NSID (RFC 5001) and id.server (RFC 4892)
	Unicast  []netip.Addr // of the addresses listened on, those that lead to this POP alone
	Cookies  string       // file of secrets of cookies (RFC 9018), the first makes them; empty: a random one
	Require  bool         // over UDP, who has a cookie that is not good gets BADCOOKIE
	Rate     DNSRate
	Keys     []DNSKey
	Zones    []DNSZone
	Steer    DNSSteer
}

// DNSTLS says where DNS is spoken over TLS (RFC 7858).
type DNSTLS struct {
	Listen           []netip.AddrPort
	Certificate, Key string // files, PEM
}

// DNSRate bounds answers over UDP to one client network, a second; 0: no limit.
type DNSRate struct {
	Answers int // of the same name and type
	Errors  int // errors, referrals and names that do not exist, by zone
	Slip    int // of so many that are over it one is sent truncated, so that the client comes by TCP; 0: none
}

// DNSKey is a TSIG key (RFC 8945); its file has the secret in base64.
type DNSKey struct{ Name, Algorithm, File string }

// DNSZone is a zone that is served.
type DNSZone struct {
	Name string
	File string // master file (RFC 1035 section 5)
	// Sign is the key's file without .key and .private, as dnssec-keygen names
	// it; empty: the zone is not signed.
	Sign     string
	Life     time.Duration // of signatures
	Transfer []DNSTransfer
	Notify   []DNSNotify
}

// DNSTransfer allows a transfer to whom both parts fit.
type DNSTransfer struct {
	From []netip.Prefix
	Key  string // name of a DNSKey
}

// DNSNotify is a secondary that hears of changes.
type DNSNotify struct {
	Address netip.AddrPort
	Key     string
}

// DNSSteer says to which POP clients are sent, by the four steps of
// policy/steer.
type DNSSteer struct {
	steer.Config
	// Nets are the files that say where client networks are; where several know
	// one, the first counts.
	Nets    []string
	Slow    []string // files of networks that are slow
	TTL     time.Duration
	Service policy.ServiceID // whose state is a POP's state; empty: this daemon has no services
	Caches  [][]steer.Cache  // as steer.Config.POPs
	// Checks are those of Service that tell whether a cache is up, as Caches;
	// empty: none does.
	Checks [][]policy.CheckID
}

// On reports whether there is anything to do.
func (d *DNS) On() bool { return len(d.Listen) > 0 || len(d.TLS.Listen) > 0 }

type rawDNS struct {
	Listen []netip.AddrPort `mapstructure:"listen"`
	TLS    struct {
		Listen      []netip.AddrPort `mapstructure:"listen"`
		Certificate string           `mapstructure:"certificate"`
		Key         string           `mapstructure:"key"`
	} `mapstructure:"tls"`
	Identity string       `mapstructure:"identity"`
	Unicast  []netip.Addr `mapstructure:"unicast"`
	Cookies  struct {
		File    string `mapstructure:"secret-file"`
		Require bool   `mapstructure:"require"`
	} `mapstructure:"cookies"`
	Rate struct {
		Answers int `mapstructure:"answers"`
		Errors  int `mapstructure:"errors"`
		Slip    int `mapstructure:"slip"`
	} `mapstructure:"rate"`
	Keys  []rawDNSKey  `mapstructure:"keys"`
	Zones []rawDNSZone `mapstructure:"zones"`
	Steer rawSteer     `mapstructure:"steer"`
}

type rawDNSKey struct {
	Name      string `mapstructure:"name"`
	Algorithm string `mapstructure:"algorithm"`
	File      string `mapstructure:"secret-file"`
}

type rawDNSZone struct {
	Name     string        `mapstructure:"name"`
	File     string        `mapstructure:"file"`
	Sign     string        `mapstructure:"sign"`
	Life     time.Duration `mapstructure:"life"`
	Transfer []struct {
		From []netip.Prefix `mapstructure:"from"`
		Key  string         `mapstructure:"key"`
	} `mapstructure:"transfer"`
	Notify []struct {
		Address netip.AddrPort `mapstructure:"address"`
		Key     string         `mapstructure:"key"`
	} `mapstructure:"notify"`
}

// dns checks the section of the DNS server, after the services.
func (b *builder) dns(o Options) {
	r, c := &b.raw.DNS, &b.out.DNS
	if len(r.Listen) == 0 && len(r.TLS.Listen) == 0 {
		b.dnsUnused()
		return
	}
	*c = DNS{
		Listen: r.Listen, Identity: r.Identity, Unicast: r.Unicast, Require: r.Cookies.Require, Rate: DNSRate(r.Rate),
		TLS: DNSTLS{Listen: r.TLS.Listen, Certificate: r.TLS.Certificate, Key: r.TLS.Key},
	}
	if c.Identity == "" {
		c.Identity = b.raw.POP
	}
	before := len(b.errs)
	b.dnsListen()
	b.dnsSecrets()
	b.dnsZones()
	b.steer()
	if o.DNS == nil || len(b.errs) > before {
		return
	}
	if err := o.DNS(b.out); err != nil {
		for _, e := range flat(err) {
			b.blame("dns", e)
		}
	}
}

// dnsUnused refuses what has no meaning without a place to listen.
func (b *builder) dnsUnused() {
	r := &b.raw.DNS
	for _, k := range []struct {
		key string
		set bool
	}{{"zones", len(r.Zones) > 0}, {"keys", len(r.Keys) > 0}, {"tls.certificate", r.TLS.Certificate != ""}, {"steer.names", len(r.Steer.Names) > 0}} {
		if k.set {
			b.refuse("dns."+k.key, "neither dns.listen nor dns.tls.listen is set, so there is no DNS server")
			return
		}
	}
}

func (b *builder) dnsListen() {
	r := &b.raw.DNS
	for key, list := range map[string][]netip.AddrPort{"dns.listen": r.Listen, "dns.tls.listen": r.TLS.Listen} {
		for i, a := range list {
			at := key + "[" + strconv.Itoa(i) + "]"
			switch {
			case a.Addr().IsUnspecified(): // an answer must come from the address that was asked
				b.refuse(at, "%s: want the addresses themselves, such as 192.0.2.53:53", a)
			case slices.Index(list, a) < i:
				b.refuse(at, "%s is in the list already", a)
			}
		}
	}
	if len(r.TLS.Listen) > 0 {
		for _, f := range []struct{ key, file string }{{"certificate", r.TLS.Certificate}, {"key", r.TLS.Key}} {
			if f.file == "" {
				b.refuse("dns.tls."+f.key, "not set: TLS needs a certificate and its key")
				continue
			}
			b.absolute("dns.tls."+f.key, f.file)
		}
	} else if r.TLS.Certificate != "" || r.TLS.Key != "" {
		b.refuse("dns.tls.certificate", "has no meaning without dns.tls.listen")
	}
	for i, a := range r.Unicast {
		if !slices.ContainsFunc(slices.Concat(r.Listen, r.TLS.Listen), func(l netip.AddrPort) bool { return l.Addr() == a }) {
			b.refuse("dns.unicast["+strconv.Itoa(i)+"]", "%s is not listened on", a)
		}
	}
	for _, n := range []struct {
		key string
		n   int
	}{{"answers", r.Rate.Answers}, {"errors", r.Rate.Errors}, {"slip", r.Rate.Slip}} {
		b.atLeast("dns.rate."+n.key, n.n, 0)
	}
}

// dnsSecrets checks where the secrets of cookies and keys are.
func (b *builder) dnsSecrets() {
	r, c := &b.raw.DNS, &b.out.DNS
	b.absoluteIf("dns.cookies.secret-file", r.Cookies.File)
	c.Cookies = r.Cookies.File
	for i, k := range r.Keys {
		at := "dns.keys[" + strconv.Itoa(i) + "]"
		if k.Name == "" {
			b.refuse(at+".name", "not set: the key's name, as the secondary has it")
		}
		if k.File == "" {
			b.refuse(at+".secret-file", "not set: the file with the secret in base64")
		} else {
			b.absolute(at+".secret-file", k.File)
		}
		c.Keys = append(c.Keys, DNSKey(k))
	}
}

func (b *builder) dnsZones() {
	r, c := &b.raw.DNS, &b.out.DNS
	if len(r.Zones) == 0 {
		b.refuse("dns.zones", "not set: a server without zones refuses every question")
	}
	seen := map[string]bool{}
	for i := range r.Zones {
		z := &r.Zones[i]
		at := "dns.zones[" + strconv.Itoa(i) + "]"
		name := strings.ToLower(strings.TrimSuffix(z.Name, ".")) + "."
		switch {
		case z.Name == "":
			b.refuse(at+".name", "not set: the zone's name, such as example.net")
		case seen[name]:
			b.refuse(at+".name", "%s is in the list already", z.Name)
		}
		seen[name] = true
		if z.File == "" {
			b.refuse(at+".file", "not set: the zone's master file, with SOA and NS at least")
		} else {
			b.absolute(at+".file", z.File)
		}
		b.absoluteIf(at+".sign", z.Sign)
		if z.Life != 0 && z.Life < time.Hour {
			b.refuse(at+".life", "%s: signatures that live so shortly are no good in caches; want an hour at least", z.Life)
		}
		out := DNSZone{Name: name, File: filepath.Clean(z.File), Sign: z.Sign, Life: z.Life}
		for _, t := range z.Transfer {
			out.Transfer = append(out.Transfer, DNSTransfer(t))
		}
		for k, n := range z.Notify {
			if !n.Address.IsValid() {
				b.refuse(at+".notify["+strconv.Itoa(k)+"].address", "not set: the secondary's ADDRESS:PORT")
			}
			out.Notify = append(out.Notify, DNSNotify(n))
		}
		c.Zones = append(c.Zones, out)
	}
}
