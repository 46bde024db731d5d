package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/server/dns"
	"github.com/catchment/catchment/server/dns/steered"
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
