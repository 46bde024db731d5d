package cli

import (
	"fmt"
	"net/netip"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

func family(rf bgp.RouteFamily) *api.Family {
	return apiutil.ToApiFamily(bgp.RouteFamilyToAfiSafi(rf))
}

// familyNames are the values of -a.
var familyNames = map[string]bgp.RouteFamily{
	"ipv4": bgp.RF_IPv4_UC, "v4": bgp.RF_IPv4_UC, "4": bgp.RF_IPv4_UC,
	"ipv6": bgp.RF_IPv6_UC, "v6": bgp.RF_IPv6_UC, "6": bgp.RF_IPv6_UC,
	"ipv4-l3vpn": bgp.RF_IPv4_VPN, "vpnv4": bgp.RF_IPv4_VPN, "vpn-ipv4": bgp.RF_IPv4_VPN,
	"ipv6-l3vpn": bgp.RF_IPv6_VPN, "vpnv6": bgp.RF_IPv6_VPN, "vpn-ipv6": bgp.RF_IPv6_VPN,
	"ipv4-labeled": bgp.RF_IPv4_MPLS, "ipv4-labelled": bgp.RF_IPv4_MPLS, "ipv4-mpls": bgp.RF_IPv4_MPLS,
	"ipv6-labeled": bgp.RF_IPv6_MPLS, "ipv6-labelled": bgp.RF_IPv6_MPLS, "ipv6-mpls": bgp.RF_IPv6_MPLS,
	"evpn": bgp.RF_EVPN, "l2vpn-vpls": bgp.RF_VPLS,
	"encap": bgp.RF_IPv4_ENCAP, "ipv4-encap": bgp.RF_IPv4_ENCAP, "ipv6-encap": bgp.RF_IPv6_ENCAP,
	"rtc":           bgp.RF_RTC_UC,
	"ipv4-flowspec": bgp.RF_FS_IPv4_UC, "ipv4-flow": bgp.RF_FS_IPv4_UC, "flow4": bgp.RF_FS_IPv4_UC,
	"ipv6-flowspec": bgp.RF_FS_IPv6_UC, "ipv6-flow": bgp.RF_FS_IPv6_UC, "flow6": bgp.RF_FS_IPv6_UC,
	"ipv4-l3vpn-flowspec": bgp.RF_FS_IPv4_VPN, "ipv4vpn-flowspec": bgp.RF_FS_IPv4_VPN, "flowvpn4": bgp.RF_FS_IPv4_VPN,
	"ipv6-l3vpn-flowspec": bgp.RF_FS_IPv6_VPN, "ipv6vpn-flowspec": bgp.RF_FS_IPv6_VPN, "flowvpn6": bgp.RF_FS_IPv6_VPN,
	"l2vpn-flowspec": bgp.RF_FS_L2_VPN,
	"opaque":         bgp.RF_OPAQUE,
	"ls":             bgp.RF_LS, "linkstate": bgp.RF_LS, "bgpls": bgp.RF_LS,
	"ipv4-mup": bgp.RF_MUP_IPv4, "mup-ipv4": bgp.RF_MUP_IPv4, "mup4": bgp.RF_MUP_IPv4,
	"ipv6-mup": bgp.RF_MUP_IPv6, "mup-ipv6": bgp.RF_MUP_IPv6, "mup6": bgp.RF_MUP_IPv6,
}

// family is what -a says, else otherwise.
func (c *client) family(otherwise bgp.RouteFamily) (bgp.RouteFamily, error) {
	if c.flags.family == "" {
		return otherwise, nil
	}
	rf, ok := familyNames[c.flags.family]
	if !ok {
		return 0, fmt.Errorf("unsupported address family: %s", c.flags.family)
	}
	return rf, nil
}

// familyOf is the unicast family of a neighbor's address.
func familyOf(address string) bgp.RouteFamily {
	if a, err := netip.ParseAddr(address); err == nil && !a.Unmap().Is4() {
		return bgp.RF_IPv6_UC
	}
	return bgp.RF_IPv4_UC
}

func unicast(rf bgp.RouteFamily) bool { return rf == bgp.RF_IPv4_UC || rf == bgp.RF_IPv6_UC }
func labelled(rf bgp.RouteFamily) bool {
	return rf == bgp.RF_IPv4_MPLS || rf == bgp.RF_IPv6_MPLS
}
func vpn(rf bgp.RouteFamily) bool { return rf == bgp.RF_IPv4_VPN || rf == bgp.RF_IPv6_VPN }

// familyText is protobuf's text of a family, whose blanks the library varies
// from build to build.
func familyText(f *api.Family) string {
	return strings.Join(strings.Fields(f.String()), " ")
}

// leftOut is the answer where the stock client can and we do not.
func leftOut(what string) error {
	return fmt.Errorf("%s: left out; see `catchment help gobgp-differences`", what)
}
