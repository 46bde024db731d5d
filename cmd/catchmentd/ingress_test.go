package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/catchmentv1"
	"github.com/catchment/catchment/pop/journal"
)

// TestIngressBesideThePOP: one daemon announces at its POP and tells an
// ingress router what to use, and neither disturbs the other.
func TestIngressBesideThePOP(t *testing.T) {
	w := newWorld(t)
	at := netip.AddrFrom4([4]byte{127, 0, byte(w.n), 3})
	two := []any{map[string]any{"config": map[string]any{"afi-safi-name": "ipv4-unicast"}}, map[string]any{"config": map[string]any{"afi-safi-name": "ipv6-unicast"}}}
	pe := bgptest.StartNeighbor(t, bgptest.Config{AS: 64500, Address: at, RouterID: "10.0.0.3", Peers: []map[string]any{{
		"config":           map[string]any{"neighbor-address": w.us4.String(), "peer-as": 64500},
		"transport":        map[string]any{"config": map[string]any{"local-address": at.String(), "passive-mode": true}},
		"graceful-restart": map[string]any{"config": map[string]any{"enabled": true, "restart-time": 60}},
		"afi-safis":        two}}})
	w.sections["bgp"] = strings.TrimSuffix(w.sections["bgp"], "]") + fmt.Sprintf(`, {config: {neighbor-address: "%s", peer-as: 64500},
    transport: {config: {local-address: "%s"}}, graceful-restart: {config: {enabled: true, restart-time: 60}},
    afi-safis: [{config: {afi-safi-name: ipv4-unicast}}, {config: {afi-safi-name: ipv6-unicast}}]}]`, at, w.us4)
	fra, err := net.Listen("tcp", netip.AddrPortFrom(at, 8080).String())
	if err != nil {
		t.Fatal(err)
	}
	defer fra.Close()
	section := func(lon, fra int) string {
		return fmt.Sprintf(`
  routers: [{name: pe1, neighbors: ["%s"], costs: [{pop: LON, cost: %d}, {pop: FRA, cost: %d}], demand: 30}]
  targets:
    - {pop: LON, next-hops: [10.255.0.1, "2001:db8:ff::1"], capacity: 100}
    - {pop: FRA, next-hops: [10.255.0.2, "2001:db8:ff::2"], capacity: 100, check: "tcp://%s:8080"}
  interval: 100ms
  max-share: 0
  check: {interval: 100ms, fast: 50ms, timeout: 10s}`, at, lon, fra, at)
	}
	w.sections["ingress"] = section(10, 20)
	w.configure(w.web())
	w.up("web")
	p := w.start(nil)
	p.says("msg=ready")
	p4, p6 := netip.MustParsePrefix(web4), netip.MustParsePrefix(web6)
	via := func(hop string) func(bgp.Path) bool {
		return func(p bgp.Path) bool { return p.NextHop.String() == hop }
	}
	pe.AwaitRoute(p4, via("10.255.0.1"))
	pe.AwaitRoute(p6, via("2001:db8:ff::1"))
	for i, r := range w.routers() {
		r.await(0, "announce "+[]string{web4, web6}[i])
	}
	// The POP withdraws; the ingress router is told another, with no gap.
	w.down("web")
	pe.AwaitRoute(p4, via("10.255.0.2"))
	pe.AwaitRoute(p6, via("2001:db8:ff::2"))
	for i, r := range w.routers() {
		r.await(0, "withdraw "+[]string{web4, web6}[i])
	}
	if i := slices.IndexFunc(pe.Events(), func(e bgptest.Event) bool { return e.Peer == nil && e.Withdrawn }); i >= 0 {
		t.Errorf("withdrawn from the ingress router: %+v", pe.Events()[i])
	}
	e := w.journaled(2, func(e journal.Entry) bool { return e.Kind == journal.Ingress && strings.Contains(e.Text, "LON -> FRA") })[0]
	if !strings.Contains(e.Text, "because gone: LON: withdrawn") || e.Service != "web" {
		t.Errorf("journal: %+v", e)
	}
	r, err := w.client().Ingress(soon(t))
	if err != nil || len(r.Assignments) != 2 || r.Assignments[0].POP != "FRA" || len(r.Targets) != 2 || r.Targets[1].Load != 60 {
		t.Errorf("%+v, %v", r, err)
	}
	conn, err := grpc.NewClient("unix://"+w.file("gobgp.sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	m, err := catchmentv1.NewIngressClient(conn).Report(soon(t), &catchmentv1.IngressRequest{})
	if err != nil || len(m.GetAssignments()) != 2 || m.GetAssignments()[0].GetPop() != "FRA" || m.GetTargets()[0].GetState() != "gone" {
		t.Errorf("by gRPC: %v, %v", m, err)
	}
	w.sees(func(st api.Status) bool {
		return st.Ingress != nil && st.Ingress.Routers == 1 && st.Ingress.Assigned == 2 && st.Ingress.Plain == 0
	})
	if m := w.scrape(); !strings.Contains(m, `catchment_ingress_assigned{pop="FRA"} 2`) || !strings.Contains(m, `catchment_ingress_moves_total{reason="gone"} 2`) {
		t.Error("metrics lack it")
	}
	// The last target dies too: what is told stays.
	fra.Close()
	w.mentions("ingress-last-target")
	if got := pe.Paths(p4); len(got) != 1 || got[0].NextHop.String() != "10.255.0.2" {
		t.Errorf("the last target: %+v", got)
	}
	// Killed and started again: it goes on with what the router holds.
	p.signal(syscall.SIGKILL)
	p.ends(-1)
	pe.AwaitDown(w.us4)
	p = w.start(nil)
	pe.AwaitUp(w.us4)
	pe.AwaitRoute(p4, func(p bgp.Path) bool { return !p.Stale && p.NextHop.String() == "10.255.0.2" })
	w.up("web")
	pe.AwaitRoute(p6, via("2001:db8:ff::1"))
	// A reload changes costs; it cannot end the mode.
	again, err := net.Listen("tcp", netip.AddrPortFrom(at, 8080).String())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	w.sections["ingress"] = section(20, 10)
	w.configure(w.web())
	if _, err := w.client().Reload(soon(t)); err != nil {
		t.Fatal(err)
	}
	pe.AwaitRoute(p4, via("10.255.0.2"))
	delete(w.sections, "ingress")
	w.configure(w.web())
	if _, err := w.client().Reload(soon(t)); err == nil || !strings.Contains(err.Error(), "ingress.routers") {
		t.Errorf("the mode ended by a reload: %v", err)
	}
	// A stop takes everything back: routers follow plain anycast.
	p.signal(syscall.SIGTERM)
	pe.AwaitNone(p4)
	pe.AwaitNone(p6)
	p.ends(0)
}

// TestIngressOff: without ingress routers the API says so.
func TestIngressOff(t *testing.T) {
	w := newWorld(t)
	w.configure(w.web("always: true", "checks: []"))
	w.start(nil)
	w.sees(func(st api.Status) bool { return len(st.Slices()) == 2 })
	if _, err := w.client().Ingress(soon(t)); err == nil || !strings.Contains(err.Error(), "ingress.routers") {
		t.Errorf("%v", err)
	}
	if strings.Contains(w.scrape(), "catchment_ingress") {
		t.Error("metrics of nothing")
	}
}

// TestIngressExternal: a session that local preference does not go over is
// refused by name, also where a peer group says the AS.
func TestIngressExternal(t *testing.T) {
	w := newWorld(t)
	w.sections["bgp"] = fmt.Sprintf(`
  global: {config: {as: 64500, router-id: 10.0.0.1, local-address-list: ["%s"]}}
  peer-groups: [{config: {peer-group-name: pes, peer-as: 64501}}]
  neighbors: [{config: {neighbor-address: 10.0.0.11, peer-group: pes}}]`, w.us4)
	w.sections["ingress"] = `{routers: [{name: pe1, neighbors: [10.0.0.11], costs: [{pop: LON, cost: 1}]}], targets: [{pop: LON, next-hops: [10.255.0.1, "2001:db8:ff::1"]}]}`
	w.configure(w.web())
	w.refuses(2, []string{"--check-config"}, "ingress.routers[0].neighbors[0]: 10.0.0.11 is in AS 64501, we in AS 64500")
}
