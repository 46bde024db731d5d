package fib

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/lab/sandbox"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

func addrs(s ...string) (all []netip.Addr) {
	for _, a := range s {
		all = append(all, netip.MustParseAddr(a))
	}
	return all
}

// devices makes two devices with addresses of both families.
func devices(t *testing.T) {
	t.Helper()
	for name, cidrs := range map[string][]string{
		"net0": {"10.0.0.1/24", "2001:db8::1/64", "fe80::1/64"}, "net1": {"10.0.1.1/24", "2001:db8:1::1/64"}} {
		d := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: name + "p"}
		if err := netlink.LinkAdd(d); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = netlink.LinkDel(d) })
		up(t, name+"p")
		up(t, name, cidrs...)
	}
}

func up(t *testing.T, name string, cidrs ...string) {
	t.Helper()
	d, err := netlink.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(d); err != nil {
		t.Fatal(err)
	}
	for _, c := range cidrs {
		a, err := netlink.ParseAddr(c)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(c, ":") {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrReplace(d, a); err != nil {
			t.Fatalf("%s: %v", c, err)
		}
	}
}

// kernel returns the gateways of all routes to a prefix in a table.
func kernel(t *testing.T, table int, prefix string) (hops []netip.Addr) {
	t.Helper()
	p := netip.MustParsePrefix(prefix)
	family := netlink.FAMILY_V4
	if p.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	routes, err := netlink.RouteListFiltered(family, &netlink.Route{Dst: ipNet(p), Table: table}, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		for _, h := range append(r.MultiPath, &netlink.NexthopInfo{Gw: r.Gw}) {
			if a, ok := netip.AddrFromSlice(h.Gw); ok {
				hops = append(hops, a.Unmap())
			}
		}
	}
	slices.SortFunc(hops, netip.Addr.Compare)
	return hops
}

func expect(t *testing.T, prefix string, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := kernel(t, unix.RT_TABLE_MAIN, prefix)
		if slices.Equal(got, addrs(want...)) {
			return
		} else if time.Now().After(deadline) {
			t.Fatalf("%s goes by %v, want %v", prefix, got, want)
		}
	}
}

// run starts a table and waits until it has the kernel.
func run(t *testing.T, o Options) (*Table, func()) {
	t.Helper()
	tab, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tab.Run(ctx) }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		tab.mu.Lock()
		ready := tab.handle != nil
		tab.mu.Unlock()
		if ready {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("Run does not start")
		}
	}
	return tab, func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

var families = []struct{ prefix, a, b, c string }{
	{"192.0.2.0/24", "10.0.0.2", "10.0.0.3", "10.0.1.2"},
	{"2001:db8:100::/48", "2001:db8::2", "2001:db8::3", "2001:db8:1::2"},
	{"0.0.0.0/0", "10.0.0.2", "10.0.0.3", "10.0.1.2"},
	{"::/0", "2001:db8::2", "2001:db8::3", "2001:db8:1::2"},
	{"198.51.100.7/32", "10.0.0.2", "10.0.0.3", "10.0.1.2"},
	{"2001:db8:200::7/128", "2001:db8::2", "2001:db8::3", "2001:db8:1::2"},
}

func TestUpdateAndRemove(t *testing.T) {
	devices(t)
	tab, stop := run(t, Options{})
	for _, f := range families {
		p := netip.MustParsePrefix(f.prefix)
		must(t, tab.Update(p, addrs(f.a)))
		expect(t, f.prefix, f.a)
		must(t, tab.Update(p, addrs(f.c, f.a, f.c)))
		expect(t, f.prefix, f.a, f.c)
		must(t, tab.Update(p, addrs(f.a, f.b, f.c)))
		expect(t, f.prefix, f.a, f.b, f.c)
		must(t, tab.Update(p, addrs(f.b)))
		expect(t, f.prefix, f.b)
		must(t, tab.Apply(Decision{Prefix: p, NextHops: addrs(f.a, f.b)}))
		must(t, tab.Apply(Decision{Prefix: p}))
		expect(t, f.prefix)
		must(t, tab.Remove(p))
		must(t, tab.Update(p, addrs(f.a)))
	}
	linkLocal := netip.MustParsePrefix("2001:db8:300::/48")
	must(t, tab.Update(linkLocal, addrs("fe80::2%net0")))
	expect(t, linkLocal.String(), "fe80::2")
	must(t, tab.Update(linkLocal, addrs("fe80::2%net0", "fe80::2%net1")))
	expect(t, linkLocal.String(), "fe80::2", "fe80::2")
	if n := len(tab.Installed()); n != len(families)+1 {
		t.Errorf("%d routes installed: %v", n, tab.Installed())
	}
	stop()
	for _, f := range families {
		expect(t, f.prefix) // gone at the end
	}
}

func TestErrors(t *testing.T) {
	devices(t)
	tab, stop := run(t, Options{})
	defer stop()
	p4, p6 := netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8:9::/48")
	for _, tt := range []struct {
		want string
		err  error
	}{
		{"no prefix or no next hop", tab.Update(p4, nil)},
		{"next hop 2001:db8::2 is not of its family", tab.Update(p4, addrs("2001:db8::2"))},
		{"needs its device", tab.Update(p6, addrs("fe80::2"))},
		{"fib: route 192.0.2.0/24 via [203.0.113.1]: network is unreachable", tab.Update(p4, addrs("203.0.113.1"))},
		{"fib: route 2001:db8:9::/48 via fe80::2%nope: Link not found", tab.Update(p6, addrs("fe80::2%nope"))},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("error %v, want %q", tt.err, tt.want)
		}
	}
	for _, o := range []Options{{Protocol: 2}, {Protocol: 256}, {Metric: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}

// TestOfOthers: routes of another protocol, and what an earlier run left.
func TestOfOthers(t *testing.T) {
	devices(t)
	static := netlink.Route{Dst: ipNet(netip.MustParsePrefix("203.0.113.0/24")), Gw: addrs("10.0.0.9")[0].AsSlice(), Protocol: unix.RTPROT_STATIC}
	if err := netlink.RouteAdd(&static); err != nil {
		t.Fatal(err)
	}
	first, stop := run(t, Options{KeepOnStop: true})
	for _, f := range families {
		must(t, first.Update(netip.MustParsePrefix(f.prefix), addrs(f.a)))
	}
	stop()
	for _, f := range families {
		expect(t, f.prefix, f.a) // kept
	}
	second, stop := run(t, Options{Grace: 300 * time.Millisecond})
	must(t, second.Update(netip.MustParsePrefix(families[0].prefix), addrs(families[0].a)))
	must(t, second.Update(netip.MustParsePrefix(families[1].prefix), addrs(families[1].c)))
	for _, f := range families[2:] {
		expect(t, f.prefix) // not asked for within the grace time
	}
	expect(t, families[0].prefix, families[0].a)
	expect(t, families[1].prefix, families[1].c)
	stop()
	expect(t, families[0].prefix)
	expect(t, "203.0.113.0/24", "10.0.0.9")
}

func TestDeviceComesBack(t *testing.T) {
	devices(t)
	tab, stop := run(t, Options{})
	defer stop()
	must(t, tab.Update(netip.MustParsePrefix("192.0.2.0/24"), addrs("10.0.0.2", "10.0.1.2")))
	must(t, tab.Update(netip.MustParsePrefix("2001:db8:100::/48"), addrs("2001:db8:1::2")))
	must(t, tab.Update(netip.MustParsePrefix("198.51.100.0/24"), addrs("10.0.1.2")))
	late := netip.MustParsePrefix("203.0.113.0/24")
	if err := tab.Update(late, addrs("10.0.9.2")); err == nil {
		t.Error("no error for a next hop that nothing leads to")
	}
	d, err := netlink.LinkByName("net1")
	must(t, err)
	must(t, netlink.LinkSetDown(d))
	if got := kernel(t, unix.RT_TABLE_MAIN, "198.51.100.0/24"); got != nil {
		t.Fatalf("the kernel kept %v, so this test shows nothing", got)
	}
	up(t, "net1", "2001:db8:1::1/64", "10.0.9.1/24")
	expect(t, "192.0.2.0/24", "10.0.0.2", "10.0.1.2")
	expect(t, "198.51.100.0/24", "10.0.1.2")
	expect(t, "2001:db8:100::/48", "2001:db8:1::2")
	expect(t, late.String(), "10.0.9.2")
}

func TestOtherTableAndMetric(t *testing.T) {
	devices(t)
	tab, stop := run(t, Options{TableID: 1000, Protocol: 200, Metric: 77})
	for _, f := range families {
		must(t, tab.Update(netip.MustParsePrefix(f.prefix), addrs(f.a, f.c)))
		if got := kernel(t, 1000, f.prefix); !slices.Equal(got, addrs(f.a, f.c)) {
			t.Errorf("table 1000: %s by %v", f.prefix, got)
		}
		expect(t, f.prefix)
	}
	stop()
	for _, f := range families {
		if got := kernel(t, 1000, f.prefix); got != nil {
			t.Errorf("left in table 1000: %v", got)
		}
	}
}
