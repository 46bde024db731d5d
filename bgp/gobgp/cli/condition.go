package cli

import (
	"slices"
	"strconv"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// changeCondition adds a condition to a statement or takes it away.
func (c *client) changeCondition(statement, op string, args []string) error {
	usage := func(rest string) error {
		return c.usagef("policy statement %s %s condition %s", statement, op, rest)
	}
	const words = "{ prefix | neighbor | as-path | community | ext-community | large-community | as-path-length | rpki | route-type | next-hop-in-list | afi-safi-in }"
	if len(args) < 1 {
		return usage(words)
	}
	m := &api.Conditions{}
	word, v := args[0], args[1:]
	var wrong string // usage that was not followed
	var err error
	switch word {
	case "prefix":
		m.PrefixSet, wrong = parseMatch(word, v, "any", "invert")
	case "neighbor":
		m.NeighborSet, wrong = parseMatch(word, v, "any", "invert")
	case "as-path":
		m.AsPathSet, wrong = parseMatch(word, v, "any", "all", "invert")
	case "community":
		m.CommunitySet, wrong = parseMatch(word, v, "any", "all", "invert")
	case "ext-community":
		m.ExtCommunitySet, wrong = parseMatch(word, v, "any", "all", "invert")
	case "large-community":
		m.LargeCommunitySet, wrong = parseMatch(word, v, "any", "all", "invert")
	case "as-path-length":
		m.AsPathLength, wrong, err = parsePathLength(v)
	case "rpki":
		m.RpkiResult, wrong = choice(v, "rpki { valid | invalid | not-found }", rpkiResults)
	case "route-type":
		m.RouteType, wrong = choice(v, "route-type { internal | external | local }", routeTypes)
	case "next-hop-in-list":
		m.NextHopInList = v
	case "afi-safi-in":
		m.AfiSafiIn = []*api.Family{}
		for _, name := range v { // an unknown one counts as family 0
			m.AfiSafiIn = append(m.AfiSafiIn, apiutil.ToApiFamily(bgp.RouteFamilyToAfiSafi(bgp.AddressFamilyValueMap[name])))
		}
	default:
		wrong = words
	}
	if err != nil {
		return err
	}
	if wrong != "" {
		return usage(wrong)
	}
	return c.sendStatement(op, &api.Statement{Name: statement, Conditions: m}, false)
}

var matchTypes = map[string]api.MatchSet_Type{"any": api.MatchSet_ANY, "all": api.MatchSet_ALL, "invert": api.MatchSet_INVERT}

// parseMatch reads "SET [HOW]", where HOW is one of hows, the first by default.
func parseMatch(word string, v []string, hows ...string) (m *api.MatchSet, wrong string) {
	if len(v) >= 1 {
		m = &api.MatchSet{Name: v[0]}
		how := hows[0]
		if len(v) > 1 {
			how = strings.ToLower(v[1])
		}
		if slices.Contains(hows, how) {
			m.Type = matchTypes[how]
			return m, ""
		}
	}
	return nil, word + " <set-name> [{ " + strings.Join(hows, " | ") + " }]"
}

func parsePathLength(v []string) (l *api.AsPathLength, wrong string, err error) {
	const usage = "as-path-length <length> { eq | ge | le }"
	if len(v) < 2 {
		return nil, usage, nil
	}
	n, err := strconv.ParseUint(v[0], 10, 32)
	if err != nil {
		return nil, "", err
	}
	how, wrong := choice(v[1:], usage, map[string]api.AsPathLength_Type{
		"eq": api.AsPathLength_EQ, "ge": api.AsPathLength_GE, "le": api.AsPathLength_LE})
	return &api.AsPathLength{Type: how, Length: uint32(n)}, wrong, nil
}

// rpkiResults are numbers of their own, not those of api.Validation_State.
var rpkiResults = map[string]int32{"not-found": 1, "valid": 2, "invalid": 3}

var routeTypes = map[string]api.Conditions_RouteType{
	"internal": api.Conditions_ROUTE_TYPE_INTERNAL,
	"external": api.Conditions_ROUTE_TYPE_EXTERNAL,
	"local":    api.Conditions_ROUTE_TYPE_LOCAL,
}

// choice is the value of the first word; there must be one.
func choice[T any](v []string, usage string, of map[string]T) (value T, wrong string) {
	if len(v) > 0 {
		if value, ok := of[strings.ToLower(v[0])]; ok {
			return value, ""
		}
	}
	return value, usage
}
