package gobgp_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

func TestAnnounceAndWithdrawBothFamilies(t *testing.T) {
	t.Parallel()
	us4, peerA, _, _ := loopback4(10)
	us6, peer6 := loopback6(10)
	addresses(t, us6, peer6)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
		Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	b := bgptest.StartNeighbor(t, bgptest.Config{AS: asB, Address: peer6,
		Peers: []map[string]any{session(peer6, us6, ourAS)}})
	written := make(chan time.Duration, 16)
	c, err := gobgp.ParseConfig(dual(us4, us6, session(us4, peerA, asA), session(us6, peer6, asB, passive)))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, gobgp.Options{Config: c, OnWritten: func(_ time.Time, d time.Duration) { written <- d }})
	s.set(t, announce(web4), announce(web6))
	p := a.AwaitRoute(web4, nil)
	if !slices.Equal(p.ASPath, []uint32{ourAS}) || p.NextHop != us4 || p.MED != nil ||
		len(p.Communities) != 0 || len(p.LargeCommunities) != 0 {
		t.Errorf("IPv4 route: %+v", p)
	}
	q := b.AwaitRoute(web6, nil)
	if !slices.Equal(q.ASPath, []uint32{ourAS}) || q.NextHop != us6 || len(q.LargeCommunities) != 0 {
		t.Errorf("IPv6 route: %+v", q)
	}
	s.flush(t) // the neighbor may have it before we know that it is written
	if !s.OnWire(web4) || !s.OnWire(web6) || s.OnWire(web4b) {
		t.Errorf("on the wire: %v, %v, and %v of what was never announced", s.OnWire(web4), s.OnWire(web6), s.OnWire(web4b))
	}
	s.set(t, announce(web6))
	s.flush(t)
	a.AwaitNone(web4)
	if s.OnWire(web4) {
		t.Error("withdrawn and still on the wire")
	}
	if d := <-written; d <= 0 || d > bgptest.Timeout {
		t.Errorf("OnWritten: %v", d)
	}
	if got := b.All(); !slices.Equal(got, []netip.Prefix{web6}) {
		t.Errorf("the IPv6 neighbor has %v", got)
	}
	s.set(t)
	b.AwaitNone(web6)
	if len(s.Announced()) != 0 {
		t.Errorf("still announced: %v", s.Announced())
	}
	s.set(t, announce(web4))
	a.AwaitRoute(web4, nil)
	a.Close()
	for deadline := time.Now().Add(bgptest.Timeout); s.OnWire(web4); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("on the wire of a session that is gone")
		}
	}
}

// dual listens on both families.
func dual(us4, us6 netip.Addr, neighbors ...map[string]any) map[string]any {
	m := bgptest.Section(ourAS, "10.255.255.1", us4, 0, neighbors...)
	overlay(m, conf("global", "local-address-list", []any{us4.String(), us6.String()}))
	return m
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	us4, peerA, _, _ := loopback4(11)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
		Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerA, asA))})
	s.set(t, bgp.Announcement{Prefix: web4, Attributes: bgp.Attributes{
		MED: ptr(0), Prepend: 2, NextHop: netip.MustParseAddr("192.0.2.77"),
		Communities:      []bgp.Community{64500<<16 | 100, bgp.GracefulShutdown},
		LargeCommunities: []bgp.LargeCommunity{{Global: 64500, Local1: 1, Local2: 4294967295}},
	}})
	p := a.AwaitRoute(web4, nil)
	if !slices.Equal(p.ASPath, []uint32{ourAS, ourAS, ourAS}) || p.MED == nil || *p.MED != 0 ||
		p.NextHop.String() != "192.0.2.77" ||
		!slices.Equal(p.Communities, []bgp.Community{64500<<16 | 100, bgp.GracefulShutdown}) ||
		!slices.Equal(p.LargeCommunities, []bgp.LargeCommunity{{Global: 64500, Local1: 1, Local2: 4294967295}}) {
		t.Errorf("route: %+v", p)
	}
	s.set(t, bgp.Announcement{Prefix: web4, Attributes: bgp.Attributes{MED: ptr(50)}})
	p = a.AwaitRoute(web4, func(p bgp.Path) bool { return p.MED != nil && *p.MED == 50 })
	if len(p.ASPath) != 1 || p.NextHop != us4 || len(p.Communities)+len(p.LargeCommunities) != 0 {
		t.Errorf("plainer: %+v", p)
	}
	s.set(t, announce(web4))
	a.AwaitRoute(web4, func(p bgp.Path) bool { return p.MED == nil })
	if n := withdrawals(a, web4); n != 0 {
		t.Errorf("%d withdrawals on the way", n)
	}
}

func TestOverridesByNeighbor(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, peerC := loopback4(12)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
		Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	b := bgptest.StartNeighbor(t, bgptest.Config{AS: asB, Address: peerB,
		Peers: []map[string]any{session(peerB, us4, ourAS, passive)}})
	inside := bgptest.StartNeighbor(t, bgptest.Config{AS: ourAS, Address: peerC, RouterID: "10.255.0.99",
		Peers: []map[string]any{session(peerC, us4, ourAS, passive)}})
	s := start(t, gobgp.Options{Config: config(t, us4,
		session(us4, peerA, asA), session(us4, peerB, asB), session(us4, peerC, ourAS))})
	base := bgp.Attributes{MED: ptr(10), Prepend: 1, Communities: []bgp.Community{1<<16 | 1},
		LargeCommunities: []bgp.LargeCommunity{{Global: 1, Local1: 1, Local2: 1}}}
	s.set(t, bgp.Announcement{Prefix: web4, Attributes: base, Neighbors: map[netip.Addr]bgp.Override{
		peerB: {Attributes: bgp.Attributes{MED: ptr(99), Prepend: 3, Communities: []bgp.Community{2<<16 | 2},
			LargeCommunities: []bgp.LargeCommunity{{Global: 2, Local1: 2, Local2: 2}}, NextHop: netip.MustParseAddr("10.9.9.9")}},
	}})
	p, q, r := a.AwaitRoute(web4, nil), b.AwaitRoute(web4, nil), inside.AwaitRoute(web4, nil)
	if len(p.ASPath) != 2 || *p.MED != 10 || p.Communities[0] != 1<<16|1 || p.LargeCommunities[0].Global != 1 ||
		len(p.LargeCommunities) != 1 {
		t.Errorf("not overridden: %+v", p)
	}
	if len(q.ASPath) != 4 || *q.MED != 99 || !slices.Equal(q.Communities, []bgp.Community{2<<16 | 2}) ||
		!slices.Equal(q.LargeCommunities, []bgp.LargeCommunity{{Global: 2, Local1: 2, Local2: 2}}) || q.NextHop.String() != "10.9.9.9" {
		t.Errorf("overridden: %+v", q)
	}
	if len(r.ASPath) != 0 || len(r.LargeCommunities) != 1 {
		t.Errorf("iBGP must not see a prepend: %+v", r)
	}
	// Withheld: a withdrawal to B and nothing at all to the others.
	before := len(a.Events())
	s.set(t, bgp.Announcement{Prefix: web4, Attributes: base, Neighbors: map[netip.Addr]bgp.Override{peerB: {Withhold: true}}})
	s.flush(t)
	b.AwaitNone(web4)
	a.AwaitRoute(web4, nil)
	inside.AwaitRoute(web4, nil)
	if got := a.Events()[before:]; slices.ContainsFunc(got, func(e bgptest.Event) bool { return e.Withdrawn }) {
		t.Errorf("A saw %+v", got)
	}
	// And back; a new session gets the right thing from the start.
	s.set(t, bgp.Announcement{Prefix: web4, Attributes: base, Neighbors: map[netip.Addr]bgp.Override{
		peerA: {Withhold: true}, peerB: {Attributes: bgp.Attributes{MED: ptr(7)}}}})
	b.AwaitRoute(web4, func(p bgp.Path) bool { return len(p.ASPath) == 2 && *p.MED == 7 })
	a.AwaitNone(web4)
	if err := s.ResetPeer(t.Context(), peerA, "test"); err != nil {
		t.Fatal(err)
	}
	a.AwaitDown(us4)
	a.AwaitUp(us4)
	s.set(t, bgp.Announcement{Prefix: web4, Attributes: base, Neighbors: map[netip.Addr]bgp.Override{peerA: {Withhold: true}}},
		announce(web4b))
	a.AwaitRoute(web4b, nil)
	if len(a.Paths(web4)) != 0 {
		t.Error("the withheld route came with the new session")
	}
}

func TestManyVariants(t *testing.T) {
	t.Parallel()
	us4, peerA, _, _ := loopback4(13)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
		Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerA, asA))})
	for i := range uint32(100) {
		s.set(t, bgp.Announcement{Prefix: web4, Neighbors: map[netip.Addr]bgp.Override{
			peerA: {Withhold: i%10 == 9, Attributes: bgp.Attributes{MED: ptr(i)}}}})
	}
	a.AwaitUp(us4)
	s.set(t, bgp.Announcement{Prefix: web4, Neighbors: map[netip.Addr]bgp.Override{
		peerA: {Attributes: bgp.Attributes{MED: ptr(3)}}}}) // pruned long ago, made again
	s.flush(t)
	a.AwaitRoute(web4, func(p bgp.Path) bool { return p.MED != nil && *p.MED == 3 })
}

func TestSetRefuses(t *testing.T) {
	t.Parallel()
	us4, peerA, _, _ := loopback4(14)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
		Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerA, asA))})
	for name, c := range map[string]struct {
		bad  bgp.Announcement
		want string
	}{
		"foreign":       {announce(alien4), "bgp: 203.0.113.0/24: refused by guard own-prefix: not one of our prefixes"},
		"more specific": {announce(netip.MustParsePrefix("192.0.2.0/25")), "bgp: 192.0.2.0/25: refused by guard own-prefix: not one of our prefixes"},
		"less specific": {announce(netip.MustParsePrefix("192.0.0.0/16")), "bgp: 192.0.0.0/16: refused by guard own-prefix: not one of our prefixes"},
		"host bits":     {announce(netip.MustParsePrefix("192.0.2.1/24")), "bgp: 192.0.2.1/24: not a prefix (host bits set?)"},
		"next hop": {bgp.Announcement{Prefix: web6, Attributes: bgp.Attributes{NextHop: us4}},
			"bgp: 2001:db8:100::/48: next hop " + us4.String() + " is of the other address family"},
		"prepend":     {bgp.Announcement{Prefix: web4b, Attributes: bgp.Attributes{Prepend: 33}}, "bgp: 198.51.100.0/24: prepend 33: want 0 to 32"},
		"communities": {bgp.Announcement{Prefix: web4b, Attributes: bgp.Attributes{Communities: make([]bgp.Community, 257)}}, "bgp: 198.51.100.0/24: 257 communities: at most 256"},
		"large communities": {bgp.Announcement{Prefix: web4b, Attributes: bgp.Attributes{LargeCommunities: make([]bgp.LargeCommunity, 101)}},
			"bgp: 198.51.100.0/24: 101 large communities: at most 100"},
		"communities of a neighbor": {bgp.Announcement{Prefix: web4b, Neighbors: map[netip.Addr]bgp.Override{peerA: {Attributes: bgp.Attributes{Communities: make([]bgp.Community, 257)}}}},
			"bgp: 198.51.100.0/24: neighbor " + peerA.String() + ": 257 communities: at most 256"},
		"reserved": {bgp.Announcement{Prefix: web4b, Attributes: bgp.Attributes{LargeCommunities: []bgp.LargeCommunity{{Global: 4294967295}}}},
			"bgp: 198.51.100.0/24: large community 4294967295:0:0: AS 4294967295 is reserved (RFC 7300)"},
		"twice": {announce(web4), "bgp: 192.0.2.0/24: is in the set twice"},
	} {
		t.Run(name, func(t *testing.T) {
			err := s.Set(t.Context(), []bgp.Announcement{announce(web4), c.bad})
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if got := s.Announced(); len(got) != 1 || got[0].Prefix != web4 {
				t.Errorf("announced: %+v", got)
			}
		})
	}
	a.AwaitRoute(web4, nil)
	// A bad change of what is announced leaves it as it is.
	err := s.Set(t.Context(), []bgp.Announcement{{Prefix: web4, Attributes: bgp.Attributes{Prepend: -1}}, announce(web4b)})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.0/24") {
		t.Errorf("error: %v", err)
	}
	a.AwaitRoute(web4b, nil)
	a.AwaitRoute(web4, nil)
}

// TestMostAttributes: what is allowed at most fits into an UPDATE, of which v3
// would make none otherwise, but a panic that ends the process.
func TestMostAttributes(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, _ := loopback4(64)
	both := families("ipv4-unicast", "ipv6-unicast")
	most := bgp.Attributes{Prepend: 32, MED: ptr(1), NextHop: netip.MustParseAddr("2001:db8::1")}
	other := bgp.Override{Attributes: bgp.Attributes{MED: ptr(2)}}
	for i := range uint32(256) {
		most.Communities = append(most.Communities, bgp.Community(64500<<16|i))
		other.Communities = append(other.Communities, bgp.Community(64501<<16|i))
	}
	for i := range uint32(100) {
		most.LargeCommunities = append(most.LargeCommunities, bgp.LargeCommunity{Global: 64500, Local1: i})
		other.LargeCommunities = append(other.LargeCommunities, bgp.LargeCommunity{Global: 64501, Local1: i})
	}
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA, Peers: []map[string]any{session(peerA, us4, ourAS, passive, both)}})
	b := bgptest.StartNeighbor(t, bgptest.Config{AS: asB, Address: peerB, Peers: []map[string]any{session(peerB, us4, ourAS, passive, both)}})
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerA, asA, both), session(us4, peerB, asB, both))})
	six := bgp.Announcement{Prefix: web6, Attributes: most, Neighbors: map[netip.Addr]bgp.Override{peerB: other}}
	four := bgp.Announcement{Prefix: web4, Attributes: most, Neighbors: six.Neighbors}
	four.NextHop = netip.Addr{}
	s.set(t, four, six)
	for _, p := range []netip.Prefix{web4, web6} {
		a.AwaitRoute(p, func(p bgp.Path) bool {
			return len(p.Communities) == 256 && len(p.LargeCommunities) == 100 && *p.MED == 1
		})
		b.AwaitRoute(p, func(p bgp.Path) bool {
			return len(p.Communities) == 256 && len(p.LargeCommunities) == 100 && *p.MED == 2
		})
	}
}

func TestNoNextHopIsWithheld(t *testing.T) {
	t.Parallel()
	us4, peerA, _, _ := loopback4(15)
	us6, _ := loopback6(15)
	both := families("ipv4-unicast", "ipv6-unicast")
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
		Peers: []map[string]any{session(peerA, us4, ourAS, passive, both)}})
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerA, asA, both))})
	s.set(t, announce(web4), announce(web6))
	a.AwaitRoute(web4, nil)
	s.flush(t)
	if p := a.Paths(web6); len(p) != 0 {
		t.Errorf("IPv6 without a next hop: %+v", p)
	}
	s.set(t, announce(web4), bgp.Announcement{Prefix: web6, Attributes: bgp.Attributes{NextHop: us6}})
	if p := a.AwaitRoute(web6, nil); p.NextHop != us6 {
		t.Errorf("next hop: %+v", p)
	}
}

func TestUserPolicyRestricts(t *testing.T) {
	t.Parallel()
	us4, peerA, _, _ := loopback4(16)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
		Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	m := bgptest.Section(ourAS, "10.255.255.1", us4, 0, session(us4, peerA, asA))
	m["defined-sets"] = map[string]any{"prefix-sets": []any{map[string]any{"prefix-set-name": "b",
		"prefix-list": []any{map[string]any{"ip-prefix": web4b.String()}}}}}
	m["policy-definitions"] = []any{map[string]any{"name": "user", "statements": []any{
		map[string]any{"name": "no-b", "conditions": map[string]any{"match-prefix-set": map[string]any{"prefix-set": "b"}},
			"actions": map[string]any{"route-disposition": "reject-route"}},
		map[string]any{"name": "med", "actions": map[string]any{"route-disposition": "accept-route",
			"bgp-actions": map[string]any{"set-med": "77"}}},
	}}}
	overlay(m, map[string]any{"global": map[string]any{"apply-policy": map[string]any{"config": map[string]any{
		"export-policy-list": []any{"user"}, "default-export-policy": "accept-route"}}}})
	c, err := gobgp.ParseConfig(m)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, gobgp.Options{Config: c})
	s.set(t, announce(web4), announce(web4b))
	if p := a.AwaitRoute(web4, nil); p.MED == nil || *p.MED != 77 || len(p.LargeCommunities) != 0 {
		t.Errorf("route: %+v", p)
	}
	s.flush(t) // must not wait for what the policy holds back
	if len(a.Paths(web4b)) != 0 {
		t.Error("the user's policy was not asked")
	}
}
