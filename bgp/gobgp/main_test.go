package gobgp_test

import (
	"context"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) != "" {
		child()
		return
	}
	// The tests wait for sessions more than they compute.
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	sandbox.Main(m)
}

// loopback4 and loopback6 are the addresses of one test, that of number n: of
// the speaker and its neighbors.
func loopback4(n int) (us, a, b, c netip.Addr) {
	at := func(host byte) netip.Addr { return netip.AddrFrom4([4]byte{127, 1, byte(n), host}) }
	return at(1), at(2), at(3), at(4)
}

func loopback6(n int) (us, peer netip.Addr) {
	at := func(host byte) netip.Addr {
		return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, byte(n), 15: host})
	}
	return at(1), at(2)
}

var (
	us4   = netip.MustParseAddr("127.0.0.1")
	peerA = netip.MustParseAddr("127.0.0.2")

	web4   = netip.MustParsePrefix("192.0.2.0/24")
	web4b  = netip.MustParsePrefix("198.51.100.0/24")
	web6   = netip.MustParsePrefix("2001:db8:100::/48")
	alien4 = netip.MustParsePrefix("203.0.113.0/24")
	own    = []netip.Prefix{web4, web4b, web6}
)

const (
	ourAS = 64500
	asA   = 64501
	asB   = 64502
)

// session is one end of a session in gobgpd's keys; it connects from local.
func session(local, remote netip.Addr, as uint32, more ...map[string]any) map[string]any {
	n := map[string]any{
		"config":    map[string]any{"neighbor-address": remote.String(), "peer-as": as},
		"transport": map[string]any{"config": map[string]any{"local-address": local.String()}},
	}
	for _, m := range more {
		overlay(n, m)
	}
	return n
}

func overlay(to, from map[string]any) {
	for k, v := range from {
		a, aok := to[k].(map[string]any)
		b, bok := v.(map[string]any)
		if aok && bok {
			overlay(a, b)
		} else {
			to[k] = v
		}
	}
}

func conf(section string, kv ...any) map[string]any {
	c := make(map[string]any)
	for i := 0; i < len(kv); i += 2 {
		c[kv[i].(string)] = kv[i+1]
	}
	if section == "config" {
		return map[string]any{"config": c}
	}
	return map[string]any{section: map[string]any{"config": c}}
}

var passive = conf("transport", "passive-mode", true)

func families(names ...string) map[string]any {
	var l []any
	for _, n := range names {
		l = append(l, map[string]any{"config": map[string]any{"afi-safi-name": n}})
	}
	return map[string]any{"afi-safis": l}
}

func testLogger(t testing.TB) *slog.Logger {
	if !testing.Verbose() || os.Getenv("GOBGP_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func config(t testing.TB, listen netip.Addr, neighbors ...map[string]any) *gobgp.Config {
	t.Helper()
	c, err := gobgp.ParseConfig(bgptest.Section(ourAS, "10.255.255.1", listen, 0, neighbors...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type speaker struct {
	*gobgp.Speaker
	cancel context.CancelFunc
	done   chan error
}

// start runs a speaker that owns the test prefixes.
func start(t testing.TB, o gobgp.Options) *speaker {
	t.Helper()
	if o.Own == nil {
		o.Own = own
	}
	o.Logger = testLogger(t)
	s, err := gobgp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, s)
}

// run runs a speaker until the test ends.
func run(t testing.TB, s *gobgp.Speaker) *speaker {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &speaker{s, cancel, make(chan error, 1)}
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.done; err != nil {
			t.Errorf("Run: %v", err)
		}
		r.done <- nil
	})
	select {
	case <-s.Ready():
	case err := <-r.done:
		r.done <- nil
		t.Fatalf("Run: %v", err)
	}
	return r
}

func (s *speaker) set(t testing.TB, as ...bgp.Announcement) {
	t.Helper()
	if err := s.Set(t.Context(), as); err != nil {
		t.Fatal(err)
	}
}

// flush waits until all is written.
func (s *speaker) flush(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bgptest.Timeout)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func announce(p netip.Prefix) bgp.Announcement { return bgp.Announcement{Prefix: p} }

// addresses puts addresses on the sandbox's loopback.
func addresses(t testing.TB, addrs ...netip.Addr) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		err := netlink.AddrReplace(lo, &netlink.Addr{
			IPNet: netlink.NewIPNet(a.AsSlice()), Flags: 0x02 /* IFA_F_NODAD */})
		if err != nil {
			t.Fatalf("address %s: %v", a, err)
		}
	}
}

func ptr(n uint32) *uint32 { return &n }

func withdrawals(n *bgptest.Neighbor, p netip.Prefix) int {
	return len(slices.DeleteFunc(n.Events(), func(e bgptest.Event) bool {
		return e.Peer != nil || !e.Withdrawn || e.Path.Prefix != p
	}))
}
