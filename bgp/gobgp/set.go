package gobgp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/catchment/catchment/bgp"
)

// Set makes the given set what we announce and sends the difference. It may
// be called before Run, which then begins with that set. What cannot be
// announced (not an own prefix, a next hop of the wrong family) is an error
// that names the prefix; for such a prefix things stay as they are, and the
// others are announced all the same. Set returns when GoBGP has the changes;
// Flush tells when they are out.
func (s *Speaker) Set(ctx context.Context, set []bgp.Announcement) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	s.mu.Lock()
	desired, err := s.admit(set)
	s.desired = desired
	srv, now := s.srv, s.phase
	s.mu.Unlock()
	s.setOnce.Do(func() { close(s.first) })
	switch now {
	case idle:
		return wrap(err)
	case stopping, left:
		return errors.New("bgp: has been stopped")
	}
	return wrap(errors.Join(err, s.apply(ctx, srv, desired)))
}

func wrap(err error) error {
	if err != nil {
		return fmt.Errorf("bgp: %w", err)
	}
	return nil
}

// admit returns what of the set may be announced, normalized. The caller
// holds mu.
func (s *Speaker) admit(set []bgp.Announcement) ([]bgp.Announcement, error) {
	out := make([]bgp.Announcement, 0, len(set))
	seen := make(map[netip.Prefix]bool, len(set))
	var errs []error
	for _, a := range set {
		err := validate(a)
		switch {
		case err != nil:
		case !s.scope.owns(a.Prefix):
			err = fmt.Errorf("%s: refused by guard own-prefix: not one of our prefixes", a.Prefix)
		case seen[a.Prefix]:
			err = fmt.Errorf("%s: is in the set twice", a.Prefix)
			errs = append(errs, err)
			continue
		}
		seen[a.Prefix] = true
		if err == nil {
			out = append(out, a)
			continue
		}
		errs = append(errs, err)
		if have, ok := s.current[a.Prefix]; ok {
			out = append(out, have)
		}
	}
	return out, errors.Join(errs...)
}

// apply sends the difference between what is announced and what is desired:
// announcements first, so that a route is replaced before it is taken away.
// The caller holds calls.
func (s *Speaker) apply(ctx context.Context, srv *server.BgpServer, desired []bgp.Announcement) error {
	s.mu.Lock()
	change := bgp.Diff(slices.Collect(maps.Values(s.current)), desired)
	s.mu.Unlock()
	if change.Empty() {
		return nil
	}
	b := s.wire.begin()
	defer s.wire.seal(b)
	var errs []error
	for _, a := range change.Announce {
		errs = append(errs, s.announce(ctx, srv, b, a))
	}
	for _, p := range change.Withdraw {
		errs = append(errs, s.withdraw(ctx, srv, b, p))
	}
	s.variants.prune(ctx, srv, s.usedVariants())
	return errors.Join(errs...)
}

func (s *Speaker) announce(ctx context.Context, srv *server.BgpServer, b *batch, a bgp.Announcement) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: not announced: %w", a.Prefix, err)
	}
	v, err := s.variants.install(ctx, srv, newVariant(a, s.facts))
	if err != nil {
		return fmt.Errorf("%s: %w", a.Prefix, err)
	}
	var id uint32
	var key string
	if v != nil {
		id, key = v.id, v.key
	}
	s.mu.Lock()
	old, had := s.current[a.Prefix]
	same := had && s.used[a.Prefix] == key && old.Attributes.Equal(a.Attributes)
	if same { // GoBGP would send nothing, and we would wait for it
		s.current[a.Prefix] = a
	}
	s.mu.Unlock()
	if same {
		return nil
	}
	path, err := toPath(a, id, time.Now())
	if err != nil {
		return err
	}
	s.wire.announce(b, a)
	if _, err := srv.AddPath(ctx, &api.AddPathRequest{TableType: api.TableType_GLOBAL, Path: path}); err != nil {
		s.wire.undo(b, a.Prefix)
		return fmt.Errorf("%s: announce: %w", a.Prefix, err)
	}
	s.mu.Lock()
	s.current[a.Prefix], s.used[a.Prefix] = a, key
	s.mu.Unlock()
	return nil
}

func (s *Speaker) withdraw(ctx context.Context, srv *server.BgpServer, b *batch, p netip.Prefix) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: not withdrawn: %w", p, err)
	}
	path, err := toWithdrawal(p, time.Now())
	if err != nil {
		return err
	}
	s.wire.withdraw(b, p)
	if err := srv.DeletePath(ctx, &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Path: path}); err != nil {
		s.wire.undo(b, p)
		return fmt.Errorf("%s: withdraw: %w", p, err)
	}
	s.mu.Lock()
	delete(s.current, p)
	delete(s.used, p)
	s.mu.Unlock()
	return nil
}

func (s *Speaker) usedVariants() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]bool)
	for _, k := range s.used {
		out[k] = true
	}
	return out
}

// Announced returns what is announced now, sorted by prefix. Before the first
// Set has been applied it is empty.
func (s *Speaker) Announced() []bgp.Announcement {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.SortedFunc(maps.Values(s.current), func(a, b bgp.Announcement) int {
		return a.Prefix.Compare(b.Prefix)
	})
}

// OnWire reports whether the prefix has been announced, and not withdrawn
// since, on a session that is established now: whether any router hears it.
func (s *Speaker) OnWire(p netip.Prefix) bool { return s.wire.anybody(p) }
