package gobgp_test

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
)

// md5Failures counts segments that the kernel dropped for their signature.
func md5Failures(t *testing.T) (n int) {
	t.Helper()
	data, err := os.ReadFile("/proc/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(data), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j, name := range names {
			if strings.HasPrefix(name, "TCPMD5") {
				v, _ := strconv.Atoi(values[j])
				n += v
			}
		}
	}
	return n
}

func TestMD5AndGTSM(t *testing.T) {
	t.Parallel()
	addr := netip.MustParseAddr
	addresses(t, addr("2001:db8:1::1"), addr("2001:db8:1::2"), addr("2001:db8:2::1"), addr("2001:db8:2::2"))
	password := func(p string) map[string]any { return conf("config", "auth-password", p) }
	gtsm := conf("ttl-security", "enabled", true, "ttl-min", 255)
	for name, c := range map[string]struct {
		us, peer netip.Addr
		passive  bool // on our side
	}{
		"IPv4 active":  {addr("127.0.3.1"), addr("127.0.3.2"), false},
		"IPv4 passive": {addr("127.0.4.1"), addr("127.0.4.2"), true},
		"IPv6 active":  {addr("2001:db8:1::1"), addr("2001:db8:1::2"), false},
		"IPv6 passive": {addr("2001:db8:2::1"), addr("2001:db8:2::2"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ours, theirs := map[string]any{}, passive
			if c.passive {
				ours, theirs = passive, map[string]any{}
			}
			n := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: c.peer, Peers: []map[string]any{
				session(c.peer, c.us, ourAS, theirs, password("secret"), gtsm)}})
			s := start(t, gobgp.Options{Config: config(t, c.us, session(c.us, c.peer, asA, ours, password("secret"), gtsm))})
			n.AwaitUp(c.us)
			for _, p := range s.Peers() {
				if p.Address != c.peer {
					t.Errorf("peer %+v", p)
				}
			}
			if c.passive {
				return
			}
			// With another password there is no session and the kernel counts.
			wrong := config(t, c.us, session(c.us, c.peer, asA, ours, password("other"), gtsm))
			if err := s.Reload(t.Context(), wrong, own, nil); err != nil {
				t.Fatal(err)
			}
			n.AwaitDown(c.us)
			deadline := time.Now().Add(bgptest.Timeout)
			for before := md5Failures(t); md5Failures(t) == before; time.Sleep(20 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("no signature was refused")
				}
			}
			if p := s.Peers(); p[0].State == bgp.Established {
				t.Errorf("session with the wrong password: %+v", p)
			}
			right := config(t, c.us, session(c.us, c.peer, asA, ours, password("secret"), gtsm))
			if err := s.Reload(t.Context(), right, own, nil); err != nil {
				t.Fatal(err)
			}
			n.AwaitUp(c.us)
		})
	}
}

func TestMultihopNeedsTTL(t *testing.T) {
	t.Parallel()
	us4, peerA, _, _ := loopback4(27)
	n := bgptest.StartNeighbor(t, bgptest.Config{AS: 4200000001, Address: peerA, Peers: []map[string]any{
		session(peerA, us4, 4200000000, passive, conf("ebgp-multihop", "enabled", true, "multihop-ttl", 8))}})
	c, err := gobgp.ParseConfig(bgptest.Section(4200000000, "10.255.255.1", us4, 0,
		session(us4, peerA, 4200000001, conf("ebgp-multihop", "enabled", true, "multihop-ttl", 8))))
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, gobgp.Options{Config: c})
	s.set(t, announce(web4))
	if p := n.AwaitRoute(web4, nil); len(p.ASPath) != 1 || p.ASPath[0] != 4200000000 {
		t.Errorf("4-byte AS: %+v", p)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, _ := loopback4(28)
	gr := conf("graceful-restart", "enabled", true, "restart-time", 60)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA, Peers: []map[string]any{session(peerA, us4, ourAS, passive, gr)}})
	b := bgptest.StartNeighbor(t, bgptest.Config{AS: asB, Address: peerB, Peers: []map[string]any{session(peerB, us4, ourAS, passive)}})
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerA, asA, gr), session(us4, peerB, asB))})
	s.set(t, announce(web4), announce(web4b))
	a.AwaitRoute(web4b, nil)
	b.AwaitRoute(web4b, nil)
	a.AwaitRoute(web4, nil)
	b.AwaitRoute(web4, nil)
	ctx, cancel := context.WithTimeout(t.Context(), bgptest.Timeout)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*bgptest.Neighbor{a, b} {
		n.AwaitDown(us4)
		n.AwaitNone(web4) // not kept as stale
		n.AwaitNone(web4b)
		if p := n.Peers(); !strings.Contains(p[0].LastError, "administrative shutdown") {
			t.Errorf("end of the session: %q", p[0].LastError)
		}
	}
	if err := <-s.done; err != nil {
		t.Errorf("Run: %v", err)
	}
	s.done <- nil
	if err := s.Set(t.Context(), nil); err == nil || err.Error() != "bgp: has been stopped" {
		t.Errorf("Set after Stop: %v", err)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	us4, peerA, peerB, _ := loopback4(29)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA, Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	b := bgptest.StartNeighbor(t, bgptest.Config{AS: asB, Address: peerB, Peers: []map[string]any{session(peerB, us4, ourAS, passive)}})
	toA, toB := session(us4, peerA, asA), session(us4, peerB, asB)
	s := start(t, gobgp.Options{Config: config(t, us4, toA)})
	s.set(t, bgp.Announcement{Prefix: web4, Attributes: bgp.Attributes{Prepend: 1}}, announce(web4b))
	a.AwaitRoute(web4, nil)

	bad, err := gobgp.ParseConfig(bgptest.Section(ourAS+1, "10.255.255.1", us4, 0, toB))
	if err != nil {
		t.Fatal(err)
	}
	want := "bgp: reload: bgp.global.config.as: a change from 64500 to 64501 needs a restart"
	if err := s.Reload(t.Context(), bad, nil, nil); err == nil || err.Error() != want {
		t.Errorf("Reload: %v, want %s", err, want)
	}
	if len(s.Peers()) != 1 || len(s.Announced()) != 2 {
		t.Errorf("a refused reload changed things: %+v", s.Peers())
	}
	// One neighbor more, one prefix less.
	if err := s.Reload(t.Context(), config(t, us4, toA, toB), []netip.Prefix{web4, web6}, nil); err != nil {
		t.Fatal(err)
	}
	b.AwaitRoute(web4, func(p bgp.Path) bool { return len(p.ASPath) == 2 })
	a.AwaitNone(web4b)
	if err := s.Set(t.Context(), []bgp.Announcement{announce(web4), announce(web4b)}); err == nil {
		t.Error("a prefix that was taken from us was accepted")
	}
	// The first neighbor's description changes: a new session for it alone.
	// The timers change in place.
	timers := conf("timers", "hold-time", 30)
	if err := s.Reload(t.Context(), config(t, us4, session(us4, peerA, asA, timers)), own, nil); err != nil {
		t.Fatal(err)
	}
	b.AwaitDown(us4)
	for _, e := range a.Events() {
		if e.Peer != nil && e.Peer.Was == bgp.Established {
			t.Errorf("A's session was touched: %+v", e.Peer)
		}
	}
	s.set(t, announce(web4), announce(web4b))
	a.AwaitRoute(web4b, nil)
}

func TestReloadOfUserPolicies(t *testing.T) {
	t.Parallel()
	us4, peerA, _, _ := loopback4(30)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA, Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	s := start(t, gobgp.Options{Config: config(t, us4, session(us4, peerA, asA))})
	withheld := map[netip.Addr]bgp.Override{peerA: {Withhold: true}}
	s.set(t, announce(web4b), bgp.Announcement{Prefix: web4, Neighbors: withheld})
	a.AwaitRoute(web4b, nil)
	m := bgptest.Section(ourAS, "10.255.255.1", us4, 0, session(us4, peerA, asA))
	m["defined-sets"] = map[string]any{"prefix-sets": []any{map[string]any{"prefix-set-name": "b",
		"prefix-list": []any{map[string]any{"ip-prefix": web4b.String()}}}}}
	m["policy-definitions"] = []any{map[string]any{"name": "user", "statements": []any{
		map[string]any{"name": "no-b", "conditions": map[string]any{"match-prefix-set": map[string]any{"prefix-set": "b"}},
			"actions": map[string]any{"route-disposition": "reject-route"}}}}}
	overlay(m, map[string]any{"global": map[string]any{"apply-policy": map[string]any{"config": map[string]any{
		"export-policy-list": []any{"user"}}}}})
	c, err := gobgp.ParseConfig(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context(), c, own, nil); err != nil {
		t.Fatal(err)
	}
	a.AwaitNone(web4b)
	// A policy that cannot be built changes nothing.
	m["defined-sets"] = map[string]any{"bgp-defined-sets": map[string]any{"community-sets": []any{map[string]any{
		"community-set-name": "x", "community-list": []any{"("}}}}}
	m["policy-definitions"] = nil
	overlay(m, map[string]any{"global": map[string]any{"apply-policy": map[string]any{"config": map[string]any{
		"export-policy-list": []any{}}}}})
	c, err = gobgp.ParseConfig(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(t.Context(), c, own, nil); err == nil {
		t.Error("a bad community set was accepted")
	}
	if err := s.RefreshPeer(t.Context(), peerA); err != nil {
		t.Fatal(err)
	}
	s.set(t, announce(web4b), bgp.Announcement{Prefix: web4, Neighbors: withheld}, announce(web6))
	s.flush(t)
	if err := s.Reload(t.Context(), config(t, us4, session(us4, peerA, asA)), own, nil); err != nil {
		t.Fatal(err)
	}
	a.AwaitRoute(web4b, nil)
	if len(a.Paths(web4)) != 0 {
		t.Error("the withheld route leaked through the reloads")
	}
}

func TestSetBeforeRunAndFlush(t *testing.T) {
	t.Parallel()
	us4, peerA, _, _ := loopback4(31)
	a := bgptest.StartNeighbor(t, bgptest.Config{AS: asA, Address: peerA, Peers: []map[string]any{session(peerA, us4, ourAS, passive)}})
	s, err := gobgp.New(gobgp.Options{Config: config(t, us4, session(us4, peerA, asA)), Own: own})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Set(t.Context(), []bgp.Announcement{announce(web4)}); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Errorf("Flush before Run: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	a.AwaitRoute(web4, nil)
	if err := s.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	a.AwaitDown(us4)
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("Stop after the end: %v", err)
	}
}

func TestNewRefusesAddPath(t *testing.T) {
	c := config(t, us4, session(us4, peerA, asA, conf("add-paths", "send-max", 4)))
	_, err := gobgp.New(gobgp.Options{Config: c})
	want := "bgp.neighbors[0].add-paths.config.send-max: not supported: there is one path for each prefix, " +
		"and v3 would not withdraw what is withheld from this neighbor"
	if err == nil || err.Error() != want {
		t.Errorf("New: %v, want %s", err, want)
	}
	if _, err := gobgp.New(gobgp.Options{}); err == nil {
		t.Error("New without a config")
	}
	if !errors.As(error(gobgp.NoHelpers{peerA}), new(gobgp.NoHelpers)) {
		t.Error("NoHelpers is no error")
	}
}
