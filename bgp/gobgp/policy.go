package gobgp

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"github.com/osrg/gobgp/v3/pkg/server"
)

// The export policy is a row of policies that each neighbor's routes pass:
//
//	catchment-guard     rejects all that is not ours: the own-prefix guard
//	catchment-variants  what differs by neighbor (see variant.go)
//	catchment-strip     takes our mark off
//	the user's          from bgp.global.apply-policy; they can restrict and change
//
// None of ours accepts, so that the user's are always asked; the default
// action is the user's. Imports pass catchment-import and then the user's.
const (
	prefixOurs     = "catchment-"
	policyGuard    = prefixOurs + "guard"
	policyVariants = prefixOurs + "variants"
	policyStrip    = prefixOurs + "strip"
	policyImport   = prefixOurs + "import"

	setMark    = prefixOurs + "mark"
	setOwn4    = prefixOurs + "own4"
	setOwn6    = prefixOurs + "own6"
	setImport4 = prefixOurs + "import4"
	setImport6 = prefixOurs + "import6"
)

// scope is what may leave and what may come in.
type scope struct {
	own       []netip.Prefix
	imports   []netip.Prefix
	importAll bool
	transit   bool
}

func (s scope) owns(p netip.Prefix) bool { return slices.Contains(s.own, p) }

// sets are the prefix and community sets of our policies.
func (s scope) sets() []*api.DefinedSet {
	return []*api.DefinedSet{
		{DefinedType: api.DefinedType_LARGE_COMMUNITY, Name: setMark,
			List: []string{fmt.Sprintf("^%d:%d:[0-9]+$", uint32(markAS), markKind)}},
		prefixSet(setOwn4, s.own, false),
		prefixSet(setOwn6, s.own, true),
		prefixSet(setImport4, s.imports, false),
		prefixSet(setImport6, s.imports, true),
	}
}

// prefixSet holds exact prefixes of one family. The last host address of the
// family is always in it, because an empty set has no family to GoBGP; nobody
// announces it.
func prefixSet(name string, prefixes []netip.Prefix, v6 bool) *api.DefinedSet {
	last := netip.MustParsePrefix("255.255.255.255/32")
	if v6 {
		last = netip.MustParsePrefix("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128")
	}
	set := &api.DefinedSet{DefinedType: api.DefinedType_PREFIX, Name: name}
	for _, p := range append([]netip.Prefix{last}, prefixes...) {
		if p.Addr().Is6() != v6 {
			continue
		}
		bits := uint32(p.Bits())
		set.Prefixes = append(set.Prefixes, &api.Prefix{IpPrefix: p.String(), MaskLengthMin: bits, MaskLengthMax: bits})
	}
	return set
}

func not(set string) *api.MatchSet { return &api.MatchSet{Type: api.MatchSet_INVERT, Name: set} }
func in(set string) *api.MatchSet  { return &api.MatchSet{Type: api.MatchSet_ANY, Name: set} }

func reject(name string, c *api.Conditions) *api.Statement {
	return &api.Statement{Name: name, Conditions: c, Actions: &api.Actions{RouteAction: api.RouteAction_REJECT}}
}

const (
	local    = api.Conditions_ROUTE_TYPE_LOCAL
	internal = api.Conditions_ROUTE_TYPE_INTERNAL
	external = api.Conditions_ROUTE_TYPE_EXTERNAL
)

// guard is the own-prefix guard: what was not put in by Set, or is not an own
// prefix, or was learned, never leaves. Only a transit router (of a lab)
// passes on what it learned.
func (s scope) guard() *api.Policy {
	g := policyGuard
	statements := []*api.Statement{
		reject(g+"-unmarked", &api.Conditions{RouteType: local, LargeCommunitySet: not(setMark)}),
		reject(g+"-foreign4", &api.Conditions{RouteType: local, PrefixSet: not(setOwn4)}),
		reject(g+"-foreign6", &api.Conditions{RouteType: local, PrefixSet: not(setOwn6)}),
	}
	if !s.transit {
		statements = append(statements,
			reject(g+"-internal", &api.Conditions{RouteType: internal}),
			reject(g+"-external", &api.Conditions{RouteType: external}))
	}
	return &api.Policy{Name: g, Statements: statements}
}

func strip() *api.Policy {
	return &api.Policy{Name: policyStrip, Statements: []*api.Statement{{
		Name:       policyStrip + "-mark",
		Conditions: &api.Conditions{LargeCommunitySet: in(setMark)},
		Actions: &api.Actions{LargeCommunity: &api.CommunityAction{
			Type:        api.CommunityAction_REMOVE,
			Communities: []string{fmt.Sprintf("^%d:%d:[0-9]+$", uint32(markAS), markKind)},
		}},
	}}}
}

// importPolicy accepts nothing that is learned, or exactly what is asked for.
// In the latter case the routes get the lowest local preference: a fleet view
// is to be seen, it must never win over our own route for the same prefix and
// so end its announcement.
func (s scope) importPolicy() *api.Policy {
	i := policyImport
	p := &api.Policy{Name: i, Statements: []*api.Statement{{
		Name:       i + "-local",
		Conditions: &api.Conditions{RouteType: local},
		Actions:    &api.Actions{RouteAction: api.RouteAction_ACCEPT},
	}}}
	switch {
	case s.importAll:
	case len(s.imports) == 0:
		p.Statements = append(p.Statements,
			reject(i+"-internal", &api.Conditions{RouteType: internal}),
			reject(i+"-external", &api.Conditions{RouteType: external}))
	default:
		p.Statements = append(p.Statements,
			reject(i+"-other4", &api.Conditions{PrefixSet: not(setImport4)}),
			reject(i+"-other6", &api.Conditions{PrefixSet: not(setImport6)}),
			&api.Statement{Name: i + "-last", Conditions: &api.Conditions{},
				Actions: &api.Actions{LocalPref: &api.LocalPrefAction{Value: 1}}})
	}
	return p
}

// policies is the whole of sets and policies: ours and the user's.
func (s scope) policies(c *Config, variants []*variant) (*api.SetPoliciesRequest, error) {
	user, err := oc.NewAPIDefinedSetsFromConfigStruct(&c.set.DefinedSets)
	if err != nil {
		return nil, fmt.Errorf("bgp.defined-sets: %w", err)
	}
	r := &api.SetPoliciesRequest{
		DefinedSets: append(s.sets(), user...),
		Policies:    []*api.Policy{s.guard(), strip(), s.importPolicy()},
	}
	all := &api.Policy{Name: policyVariants}
	for _, v := range variants {
		r.DefinedSets = append(r.DefinedSets, v.sets()...)
		all.Statements = append(all.Statements, v.statements()...)
	}
	r.Policies = append(r.Policies, all)
	for i := range c.set.PolicyDefinitions {
		r.Policies = append(r.Policies, toPolicy(&c.set.PolicyDefinitions[i]))
	}
	return r, nil
}

// assign puts the policies into force, in their order.
func assign(ctx context.Context, srv *server.BgpServer, c *Config) error {
	apply := c.set.Global.ApplyPolicy.Config
	named := func(ours []string, users []string) []*api.Policy {
		var out []*api.Policy
		for _, n := range append(ours, users...) {
			out = append(out, &api.Policy{Name: n})
		}
		return out
	}
	for _, a := range []*api.PolicyAssignment{{
		Name: "global", Direction: api.PolicyDirection_EXPORT,
		Policies:      named([]string{policyGuard, policyVariants, policyStrip}, apply.ExportPolicyList),
		DefaultAction: defaultAction(apply.DefaultExportPolicy),
	}, {
		Name: "global", Direction: api.PolicyDirection_IMPORT,
		Policies:      named([]string{policyImport}, apply.ImportPolicyList),
		DefaultAction: defaultAction(apply.DefaultImportPolicy),
	}} {
		if err := srv.SetPolicyAssignment(ctx, &api.SetPolicyAssignmentRequest{Assignment: a}); err != nil {
			return fmt.Errorf("assign %s policies: %w", a.Direction, err)
		}
	}
	return nil
}

func defaultAction(t oc.DefaultPolicyType) api.RouteAction {
	if t == oc.DEFAULT_POLICY_TYPE_REJECT_ROUTE {
		return api.RouteAction_REJECT
	}
	return api.RouteAction_ACCEPT
}
