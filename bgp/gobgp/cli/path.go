package cli

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

// changePath adds a route to the table, or to that of a VRF, or deletes it.
func (c *client) changePath(vrf, op string, args []string) error {
	rf, err := c.family(bgp.RF_IPv4_UC)
	if err != nil {
		return err
	}
	if !unicast(rf) && !vpn(rf) && !labelled(rf) {
		return leftOut(fmt.Sprintf("rib %s -a %s", op, c.flags.family))
	}
	if slices.Contains(args, "pmsi") {
		return leftOut("pmsi")
	}
	if c.flags.force && !slices.Contains(args, "origin") {
		args = append(slices.Clone(args), "origin", "igp") // as all that the daemon announces, not as GoBGP's default
	}
	path, err := parsePath(rf, args)
	if err != nil {
		return c.pathUsage(rf, vrf, op, err)
	}
	table := api.TableType_GLOBAL
	if vrf != "" {
		table = api.TableType_VRF
	}
	var header metadata.MD
	if op == "add" {
		_, err = c.api.AddPath(c.ctx, &api.AddPathRequest{TableType: table, VrfId: vrf, Path: path}, grpc.Header(&header))
	} else {
		_, err = c.api.DeletePath(c.ctx, &api.DeletePathRequest{TableType: table, VrfId: vrf, Path: path}, grpc.Header(&header))
	}
	for _, note := range header.Get(NoteKey) {
		fmt.Fprintf(c.errs, "%s: %s\n", c.name, note)
	}
	return err
}

// parsePath reads "PREFIX [identifier N] [ATTRIBUTE VALUE]... [EXTENDED
// COMMUNITY]...". The attributes may stand anywhere.
func parsePath(rf bgp.RouteFamily, args []string) (*api.Path, error) {
	attrs, nextHop, args, err := parseAttributes(rf, args)
	if err != nil {
		return nil, err
	}
	var nlri bgp.AddrPrefixInterface
	switch {
	case unicast(rf):
		nlri, args, err = parseUnicast(rf, args)
	case vpn(rf):
		nlri, args, err = parseVPN(rf, args)
	default:
		nlri, args, err = parseLabelled(rf, args)
	}
	if err != nil {
		return nil, err
	}
	if rf == bgp.RF_IPv4_UC && net.ParseIP(nextHop).To4() != nil {
		attrs = append(attrs, bgp.NewPathAttributeNextHop(nextHop))
	} else {
		attrs = append(attrs, bgp.NewPathAttributeMpReachNLRI(nextHop, []bgp.AddrPrefixInterface{nlri}))
	}
	communities, err := parseExtendedCommunities(args)
	if err != nil {
		return nil, err
	}
	var plain, ipv6 []bgp.ExtendedCommunityInterface
	for _, e := range communities {
		if _, ok := e.(*bgp.RedirectIPv6AddressSpecificExtended); ok {
			ipv6 = append(ipv6, e)
		} else {
			plain = append(plain, e)
		}
	}
	if len(plain) > 0 {
		attrs = append(attrs, bgp.NewPathAttributeExtendedCommunities(plain))
	}
	if len(ipv6) > 0 {
		attrs = append(attrs, bgp.NewPathAttributeIP6ExtendedCommunities(ipv6))
	}
	slices.SortStableFunc(attrs, func(a, b bgp.PathAttributeInterface) int { return int(a.GetType()) - int(b.GetType()) })
	return apiutil.NewPath(nlri, false, attrs, time.Now())
}

var errFormat = errors.New("invalid format")

// cidr reads the prefix of an IPv4 or IPv6 family, host bits and all.
func cidr(s string, v6 bool) (ip net.IP, bits uint8, err error) {
	ip, network, err := net.ParseCIDR(s)
	if err != nil {
		return nil, 0, err
	}
	ones, _ := network.Mask.Size()
	if !v6 && ip.To4() == nil {
		return nil, 0, errors.New("invalid ipv4 prefix")
	}
	return ip, uint8(ones), nil
}

func parseUnicast(rf bgp.RouteFamily, args []string) (nlri bgp.AddrPrefixInterface, rest []string, err error) {
	if len(args) < 1 {
		return nil, nil, errFormat
	}
	v6 := rf == bgp.RF_IPv6_UC
	ip, bits, err := cidr(args[0], v6)
	if err != nil {
		return nil, nil, err
	}
	if v6 {
		nlri = bgp.NewIPv6AddrPrefix(bits, ip.String())
	} else {
		nlri = bgp.NewIPAddrPrefix(bits, ip.String())
	}
	rest, err = identifier(nlri, args[1:])
	return nlri, rest, err
}

// identifier takes the path identifier (RFC 7911) off args, if it is there.
func identifier(nlri bgp.AddrPrefixInterface, args []string) ([]string, error) {
	if len(args) < 2 || args[0] != "identifier" {
		return args, nil
	}
	id, err := strconv.ParseUint(args[1], 10, 32)
	if err != nil {
		return nil, errFormat
	}
	nlri.SetPathIdentifier(uint32(id))
	return args[2:], nil
}

func parseVPN(rf bgp.RouteFamily, args []string) (nlri bgp.AddrPrefixInterface, rest []string, err error) {
	if len(args) < 5 || args[1] != "label" || args[3] != "rd" {
		return nil, nil, errFormat
	}
	v6 := rf == bgp.RF_IPv6_VPN
	ip, bits, err := cidr(args[0], true) // the family is looked at last
	if err != nil {
		return nil, nil, err
	}
	label, err := strconv.ParseUint(args[2], 10, 32)
	if err != nil {
		return nil, nil, errFormat
	}
	rd, err := bgp.ParseRouteDistinguisher(args[4])
	if err != nil {
		return nil, nil, err
	}
	labels := *bgp.NewMPLSLabelStack(uint32(label))
	switch {
	case v6:
		nlri = bgp.NewLabeledVPNIPv6AddrPrefix(bits, ip.String(), labels, rd)
	case ip.To4() == nil:
		return nil, nil, errors.New("invalid ipv4 prefix")
	default:
		nlri = bgp.NewLabeledVPNIPAddrPrefix(bits, ip.String(), labels, rd)
	}
	rest, err = identifier(nlri, args[5:])
	return nlri, rest, err
}

func parseLabelled(rf bgp.RouteFamily, args []string) (nlri bgp.AddrPrefixInterface, rest []string, err error) {
	if len(args) < 2 {
		return nil, nil, errFormat
	}
	v6 := rf == bgp.RF_IPv6_MPLS
	ip, bits, err := cidr(args[0], true)
	if err != nil {
		return nil, nil, err
	}
	labels, err := bgp.ParseMPLSLabelStack(args[1])
	if err != nil {
		return nil, nil, err
	}
	switch is4 := ip.To4() != nil; {
	case !v6 && !is4:
		return nil, nil, errors.New("invalid ipv4 prefix")
	case v6 && is4:
		return nil, nil, errors.New("invalid ipv6 prefix")
	case v6:
		nlri = bgp.NewLabeledIPv6AddrPrefix(bits, ip.String(), *labels)
	default:
		nlri = bgp.NewLabeledIPAddrPrefix(bits, ip.String(), *labels)
	}
	return nlri, args[2:], nil
}

// pathUsage explains a route that cannot be read.
func (c *client) pathUsage(rf bgp.RouteFamily, vrf, op string, err error) error {
	where := "global"
	if vrf != "" {
		where = "vrf " + vrf
	}
	var name, more string
	switch rf {
	case bgp.RF_IPv4_UC:
		name, more = "ipv4", "[identifier <VALUE>]"
	case bgp.RF_IPv6_UC:
		name, more = "ipv6", "[identifier <VALUE>]"
	case bgp.RF_IPv4_VPN:
		name, more = "vpnv4", "label <LABEL> rd <RD> [rt <RT>]"
	case bgp.RF_IPv6_VPN:
		name, more = "vpnv6", "label <LABEL> rd <RD> [rt <RT>]"
	case bgp.RF_IPv4_MPLS:
		name, more = "ipv4-mpls", "<LABEL>"
	case bgp.RF_IPv6_MPLS:
		name, more = "ipv6-mpls", "<LABEL>"
	}
	return fmt.Errorf("error: %w\nusage: %s rib -a %s %s <PREFIX> %s %s", err, where, name, op, more, attributeUsage)
}

const attributeUsage = `[origin { igp | egp | incomplete }] [aspath <ASPATH>] [nexthop <ADDRESS>] [med <NUM>] ` +
	`[local-pref <NUM>] [community <COMMUNITY>] [aigp metric <NUM>] [large-community <LARGE_COMMUNITY>] [aggregator <AGGREGATOR>]
    <ASPATH>: <AS>[,<AS>],
    <COMMUNITY>: xxx:xxx|internet|planned-shut|accept-own|route-filter-translated-v4|route-filter-v4|` +
	`route-filter-translated-v6|route-filter-v6|llgr-stale|no-llgr|blackhole|no-export|no-advertise|no-export-subconfed|no-peer,
    <LARGE_COMMUNITY>: xxx:xxx:xxx[,<LARGE_COMMUNITY>],
    <AGGREGATOR>: <AS>:<ADDRESS>`
