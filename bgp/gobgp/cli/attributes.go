package cli

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// attributeWord is a path attribute as it is written: a word, then args
// values.
type attributeWord struct {
	word  string
	args  int
	must  error // the values' lack is this error; nil: the word is none of ours then
	parse func(values []string) (bgp.PathAttributeInterface, error)
}

var attributeWords = []attributeWord{
	{"origin", 1, nil, parseOrigin},
	{"aspath", 1, nil, parseASPath},
	{"med", 1, nil, number(func(n uint32) bgp.PathAttributeInterface { return bgp.NewPathAttributeMultiExitDisc(n) })},
	{"local-pref", 1, nil, number(func(n uint32) bgp.PathAttributeInterface { return bgp.NewPathAttributeLocalPref(n) })},
	{"aggregator", 1, errAggregator, parseAggregator},
	{"community", 1, nil, parseCommunities},
	{"aigp", 2, errors.New("invalid aigp format"), parseAIGP},
	{"large-community", 1, nil, parseLargeCommunities},
}

var errAggregator = errors.New("invalid aggregator format")

// parseAttributes takes the attributes and the next hop off args; the first
// of each word counts.
func parseAttributes(rf bgp.RouteFamily, args []string) (attrs []bgp.PathAttributeInterface, nextHop string, rest []string, err error) {
	for _, w := range attributeWords {
		var values []string
		if args, values, err = take(args, w.word, w.args, w.must); err != nil {
			return nil, "", nil, err
		}
		if values == nil {
			if w.word == "origin" {
				attrs = append(attrs, bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_INCOMPLETE))
			}
			continue
		}
		a, err := w.parse(values)
		if err != nil {
			return nil, "", nil, err
		}
		attrs = append(attrs, a)
	}
	nextHop = "0.0.0.0"
	if afi, _ := bgp.RouteFamilyToAfiSafi(rf); afi == bgp.AFI_IP6 {
		nextHop = "::"
	}
	args, given, _ := take(args, "nexthop", 1, nil)
	if given != nil {
		if nextHop = given[0]; net.ParseIP(nextHop) == nil {
			return nil, "", nil, errors.New("invalid nexthop address")
		}
	}
	return attrs, nextHop, args, nil
}

// take removes the first word that has n values after it, and the values.
func take(args []string, word string, n int, must error) (rest, values []string, err error) {
	for i, a := range args {
		switch {
		case a != word:
		case len(args) > i+n:
			return slices.Concat(args[:i], args[i+n+1:]), args[i+1 : i+n+1], nil
		case must != nil:
			return nil, nil, must
		}
	}
	return args, nil, nil
}

func parseOrigin(v []string) (bgp.PathAttributeInterface, error) {
	switch v[0] {
	case "igp":
		return bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP), nil
	case "egp":
		return bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_EGP), nil
	case "incomplete":
		return bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_INCOMPLETE), nil
	}
	return nil, fmt.Errorf("invalid origin type. expect [igp|egp|incomplete] but %s", v[0])
}

func number(f func(uint32) bgp.PathAttributeInterface) func([]string) (bgp.PathAttributeInterface, error) {
	return func(v []string) (bgp.PathAttributeInterface, error) {
		n, err := strconv.ParseUint(v[0], 10, 32)
		if err != nil {
			return nil, err
		}
		return f(uint32(n)), nil
	}
}

var (
	asSetBrace  = regexp.MustCompile(`[{}]`)
	asSeparator = regexp.MustCompile(`,|\s+`)
)

// parseASPath reads "10 20 {30,40} 50": what is in braces is a set.
func parseASPath(v []string) (bgp.PathAttributeInterface, error) {
	params := []bgp.AsPathParamInterface{}
	for i, segment := range asSetBrace.Split(v[0], -1) {
		if segment == "" {
			continue
		}
		as := []uint32{}
		for _, n := range asSeparator.Split(segment, -1) {
			if n == "" {
				continue
			}
			a, err := parseAS(n)
			if err != nil {
				return nil, err
			}
			as = append(as, a)
		}
		kind := uint8(bgp.BGP_ASPATH_ATTR_TYPE_SEQ)
		if i%2 == 1 {
			kind = bgp.BGP_ASPATH_ATTR_TYPE_SET
		}
		params = append(params, bgp.NewAs4PathParam(kind, as))
	}
	return bgp.NewPathAttributeAsPath(params), nil
}

// parseAS reads an AS number, plain or as HIGH.LOW (RFC 5396). Halves that are
// no numbers count as AS 0, as in the stock client.
func parseAS(s string) (uint32, error) {
	high, low, dotted := strings.Cut(s, ".")
	if !dotted {
		n, err := strconv.ParseUint(s, 10, 32)
		return uint32(n), err
	}
	low, _, _ = strings.Cut(low, ".")
	h, err1 := strconv.ParseUint(high, 10, 16)
	l, err2 := strconv.ParseUint(low, 10, 16)
	if err1 != nil || err2 != nil {
		return 0, nil
	}
	return uint32(h<<16 | l), nil
}

func parseAggregator(v []string) (bgp.PathAttributeInterface, error) {
	as, address, ok := strings.Cut(v[0], ":")
	if !ok {
		return nil, errAggregator
	}
	n, err := strconv.ParseUint(as, 10, 32)
	if err != nil {
		return nil, errAggregator
	}
	return bgp.NewPathAttributeAggregator(uint32(n), net.ParseIP(address).String()), nil
}

func parseAIGP(v []string) (bgp.PathAttributeInterface, error) {
	if v[0] != "metric" {
		return nil, fmt.Errorf("unknown aigp type: %s", v[0])
	}
	n, err := strconv.ParseUint(v[1], 10, 64)
	if err != nil {
		return nil, err
	}
	return bgp.NewPathAttributeAigp([]bgp.AigpTLVInterface{bgp.NewAigpTLVIgpMetric(n)}), nil
}

func parseCommunities(v []string) (bgp.PathAttributeInterface, error) {
	var all []uint32
	for _, s := range strings.Split(v[0], ",") {
		n, err := parseCommunity(s)
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return bgp.NewPathAttributeCommunities(all), nil
}

var communityPair = regexp.MustCompile(`(\d+):(\d+)`)

// parseCommunity reads a number, AS:NUMBER or a well-known name. Halves above
// 65535 count as 65535, as in the stock client.
func parseCommunity(s string) (uint32, error) {
	if n, err := strconv.ParseUint(s, 10, 32); err == nil {
		return uint32(n), nil
	}
	if m := communityPair.FindStringSubmatch(s); m != nil {
		high, _ := strconv.ParseUint(m[1], 10, 16)
		low, _ := strconv.ParseUint(m[2], 10, 16)
		return uint32(high<<16 | low), nil
	}
	for n, name := range bgp.WellKnownCommunityNameMap {
		if s == name {
			return uint32(n), nil
		}
	}
	return 0, fmt.Errorf("failed to parse %s as community", s)
}

func parseLargeCommunities(v []string) (bgp.PathAttributeInterface, error) {
	var all []*bgp.LargeCommunity
	for _, s := range strings.Split(v[0], ",") {
		l, err := bgp.ParseLargeCommunity(s)
		if err != nil {
			return nil, err
		}
		all = append(all, l)
	}
	return bgp.NewPathAttributeLargeCommunities(all), nil
}
