package route

import (
	"context"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/server/resync/checkpoint"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

func known(client string, rate uint64, rtt time.Duration) checkpoint.Known {
	return checkpoint.Known{Flow: checkpoint.Flow{Client: netip.MustParseAddrPort(client), Rate: rate, RTT: rtt}}
}

// TestWindows: half of the middle flow's bandwidth-delay product, under the
// ceiling, and only where it is more than a connection begins with anyway.
func TestWindows(t *testing.T) {
	got := Windows([]checkpoint.Known{
		known("203.0.113.1:1", 2_800_000, 100*time.Millisecond), // 100 segments
		known("203.0.113.2:1", 1, time.Millisecond), known("203.0.113.3:1", 2_800_000, 100*time.Millisecond),
		known("[2001:db8:1::1]:1", 1<<40, time.Second), known("198.51.100.1:1", 280_000, 100*time.Millisecond), known("198.51.101.1:1", 0, 0),
	}, 300)
	want := map[netip.Prefix]int{netip.MustParsePrefix("203.0.113.0/24"): 100, netip.MustParsePrefix("2001:db8:1::/48"): 300}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// routes are ours in the kernel: initcwnd by network.
func routes(t *testing.T) map[string]int {
	t.Helper()
	out := map[string]int{}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		all, err := netlink.RouteListFiltered(family, &netlink.Route{Protocol: Protocol}, netlink.RT_FILTER_PROTOCOL)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			out[r.Dst.String()] = r.InitCwnd
		}
	}
	return out
}

func until(t *testing.T, what string, want map[string]int) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !maps.Equal(routes(t), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: routes %v, want %v", what, routes(t), want)
		}
	}
}

// TestRoutes: routes come, lead where the networks were led to, are few, and
// go when their time is over; those of a former life go at the start.
func TestRoutes(t *testing.T) {
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "up"}, PeerName: "down"}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"up", "down"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []struct{ addr, gw, all string }{{"10.0.0.1/24", "10.0.0.2", "0.0.0.0/0"}, {"2001:db8::1/64", "2001:db8::2", "::/0"}} {
		a, err := netlink.ParseAddr(r.addr)
		if err != nil {
			t.Fatal(err)
		}
		a.Flags = 0x02 // IFA_F_NODAD
		if err := netlink.AddrAdd(link, a); err != nil {
			t.Fatal(err)
		}
		_, all, _ := net.ParseCIDR(r.all)
		if err := netlink.RouteAdd(&netlink.Route{Dst: all, Gw: net.ParseIP(r.gw), LinkIndex: link.Attrs().Index}); err != nil {
			t.Fatal(err)
		}
	}
	if err := put(netip.MustParsePrefix("198.51.100.0/24"), 50); err != nil { // a former life's
		t.Fatal(err)
	}
	r := New(Options{Log: slog.New(slog.DiscardHandler), Most: 200, Keep: time.Second, Max: 2})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	until(t, "at the start", map[string]int{})
	fast := func(client string, rate uint64) checkpoint.Known { return known(client, rate, 100*time.Millisecond) }
	flows := []checkpoint.Known{fast("203.0.113.1:1", 2_800_000), fast("[2001:db8:1::1]:1", 100_000_000), fast("203.0.114.1:1", 1_400_000)}
	if n, err := r.Want(flows, time.Now()); n != 2 || err != nil {
		t.Errorf("%d routes, %v", n, err)
	}
	until(t, "the two largest", map[string]int{"203.0.113.0/24": 100, "2001:db8:1::/48": 200})
	until(t, "their time is over", map[string]int{})
	if _, err := r.Want([]checkpoint.Known{fast("10.0.0.9:1", 2_800_000)}, time.Now()); err == nil {
		t.Error("a network on a link of ours gets a route")
	}
	if _, err := r.Want(flows[:1], time.Now().Add(time.Hour)); err != nil || r.Len() != 1 {
		t.Errorf("%d routes, %v", r.Len(), err)
	}
	cancel()
	if err := <-done; err != nil || len(routes(t)) != 0 {
		t.Errorf("%v, at the end %v", err, routes(t))
	}
}
