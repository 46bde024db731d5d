package main

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/nets"
	"github.com/catchment/catchment/server/dns"
	"github.com/catchment/catchment/server/dns/steered"
	"github.com/catchment/catchment/server/dns/zone"
)

// readChoices reads the files and makes the choices in a state, with the
// networks that slow says are; nil: those of the files.
func readChoices(c *config.DNS, state steer.State, slow *slowNets) (*choices, error) {
	out := &choices{stamps: stampsOf(slices.Concat(c.Steer.Nets, c.Steer.Slow)), state: state}
	known := func(name string) bool {
		return slices.ContainsFunc(c.Steer.Locations, func(l steer.Location) bool { return l.Name == name })
	}
	var err error
	if out.nets, err = readNets(c.Steer.Nets, known); err != nil {
		return nil, err
	}
	if len(c.Steer.Slow) > 0 {
		if out.listed, err = readNets(c.Steer.Slow, nil); err != nil {
			return nil, err
		}
	}
	if out.slow, out.turn, err = slow.join(out.listed); err != nil {
		return nil, err
	}
	if out.chooser, err = steer.New(c.Steer.Config, out.nets); err != nil {
		return nil, err
	}
	out.live = out.chooser.With(state, out.slow)
	out.names, err = steered.New(&c.Steer.Config, out.live, out.slow, steered.Options{TTL: c.Steer.TTL, Unicast: c.Unicast})
	return out, err
}

// readNets reads files of which the first that knows a network counts; none is
// a map without networks.
func readNets(files []string, known func(string) bool) (all *steer.Nets, err error) {
	if len(files) == 0 {
		return steer.NewBuilder().Build()
	}
	for _, f := range files {
		n, err := nets.Load(f, known)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = n
		} else if all, err = all.Over(n); err != nil {
			return nil, fmt.Errorf("%s: %w", f, err)
		}
	}
	return all, nil
}

// stampsOf looks at files that may change while they are in force; zone files are looked after by the server itself.
func stampsOf(files []string) (out []stamp) {
	for _, f := range files {
		var s stamp
		if fi, err := os.Stat(f); err == nil {
			s = stamp{fi.ModTime(), fi.Size()}
		}
		out = append(out, s)
	}
	return out
}

// zones are those of a configuration with the names that are chosen.
func (ch *choices) zones(c *config.DNS) (out []dns.Zone, err error) {
	for _, z := range c.Zones {
		x := dns.Zone{Name: z.Name, File: z.File, Life: z.Life}
		if x.Dynamic, err = ch.names.Dynamic(z.Name); err != nil {
			return nil, err
		}
		if z.Sign != "" {
			if x.Key, err = zone.ReadKey(z.Sign); err != nil {
				return nil, fmt.Errorf("zone %s: sign: %w", z.Name, err)
			}
		}
		for _, t := range z.Transfer {
			x.Transfer = append(x.Transfer, dns.Transfer(t))
		}
		for _, n := range z.Notify {
			x.Notify = append(x.Notify, dns.NotifyTarget(n))
		}
		out = append(out, x)
	}
	return out, nil
}

// makeDNS makes the server of a configuration; nothing is bound yet.
func makeDNS(c *config.DNS, ch *choices, log *slog.Logger, certificate func() *tls.Certificate) (*dns.Server, error) {
	zones, err := ch.zones(c)
	if err != nil {
		return nil, err
	}
	o := dns.Options{
		Zones: zones, Identity: c.Identity, Require: c.Require, Logger: log,
		Rates: dns.Rates{Answers: unlimited(c.Rate.Answers), Errors: unlimited(c.Rate.Errors), Slip: unlimited(c.Rate.Slip)},
	}
	for _, a := range c.Listen {
		o.Listen = append(o.Listen, dns.Listen{Address: a.String()})
	}
	for _, a := range c.TLS.Listen {
		get := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate(), nil }
		o.Listen = append(o.Listen, dns.Listen{Address: a.String(), TLS: &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: get}})
	}
	if o.Keys, err = readKeys(c.Keys); err != nil {
		return nil, err
	}
	if o.Secrets, err = readCookies(c.Cookies); err != nil {
		return nil, err
	}
	return dns.New(o)
}

// readKeys reads the secrets of TSIG keys.
func readKeys(keys []config.DNSKey) (out []dns.TSIGKey, err error) {
	for _, k := range keys {
		l, err := secretLines(k.File)
		if err != nil {
			return nil, fmt.Errorf("keys: %s: %w", k.Name, err)
		}
		if len(l) != 1 {
			return nil, fmt.Errorf("keys: %s: %s: %d lines; want one, the secret in base64", k.Name, k.File, len(l))
		}
		out = append(out, dns.TSIGKey{Name: k.Name, Algorithm: k.Algorithm, Secret: l[0]})
	}
	return out, nil
}

// readCookies reads the secrets of cookies; none without a file.
func readCookies(file string) (out []dns.CookieSecret, err error) {
	if file == "" {
		return nil, nil
	}
	all, err := secretLines(file)
	if err != nil {
		return nil, fmt.Errorf("cookies.secret-file: %w", err)
	}
	for i, l := range all {
		s, err := hex.DecodeString(l)
		if err != nil || len(s) != len(dns.CookieSecret{}) {
			return nil, fmt.Errorf("cookies.secret-file: %s: secret %d: want 32 hexadecimal digits", file, i+1)
		}
		out = append(out, dns.CookieSecret(s))
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("cookies.secret-file: %s is empty", file)
	}
	return out, nil
}

// secretLines reads a file of secrets: what is not empty and no comment.
func secretLines(file string) (out []string, err error) {
	text, err := os.ReadFile(file)
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			out = append(out, line)
		}
	}
	return out, err
}

// unlimited writes 0, no limit, as package dns does.
func unlimited(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// pairOf reads the certificate of DNS over TLS; nil where it is not spoken.
func pairOf(c *config.DNS) (*tls.Certificate, error) {
	if len(c.TLS.Listen) == 0 {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(c.TLS.Certificate, c.TLS.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.certificate: %w", err)
	}
	return &pair, nil
}

// judgeDNS judges what package config knows nothing of: all that would keep
// the server from starting, but for sockets.
func judgeDNS(cfg *config.Config) error {
	c := &cfg.DNS
	_, err := pairOf(c)
	ch, e := readChoices(c, steer.State{}, nil)
	if e == nil {
		_, e = makeDNS(c, ch, slog.New(slog.DiscardHandler), nil)
	}
	return errors.Join(err, e)
}
