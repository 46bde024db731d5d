package jump

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ways makes a device by which everybody is reached, in both families.
func ways(t *testing.T) netlink.Link {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "ways"
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "away"}))
	link, err := netlink.LinkByName("ways")
	must(err)
	t.Cleanup(func() { netlink.LinkDel(link) })
	for _, a := range []string{"10.9.0.1/24", "2001:db8:9::1/64"} {
		addr, err := netlink.ParseAddr(a)
		must(err)
		addr.Flags = unix.IFA_F_NODAD
		must(netlink.AddrAdd(link, addr))
	}
	must(netlink.LinkSetUp(link))
	peer, err := netlink.LinkByName("away")
	must(err)
	must(netlink.LinkSetUp(peer))
	for _, gw := range []string{"10.9.0.2", "2001:db8:9::2"} {
		must(netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP(gw)}))
	}
	return link
}

// ours are the routes with our mark: network, window and way.
func ours(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.RouteListFiltered(family, &netlink.Route{Protocol: 187, Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_PROTOCOL|netlink.RT_FILTER_TABLE)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range all {
			out[r.Dst.String()] = fmt.Sprint(r.InitCwnd, " by ", r.Gw)
		}
	}
	return out
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for stop := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(stop) {
			t.Fatalf("%s: %v", what, ours(t))
		}
	}
}

// TestRoutes: a network has a larger window for a while, by the way that leads
// there anyway; a change of that way, its time and the end of all end it, and
// what another process has left behind goes.
func TestRoutes(t *testing.T) {
	link := ways(t)
	left := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP("10.9.0.2"), Dst: ipNet(netip.MustParsePrefix("198.51.100.0/24")), Protocol: 187}
	if err := netlink.RouteAdd(left); err != nil {
		t.Fatal(err)
	}
	r, err := NewRoutes(RouteOptions{Networks: 3, Keep: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	until(t, "what was left behind is still there", func() bool { return len(ours(t)) == 0 })
	now := time.Now()
	v4, v6 := netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("2001:db8:77::/48")
	want := map[netip.Prefix]string{v4: "100 by 10.9.0.2", v6: "80 by 2001:db8:9::2"}
	if err := errors.Join(r.Raise(v4, 1000, now), r.Raise(v6, 80, now), r.Raise(v6, 70, now)); err != nil {
		t.Fatal(err)
	}
	got := ours(t)
	for p, w := range want {
		if got[p.String()] != w {
			t.Errorf("%v: %q, want %q", p, got[p.String()], w)
		}
	}
	if a, b, c := r.Window(v4), r.Window(v6), r.Window(netip.MustParsePrefix("198.51.100.0/25")); a != 100 || b != 80 || c != 0 {
		t.Errorf("windows of %d, %d and %d segments", a, b, c)
	}
	own := &netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP("10.9.0.3"), Dst: ipNet(netip.MustParsePrefix("192.0.2.0/24")), Protocol: 186}
	if err := netlink.RouteAdd(own); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]error{"192.0.2.0/24": ErrOwnWay, "0.0.0.0/0": nil, "127.0.0.0/8": nil} {
		if err := r.Raise(netip.MustParsePrefix(p), 50, now); err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", p, err, want)
		}
	}
	if err := r.Raise(netip.MustParsePrefix("198.51.100.0/25"), 50, now); err != nil {
		t.Error(err)
	}
	if err := r.Raise(netip.MustParsePrefix("198.51.100.128/25"), 50, now); !errors.Is(err, ErrFull) {
		t.Errorf("one too many: %v", err)
	}
	// A route that has to do with one of them, and one that has not.
	for _, p := range []string{"203.0.112.0/23", "10.77.0.0/16"} {
		if err := netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Gw: net.ParseIP("10.9.0.3"), Dst: ipNet(netip.MustParsePrefix(p)), Protocol: 186}); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "a change ends the route", func() bool { return ours(t)[v4.String()] == "" })
	if len(ours(t)) != 2 || r.Len() != 2 {
		t.Errorf("%v, %d", ours(t), r.Len())
	}
	r.expire(now.Add(time.Hour - 1))
	if r.Len() != 2 {
		t.Errorf("%d before their time", r.Len())
	}
	r.expire(now.Add(time.Hour))
	if len(ours(t)) != 0 || r.Len() != 0 {
		t.Errorf("after their time: %v, %d", ours(t), r.Len())
	}
	if err := r.Raise(v6, 80, now); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil || len(ours(t)) != 0 {
		t.Errorf("at the end: %v, %v", ours(t), err)
	}
	if err := r.Raise(v6, 80, now); err == nil {
		t.Error("a route after the end")
	}
}
