package dns

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/catchment/catchment/server/dns/zone"
)

// Listen names one place where questions are taken.
type Listen struct {
	Address string      // address:port, UDP and TCP both; one of its own for each family
	TLS     *tls.Config // DNS over TLS (RFC 7858) instead, TCP only
}

// Zone is one zone that is served.
type Zone struct {
	Name     string
	File     string // master file (RFC 1035 §5)
	Dynamic  []zone.Dynamic
	Key      *zone.Key      // sign; nil: do not
	Life     time.Duration  // of signatures; default [zone.DefaultLife]
	Transfer []Transfer     // who may have the zone; none: nobody
	Notify   []NotifyTarget // who is told of changes (RFC 1996)
	source   *zone.Source   // instead of File, in tests
}

// Transfer allows a transfer to whom both parts fit.
type Transfer struct {
	From []netip.Prefix // none: from anywhere, for those with the key
	Key  string         // name of a TSIG key; "" only with From
}

// NotifyTarget is a secondary.
type NotifyTarget struct {
	Address netip.AddrPort
	Key     string // name of a TSIG key, "": without
}

// TSIGKey is a shared secret (RFC 8945).
type TSIGKey struct {
	Name      string
	Algorithm string // hmac-sha256, hmac-sha384 or hmac-sha512; default hmac-sha256
	Secret    string // base64
}

// Options are all settings of a [Server]. Zero values mean the default.
type Options struct {
	Listen   []Listen
	Workers  int // UDP sockets for each address; default GOMAXPROCS
	Zones    []Zone
	Identity string // answer to NSID and id.server; "": refused
	Keys     []TSIGKey
	Secrets  []CookieSecret // the first makes cookies, all are good; default a random one
	Require  bool           // BADCOOKIE over UDP for those with a cookie that is not good
	Rates    Rates
	Limits   Limits
	Watch    time.Duration // how often zone files are looked at; default 2 s
	Slow     bool          // no fast path; for tests and doubts
	Logger   *slog.Logger
	Now      func() time.Time // for epochs of signatures; default time.Now
}

// Limits bound what clients can take. Zero means the default.
type Limits struct {
	UDPSize     int           // most octets of an answer over UDP; default 1232
	Conns       int           // TCP connections; default 1000
	ConnsClient int           // of one client network (/24, /56); default 20
	ConnQueries int           // questions of one connection; default 10000
	IdleTime    time.Duration // between questions on a connection; default 10 s
	QueryTime   time.Duration // from the first octet of a question to its last, and for taking an answer; default 5 s
	Transfers   int           // at the same time; default 8
	Transfer    time.Duration // for one; default 10 min
}

func def[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

func (o Options) filled() Options {
	def(&o.Workers, runtime.GOMAXPROCS(0))
	def(&o.Watch, 2*time.Second)
	l := &o.Limits
	def(&l.UDPSize, 1232)
	l.UDPSize = min(max(l.UDPSize, 512), 4096)
	def(&l.Conns, 1000)
	def(&l.ConnsClient, 20)
	def(&l.ConnQueries, 10000)
	def(&l.IdleTime, 10*time.Second)
	def(&l.QueryTime, 5*time.Second)
	def(&l.Transfers, 8)
	def(&l.Transfer, 10*time.Minute)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// check says what is wrong with what does not depend on a file.
func (o *Options) check() error {
	var errs []error
	for _, l := range o.Listen {
		host, port, err := net.SplitHostPort(l.Address)
		if _, ipErr := netip.ParseAddr(host); err != nil || ipErr != nil || port == "" {
			errs = append(errs, fmt.Errorf("listen %q: want an address and a port", l.Address))
		}
	}
	if len(o.Identity) > 255 {
		errs = append(errs, errors.New("identity: longer than 255 octets"))
	}
	keys := map[string]bool{}
	for _, k := range o.Keys {
		if _, _, err := k.algorithm(); err != nil {
			errs = append(errs, err)
		}
		keys[dns.CanonicalName(k.Name)] = true
	}
	for _, z := range o.Zones {
		for _, t := range z.Transfer {
			if t.Key == "" && len(t.From) == 0 {
				errs = append(errs, fmt.Errorf("zone %s: a transfer needs networks or a key", z.Name))
			}
			if t.Key != "" && !keys[dns.CanonicalName(t.Key)] {
				errs = append(errs, fmt.Errorf("zone %s: transfer: no key %s", z.Name, t.Key))
			}
		}
		for _, t := range z.Notify {
			if t.Key != "" && !keys[dns.CanonicalName(t.Key)] {
				errs = append(errs, fmt.Errorf("zone %s: notify: no key %s", z.Name, t.Key))
			}
		}
	}
	return errors.Join(errs...)
}

// algorithm returns the name of the algorithm on the wire and the name of the
// key, canonical.
func (k TSIGKey) algorithm() (algorithm, name string, err error) {
	_, name, err = zone.Wire(k.Name)
	if err != nil {
		return "", "", fmt.Errorf("key %s: %w", k.Name, err)
	}
	switch strings.ToLower(strings.TrimSuffix(k.Algorithm, ".")) {
	case "", "hmac-sha256":
		return dns.HmacSHA256, name, nil
	case "hmac-sha384":
		return dns.HmacSHA384, name, nil
	case "hmac-sha512":
		return dns.HmacSHA512, name, nil
	}
	return "", "", fmt.Errorf("key %s: algorithm %q", k.Name, k.Algorithm)
}
