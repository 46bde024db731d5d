package main

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/server/resync"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/jump"
	"github.com/catchment/catchment/server/resync/probe"
)

// TestResyncOnPath: a change of another POP's route has clients that wait for a
// long gap asked at once; flows that do not run hear of it in vain.
func TestResyncOnPath(t *testing.T) {
	(*flows)(nil).onPath()
	synctest.Test(t, func(t *testing.T) {
		p, err := probe.New(probe.Options{VIP: func(netip.Addr) bool { return true }})
		if err != nil {
			t.Fatal(err)
		}
		p.Close() // its segments fail, and are counted
		f := &flows{prober: p, core: resync.New(resync.Options{Log: slog.New(slog.DiscardHandler), Book: checkpoint.NewBook(checkpoint.Options{})})}
		f.onPath() // nobody waits
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		p.Wake([]probe.Flow{{Client: netip.MustParseAddrPort("203.0.113.1:1"), VIP: netip.MustParseAddrPort("192.0.2.1:80"), At: time.Now()}}, time.Now())
		tried := func() uint64 { synctest.Wait(); return p.Counts().Failed }
		time.Sleep(8500 * time.Millisecond) // once a second by now
		before := tried()
		f.onPath()
		if n := tried() - before; n != 1 {
			t.Errorf("%d segments at once", n)
		}
		f.onPath() // again within no time
		if n := tried() - before; n != 1 {
			t.Errorf("%d segments for two events", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestResyncPeers: with `tell: likely` those are told that plans see carry
// more, of those that the configuration names.
func TestResyncPeers(t *testing.T) {
	f := &flows{cfg: config.Resync{Peers: []config.ResyncPeer{{POP: "FRA", Address: "10.0.0.2:1"}, {POP: "AMS", Address: "10.0.0.3:1"}}}}
	f.likely.Store(new(map[string]bool))
	if got := f.peers(); len(got) != 2 {
		t.Errorf("while nothing is known: %v", got)
	}
	f.likely.Store(&map[string]bool{"AMS": true})
	if got := f.peers(); len(got) != 1 || got[0] != (checkpoint.Peer{POP: "AMS", Addr: "10.0.0.3:1"}) {
		t.Errorf("told %v", got)
	}
}

// TestResyncSwitch: a reload takes services that may jump away and gives them
// back; where there was none at the start it cannot.
func TestResyncSwitch(t *testing.T) {
	none, some := &config.Config{}, &config.Config{}
	some.Resync.Jump.Services = []policy.ServiceID{"web"}
	for _, c := range []struct {
		start, now, next *config.Config
		refused          bool
	}{{some, some, none, false}, {some, none, some, false}, {none, none, some, true}} {
		if err := (&parts{cfg: c.start}).judgeReload(c.now, c.next); (err != nil) != c.refused {
			t.Errorf("%v at the start, from %v to %v: %v", c.start.Resync.Jump.Services, c.now.Resync.Jump.Services, c.next.Resync.Jump.Services, err)
		}
	}
}

// TestResyncRoutes: without BPF the networks of clients that are about to come
// begin with a larger window, those of services that may jump.
func TestResyncRoutes(t *testing.T) {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	way := &netlink.Route{LinkIndex: lo.Attrs().Index, Dst: &net.IPNet{IP: net.IPv4(100, 64, 0, 0), Mask: net.CIDRMask(10, 32)}, Scope: unix.RT_SCOPE_LINK}
	if err := netlink.RouteAdd(way); err != nil {
		t.Fatal(err)
	}
	defer netlink.RouteDel(way)
	left := &netlink.Route{LinkIndex: way.LinkIndex, Dst: &net.IPNet{IP: net.IPv4(100, 64, 9, 0), Mask: net.CIDRMask(24, 32)}, Scope: unix.RT_SCOPE_LINK, Protocol: 187}
	if err := netlink.RouteAdd(left); err != nil {
		t.Fatal(err)
	}
	ours := func() []netlink.Route {
		all, err := netlink.RouteListFiltered(unix.AF_INET, &netlink.Route{Protocol: 187, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	f := &flows{d: &parts{}, log: slog.New(slog.DiscardHandler), vips: map[netip.Addr]policy.ServiceID{}}
	f.cfg.Jump.Services, f.cfg.Jump.InitCWND = []policy.ServiceID{"web"}, 300
	f.d.inForce.Store(&config.Config{Resync: f.cfg})
	if f.routes, err = jump.NewRoutes(jump.RouteOptions{Segments: 300}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- f.routes.Run(ctx) }()
	defer func() {
		cancel()
		<-done
	}()
	for deadline := time.Now().Add(patience); len(ours()) > 0; time.Sleep(time.Millisecond) { // Run begins with what others have left behind
		if time.Now().After(deadline) {
			t.Fatal("what another process has left behind stays")
		}
	}
	may, other := netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("192.0.2.2:80")
	f.vips[may.Addr()], f.vips[other.Addr()] = "web", "dns"
	known := func(client string, vip netip.AddrPort) checkpoint.Known {
		return checkpoint.Known{Flow: checkpoint.Flow{Client: netip.MustParseAddrPort(client), VIP: vip, Rate: 2_800_000, RTT: 100 * time.Millisecond}}
	}
	f.prepare([]checkpoint.Known{known("100.64.1.9:1", may), known("100.64.2.9:1", other)}, time.Now())
	if all := ours(); len(all) != 1 || all[0].Dst.String() != "100.64.1.0/24" || all[0].InitCwnd != 100 {
		t.Errorf("%+v", all)
	}
	if a, b := f.window(netip.MustParseAddr("100.64.1.77")), f.window(netip.MustParseAddr("100.64.2.9")); a != 100 || b != 0 {
		t.Errorf("flows begin with %d and %d segments", a, b)
	}
	f.d.inForce.Store(&config.Config{})
	if f.mayJump(may.Addr()) {
		t.Error("a reload switches nothing off")
	}
}
