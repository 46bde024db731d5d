package gobgp_test

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/vishvananda/netlink"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// operator is the gobgp client's way to a speaker.
func operator(t *testing.T, socket string) api.GobgpApiClient {
	t.Helper()
	c, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return api.NewGobgpApiClient(c)
}

func addByHand(t *testing.T, c api.GobgpApiClient, local netip.Addr, addr string, as uint32, key string) {
	t.Helper()
	_, err := c.AddPeer(t.Context(), &api.AddPeerRequest{Peer: &api.Peer{
		Conf:      &api.PeerConf{NeighborAddress: addr, PeerAsn: as, AuthPassword: key},
		Transport: &api.Transport{LocalAddress: local.String()}}})
	if err != nil {
		t.Fatal(err)
	}
}

func addressesOf(s *speaker) (out []netip.Addr) {
	for _, p := range s.Peers() {
		out = append(out, p.Address)
	}
	return out
}

func reload(t *testing.T, s *speaker, c *gobgp.Config) {
	t.Helper()
	if err := s.Reload(t.Context(), c, own, nil); err != nil {
		t.Fatal(err)
	}
}

// resets counts the sessions that a neighbor has seen end.
func resets(n *bgptest.Neighbor) (count int) {
	for _, e := range n.Events() {
		if e.Peer != nil && e.Peer.Was == bgp.Established {
			count++
		}
	}
	return count
}

// TestReloadMeetsAnOperator: what was done by the gobgp client is no reason
// to refuse a config: neighbors that are there become the config's, those
// that are gone are gone.
func TestReloadMeetsAnOperator(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, peerC := loopback4(23)
	us6, peer6 := loopback6(23)
	addresses(t, us6, peer6)
	socket := filepath.Join(t.TempDir(), "gobgp.sock")
	passiveTo := func(local netip.Addr, as uint32, more ...map[string]any) *bgptest.Neighbor {
		return bgptest.StartNeighbor(t, bgptest.Config{AS: as, Address: local,
			Peers: []map[string]any{session(local, us4, ourAS, append(more, passive)...)}})
	}
	a, b := passiveTo(peerA, asA), passiveTo(peerB, asB)
	toA, toB, toC, to6 := session(us4, peerA, asA), session(us4, peerB, asB), session(us4, peerC, 64503), session(us6, peer6, asA)
	s := start(t, gobgp.Options{Config: config(t, us4, toA, toC), APISocket: socket})
	s.set(t, announce(web4))
	a.AwaitRoute(web4, nil)

	c := operator(t, socket)
	addByHand(t, c, us4, peerB.String(), asB, "")
	b.AwaitRoute(web4, nil)
	addByHand(t, c, us6, strings.ToUpper(peer6.String()), 64999, "secret") // another spelling, another AS
	if _, err := c.DeletePeer(t.Context(), &api.DeletePeerRequest{Address: peerC.String()}); err != nil {
		t.Fatal(err)
	}
	reload(t, s, config(t, us4, toA, toB, to6)) // without C
	if got, want := addressesOf(s), []netip.Addr{peerA, peerB, peer6}; !slices.Equal(got, want) {
		t.Errorf("neighbors %v, want %v", got, want)
	}
	if p := s.Peers(); p[2].AS != asA {
		t.Errorf("the operator's neighbor is not the config's: %+v", p[2])
	}
	b.AwaitRoute(web4, nil)
	// One that changes is there again, though the operator took it out.
	if _, err := c.DeletePeer(t.Context(), &api.DeletePeerRequest{Address: peerB.String()}); err != nil {
		t.Fatal(err)
	}
	b.AwaitDown(us4)
	reload(t, s, config(t, us4, toA, session(us4, peerB, asB, conf("timers", "hold-time", 30))))
	b.AwaitRoute(web4, nil)
	if resets(a) != 0 {
		t.Errorf("A lost its session: %+v", a.Events())
	}
	if n := len(s.Peers()); n != 2 {
		t.Errorf("%d neighbors, want A and B", n)
	}
}

// unnumbered is a neighbor on an interface that is there while the config is
// read; gone takes it away, and v3 then fails to add the neighbor.
func unnumbered(t *testing.T) (n map[string]any, gone func()) {
	t.Helper()
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "un0"}, PeerName: "un1"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	gone = func() { netlink.LinkDel(link) }
	t.Cleanup(gone)
	index, err := net.InterfaceByName("un0")
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{netlink.LinkSetUp(link), netlink.NeighAdd(&netlink.Neigh{LinkIndex: index.Index,
		IP: net.ParseIP("fe80::2"), State: netlink.NUD_PERMANENT, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 2}})} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return map[string]any{"config": map[string]any{"neighbor-interface": "un0", "peer-as": 64509},
		"transport": map[string]any{"config": map[string]any{"local-address": "::"}}}, gone
}

// TestRefusedReloadChangesNothing: where GoBGP refuses late, what was done
// before goes back, and who was not to change, or only in place, keeps its
// session and its routes.
func TestRefusedReloadChangesNothing(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, peerC := loopback4(24)
	socket := filepath.Join(t.TempDir(), "gobgp.sock")
	var routers []*bgptest.Neighbor
	for i, addr := range []netip.Addr{peerA, peerB, peerC} {
		routers = append(routers, bgptest.StartNeighbor(t, bgptest.Config{AS: asA + uint32(i), Address: addr,
			Peers: []map[string]any{session(addr, us4, ourAS, passive)}}))
	}
	a, b, c := routers[0], routers[1], routers[2]
	toA, toB, toC := session(us4, peerA, asA), session(us4, peerB, asB), session(us4, peerC, 64503)
	s := start(t, gobgp.Options{Config: config(t, us4, toA, toB), APISocket: socket})
	s.set(t, bgp.Announcement{Prefix: web4, Attributes: bgp.Attributes{Prepend: 1}}, announce(web4b))
	for _, r := range []*bgptest.Neighbor{a, b} {
		r.AwaitRoute(web4, nil)
		r.AwaitRoute(web4b, nil)
	}
	un, gone := unnumbered(t)
	for name, policies := range map[string]map[string]any{
		"sets": nil,
		"policies": {"policy-definitions": []any{map[string]any{"name": "none", "statements": []any{
			map[string]any{"name": "no", "actions": map[string]any{"route-disposition": "reject-route"}}}}},
			"global": map[string]any{"apply-policy": map[string]any{"config": map[string]any{"export-policy-list": []any{"none"}}}}},
	} {
		// A changes in place, B goes, C and the one on the interface come, one prefix goes.
		section := bgptest.Section(ourAS, "10.255.255.1", us4, 0,
			session(us4, peerA, asA, conf("timers", "hold-time", 33)), toC, un)
		overlay(section, policies)
		broken, err := gobgp.ParseConfig(section)
		if err != nil {
			t.Fatal(err)
		}
		gone()
		err = s.Reload(t.Context(), broken, []netip.Prefix{web4, web6}, nil)
		if err == nil || !strings.Contains(err.Error(), "neighbor fe80::2%un0: ") || strings.Contains(err.Error(), "back") {
			t.Errorf("%s: Reload: %v", name, err)
		}
		if got, want := addressesOf(s), []netip.Addr{peerA, peerB}; !slices.Equal(got, want) {
			t.Errorf("%s: neighbors %v, want %v", name, got, want)
		}
		r, err := operator(t, socket).ListPeer(t.Context(), &api.ListPeerRequest{Address: peerA.String()})
		if err != nil {
			t.Fatal(err)
		}
		if p, err := r.Recv(); err != nil || p.Peer.Timers.Config.HoldTime != 90 {
			t.Errorf("%s: A's hold time is %v, %v", name, p.GetPeer().GetTimers(), err)
		}
		// Both prefixes are still ours, and a route that is set leaves.
		s.set(t, announce(web4), announce(web4b))
		s.flush(t)
		s.set(t, bgp.Announcement{Prefix: web4, Attributes: bgp.Attributes{Prepend: 1}},
			bgp.Announcement{Prefix: web4b, Attributes: bgp.Attributes{MED: ptr(5)}})
		s.flush(t)
		for _, r := range []*bgptest.Neighbor{a, b} {
			r.AwaitRoute(web4b, func(p bgp.Path) bool { return p.MED != nil && *p.MED == 5 })
			r.AwaitRoute(web4, func(p bgp.Path) bool { return len(p.ASPath) == 2 })
			if n := resets(r); n != 0 {
				t.Errorf("%s: %d sessions lost: %+v", name, n, r.Events())
			}
			if n := withdrawals(r, web4) + withdrawals(r, web4b); n != 0 && policies == nil {
				t.Errorf("%s: %d withdrawals", name, n)
			}
		}
		un, gone = unnumbered(t)
	}
	reload(t, s, config(t, us4, toA, toC))
	c.AwaitRoute(web4, nil)
	b.AwaitDown(us4)
	if resets(a) != 0 {
		t.Errorf("A lost its session: %+v", a.Events())
	}
}

// TestReloadBeforeTheFirstSet: a restarting speaker has no neighbors yet; a
// reload, or an operator, must not bring them before their routes.
func TestReloadBeforeTheFirstSet(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, peerC := loopback4(25)
	socket := filepath.Join(t.TempDir(), "gobgp.sock")
	var routers []*bgptest.Neighbor
	for i, addr := range []netip.Addr{peerA, peerB} {
		routers = append(routers, bgptest.StartNeighbor(t, bgptest.Config{AS: asA + uint32(i), Address: addr,
			Peers: []map[string]any{session(addr, us4, ourAS, passive, grConfig())}}))
	}
	toA, toB := session(us4, peerA, asA, grConfig()), session(us4, peerB, asB, grConfig())
	s := start(t, gobgp.Options{Restarting: true, Config: config(t, us4, toA, session(us4, peerC, 64503)), APISocket: socket})
	reload(t, s, config(t, us4, toA, toB))
	if p := s.Peers(); len(p) != 0 {
		t.Errorf("neighbors before the first Set: %+v", p)
	}
	addByHand(t, operator(t, socket), us4, peerC.String(), 64503, "")
	addByHand(t, operator(t, socket), us4, peerB.String(), 64999, "")
	s.set(t, announce(web4))
	for _, r := range routers {
		r.AwaitRoute(web4, nil)
	}
	if got, want := addressesOf(s), []netip.Addr{peerA, peerB, peerC}; !slices.Equal(got, want) {
		t.Errorf("neighbors %v, want %v", got, want)
	}
}

// TestReloadOfWhatUpdatePeerForgets: v3 takes some changes of a neighbor
// without a word and without an effect.
func TestReloadOfWhatUpdatePeerForgets(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, _ := loopback4(26)
	socket := filepath.Join(t.TempDir(), "gobgp.sock")
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: ourAS, Address: peerA, Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerA, ourAS)), APISocket: socket})
	a.AwaitUp(us4)
	reload(t, s, config(t, us4, session(us4, peerA, ourAS, conf("route-reflector", "route-reflector-client", true))))
	r, err := operator(t, socket).ListPeer(t.Context(), &api.ListPeerRequest{Address: peerA.String()})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := r.Recv(); err != nil || !p.Peer.RouteReflector.RouteReflectorClient {
		t.Errorf("not a client: %v, %v", p.GetPeer().GetRouteReflector(), err)
	}
	// What v3 changes in place makes it forget what the session agreed on.
	b := bgptest.StartNeighbor(t, bgptest.Config{AS: asB, Address: peerB, Peers: []map[string]any{session(peerB, us4, ourAS, passive, grConfig())}})
	reload(t, s, config(t, us4, session(us4, peerB, asB, grConfig())))
	b.AwaitUp(us4)
	reload(t, s, config(t, us4, session(us4, peerB, asB, grConfig(), conf("timers", "hold-time", 30))))
	if p := s.Peers(); len(p) != 1 || !p[0].GracefulRestart || resets(b) != 0 {
		t.Errorf("graceful restart is no longer agreed on: %+v", p)
	}
}

// TestReloadNeedsARestart: what a running speaker does not take over is
// refused, not passed over.
func TestReloadNeedsARestart(t *testing.T) {
	parse := func(more map[string]any) *gobgp.Config {
		section := bgptest.Section(ourAS, "10.255.255.1", us4, 0, session(us4, peerA, asA))
		overlay(section, more)
		c, err := gobgp.ParseConfig(section)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	one := func(key string, kv ...any) map[string]any { return map[string]any{key: []any{conf("config", kv...)}} }
	dynamic := func(holdTime int) map[string]any {
		m := one("dynamic-neighbors", "prefix", "127.0.0.0/8", "peer-group", "g")
		overlay(m, map[string]any{"peer-groups": []any{map[string]any{
			"config": map[string]any{"peer-group-name": "g", "peer-as": asA},
			"timers": map[string]any{"config": map[string]any{"hold-time": holdTime}}}}})
		return m
	}
	for name, c := range map[string]struct {
		from, to map[string]any
		want     string
	}{
		"nothing":           {dynamic(30), dynamic(30), ""},
		"a group of no one": {nil, one("peer-groups", "peer-group-name", "g", "peer-as", asA), ""},
		"dynamic neighbors": {nil, dynamic(30), "bgp: reload: bgp.dynamic-neighbors: a change needs a restart\nbgp.peer-groups: a change needs a restart"},
		"their group":       {dynamic(30), dynamic(60), "bgp: reload: bgp.peer-groups: a change needs a restart"},
		"RPKI":              {nil, one("rpki-servers", "address", "127.0.0.9", "port", 323), "bgp: reload: bgp.rpki-servers: a change needs a restart"},
		"BMP":               {nil, one("bmp-servers", "address", "127.0.0.9", "port", 11019), "bgp: reload: bgp.bmp-servers: a change needs a restart"},
		"MRT":               {nil, one("mrt-dump", "dump-type", "updates", "file-name", "/nowhere"), "bgp: reload: bgp.mrt-dump: a change needs a restart"},
		"selection": {nil, map[string]any{"global": conf("route-selection-options", "external-compare-router-id", true)},
			"bgp: reload: bgp.global: a change needs a restart"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := gobgp.New(gobgp.Options{Config: parse(c.from), Own: own})
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := s.Reload(t.Context(), parse(c.to), own, nil); err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("Reload:\n%s\nwant:\n%s", got, c.want)
			}
		})
	}
}
