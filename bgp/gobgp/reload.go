package gobgp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/catchment/catchment/bgp"
)

// Reload puts another config and other prefix lists into force. Neighbors
// that did not change keep their sessions; timers, TTLs and prefix limits
// change in place, other changes of a neighbor need a new session. After a
// change in place v3 no longer knows, until the next session, that the
// neighbor restarts gracefully: should it restart, its routes go at once. What
// is announced stays announced but for prefixes that are no longer ours.
//
// An error means that nothing changed. What can be checked is checked first;
// then comes what may fail, what is new before what goes; and where GoBGP
// refuses something after all, everything goes back, and sessions that were
// not to change are not touched. A neighbor that an operator put in with the
// gobgp client becomes the config's when it is in the config, and one that he
// took out may be missing.
//
// A reload that changes the user's own export policies sends each changed
// route again; a route that they now hold back from some neighbor is
// withdrawn and announced again to all (v3 sends no withdrawal otherwise).
func (s *Speaker) Reload(ctx context.Context, c *Config, own, imports []netip.Prefix) error {
	s.calls.Lock()
	defer s.calls.Unlock()
	s.mu.Lock()
	now, srv := s.phase, s.srv
	from := target{s.config, s.scope}
	s.mu.Unlock()
	to := target{c, from.scope}
	to.scope.own, to.scope.imports = slices.Clone(own), slices.Clone(imports)
	if err := errors.Join(ctx.Err(), to.scope.check(c), sameForEver(from.config, c)); err != nil {
		return wrap(fmt.Errorf("reload: %w", err))
	}
	switch now {
	case stopping, left:
		return errors.New("bgp: has been stopped")
	case idle:
		s.adopt(to)
		return nil
	}
	// From here on nothing waits for anything, so nothing needs to end halfway.
	ctx = context.WithoutCancel(ctx)
	r := s.newReload(srv, from, to)
	if err := r.do(ctx); err != nil {
		err = fmt.Errorf("reload: %w", err)
		return wrap(errors.Join(err, r.goBack(ctx)))
	}
	s.lookAtRPKI(ctx, srv) // before anybody announces what is new
	return nil
}

// target is what a reload comes from, or goes to.
type target struct {
	config *Config
	scope  scope
}

// reload is one change from one target to another.
type reload struct {
	*Speaker
	srv       *server.BgpServer
	from, to  target
	policies  bool // the whole of the policies is replaced, not only sets changed
	rebuild   bool // what differs by neighbor may differ otherwise
	imports   bool // what may come in changed
	announced []bgp.Announcement
	neighbors *neighborhood
}

func (s *Speaker) newReload(srv *server.BgpServer, from, to target) *reload {
	return &reload{Speaker: s, srv: srv, from: from, to: to,
		policies: !reflect.DeepEqual(policyPart(from.config), policyPart(to.config)) ||
			(len(from.scope.imports) == 0) != (len(to.scope.imports) == 0), // another import policy
		rebuild:   !slices.Equal(factsOf(from.config).internal(), factsOf(to.config).internal()),
		imports:   !slices.Equal(from.scope.imports, to.scope.imports),
		announced: s.Announced(),
		neighbors: &neighborhood{srv: srv, log: s.log},
	}
}

// do goes from one to the other. What takes something away comes last.
func (r *reload) do(ctx context.Context) error {
	if r.policies {
		if err := r.setPolicies(ctx, r.srv, r.to.config, r.to.scope, r.variants.list()); err != nil {
			return err
		}
	} else if err := growSets(ctx, r.srv, r.from.scope, r.to.scope); err != nil {
		return err
	}
	r.adopt(r.to)
	was, is := byAddress(r.from.config), byAddress(r.to.config)
	if r.met { // else they come with the first Set
		if err := r.neighbors.bring(ctx, was, is); err != nil {
			return err
		}
	}
	if !r.policies {
		if err := shrinkSets(ctx, r.srv, r.from.scope, r.to.scope); err != nil {
			return err
		}
	}
	if err := errors.Join(r.disown(ctx, r.srv), r.refresh(ctx)); err != nil {
		return err
	}
	if !r.met {
		return nil
	}
	return r.neighbors.dismiss(ctx, was, is)
}

// goBack undoes what do did until it failed.
func (r *reload) goBack(ctx context.Context) error {
	errs := []error{r.neighbors.goBack(ctx)}
	if r.policies {
		errs = append(errs, r.setPolicies(ctx, r.srv, r.from.config, r.from.scope, r.variants.list()))
	} else {
		errs = append(errs, growSets(ctx, r.srv, r.to.scope, r.from.scope), shrinkSets(ctx, r.srv, r.to.scope, r.from.scope))
	}
	r.adopt(r.from)
	if err := errors.Join(append(errs, r.apply(ctx, r.srv, r.announced), r.refresh(ctx))...); err != nil {
		return fmt.Errorf("back to the old config: %w", err)
	}
	return nil
}

// refresh brings routes in and out to policies that changed.
func (r *reload) refresh(ctx context.Context) error {
	var errs []error
	if r.policies || r.rebuild {
		errs = append(errs, r.resend(ctx, r.srv))
	}
	if r.policies || r.imports {
		in := &api.ResetPeerRequest{Soft: true, Direction: api.ResetPeerRequest_IN}
		errs = append(errs, r.srv.ResetPeer(ctx, in))
	}
	return errors.Join(errs...)
}

// growSets and shrinkSets change our prefix sets in place, without a moment
// in which the guard is not whole: first what comes, later what goes.
func growSets(ctx context.Context, srv *server.BgpServer, old, now scope) error {
	var errs []error
	for _, set := range without(now, old).sets() {
		if set.DefinedType == api.DefinedType_PREFIX && len(set.Prefixes) > 1 {
			errs = append(errs, srv.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: set}))
		}
	}
	return errors.Join(errs...)
}

func shrinkSets(ctx context.Context, srv *server.BgpServer, old, now scope) error {
	var errs []error
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

func (s *Speaker) adopt(t target) {
	f := factsOf(t.config)
	s.mu.Lock()
	s.config, s.scope, s.facts = t.config, t.scope, f
	s.mu.Unlock()
	s.wire.mu.Lock()
	s.wire.reaches = reach(f)
	s.wire.mu.Unlock()
}

// sameForEver refuses changes that need a restart.
func sameForEver(a, b *Config) error {
	x, y := a.set.Global, b.set.Global
	type pair struct {
		key string
		was any
		is  any
	}
	var errs []error
	for _, p := range []pair{
		{"as", x.Config.As, y.Config.As},
		{"router-id", x.Config.RouterId, y.Config.RouterId},
		{"port", x.Config.Port, y.Config.Port},
		{"local-address-list", x.Config.LocalAddressList, y.Config.LocalAddressList},
	} {
		if !reflect.DeepEqual(p.was, p.is) {
			errs = append(errs, fmt.Errorf("bgp.global.config.%s: a change from %v to %v needs a restart", p.key, p.was, p.is))
		}
	}
	for _, p := range []pair{
		{"global", restOf(x), restOf(y)},
		{"dynamic-neighbors", a.set.DynamicNeighbors, b.set.DynamicNeighbors},
		{"peer-groups", dynamicGroups(a), dynamicGroups(b)},
		{"rpki-servers", a.set.RpkiServers, b.set.RpkiServers},
		{"bmp-servers", a.set.BmpServers, b.set.BmpServers},
		{"mrt-dump", a.set.MrtDump, b.set.MrtDump},
	} {
		if !reflect.DeepEqual(p.was, p.is) {
			errs = append(errs, fmt.Errorf("bgp.%s: a change needs a restart", p.key))
		}
	}
	return errors.Join(errs...)
}

// restOf is what the section has besides what is judged by itself. Its
// families come in no order.
func restOf(g oc.Global) oc.Global {
	g.Config, g.ApplyPolicy = oc.GlobalConfig{}, oc.ApplyPolicy{}
	g.AfiSafis = slices.SortedFunc(slices.Values(g.AfiSafis), func(a, b oc.AfiSafi) int {
		return strings.Compare(string(a.Config.AfiSafiName), string(b.Config.AfiSafiName))
	})
	return g
}

// dynamicGroups returns the peer groups of the dynamic neighbors. Those of
// configured neighbors are written into these by ParseConfig and may change.
func dynamicGroups(c *Config) []oc.PeerGroup {
	var out []oc.PeerGroup
	for _, g := range c.set.PeerGroups {
		named := func(d oc.DynamicNeighbor) bool { return d.Config.PeerGroup == g.Config.PeerGroupName }
		if slices.ContainsFunc(c.set.DynamicNeighbors, named) {
			out = append(out, g)
		}
	}
	return out
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
				held[p] = held[p] || p.Addr().Is6() == v6 && s.wire.mayHave(addr, p) && !out[p]
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
