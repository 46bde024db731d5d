package main

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/catchment/catchment/policy/steer"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/nets"
	"github.com/catchment/catchment/pop/slowness"
)

// slowLists are the lists of slow networks that a configuration names.
type slowLists struct {
	slowness.Lists
	files  []string
	stamps []stamp
}

// readSlowLists reads the files; an error begins with its key.
func readSlowLists(c *config.Slowness) (*slowLists, error) {
	l := &slowLists{files: slices.Clone(c.Operator)}
	for _, p := range []config.SlowPlaces{c.Places, c.Providers} {
		if p.Database != "" {
			l.files = append(l.files, p.Database)
			l.Slow = append(l.Slow, p.Slow...)
		}
	}
	l.stamps = stampsOf(l.files)
	var errs []error
	if len(c.Operator) > 0 {
		n, err := readNets(c.Operator, nil)
		errs = append(errs, about("slowness.operator", err))
		l.Operator = n
	}
	for _, p := range []struct {
		key  string
		of   *config.SlowPlaces
		into **steer.Nets
	}{{"slowness.places", &c.Places, &l.Places}, {"slowness.providers", &c.Providers, &l.Providers}} {
		if p.of.Database == "" {
			continue
		}
		n, err := nets.Load(p.of.Database, func(word string) bool { return slices.Contains(p.of.Slow, word) })
		errs = append(errs, about(p.key+".database", err))
		if err == nil {
			*p.into = n
			errs = append(errs, about(p.key+".slow", notThere(p.of, n)))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return l, nil
}

// notThere refuses a word that no network of a database has: it is misspelled
// more probably than empty.
func notThere(p *config.SlowPlaces, n *steer.Nets) error {
	there := n.Locations()
	for _, word := range p.Slow {
		if !slices.Contains(there, word) {
			return fmt.Errorf("no network of %s is in %s", p.Database, word)
		}
	}
	return nil
}

// judgeSlowness judges what package config knows nothing of.
func judgeSlowness(cfg *config.Config) error {
	_, err := readSlowLists(&cfg.Slowness)
	if m, ok := err.(interface{ Unwrap() []error }); ok {
		return errors.Join(m.Unwrap()...)
	}
	return err
}

// reread takes over lists that have changed; a bad one changes nothing.
func (s *slowNets) reread() {
	old := s.lists.Load()
	stamps := stampsOf(old.files)
	if slices.Equal(stamps, old.stamps) {
		return
	}
	l, err := readSlowLists(s.cfg.Load())
	s.note("lists", err)
	if err != nil {
		kept := *old
		kept.stamps = stamps // said once
		s.lists.Store(&kept)
		return
	}
	s.lists.Store(l)
	s.turn.Add(1)
	s.log.Info("lists of slow networks read anew")
}

// joined is who is slow, at a turn.
type joined struct {
	turn uint64
	more *steer.Nets
	slow *steer.Slow
}

// slow puts together who is slow, with a further list of the operator's beside
// those of the section; nil: none.
func (s *slowNets) slow(more *steer.Nets) (*steer.Slow, error) {
	now := s.turn.Load()
	if j := s.joined.Load(); j != nil && j.turn == now && j.more == more {
		return j.slow, nil
	}
	var moves slowness.Moves
	if j := s.last.Load(); j != nil {
		moves = j.moves
	}
	measured, err := moves.Nets()
	if err != nil {
		return nil, err
	}
	lists := s.lists.Load().Lists
	switch {
	case lists.Operator == nil:
		lists.Operator = more
	case more != nil:
		if lists.Operator, err = lists.Operator.Over(more); err != nil {
			return nil, fmt.Errorf("slowness: %w", err)
		}
	}
	slow, err := lists.Join(measured)
	if err == nil {
		s.joined.Store(&joined{now, more, slow})
	}
	return slow, err
}

// current is who is slow, with what the DNS server reads besides, if there is
// one that is told.
func (s *slowNets) current() (*steer.Slow, error) {
	var more *steer.Nets
	if dns := s.d.dns; dns != nil && s.steers() {
		more = dns.operator()
	}
	return s.slow(more)
}

// steers reports whether the DNS server is told.
func (s *slowNets) steers() bool { return s != nil && s.cfg.Load().Steer }

// steering is it where the DNS server is told; nil elsewhere.
func (s *slowNets) steering() *slowNets {
	if s.steers() {
		return s
	}
	return nil
}

// turned counts changes of who is slow; never for nil.
func (s *slowNets) turned() uint64 {
	if s == nil {
		return 0
	}
	return s.turn.Load()
}

// join is who is slow by what was measured, all lists, and a further one of the
// operator's, and at which turn; nil knows the further list alone.
func (s *slowNets) join(more *steer.Nets) (slow *steer.Slow, turn uint64, err error) {
	if s != nil {
		turn = s.turned()
		slow, err = s.slow(more)
		return slow, turn, err
	}
	if more == nil {
		return nil, 0, nil
	}
	lists := slowness.Lists{Operator: more}
	none, err := steer.NewBuilder().Build()
	if err == nil {
		slow, err = lists.Join(none)
	}
	return slow, 0, err
}

// Slow reports whether the clients of an address are slow, and whose word that
// is: measured, or a list's. It is what the DNS server goes by, whether that is
// told or not.
func (s *slowNets) Slow(a netip.Addr) (by string, ok bool) {
	if s == nil {
		return "", false
	}
	slow, err := s.current()
	if err != nil {
		return "", false
	}
	return slow.Why(a)
}
