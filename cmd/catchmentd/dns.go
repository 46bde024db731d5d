package main

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/nets"
	"github.com/catchment/catchment/server/dns"
	"github.com/catchment/catchment/server/dns/steered"
	"github.com/catchment/catchment/server/dns/zone"
)

// rendezvous runs the DNS server: it reads what the configuration names, and
// keeps the choices in step with what is known of the POPs.
type rendezvous struct {
	d     *parts
	log   *slog.Logger
	srv   *dns.Server
	ready chan struct{}

	mu     sync.Mutex // guards what is in force
	cfg    *config.DNS
	choice *choices
	pair   *tls.Certificate   // of DNS over TLS; nil: none
	bad    string             // why the files that changed last are not in force; empty: they are
	former []steered.Answered // by the names of former configurations
}

// choices are what names are answered by: made of the configuration and the
// files that it names, and a state of the POPs.
type choices struct {
	chooser *steer.Chooser
	nets    *steer.Nets
	listed  *steer.Nets // files of networks that are slow; nil: none
	slow    *steer.Slow // nil: nobody is
	turn    uint64      // of what was measured
	names   *steered.Names
	state   steer.State
	still   bool // slow networks are not steered: the ceiling on harm has stopped it
	live    *steer.Live
	stamps  []stamp // of the files
}

// steered are the slow networks that are in force.
func (ch *choices) steered() *steer.Slow {
	if ch.still {
		return nil
	}
	return ch.slow
}

// stamp tells a file from what it was.
type stamp struct {
	at   time.Time
	size int64
}

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

// buildDNS makes the DNS server; none where none is configured.
func (d *parts) buildDNS() (err error) {
	if !d.cfg.DNS.On() {
		return nil
	}
	r := &rendezvous{d: d, log: d.log.With("part", "dns"), cfg: &d.cfg.DNS, ready: make(chan struct{})}
	if r.pair, err = pairOf(r.cfg); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	if r.choice, err = readChoices(r.cfg, firstState(r.cfg), d.slow.steering()); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	if r.srv, err = makeDNS(r.cfg, r.choice, r.log, r.certificate); err != nil {
		return err
	}
	d.dns = r
	return nil
}

func (r *rendezvous) certificate() *tls.Certificate {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pair
}

func (r *rendezvous) String() string { return "dns" }

// Ready is closed when questions are answered.
func (r *rendezvous) Ready() <-chan struct{} { return r.ready }

// tasks are it.
func (r *rendezvous) tasks() []task {
	if r == nil {
		return nil
	}
	return []task{r}
}

// Run answers until ctx ends.
func (r *rendezvous) Run(ctx context.Context) error {
	if err := r.srv.Listen(); err != nil {
		return fmt.Errorf("%w (dns.listen, dns.tls.listen)", err)
	}
	close(r.ready)
	ctx, cancel := context.WithCancel(ctx)
	var life sync.WaitGroup
	defer life.Wait()
	defer cancel()
	life.Go(func() { r.follow(ctx) })
	return r.srv.Serve(ctx)
}

// drain lets what was asked already be answered.
func (r *rendezvous) drain(ctx context.Context) {
	if r == nil {
		return
	}
	if err := r.srv.Drain(ctx); err != nil {
		r.log.Warn("not all connections ended by themselves", "err", err)
	}
}

// How often the POPs and the files are looked at beside changes that are told.
const (
	stateEvery = 500 * time.Millisecond
	filesEvery = 5 * time.Second
)

// follow keeps the choices in step with the POPs and the files until ctx ends.
func (r *rendezvous) follow(ctx context.Context) {
	tick := time.NewTicker(stateEvery)
	defer tick.Stop()
	looked := time.Now()
	for {
		changed := r.d.controller.Changed()
		if s, ok := r.stateOfPOPs(ctx, time.Now()); ok {
			r.set(s)
		}
		r.slowAgain()
		if now := time.Now(); now.Sub(looked) >= filesEvery {
			looked = now
			r.reread()
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// set puts a state of the POPs in force, if it is another.
func (r *rendezvous) set(s steer.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch := r.choice
	still, _ := r.d.cost.stopped()
	if len(s.POPs) != len(r.cfg.Steer.POPs) || still == ch.still && reflect.DeepEqual(s, ch.state) {
		return
	}
	was := ch.still
	ch.still = still
	live := ch.chooser.With(s, ch.steered())
	if err := ch.names.Set(live, ch.steered()); err != nil {
		ch.still = was
		r.log.Error("the state of the POPs is not used", "err", err)
		return
	}
	ch.state, ch.live = s, live
}

// slowAgain takes over who is slow, where that has changed.
func (r *rendezvous) slowAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	ch, by := r.choice, r.d.slow.steering()
	if by.turned() == ch.turn {
		return
	}
	slow, turn, err := by.join(ch.listed)
	if err == nil {
		was := ch.slow
		ch.slow = slow
		live := ch.chooser.With(ch.state, ch.steered())
		if err = ch.names.Set(live, ch.steered()); err == nil {
			ch.live = live
		} else {
			ch.slow = was
		}
	}
	ch.turn = turn
	if err != nil {
		r.log.Error("what is known of slow networks is not used", "err", err)
	}
}

// operator is the list of slow networks among its own files; nil: none.
func (r *rendezvous) operator() *steer.Nets {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.choice.listed
}

// reread takes over files of networks that have changed; one that is bad
// changes nothing.
func (r *rendezvous) reread() {
	r.mu.Lock()
	cfg, old := r.cfg, r.choice
	r.mu.Unlock()
	stamps := stampsOf(slices.Concat(cfg.Steer.Nets, cfg.Steer.Slow))
	if slices.Equal(stamps, old.stamps) {
		return
	}
	err := r.adoptConfig(cfg)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bad = ""
	if err != nil {
		r.bad = err.Error()
		r.choice.stamps = stamps // said once
		r.log.Error("files of networks are not taken over; what was read before stays", "err", err)
		return
	}
	r.log.Info("networks read anew", "ranges", r.choice.nets.Ranges())
}

// adopt takes over a configuration at a reload.
func (r *rendezvous) adopt(cfg *config.Config) error {
	if r == nil || !cfg.DNS.On() {
		return nil
	}
	return r.adoptConfig(&cfg.DNS)
}

// adoptConfig reads all files of a configuration and puts it in force; on an
// error all stays. Questions are answered meanwhile.
func (r *rendezvous) adoptConfig(c *config.DNS) error {
	pair, err := pairOf(c)
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	r.mu.Lock()
	state := stateUnder(r.cfg, r.choice.state, c)
	r.mu.Unlock()
	ch, err := readChoices(c, state, r.d.slow.steering())
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	zones, err := ch.zones(c)
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.srv.SetZones(zones); err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	r.former = append(r.former, r.choice.names.Answered()...)
	r.cfg, r.choice, r.pair = c, ch, pair
	return nil
}

// answered are the answers since the start, by the POP nearest to the client.
func (r *rendezvous) answered() []steered.Answered {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.former = together(r.former)
	return together(slices.Concat(r.former, r.choice.names.Answered()))
}

// together adds up counts of one kind.
func together(list []steered.Answered) (out []steered.Answered) {
	for _, a := range list {
		i := slices.IndexFunc(out, func(o steered.Answered) bool { return o.Near == a.Near && o.To == a.To && o.Why == a.Why })
		if i < 0 {
			out = append(out, a)
			continue
		}
		out[i].N += a.N
	}
	return out
}

// unicast reports whether an address leads to this POP alone.
func (r *rendezvous) unicast(a netip.Addr) bool { return slices.Contains(r.cfg.Unicast, a) }
