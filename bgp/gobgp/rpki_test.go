package gobgp_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp/bgptest"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/bgp/rpki"
	"github.com/catchment/catchment/bgp/rpki/rpkitest"
)

func vrp(prefix string, longest int, as uint32) rpki.VRP {
	return rpki.VRP{Prefix: netip.MustParsePrefix(prefix), MaxLength: longest, AS: as}
}

// startRPKI runs a speaker with caches at ports of an address.
func startRPKI(t *testing.T, us netip.Addr, o gobgp.Options, as uint32, ports ...int) *speaker {
	t.Helper()
	section := bgptest.Section(as, "10.255.255.1", us, 0)
	var servers []any
	for _, p := range ports {
		servers = append(servers, map[string]any{"config": map[string]any{"address": us.String(), "port": p}})
	}
	section["rpki-servers"] = servers
	c, err := gobgp.ParseConfig(section)
	if err != nil {
		t.Fatal(err)
	}
	o.Config, o.Own = c, own
	s, err := gobgp.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.HurryRPKI()
	return run(t, s)
}

// invalid waits until exactly these prefixes are invalid, and returns why.
func (s *speaker) invalid(t *testing.T, want ...netip.Prefix) map[netip.Prefix]string {
	t.Helper()
	deadline := time.Now().Add(bgptest.Timeout)
	for {
		got := s.Invalid()
		missing := slices.ContainsFunc(want, func(p netip.Prefix) bool { return got[p] == "" })
		if len(got) == len(want) && !missing {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("invalid are %v, want %v; the view is %+v", got, want, s.RPKI())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// synchronized waits until the cache has told all n VRPs that cover ours.
func (s *speaker) synchronized(t *testing.T, n int) {
	t.Helper()
	for deadline := time.Now().Add(bgptest.Timeout); ; time.Sleep(5 * time.Millisecond) {
		v := s.RPKI()
		if v.Synchronized() && len(v.VRPs) == n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the view is %+v", v)
		}
	}
}

// TestRPKI: what a cache says of our prefixes, as it changes, and nothing
// where it has not told all or is gone.
func TestRPKI(t *testing.T) {
	t.Parallel()
	us, _, _, _ := loopback4(35)
	c := rpkitest.Start(t, us.String()+":0", vrp("192.0.2.0/24", 24, 64999), vrp("2001:db8::/32", 32, ourAS), vrp("203.0.113.0/24", 24, 64999))
	socket := filepath.Join(t.TempDir(), "s")
	s := startRPKI(t, us, gobgp.Options{APISocket: socket}, ourAS, c.Port())
	got := s.invalid(t, web4, web6)
	if want := "its ROA is not for AS 64500: 192.0.2.0/24 AS 64999"; got[web4] != want {
		t.Errorf("%s, want %s", got[web4], want)
	}
	if want := "it is longer than its ROA allows AS 64500: 2001:db8::/32 AS 64500"; got[web6] != want {
		t.Errorf("%s, want %s", got[web6], want)
	}
	view, err := gobgp.InspectRPKI(t.Context(), socket, own)
	if err != nil || !slices.Equal(view.VRPs, s.RPKI().VRPs) || len(view.Caches) != 1 || !view.Caches[0].Synchronized || view.Caches[0].VRPs != 3 ||
		view.Caches[0].Address != c.Address {
		t.Errorf("by the API: %+v, %v", view, err)
	}
	c.Set(vrp("192.0.2.0/24", 24, ourAS), vrp("2001:db8::/32", 48, ourAS), vrp("198.51.100.0/22", 24, 0))
	if got := s.invalid(t, web4b); !strings.Contains(got[web4b], "AS 0") {
		t.Error(got[web4b])
	}
	c.Close() // GoBGP keeps its data for an hour; we do not go by it
	s.invalid(t)
	if v := s.RPKI(); v.Synchronized() || len(v.VRPs) != 0 || len(v.Caches) != 1 {
		t.Errorf("without its cache: %+v", v)
	}
}

// TestRPKIOfSeveralCaches: who is synchronized counts, and what either says.
func TestRPKIOfSeveralCaches(t *testing.T) {
	t.Parallel()
	us, _, _, _ := loopback4(36)
	silent := rpkitest.Start(t, us.String()+":0", vrp("192.0.2.0/24", 24, 64999))
	silent.Silent()
	a := rpkitest.Start(t, us.String()+":0", vrp("198.51.100.0/24", 24, 64999))
	b := rpkitest.Start(t, us.String()+":0", vrp("198.51.100.0/24", 24, 64998), vrp("2001:db8:100::/48", 48, 64998))
	s := startRPKI(t, us, gobgp.Options{}, ourAS, silent.Port(), a.Port(), b.Port())
	s.synchronized(t, 3)
	if got := s.invalid(t, web4b, web6); !strings.Contains(got[web4b], "AS 64998, 198.51.100.0/24 AS 64999") {
		t.Error(got[web4b])
	}
	b.Set(vrp("198.51.100.0/24", 24, ourAS))
	s.invalid(t)
}

// TestRPKIOfAPrivateAS: others see another origin, which we do not know.
func TestRPKIOfAPrivateAS(t *testing.T) {
	t.Parallel()
	us, _, _, _ := loopback4(37)
	c := rpkitest.Start(t, us.String()+":0", vrp("192.0.2.0/24", 24, 64999))
	s := startRPKI(t, us, gobgp.Options{}, 64512, c.Port())
	s.synchronized(t, 1)
	s.invalid(t)
}

// TestRPKIByStayRTR: the same with a real cache.
func TestRPKIByStayRTR(t *testing.T) {
	t.Parallel()
	us, _, _, _ := loopback4(38)
	const port = 8282
	rpkitest.StayRTR(t, fmt.Sprintf("%s:%d", us, port), vrp("192.0.2.0/23", 23, ourAS), vrp("2001:db8:100::/40", 48, ourAS))
	s := startRPKI(t, us, gobgp.Options{}, ourAS, port)
	s.synchronized(t, 2)
	s.invalid(t, web4)
}

func TestOrigins(t *testing.T) {
	c := config(t, us4, session(us4, peerA, asA), session(us4, netip.MustParseAddr("127.0.0.3"), asB, conf("config", "local-as", 64510)),
		session(us4, netip.MustParseAddr("127.0.0.4"), asB, conf("config", "local-as", 65000)))
	if got := c.Origins(); !slices.Equal(got, []uint32{ourAS, 64510}) {
		t.Errorf("%v", got)
	}
	if got := config(t, us4).Origins(); !slices.Equal(got, []uint32{ourAS}) {
		t.Errorf("without neighbors: %v", got)
	}
}

// TestRPKIOfNewPrefixes: what a reload makes ours is judged when it returns.
func TestRPKIOfNewPrefixes(t *testing.T) {
	t.Parallel()
	us, _, _, _ := loopback4(40)
	c := rpkitest.Start(t, us.String()+":0", vrp("203.0.113.0/24", 24, 64999), vrp("192.0.2.0/24", 24, 64999))
	section := bgptest.Section(ourAS, "10.255.255.1", us, 0)
	section["rpki-servers"] = []any{map[string]any{"config": map[string]any{"address": us.String(), "port": c.Port()}}}
	conf, err := gobgp.ParseConfig(section)
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, gobgp.Options{Config: conf}) // looks each second, and then each minute
	s.invalid(t, web4)
	if err := s.Reload(t.Context(), conf, []netip.Prefix{web6, alien4}, nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Invalid(); len(got) != 1 || got[alien4] == "" {
		t.Errorf("invalid are %v, want %v", got, alien4)
	}
}
