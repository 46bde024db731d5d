package gobgp

import (
	"fmt"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/catchment/catchment/bgp"
)

// markAS and markKind begin the large community that is put on everything
// that Set announces, and that is taken off again before it leaves: the
// guard lets nothing pass without it. Its last part is the variant. AS
// 4294967295 is reserved (RFC 7300), so no network can use it for its own.
const (
	markAS   = 4294967295
	markKind = 0x43415443
)

func mark(variant uint32) string { return fmt.Sprintf("%d:%d:%d", uint32(markAS), markKind, variant) }

// maxPrepend keeps an AS path within what other routers accept.
const maxPrepend = 32

// maxCommunities and maxLarge keep the attributes within an UPDATE (4096
// bytes, RFC 4271 section 4.1), with room for what policies add. v3 panics at
// what does not fit, and the process ends.
const (
	maxCommunities = 256
	maxLarge       = 100
)

// validate refuses an announcement that cannot be sent as it is meant.
func validate(a bgp.Announcement) error {
	if !a.Prefix.IsValid() || a.Prefix != a.Prefix.Masked() {
		return fmt.Errorf("%s: not a prefix (host bits set?)", a.Prefix)
	}
	if err := validateAttributes(a.Prefix, a.Attributes); err != nil {
		return fmt.Errorf("%s: %w", a.Prefix, err)
	}
	for n, o := range a.Neighbors {
		if err := validateAttributes(a.Prefix, o.Attributes); err != nil {
			return fmt.Errorf("%s: neighbor %s: %w", a.Prefix, n, err)
		}
	}
	return nil
}

func validateAttributes(p netip.Prefix, a bgp.Attributes) error {
	if a.Prepend < 0 || a.Prepend > maxPrepend {
		return fmt.Errorf("prepend %d: want 0 to %d", a.Prepend, maxPrepend)
	}
	if a.NextHop.IsValid() && a.NextHop.Is4() != p.Addr().Is4() {
		return fmt.Errorf("next hop %s is of the other address family", a.NextHop)
	}
	if n := len(a.Communities); n > maxCommunities {
		return fmt.Errorf("%d communities: at most %d", n, maxCommunities)
	}
	if n := len(a.LargeCommunities); n > maxLarge {
		return fmt.Errorf("%d large communities: at most %d", n, maxLarge)
	}
	for _, c := range a.LargeCommunities {
		if c.Global == markAS {
			return fmt.Errorf("large community %s: AS 4294967295 is reserved (RFC 7300)", c)
		}
	}
	return nil
}

// toPath builds the path that goes into GoBGP's table. Prepends and what
// differs by neighbor are not in it: export policy adds them (see variant).
func toPath(a bgp.Announcement, variant uint32, now time.Time) (*api.Path, error) {
	addr := a.Prefix.Addr()
	next := a.NextHop
	if !next.IsValid() { // unspecified: GoBGP puts in the session's address
		next = netip.IPv4Unspecified()
		if addr.Is6() {
			next = netip.IPv6Unspecified()
		}
	}
	attrs := []packet.PathAttributeInterface{packet.NewPathAttributeOrigin(packet.BGP_ORIGIN_ATTR_TYPE_IGP)}
	nlri := toNLRI(a.Prefix)
	if addr.Is4() {
		attrs = append(attrs, packet.NewPathAttributeNextHop(next.String()))
	} else {
		attrs = append(attrs, packet.NewPathAttributeMpReachNLRI(next.String(), []packet.AddrPrefixInterface{nlri}))
	}
	if a.MED != nil {
		attrs = append(attrs, packet.NewPathAttributeMultiExitDisc(*a.MED))
	}
	if a.LocalPref != nil {
		attrs = append(attrs, packet.NewPathAttributeLocalPref(*a.LocalPref))
	}
	if len(a.Communities) > 0 {
		cs := make([]uint32, 0, len(a.Communities))
		for _, c := range a.Communities {
			cs = append(cs, uint32(c))
		}
		attrs = append(attrs, packet.NewPathAttributeCommunities(cs))
	}
	large := make([]*packet.LargeCommunity, 0, len(a.LargeCommunities)+1)
	for _, c := range a.LargeCommunities {
		large = append(large, &packet.LargeCommunity{ASN: c.Global, LocalData1: c.Local1, LocalData2: c.Local2})
	}
	large = append(large, &packet.LargeCommunity{ASN: markAS, LocalData1: markKind, LocalData2: variant})
	attrs = append(attrs, packet.NewPathAttributeLargeCommunities(large))
	path, err := apiutil.NewPath(nlri, false, attrs, now)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.Prefix, err)
	}
	return path, nil
}

// toWithdrawal builds the path that DeletePath wants.
func toWithdrawal(p netip.Prefix, now time.Time) (*api.Path, error) {
	path, err := toPath(bgp.Announcement{Prefix: p}, 0, now)
	if err != nil {
		return nil, err
	}
	path.IsWithdraw = true
	return path, nil
}

func toNLRI(p netip.Prefix) packet.AddrPrefixInterface {
	if p.Addr().Is4() {
		return packet.NewIPAddrPrefix(uint8(p.Bits()), p.Addr().String())
	}
	return packet.NewIPv6AddrPrefix(uint8(p.Bits()), p.Addr().String())
}

func familyOf(v6 bool) *api.Family {
	if v6 {
		return &api.Family{Afi: api.Family_AFI_IP6, Safi: api.Family_SAFI_UNICAST}
	}
	return &api.Family{Afi: api.Family_AFI_IP, Safi: api.Family_SAFI_UNICAST}
}

// fromPath reads a learned path. It reports false for what is not a unicast
// route of a neighbor: local routes and End-of-RIB.
func fromPath(p *api.Path) (bgp.Path, bool) {
	neighbor, err := netip.ParseAddr(p.NeighborIp)
	if err != nil || p.Nlri == nil && len(p.NlriBinary) == 0 {
		return bgp.Path{}, false
	}
	nlri, err := apiutil.GetNativeNlri(p)
	if err != nil {
		return bgp.Path{}, false
	}
	prefix, ok := prefixOf(nlri)
	if !ok {
		return bgp.Path{}, false
	}
	out := bgp.Path{Prefix: prefix, Neighbor: neighbor, PathID: p.Identifier, Stale: p.Stale}
	attrs, err := apiutil.GetNativePathAttributes(p)
	if err != nil {
		return bgp.Path{}, false
	}
	for _, a := range attrs {
		readAttribute(&out, a)
	}
	return out, true
}

func readAttribute(out *bgp.Path, a packet.PathAttributeInterface) {
	switch x := a.(type) {
	case *packet.PathAttributeNextHop:
		out.NextHop = addrOf(x.Value)
	case *packet.PathAttributeMpReachNLRI:
		out.NextHop = addrOf(x.Nexthop)
	case *packet.PathAttributeAsPath:
		for _, seg := range x.Value {
			out.ASPath = append(out.ASPath, seg.GetAS()...)
		}
	case *packet.PathAttributeMultiExitDisc:
		med := x.Value
		out.MED = &med
	case *packet.PathAttributeCommunities:
		for _, c := range x.Value {
			out.Communities = append(out.Communities, bgp.Community(c))
		}
	case *packet.PathAttributeLargeCommunities:
		for _, c := range x.Values {
			out.LargeCommunities = append(out.LargeCommunities,
				bgp.LargeCommunity{Global: c.ASN, Local1: c.LocalData1, Local2: c.LocalData2})
		}
	}
}

func addrOf(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// prefixOfAPI reads the prefix of a unicast path of the API.
func prefixOfAPI(p *api.Path) (netip.Prefix, bool) {
	if p == nil || p.Nlri == nil && len(p.NlriBinary) == 0 {
		return netip.Prefix{}, false
	}
	nlri, err := apiutil.GetNativeNlri(p)
	if err != nil {
		return netip.Prefix{}, false
	}
	return prefixOf(nlri)
}
