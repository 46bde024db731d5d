package gobgp

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// toPolicy turns a policy of the config into the API's form; GoBGP's own
// function for it is in an internal package.
func toPolicy(p *oc.PolicyDefinition) *api.Policy {
	out := &api.Policy{Name: p.Name}
	for i := range p.Statements {
		s := &p.Statements[i]
		out.Statements = append(out.Statements, &api.Statement{
			Name:       cmp.Or(s.Name, fmt.Sprintf("%s_stmt%d", p.Name, i)),
			Conditions: toConditions(&s.Conditions),
			Actions:    toActions(&s.Actions),
		})
	}
	return out
}

func matchSet(name, option string) *api.MatchSet {
	if name == "" {
		return nil
	}
	t := api.MatchSet_ANY
	switch strings.ToLower(option) {
	case "all":
		t = api.MatchSet_ALL
	case "invert":
		t = api.MatchSet_INVERT
	}
	return &api.MatchSet{Name: name, Type: t}
}

func toConditions(c *oc.Conditions) *api.Conditions {
	b := &c.BgpConditions
	out := &api.Conditions{
		PrefixSet:         matchSet(c.MatchPrefixSet.PrefixSet, string(c.MatchPrefixSet.MatchSetOptions)),
		NeighborSet:       matchSet(c.MatchNeighborSet.NeighborSet, string(c.MatchNeighborSet.MatchSetOptions)),
		AsPathSet:         matchSet(b.MatchAsPathSet.AsPathSet, string(b.MatchAsPathSet.MatchSetOptions)),
		CommunitySet:      matchSet(b.MatchCommunitySet.CommunitySet, string(b.MatchCommunitySet.MatchSetOptions)),
		ExtCommunitySet:   matchSet(b.MatchExtCommunitySet.ExtCommunitySet, string(b.MatchExtCommunitySet.MatchSetOptions)),
		LargeCommunitySet: matchSet(b.MatchLargeCommunitySet.LargeCommunitySet, string(b.MatchLargeCommunitySet.MatchSetOptions)),
		NextHopInList:     b.NextHopInList,
		Origin:            toOrigin(b.OriginEq),
		RpkiResult:        int32(b.RpkiValidationResult.ToInt()),
	}
	if b.CommunityCount.Operator != "" {
		out.CommunityCount = &api.CommunityCount{Count: b.CommunityCount.Value,
			Type: api.CommunityCount_Type(b.CommunityCount.Operator.ToInt())}
	}
	if b.AsPathLength.Operator != "" {
		out.AsPathLength = &api.AsPathLength{Length: b.AsPathLength.Value,
			Type: api.AsPathLength_Type(b.AsPathLength.Operator.ToInt())}
	}
	if b.RouteType != "" {
		out.RouteType = api.Conditions_RouteType(b.RouteType.ToInt())
	}
	for _, name := range b.AfiSafiInList {
		if rf, ok := packet.AddressFamilyValueMap[string(name)]; ok {
			afi, safi := packet.RouteFamilyToAfiSafi(rf)
			out.AfiSafiIn = append(out.AfiSafiIn, &api.Family{Afi: api.Family_Afi(afi), Safi: api.Family_Safi(safi)})
		}
	}
	return out
}

func toActions(a *oc.Actions) *api.Actions {
	b := &a.BgpActions
	out := &api.Actions{
		Community:      toCommunityAction(b.SetCommunity.Options, b.SetCommunity.SetCommunityMethod.CommunitiesList),
		ExtCommunity:   toCommunityAction(b.SetExtCommunity.Options, b.SetExtCommunity.SetExtCommunityMethod.CommunitiesList),
		LargeCommunity: toCommunityAction(string(b.SetLargeCommunity.Options), b.SetLargeCommunity.SetLargeCommunityMethod.CommunitiesList),
		Med:            toMED(strings.TrimSpace(string(b.SetMed))),
		Nexthop:        toNextHop(string(b.SetNextHop)),
	}
	switch a.RouteDisposition {
	case oc.ROUTE_DISPOSITION_ACCEPT_ROUTE:
		out.RouteAction = api.RouteAction_ACCEPT
	case oc.ROUTE_DISPOSITION_REJECT_ROUTE:
		out.RouteAction = api.RouteAction_REJECT
	}
	if b.SetLocalPref != 0 {
		out.LocalPref = &api.LocalPrefAction{Value: b.SetLocalPref}
	}
	if o := toOrigin(b.SetRouteOrigin); o != api.RouteOriginType_ORIGIN_NONE {
		out.OriginAction = &api.OriginAction{Origin: o}
	}
	if as := b.SetAsPathPrepend; as.As != "" {
		n, _ := strconv.ParseUint(as.As, 10, 32)
		out.AsPrepend = &api.AsPrependAction{Asn: uint32(n), Repeat: uint32(as.RepeatN), UseLeftMost: as.As == "last-as"}
	}
	return out
}

func toOrigin(o oc.BgpOriginAttrType) api.RouteOriginType {
	switch o {
	case oc.BGP_ORIGIN_ATTR_TYPE_IGP:
		return api.RouteOriginType_ORIGIN_IGP
	case oc.BGP_ORIGIN_ATTR_TYPE_EGP:
		return api.RouteOriginType_ORIGIN_EGP
	case oc.BGP_ORIGIN_ATTR_TYPE_INCOMPLETE:
		return api.RouteOriginType_ORIGIN_INCOMPLETE
	}
	return api.RouteOriginType_ORIGIN_NONE
}

func toCommunityAction(option string, list []string) *api.CommunityAction {
	if len(list) == 0 {
		return nil
	}
	t := api.CommunityAction_ADD
	switch strings.ToLower(option) {
	case "remove":
		t = api.CommunityAction_REMOVE
	case "replace":
		t = api.CommunityAction_REPLACE
	}
	return &api.CommunityAction{Type: t, Communities: list}
}

func toMED(s string) *api.MedAction {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return nil
	}
	t := api.MedAction_REPLACE
	if s[0] == '+' || s[0] == '-' {
		t = api.MedAction_MOD
	}
	return &api.MedAction{Type: t, Value: n}
}

func toNextHop(s string) *api.NexthopAction {
	switch strings.ToLower(s) {
	case "":
		return nil
	case "self":
		return &api.NexthopAction{Self: true}
	case "peer-address":
		return &api.NexthopAction{PeerAddress: true}
	case "unchanged":
		return &api.NexthopAction{Unchanged: true}
	}
	return &api.NexthopAction{Address: s}
}
