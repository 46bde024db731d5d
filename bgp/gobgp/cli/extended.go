package cli

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

type extended = bgp.ExtendedCommunityInterface

// extendedParsers read an extended community from its word and what follows
// up to the next; nil: the word stands for nothing.
var extendedParsers = map[string]func(words []string) ([]extended, error){
	"accept":          nil,
	"discard":         parseRateLimit,
	"rate-limit":      parseRateLimit,
	"redirect":        parseRedirect,
	"mark":            parseMark,
	"action":          parseTrafficAction,
	"rt":              parseRouteTargets,
	"encap":           parseEncap,
	"esi-label":       parseESILabel,
	"router-mac":      parseRouterMAC,
	"default-gateway": parseDefaultGateway,
	"valid":           parseValidationState,
	"not-found":       parseValidationState,
	"invalid":         parseValidationState,
	"color":           parseColor,
	"lb":              parseLinkBandwidth,
	"mup":             parseMUP,
}

// parseExtendedCommunities reads "WORD VALUE... WORD VALUE...".
func parseExtendedCommunities(args []string) ([]extended, error) {
	if len(args) == 0 {
		return nil, nil
	}
	var at []int
	for i, a := range args {
		if _, ok := extendedParsers[a]; ok {
			at = append(at, i)
		}
	}
	if len(at) == 0 {
		return nil, fmt.Errorf("failed to parse %v", args)
	}
	var all []extended
	// Stray words before the first belong to it, and make it invalid.
	for i, begin := 0, 0; i < len(at); i++ {
		end := len(args)
		if i < len(at)-1 {
			end = begin + at[i+1] - at[i]
		}
		if parse := extendedParsers[args[at[i]]]; parse != nil {
			e, err := parse(args[begin:end])
			if err != nil {
				return nil, err
			}
			all = append(all, e...)
		}
		begin = end
	}
	return all, nil
}

// operands are what follows the word, at least n.
func operands(words []string, word string, n int) ([]string, error) {
	if len(words) < n+1 || words[0] != word {
		return nil, fmt.Errorf("invalid %s", word)
	}
	return words[1:], nil
}

var rateLimit = regexp.MustCompile(`^(discard|(rate-limit) (\d+(?:\.\d+)?))(?: as (\d+))?$`)

func parseRateLimit(words []string) ([]extended, error) {
	m := rateLimit.FindStringSubmatch(strings.Join(words, " "))
	if m == nil {
		return nil, errors.New("invalid rate-limit")
	}
	var rate float64
	var as uint64
	var err error
	if m[2] != "" {
		if rate, err = strconv.ParseFloat(m[3], 32); err != nil {
			return nil, err
		}
	}
	if m[4] != "" {
		if as, err = strconv.ParseUint(m[4], 10, 16); err != nil {
			return nil, err
		}
	}
	return []extended{bgp.NewTrafficRateExtended(uint16(as), float32(rate))}, nil
}

func parseRedirect(words []string) ([]extended, error) {
	v, err := operands(words, "redirect", 1)
	if err != nil {
		return nil, err
	}
	rt, err := bgp.ParseRouteTarget(strings.Join(v, " "))
	if err != nil {
		return nil, err
	}
	var e extended
	switch r := rt.(type) {
	case *bgp.TwoOctetAsSpecificExtended:
		e = bgp.NewRedirectTwoOctetAsSpecificExtended(r.AS, r.LocalAdmin)
	case *bgp.IPv4AddressSpecificExtended:
		e = bgp.NewRedirectIPv4AddressSpecificExtended(r.IPv4.String(), r.LocalAdmin)
	case *bgp.FourOctetAsSpecificExtended:
		e = bgp.NewRedirectFourOctetAsSpecificExtended(r.AS, r.LocalAdmin)
	case *bgp.IPv6AddressSpecificExtended:
		e = bgp.NewRedirectIPv6AddressSpecificExtended(r.IPv6.String(), r.LocalAdmin)
	default:
		return nil, errors.New("invalid redirect")
	}
	return []extended{e}, nil
}

func parseMark(words []string) ([]extended, error) {
	v, err := operands(words, "mark", 1)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(v[0], 10, 8)
	if err != nil {
		return nil, errors.New("invalid mark")
	}
	return []extended{bgp.NewTrafficRemarkExtended(uint8(n))}, nil
}

func parseTrafficAction(words []string) ([]extended, error) {
	v, err := operands(words, "action", 1)
	if err != nil {
		return nil, err
	}
	switch v[0] {
	case "sample":
		return []extended{bgp.NewTrafficActionExtended(false, true)}, nil
	case "terminal":
		return []extended{bgp.NewTrafficActionExtended(true, false)}, nil
	case "terminal-sample", "sample-terminal":
		return []extended{bgp.NewTrafficActionExtended(true, true)}, nil
	}
	return nil, errors.New("invalid action")
}

func parseRouteTargets(words []string) ([]extended, error) {
	v, err := operands(words, "rt", 1)
	if err != nil {
		return nil, err
	}
	var all []extended
	for _, s := range v {
		rt, err := bgp.ParseRouteTarget(s)
		if err != nil {
			return nil, err
		}
		all = append(all, rt)
	}
	return all, nil
}

var tunnelTypes = map[string]bgp.TunnelType{
	"l2tpv3": bgp.TUNNEL_TYPE_L2TP3, "gre": bgp.TUNNEL_TYPE_GRE, "ip-in-ip": bgp.TUNNEL_TYPE_IP_IN_IP,
	"vxlan": bgp.TUNNEL_TYPE_VXLAN, "nvgre": bgp.TUNNEL_TYPE_NVGRE, "mpls": bgp.TUNNEL_TYPE_MPLS,
	"mpls-in-gre": bgp.TUNNEL_TYPE_MPLS_IN_GRE, "mpls-in-udp": bgp.TUNNEL_TYPE_MPLS_IN_UDP,
	"vxlan-gre": bgp.TUNNEL_TYPE_VXLAN_GRE, "geneve": bgp.TUNNEL_TYPE_GENEVE,
}

func parseEncap(words []string) ([]extended, error) {
	v, err := operands(words, "encap", 1)
	if err != nil {
		return nil, err
	}
	t, ok := tunnelTypes[v[0]]
	if !ok {
		return nil, errors.New("invalid encap type")
	}
	return []extended{bgp.NewEncapExtended(t)}, nil
}

func parseESILabel(words []string) ([]extended, error) {
	v, err := operands(words, "esi-label", 1)
	if err != nil {
		return nil, err
	}
	label, err := strconv.ParseUint(v[0], 10, 32)
	if err != nil {
		return nil, err
	}
	single := len(v) > 1 && v[1] == "single-active"
	if len(v) > 1 && !single && v[1] != "all-active" {
		return nil, errors.New("invalid esi-label")
	}
	return []extended{&bgp.ESILabelExtended{Label: uint32(label), IsSingleActive: single}}, nil
}

func parseRouterMAC(words []string) ([]extended, error) {
	if len(words) < 2 || words[0] != "router-mac" {
		return nil, errors.New("invalid router's mac")
	}
	mac, err := net.ParseMAC(words[1])
	if err != nil {
		return nil, err
	}
	return []extended{&bgp.RouterMacExtended{Mac: mac}}, nil
}

func parseDefaultGateway(words []string) ([]extended, error) {
	if _, err := operands(words, "default-gateway", 0); err != nil {
		return nil, err
	}
	return []extended{bgp.NewDefaultGatewayExtended()}, nil
}

func parseValidationState(words []string) ([]extended, error) {
	states := map[string]bgp.ValidationState{
		"valid": bgp.VALIDATION_STATE_VALID, "not-found": bgp.VALIDATION_STATE_NOT_FOUND, "invalid": bgp.VALIDATION_STATE_INVALID}
	s, ok := states[words[0]]
	if !ok {
		return nil, errors.New("invalid validation state")
	}
	return []extended{bgp.NewValidationExtended(s)}, nil
}

func parseColor(words []string) ([]extended, error) {
	if len(words) != 2 || words[0] != "color" {
		return nil, errors.New("invalid color")
	}
	n, err := strconv.ParseUint(words[1], 10, 32)
	if err != nil {
		return nil, errors.New("invalid color")
	}
	return []extended{bgp.NewColorExtended(uint32(n))}, nil
}

// parseLinkBandwidth accepts nothing: the stock client counts the arguments
// wrongly, refuses the right number and crashes on one fewer.
func parseLinkBandwidth(words []string) ([]extended, error) {
	if len(words) == 2 && words[0] == "lb" {
		if _, err := strconv.ParseUint(words[1], 10, 16); err != nil {
			return nil, errors.New("invalid lb ASN")
		}
	}
	return nil, errors.New("invalid link-bandwidth")
}

func parseMUP(words []string) ([]extended, error) {
	if len(words) != 2 || words[0] != "mup" {
		return nil, errors.New("invalid mup")
	}
	high, low, _ := strings.Cut(words[1], ":")
	h, err1 := strconv.ParseUint(high, 10, 16)
	l, err2 := strconv.ParseUint(low, 10, 32)
	if err1 != nil || err2 != nil {
		return nil, errors.New("invalid mup segment ID")
	}
	return []extended{bgp.NewMUPExtended(uint16(h), uint32(l))}, nil
}
