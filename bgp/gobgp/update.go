package gobgp

import (
	"net"
	"net/netip"

	"github.com/osrg/gobgp/v3/pkg/log"
	packet "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

func neighborOf(f log.Fields) (netip.Addr, bool) {
	s, _ := f["Key"].(string)
	a, err := netip.ParseAddr(s)
	return a, err == nil && a != decoyAddr
}

// prefixesOf reads an UPDATE from the fields of GoBGP's log line.
func prefixesOf(f log.Fields) (announced, withdrawn []netip.Prefix) {
	nlri, _ := f["nlri"].([]*packet.IPAddrPrefix)
	for _, n := range nlri {
		announced = appendPrefix(announced, n)
	}
	gone, _ := f["withdrawals"].([]*packet.IPAddrPrefix)
	for _, n := range gone {
		withdrawn = appendPrefix(withdrawn, n)
	}
	attrs, _ := f["attributes"].([]packet.PathAttributeInterface)
	for _, a := range attrs {
		switch x := a.(type) {
		case *packet.PathAttributeMpReachNLRI:
			for _, n := range x.Value {
				announced = appendPrefix(announced, n)
			}
		case *packet.PathAttributeMpUnreachNLRI:
			for _, n := range x.Value {
				withdrawn = appendPrefix(withdrawn, n)
			}
		}
	}
	return announced, withdrawn
}

func appendPrefix(to []netip.Prefix, n packet.AddrPrefixInterface) []netip.Prefix {
	p, ok := prefixOf(n)
	if !ok {
		return to
	}
	return append(to, p)
}

// prefixOf turns a unicast NLRI into our type; other families are not ours.
func prefixOf(n packet.AddrPrefixInterface) (netip.Prefix, bool) {
	var ip net.IP
	var bits uint8
	switch x := n.(type) {
	case *packet.IPAddrPrefix:
		ip, bits = x.Prefix.To4(), x.Length
	case *packet.IPv6AddrPrefix:
		ip, bits = x.Prefix.To16(), x.Length
	}
	addr, ok := netip.AddrFromSlice(ip)
	return netip.PrefixFrom(addr, int(bits)).Masked(), ok // by the API it may have host bits
}
