package gobgp_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// TestOnlyAndWhole: routes for one internal neighbor alone, with a next hop
// and attributes of their own, beside what all others hear or do not.
func TestOnlyAndWhole(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, peerC := loopback4(77)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
		Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	pe := map[netip.Addr]*bgptest.Neighbor{}
	for i, addr := range []netip.Addr{peerB, peerC} {
		pe[addr] = bgptest.StartNeighbor(t, bgptest.Config{AS: ourAS, Address: addr,
			RouterID: netip.AddrFrom4([4]byte{10, 255, 0, byte(90 + i)}).String(),
			Peers:    []map[string]any{session(addr, us4, ourAS, passive, families("ipv4-unicast", "ipv6-unicast"))}})
	}
	two := families("ipv4-unicast", "ipv6-unicast")
	s := start(t, gobgp.Options{Config: config(t, us4,
		session(us4, peerA, asA), session(us4, peerB, ourAS, two), session(us4, peerC, ourAS, two))})
	to := func(hop string) bgp.Override {
		return bgp.Override{Whole: true, Attributes: bgp.Attributes{LocalPref: ptr(200), NextHop: netip.MustParseAddr(hop)}}
	}
	set := func(only bool, base bgp.Attributes, p netip.Prefix, n map[netip.Addr]bgp.Override) bgp.Announcement {
		return bgp.Announcement{Prefix: p, Only: only, Attributes: base, Neighbors: n}
	}
	rich := bgp.Attributes{Prepend: 2, Communities: []bgp.Community{bgp.GracefulShutdown},
		LargeCommunities: []bgp.LargeCommunity{{Global: 64500, Local1: 1, Local2: 1}}}
	s.set(t, set(true, rich, web4, map[netip.Addr]bgp.Override{peerB: to("192.0.2.11")}),
		set(true, rich, web6, map[netip.Addr]bgp.Override{peerB: to("2001:db8::11"), peerC: to("2001:db8::12")}),
		announce(web4b))
	a.AwaitRoute(web4b, nil)
	p := pe[peerB].AwaitRoute(web4, nil)
	if p.NextHop.String() != "192.0.2.11" || len(p.ASPath)+len(p.Communities)+len(p.LargeCommunities) != 0 {
		t.Errorf("whole: %+v", p)
	}
	for addr, hop := range map[netip.Addr]string{peerB: "2001:db8::11", peerC: "2001:db8::12"} {
		pe[addr].AwaitRoute(web6, func(p bgp.Path) bool { return p.NextHop.String() == hop })
	}
	s.flush(t)
	if got := a.All(); !slices.Equal(got, []netip.Prefix{web4b}) {
		t.Errorf("the external neighbor has %v", got)
	}
	// Moved for one, and announced to all others beside it.
	s.set(t, set(false, rich, web4, map[netip.Addr]bgp.Override{peerB: to("192.0.2.12")}), announce(web4b))
	pe[peerB].AwaitRoute(web4, func(p bgp.Path) bool { return p.NextHop.String() == "192.0.2.12" && len(p.Communities) == 0 })
	p = a.AwaitRoute(web4, nil)
	if len(p.ASPath) != 3 || len(p.Communities) != 1 || len(p.LargeCommunities) != 1 {
		t.Errorf("beside a whole one: %+v", p)
	}
	pe[peerC].AwaitRoute(web4, func(p bgp.Path) bool { return p.NextHop == us4 })
	pe[peerB].AwaitNone(web6)
	if n := withdrawals(pe[peerB], web4); n != 0 {
		t.Errorf("%d withdrawals of what only moved", n)
	}
	// And nobody's: the others lose it, the one keeps it, then that one too.
	s.set(t, set(true, rich, web4, map[netip.Addr]bgp.Override{peerB: to("192.0.2.12")}), announce(web4b))
	a.AwaitNone(web4)
	pe[peerC].AwaitNone(web4)
	s.set(t, set(true, rich, web4, nil), announce(web4b))
	pe[peerB].AwaitNone(web4)
	s.flush(t)
}
