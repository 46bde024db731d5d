package gobgp_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// longLived is graceful restart and, after it, long-lived graceful restart
// (RFC 9494), both times in seconds.
func longLived(us netip.Addr, restart, stale int) map[string]any {
	family := "ipv4-unicast"
	if us.Is6() {
		family = "ipv6-unicast"
	}
	m := conf("graceful-restart", "enabled", true, "restart-time", restart, "long-lived-enabled", true)
	overlay(m, map[string]any{"afi-safis": []any{map[string]any{
		"config":                      map[string]any{"afi-safi-name": family},
		"mp-graceful-restart":         map[string]any{"config": map[string]any{"enabled": true}},
		"long-lived-graceful-restart": map[string]any{"config": map[string]any{"enabled": true, "restart-time": stale}},
	}}})
	return m
}

func llgrStale(p bgp.Path) bool { return slices.Contains(p.Communities, bgp.LLGRStale) }

// TestLongLivedGracefulRestart: a neighbor keeps the routes of a speaker that
// died beyond its restart time, marked as the last choice, until it is back or
// the long-lived time is over.
func TestLongLivedGracefulRestart(t *testing.T) {
	t.Parallel()
	for mode, net := range map[string]string{"llgr": "127.0.5.", "llgr-short": "127.0.6."} {
		us4, peerA := netip.MustParseAddr(net+"1"), netip.MustParseAddr(net+"2")
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA,
				Peers: []map[string]any{session(peerA, us4, ourAS, passive, longLived(us4, 30, 60))}})
			p := startChild(t, fmt.Sprint(mode, " ", us4, " ", peerA))
			a.AwaitRoute(web4, nil)
			a.AwaitRoute(web4b, nil)
			p.cmd.Process.Kill()
			p.cmd.Wait()
			a.AwaitDown(us4)
			for _, prefix := range []netip.Prefix{web4, web4b} {
				a.AwaitRoute(prefix, func(p bgp.Path) bool { return p.Stale && llgrStale(p) })
				i := slices.IndexFunc(a.Events(), func(e bgptest.Event) bool { return e.Path.Prefix == prefix && e.Path.Stale })
				if p := a.Events()[i].Path; llgrStale(p) {
					t.Errorf("long-lived within the restart time: %+v", p)
				}
			}
			if mode == "llgr-short" {
				a.AwaitNone(web4)
				a.AwaitNone(web4b)
				return
			}
			socket := filepath.Join(t.TempDir(), "gobgp.sock")
			s := start(t, gobgp.Options{Restarting: true, APISocket: socket,
				Config: config(t, us4, session(us4, peerA, asA, longLived(us4, 1, 60)))})
			s.set(t, announce(web4))
			a.AwaitRoute(web4, func(p bgp.Path) bool { return !p.Stale && !llgrStale(p) })
			a.AwaitNone(web4b)
			if n := withdrawals(a, web4); n != 0 {
				t.Errorf("%d withdrawals of the route that was kept", n)
			}
			info, err := gobgp.Inspect(t.Context(), socket)
			if err != nil || len(info) != 1 || !info[0].LongLived {
				t.Errorf("sessions agreed on %+v, %v", info, err)
			}
		})
	}
}

// TestLongLivedWithBIRD: the same with a router that is not GoBGP.
func TestLongLivedWithBIRD(t *testing.T) {
	t.Parallel()
	for _, us := range []netip.Addr{netip.MustParseAddr("10.0.8.1"), netip.MustParseAddr("2001:db8:8::1")} {
		addr, p, q := us.Next(), web4, web4b
		if us.Is6() {
			p, q = web6, netip.MustParsePrefix("2001:db8:200::/48")
		}
		addresses(t, us, addr)
		t.Run(p.Addr().String(), func(t *testing.T) {
			t.Parallel()
			r := bird(t, us, addr, "long lived graceful restart on;")
			child := startChild(t, fmt.Sprint("llgr-secure ", us, " ", addr, " ", p, " ", q))
			see := func(p netip.Prefix, word string) string {
				t.Helper()
				return eventually(t, word, func() string { return r.show(p) })
			}
			see(p, us.String())
			see(q, us.String())
			child.stdin.Close()
			if err := child.cmd.Wait(); err != nil {
				t.Fatalf("child: %v", err)
			}
			for _, prefix := range []netip.Prefix{p, q} {
				if out := see(prefix, "(65535,6)"); !strings.Contains(out, us.String()) {
					t.Errorf("kept: %s", out)
				}
			}
			s := start(t, gobgp.Options{Restarting: true, Own: []netip.Prefix{p, q},
				Config: config(t, us, session(us, addr, asA, longLived(us, 1, 60), securities["secure"]))})
			s.set(t, announce(p))
			if out := see(p, "!(65535,6)"); !strings.Contains(out, us.String()) {
				t.Errorf("lost: %s", out)
			}
			see(q, "!"+us.String()) // it was not announced again
			if peers := s.Peers(); len(peers) != 1 || !peers[0].GracefulRestart {
				t.Errorf("peers: %+v", peers)
			}
		})
	}
}
