package gobgp

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/server"

	"github.com/catchment/catchment/bgp"
)

// A variant is one way in which announcements differ by neighbor: who gets
// none, who gets other attributes, and how often the AS is prepended (which
// eBGP neighbors get and iBGP neighbors must not, as they would take it for a
// loop). The path carries the variant's number in its mark and export policy
// statements act on the number, so a change is one path update that leaves at
// once; no policy is changed under a route that is out.
type variant struct {
	id        uint32
	key       string
	prepend   int          // toward the neighbors not named below
	only      bool         // the neighbors not named below get nothing
	plain     []netip.Addr // neighbors that get no prepend: iBGP
	overrides map[netip.Addr]bgp.Override
}

// facts is what the speaker knows of its configured neighbors.
type facts map[netip.Addr]NeighborInfo

func (f facts) internal() []netip.Addr {
	var out []netip.Addr
	for a, n := range f {
		if n.AS == n.LocalAS {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// unreachable lists the neighbors toward which the announcement has no next
// hop: an IPv6 prefix over a session between IPv4 addresses needs a next hop
// from the config, as "self" has none in that family. The other way round
// works where the neighbor knows RFC 8950.
func (f facts) unreachable(a bgp.Announcement) []netip.Addr {
	if a.Prefix.Addr().Is4() || a.NextHop.IsValid() {
		return nil
	}
	var out []netip.Addr
	for addr, n := range f {
		if addr.Is4() && n.IPv6 && !a.Neighbors[addr].NextHop.IsValid() {
			out = append(out, addr)
		}
	}
	return out
}

// newVariant works out what differs by neighbor. It returns nil where nothing
// does.
func newVariant(a bgp.Announcement, f facts) *variant {
	v := &variant{prepend: a.Prepend, only: a.Only, overrides: maps.Clone(a.Neighbors)}
	if v.overrides == nil {
		v.overrides = make(map[netip.Addr]bgp.Override)
	}
	for _, addr := range f.unreachable(a) {
		v.overrides[addr] = bgp.Override{Withhold: true}
	}
	for addr, o := range v.overrides {
		if !o.Withhold && !o.Whole && !v.only && o.Attributes.Equal(bgp.Attributes{}) {
			delete(v.overrides, addr) // says nothing
		}
	}
	if v.prepend == 0 && len(v.overrides) == 0 && !v.only {
		return nil
	}
	v.plain = f.internal()
	v.key = v.describe()
	return v
}

// describe is the same for the same variant.
func (v *variant) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "prepend %d not %v only %t", v.prepend, v.plain, v.only)
	for _, addr := range slices.SortedFunc(maps.Keys(v.overrides), netip.Addr.Compare) {
		o := v.overrides[addr]
		fmt.Fprintf(&b, "; %s: withhold %t whole %t prepend %d next hop %s %v %v", addr, o.Withhold, o.Whole, o.Prepend,
			o.NextHop, o.Communities, o.LargeCommunities)
		if o.MED != nil {
			fmt.Fprintf(&b, " MED %d", *o.MED)
		}
		if o.LocalPref != nil {
			fmt.Fprintf(&b, " local preference %d", *o.LocalPref)
		}
	}
	return b.String()
}

func (v *variant) name(what any) string { return fmt.Sprintf("%sv%d-%v", prefixOurs, v.id, what) }

// group is the neighbors that hear the same: hundreds of routers with few next
// hops are few statements.
type group struct {
	name  string // of the first neighbor
	addrs []netip.Addr
	bgp.Override
}

// groups are sorted by their first neighbor. Who gets prepends is never with
// one who does not.
func (v *variant) groups() []group {
	var out []group
	for _, addr := range slices.SortedFunc(maps.Keys(v.overrides), netip.Addr.Compare) {
		o, plain := v.overrides[addr], slices.Contains(v.plain, addr)
		i := slices.IndexFunc(out, func(g group) bool {
			return g.Withhold == o.Withhold && g.Whole == o.Whole && g.Attributes.Equal(o.Attributes) &&
				slices.Contains(v.plain, g.addrs[0]) == plain
		})
		if i < 0 {
			out = append(out, group{name: v.name(addr), addrs: []netip.Addr{addr}, Override: o})
			continue
		}
		out[i].addrs = append(out[i].addrs, addr)
	}
	return out
}

// sets are the sets that the statements refer to: the mark, each group of
// overridden neighbors, and all that the last statement passes by.
func (v *variant) sets() []*api.DefinedSet {
	out := []*api.DefinedSet{{DefinedType: api.DefinedType_LARGE_COMMUNITY, Name: v.name("mark"),
		List: []string{mark(v.id)}}}
	for _, g := range v.groups() {
		out = append(out, neighborSet(g.name, g.addrs...))
	}
	return append(out, neighborSet(v.name("rest"), v.passed()...))
}

// passed are the neighbors that the last statement leaves alone.
func (v *variant) passed() []netip.Addr {
	if v.only {
		return slices.Collect(maps.Keys(v.overrides))
	}
	return slices.Concat(v.plain, slices.Collect(maps.Keys(v.overrides)))
}

func neighborSet(name string, addrs ...netip.Addr) *api.DefinedSet {
	set := &api.DefinedSet{DefinedType: api.DefinedType_NEIGHBOR, Name: name}
	for _, a := range addrs {
		a = a.WithZone("")
		set.List = append(set.List, netip.PrefixFrom(a, a.BitLen()).String())
	}
	return set
}

// statements are what the policy does; none of them accepts.
func (v *variant) statements() []*api.Statement {
	var out []*api.Statement
	for _, g := range v.groups() {
		c := &api.Conditions{LargeCommunitySet: in(v.name("mark")), NeighborSet: in(g.name)}
		if g.Withhold {
			out = append(out, reject(g.name, c))
			continue
		}
		out = append(out, &api.Statement{Name: g.name, Conditions: c, Actions: v.actions(g.addrs[0], g.Override)})
	}
	rest := &api.Conditions{LargeCommunitySet: in(v.name("mark")), NeighborSet: not(v.name("rest"))}
	switch {
	case v.only:
		out = append(out, reject(v.name("rest"), rest))
	case v.prepend > 0:
		out = append(out, &api.Statement{Name: v.name("rest"), Conditions: rest,
			Actions: &api.Actions{AsPrepend: prependAction(v.prepend)}})
	}
	return out
}

func (v *variant) actions(addr netip.Addr, o bgp.Override) *api.Actions {
	a := &api.Actions{}
	n := max(o.Prepend, 0)
	if n == 0 && !o.Whole {
		n = v.prepend
	}
	if !slices.Contains(v.plain, addr) && n > 0 {
		a.AsPrepend = prependAction(n)
	}
	if o.MED != nil {
		a.Med = &api.MedAction{Type: api.MedAction_REPLACE, Value: int64(*o.MED)}
	}
	if o.LocalPref != nil {
		a.LocalPref = &api.LocalPrefAction{Value: *o.LocalPref}
	}
	if o.NextHop.IsValid() {
		a.Nexthop = &api.NexthopAction{Address: o.NextHop.String()}
	}
	if len(o.Communities) > 0 || o.Whole {
		a.Community = &api.CommunityAction{Type: api.CommunityAction_REPLACE}
		for _, c := range o.Communities {
			a.Community.Communities = append(a.Community.Communities, fmt.Sprintf("%d:%d", c>>16, c&0xFFFF))
		}
	}
	if len(o.LargeCommunities) > 0 || o.Whole { // takes the mark off as well
		a.LargeCommunity = &api.CommunityAction{Type: api.CommunityAction_REPLACE}
		for _, c := range o.LargeCommunities {
			a.LargeCommunity.Communities = append(a.LargeCommunity.Communities, c.String())
		}
	}
	return a
}

// prependAction repeats the leftmost AS: our own toward this neighbor.
func prependAction(n int) *api.AsPrependAction {
	return &api.AsPrependAction{UseLeftMost: true, Repeat: uint32(n)}
}

// keptVariants is how many variants stay installed though nothing uses them,
// so that a service that swings between two rungs installs them once.
const keptVariants = 32

// variants is what is installed in the server.
type variants struct {
	next  uint32
	byKey map[string]*variant
}

// install makes sure that the variant's statements are in force and returns
// it; nil stands for no difference between neighbors.
func (vs *variants) install(ctx context.Context, srv *server.BgpServer, v *variant) (*variant, error) {
	if v == nil {
		return nil, nil
	}
	if have := vs.byKey[v.key]; have != nil {
		return have, nil
	}
	vs.next++
	v.id = vs.next
	for _, s := range v.sets() {
		if err := srv.AddDefinedSet(ctx, &api.AddDefinedSetRequest{DefinedSet: s}); err != nil {
			return nil, fmt.Errorf("add set %s: %w", s.Name, err)
		}
	}
	p := &api.Policy{Name: policyVariants, Statements: v.statements()}
	if err := srv.AddPolicy(ctx, &api.AddPolicyRequest{Policy: p}); err != nil {
		return nil, fmt.Errorf("add export statements: %w", err)
	}
	vs.byKey[v.key] = v
	return v, nil
}

// prune removes variants that no announcement uses any more.
func (vs *variants) prune(ctx context.Context, srv *server.BgpServer, used map[string]bool) {
	var idle []*variant
	for k, v := range vs.byKey {
		if !used[k] {
			idle = append(idle, v)
		}
	}
	if len(idle) <= keptVariants {
		return
	}
	slices.SortFunc(idle, func(a, b *variant) int { return int(a.id) - int(b.id) })
	for _, v := range idle[:len(idle)-keptVariants/2] {
		delete(vs.byKey, v.key)
		// What cannot be deleted stays behind and matches nothing.
		statements := v.statements()
		_ = srv.DeletePolicy(ctx, &api.DeletePolicyRequest{
			Policy: &api.Policy{Name: policyVariants, Statements: statements}, PreserveStatements: true})
		for _, s := range statements {
			_ = srv.DeleteStatement(ctx, &api.DeleteStatementRequest{Statement: s, All: true})
		}
		for _, s := range v.sets() {
			_ = srv.DeleteDefinedSet(ctx, &api.DeleteDefinedSetRequest{DefinedSet: s, All: true})
		}
	}
}

func (vs *variants) list() []*variant {
	return slices.SortedFunc(maps.Values(vs.byKey), func(a, b *variant) int { return int(a.id) - int(b.id) })
}
