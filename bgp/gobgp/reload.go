package gobgp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/catchment/catchment/bgp"
)

// Reload puts another config and other prefix lists into force. Neighbors
// that did not change keep their sessions; timers and prefix limits change in
// place, other changes of a neighbor need a new session. What can be checked
// is checked first, and then nothing has been changed; what is announced
// stays announced but for prefixes that are no longer ours.
//
// A reload that changes the user's own export policies sends each changed
// route again; a route that they now hold back from some neighbor is
// withdrawn and announced again to all (v3 sends no withdrawal otherwise).
func (s *Speaker) Reload(ctx context.Context, c *Config, own, imports []netip.Prefix) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	s.mu.Lock()
	now, srv, old, sc := s.phase, s.srv, s.config, s.scope
	s.mu.Unlock()
	sc.own, sc.imports = slices.Clone(own), slices.Clone(imports)
	if err := errors.Join(sc.check(c), sameGlobal(old, c)); err != nil {
		return wrap(fmt.Errorf("reload: %w", err))
	}
	if now == stopping || now == left {
		return errors.New("bgp: has been stopped")
	}
	if now == idle {
		s.adopt(c, sc)
		return nil
	}
	oldScope := s.scope
	policies := !reflect.DeepEqual(policyPart(old), policyPart(c)) ||
		(len(oldScope.imports) == 0) != (len(sc.imports) == 0) // another import policy
	if !policies {
		if err := updateSets(ctx, srv, oldScope, sc); err != nil {
			return wrap(errors.Join(fmt.Errorf("reload: %w", err), updateSets(ctx, srv, sc, oldScope)))
		}
	} else {
		if err := s.setPolicies(ctx, srv, c, sc, s.variants.list()); err != nil {
			// The old ones go back, should the new ones be half in force.
			err = fmt.Errorf("reload: %w", err)
			return wrap(errors.Join(err, s.setPolicies(ctx, srv, old, oldScope, s.variants.list()), s.resend(ctx, srv)))
		}
	}
	rebuild := !slices.Equal(s.facts.internal(), factsOf(c).internal())
	s.adopt(c, sc)
	errs := []error{s.disown(ctx, srv), s.updateNeighbors(ctx, srv, old, c)}
	if policies || rebuild {
		errs = append(errs, s.resend(ctx, srv))
	}
	if policies || !slices.Equal(oldScope.imports, sc.imports) {
		r := &api.ResetPeerRequest{Soft: true, Direction: api.ResetPeerRequest_IN}
		errs = append(errs, srv.ResetPeer(ctx, r))
	}
	return wrap(errors.Join(errs...))
}

// updateSets changes our prefix sets in place, without a moment in which the
// guard is not whole.
func updateSets(ctx context.Context, srv *server.BgpServer, old, now scope) error {
	var errs []error
	for _, set := range without(now, old).sets() {
		if set.DefinedType == api.DefinedType_PREFIX {
			errs = append(errs, srv.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}))
		}
	}
	for _, set := range without(old, now).sets() {
		if set.DefinedType == api.DefinedType_PREFIX && len(set.Prefixes) > 1 {
			set.Prefixes = set.Prefixes[1:] // but not the one that is always there
			errs = append(errs, srv.DeleteDefinedSet(ctx, &api.DeleteDefinedSetRequest{DefinedSet: set}))
		}
	}
	return errors.Join(errs...)
}

// without returns the prefixes of a that b lacks.
func without(a, b scope) scope {
	minus := func(x, y []netip.Prefix) []netip.Prefix {
		return slices.DeleteFunc(slices.Clone(x), func(p netip.Prefix) bool { return slices.Contains(y, p) })
	}
	return scope{own: minus(a.own, b.own), imports: minus(a.imports, b.imports)}
}

func (s *Speaker) adopt(c *Config, sc scope) {
	f := factsOf(c)
	s.mu.Lock()
	s.config, s.scope, s.facts = c, sc, f
	s.mu.Unlock()
	s.wire.mu.Lock()
	s.wire.reaches = reach(f)
	s.wire.mu.Unlock()
}

// sameGlobal refuses changes that need a restart.
func sameGlobal(a, b *Config) error {
	x, y := a.set.Global.Config, b.set.Global.Config
	var errs []error
	for key, pair := range map[string][2]any{
		"as":                 {x.As, y.As},
		"router-id":          {x.RouterId, y.RouterId},
		"port":               {x.Port, y.Port},
		"local-address-list": {x.LocalAddressList, y.LocalAddressList},
	} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			errs = append(errs, fmt.Errorf("bgp.global.config.%s: a change from %v to %v needs a restart", key, pair[0], pair[1]))
		}
	}
	return errors.Join(errs...)
}

func policyPart(c *Config) any {
	return []any{c.set.DefinedSets, c.set.PolicyDefinitions, c.set.Global.ApplyPolicy}
}

// disown withdraws what is not ours any more.
func (s *Speaker) disown(ctx context.Context, srv *server.BgpServer) error {
	s.mu.Lock()
	var keep []bgp.Announcement
	for p, a := range s.current {
		if s.scope.owns(p) {
			keep = append(keep, a)
		}
	}
	s.mu.Unlock()
	return s.apply(ctx, srv, keep)
}

// updateNeighbors brings the sessions to the new config.
func (s *Speaker) updateNeighbors(ctx context.Context, srv *server.BgpServer, old, c *Config) error {
	was, is := byAddress(old), byAddress(c)
	var errs []error
	for addr, n := range was {
		if _, ok := is[addr]; !ok {
			errs = append(errs, s.removeNeighbor(ctx, srv, n))
		}
	}
	for _, addr := range slices.Sorted(maps.Keys(is)) {
		n := is[addr]
		before, ok := was[addr]
		var err error
		switch {
		case !ok:
			err = srv.AddPeer(ctx, &api.AddPeerRequest{Peer: oc.NewPeerFromConfigStruct(&n)})
		case !reflect.DeepEqual(before, n):
			_, err = srv.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: oc.NewPeerFromConfigStruct(&n)})
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("neighbor %s: %w", addr, err))
		}
	}
	return errors.Join(errs...)
}

func byAddress(c *Config) map[string]oc.Neighbor {
	out := make(map[string]oc.Neighbor)
	for _, n := range c.set.Neighbors {
		out[n.State.NeighborAddress] = n
	}
	return out
}

// removeNeighbor deletes a neighbor. v3 leaves the MD5 key of a deleted
// neighbor on its listener, where it would keep out the same address without
// a password later; an update to no password takes it off.
func (s *Speaker) removeNeighbor(ctx context.Context, srv *server.BgpServer, n oc.Neighbor) error {
	addr := n.State.NeighborAddress
	if n.Config.AuthPassword != "" {
		n.Config.AuthPassword = ""
		n.Config.AdminDown = true
		if _, err := srv.UpdatePeer(ctx, &api.UpdatePeerRequest{Peer: oc.NewPeerFromConfigStruct(&n)}); err != nil {
			s.log.Warn("bgp: take MD5 key off", "neighbor", addr, "err", err)
		}
	}
	if err := srv.DeletePeer(ctx, &api.DeletePeerRequest{Address: addr}); err != nil {
		return fmt.Errorf("neighbor %s: remove: %w", addr, err)
	}
	return nil
}

// resend brings the neighbors' tables to changed policies. Where a neighbor
// has a route that the policies now hold back, the route is withdrawn from
// all and announced again.
func (s *Speaker) resend(ctx context.Context, srv *server.BgpServer) error {
	all := s.Announced()
	var prefixes []netip.Prefix
	for _, a := range all {
		prefixes = append(prefixes, a.Prefix)
	}
	held := make(map[netip.Prefix]bool)
	for _, addr := range s.wire.established() {
		for _, v6 := range []bool{false, true} {
			out := s.exports(ctx, srv, addr, prefixes, v6)
			for _, p := range prefixes {
				held[p] = held[p] || p.Addr().Is6() == v6 && s.wire.has(addr, p) && !out[p]
			}
		}
	}
	b := s.wire.begin()
	defer s.wire.seal(b)
	var errs []error
	for _, a := range all {
		if held[a.Prefix] {
			errs = append(errs, s.withdraw(ctx, srv, b, a.Prefix))
		}
		errs = append(errs, s.announce(ctx, srv, b, a)) // does something if withdrawn, or of another variant now
	}
	s.wire.resend()
	r := &api.ResetPeerRequest{Soft: true, Direction: api.ResetPeerRequest_OUT}
	return errors.Join(append(errs, srv.ResetPeer(ctx, r))...)
}
