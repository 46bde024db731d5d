package steer

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/catchment/catchment/policy"
)

var update = flag.Bool("update", false, "write testdata/choices.txt anew; read the difference")

// world is the fleet of the table: three POPs and one that is cheap.
func world() (Config, []network, []network) {
	pref := netip.MustParsePrefix
	cfg := Config{
		Self: "LON",
		POPs: []POP{
			{ID: "LON", Name: "lon.pop.example.net."}, {ID: "FRA", Name: "fra.pop.example.net."},
			{ID: "NYC", Name: "nyc.pop.example.net."}, {ID: "CHEAP", Name: "cheap.pop.example.net."},
		},
		Destinations: []Destination{
			{Name: "europe", POPs: []Weighted{{POP: "LON", Weight: 3}, {POP: "FRA"}}, Failover: []Weighted{{POP: "NYC"}}, Cheap: []Weighted{{POP: "CHEAP"}}},
			{Name: "germany", POPs: []Weighted{{POP: "FRA"}}, Failover: []Weighted{{POP: "LON"}, {POP: "NYC", Tier: 1}}, Cheap: []Weighted{{POP: "CHEAP"}}},
			{Name: "america", POPs: []Weighted{{POP: "NYC"}}, Failover: []Weighted{{POP: "LON"}, {POP: "FRA"}}},
		},
		Locations: []Location{{Name: "eu", Destination: "europe"}, {Name: "de", Destination: "germany"}, {Name: "us", Destination: "america"}, {Name: "rural", Destination: "europe", Slow: true}},
		Customers: []Customer{{"acme", []Override{{"de", "europe"}, {"", "america"}}}},
		Rules: []Rule{
			{Name: "www.example.net"}, {Name: "img.example.net", Customer: "acme", Max: 2},
			{Name: "*.example.net", Customer: "acme", Overrides: []Override{{"us", "germany"}}, Direct: true},
		},
		Asked: Destination{Failover: []Weighted{{POP: "FRA"}}, Cheap: []Weighted{{POP: "CHEAP"}}}, Headroom: 0.05,
	}
	nets := []network{
		{pref("10.0.0.0/8"), "eu"}, {pref("10.4.0.0/14"), "de"}, {pref("10.4.128.0/17"), "eu"}, {pref("10.64.0.0/10"), "us"},
		{pref("10.128.0.0/12"), "rural"}, {pref("172.16.0.0/12"), "elsewhere"},
		{pref("2001:db8::/32"), "eu"}, {pref("2001:db8:4000::/34"), "us"}, {pref("2001:db8:4000:1::/64"), "de"},
	}
	slow := []network{{pref("10.4.5.0/24"), "slow path"}, {pref("10.64.0.0/16"), "provider"}, {pref("2001:db8:8000::/33"), "slow path"}, {pref("192.0.2.0/24"), "operator"}}
	return cfg, nets, slow
}

// states are what the table goes through, in this order.
func states() (names []string, all []State) {
	caches := func(n int) (out []Cache) {
		for i := range n {
			out = append(out, Cache{Addr: netip.AddrFrom4([4]byte{198, 51, 100, byte(n*16 + i)})}, Cache{Addr: netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0xff, 15: byte(n*16 + i)})})
		}
		return out
	}
	add := func(name string, change func(p []POPState)) {
		s := State{POPs: make([]POPState, 4)}
		for i := range s.POPs {
			s.POPs[i] = POPState{Health: policy.Up, Stance: policy.Announce, Room: true, Headroom: 0.5, Caches: caches(i + 1)}
		}
		change(s.POPs)
		names, all = append(names, name), append(all, s)
	}
	add("all well", func([]POPState) {})
	add("LON down", func(p []POPState) { p[0].Health = policy.Down })
	add("FRA draining", func(p []POPState) { p[1].Stance = policy.Drain })
	add("FRA without headroom", func(p []POPState) { p[1].Headroom = 0.01 })
	add("LON hands 30 % to NYC", func(p []POPState) { p[0].Offers = []Offer{{"NYC", 0.3}} })
	add("CHEAP without a cache that is up", func(p []POPState) {
		for i := range p[3].Caches {
			p[3].Caches[i].Down = true
		}
	})
	add("NYC unknown, FRA half of it up", func(p []POPState) { p[2] = POPState{}; p[1].Health, p[1].Scale = policy.Degraded, 0.5 })
	add("all down", func(p []POPState) {
		for i := range p {
			p[i].Health = policy.Down
		}
	})
	return names, all
}

// TestTable: every state, name and client, with the answer as a person can
// check it, and as the oracle has it.
func TestTable(t *testing.T) {
	cfg, nets, slow := world()
	m := build(t, nets)
	c, err := New(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	clients := []string{"10.0.0.0/24", "10.4.0.0/24", "10.4.5.0/24", "10.4.128.0/20", "10.64.1.0/24", "10.65.0.0/24", "10.128.0.0/16", "172.16.0.0/24", "192.0.2.0/24", "2001:db8::/56", "2001:db8:4000:1::/64", "2001:db8:9000::/48", ""}
	names, all := states()
	var b strings.Builder
	cases := 0
	for i, s := range all {
		l := c.With(s, NewSlow(build(t, slow)))
		fmt.Fprintf(&b, "== %s\n", names[i])
		for _, name := range []string{"www.example.net", "img.example.net.", "x.y.example.net", "slowpop.www.example.net"} {
			for _, client := range clients {
				q := Question{Resolver: netip.MustParseAddr("10.68.0.1"), Seed: 1}
				var ok bool
				if q.Rule, q.SlowName, ok = c.Rule(name); !ok {
					t.Fatalf("no rule for %s", name)
				}
				if client != "" {
					q.Client = netip.MustParsePrefix(client)
					q.V6 = q.Client.Addr().Is6()
				}
				fmt.Fprintf(&b, "%-24s %-21s %s\n", name, cases0(client), line(cfg, l, &q))
				want := asIssue(cfg, nets, slow, s, &q)
				got := map[policy.POPID]float64{}
				for _, x := range l.Shares(l.Choose(&q).Place) {
					got[cfg.POPs[x.POP].ID] += x.Share
				}
				if !maps.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
					t.Errorf("%s, %s, %s: %v, want %v", names[i], name, client, got, want)
				}
				cases++
			}
		}
	}
	if cases < 200 {
		t.Errorf("%d cases, want 200 at least", cases)
	}
	golden(t, "testdata/choices.txt", b.String())
}

func cases0(client string) string {
	if client == "" {
		return "(resolver)"
	}
	return client
}

// line is one case: shares, scope and one answer.
func line(cfg Config, l *Live, q *Question) string {
	a := l.Choose(q)
	var out []string
	for _, s := range l.Shares(a.Place) {
		out = append(out, fmt.Sprintf("%s %s%%", cfg.POPs[s.POP].ID, percent(s.Share)))
	}
	answer := a.Target
	if answer == "" {
		answer = fmt.Sprintf("%s %d addresses", a.POP, len(a.Addresses()))
	}
	return fmt.Sprintf("/%-2d %s -> %s", a.Scope, strings.Join(out, " "), answer)
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got == string(want) {
		return
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("%s:%d:\n%s\nwant\n%s", path, i+1, g[i], w[i])
		}
	}
	t.Fatalf("%s: %d lines, want %d", path, len(g), len(w))
}

// TestExplain: what `catchment explain dns` prints.
func TestExplain(t *testing.T) {
	cfg, nets, slow := world()
	m := build(t, nets)
	c, err := New(cfg, m)
	if err != nil {
		t.Fatal(err)
	}
	_, all := states()
	var b strings.Builder
	for _, x := range []struct {
		state                  int
		name, client, resolver string
		unicast                bool
	}{
		{0, "www.example.net", "10.0.0.0/24", "10.68.0.1", false},
		{4, "www.example.net", "10.0.0.0/24", "10.68.0.1", false},
		{0, "www.example.net", "10.4.5.0/24", "10.68.0.1", false},
		{1, "img.example.net", "10.4.1.0/24", "10.68.0.1", false},
		{3, "www.example.net", "10.4.1.0/24", "10.68.0.1", false},
		{0, "slowpop.www.example.net", "172.16.0.0/24", "192.0.2.77", true},
		{0, "www.example.net", "", "203.0.113.1", false},
		{0, "www.example.net", "0.0.0.0/0", "10.68.0.1", false},
		{0, "www.example.net", "10.128.1.0/24", "10.68.0.1", false},
		{7, "a.example.net", "2001:db8:4000::/48", "10.68.0.1", false},
		{0, "www.example.net", "10.64.0.0/24", "10.68.0.1", false},
	} {
		l := c.With(all[x.state], NewSlow(build(t, slow)))
		q := Question{Resolver: netip.MustParseAddr(x.resolver), Unicast: x.unicast}
		q.Rule, q.SlowName, _ = c.Rule(x.name)
		if x.client != "" {
			q.Client = netip.MustParsePrefix(x.client)
			q.V6 = q.Client.Addr().Is6()
		}
		a, tr := l.Explain(&q, m)
		if want := l.Choose(&q); a.Target != want.Target || a.Place != want.Place || !slices.Equal(a.Addresses(), want.Addresses()) {
			t.Errorf("Explain gives %+v, Choose %+v", a, want)
		}
		fmt.Fprintf(&b, "%s\n", tr)
		if _, tr = l.Explain(&q, nil); !strings.Contains(tr.String(), "1 location") {
			t.Errorf("without nets: %s", tr)
		}
	}
	golden(t, "testdata/explain.txt", b.String())
}

func TestNewRefuses(t *testing.T) {
	cfg, _, _ := world()
	cfg.Self = "XXX"
	cfg.POPs = append(cfg.POPs, POP{ID: "LON", Location: "mars"})
	cfg.Destinations = append(cfg.Destinations, Destination{Name: "none"}, Destination{Name: "asked", POPs: []Weighted{{POP: "ZZZ"}, {POP: "LON", Weight: -1}, {POP: "LON"}}})
	cfg.Locations = append(cfg.Locations, Location{"eu", "nowhere", false})
	cfg.Customers = append(cfg.Customers, Customer{Name: ""}, Customer{"x", []Override{{"eu", "nowhere"}}})
	cfg.Rules = append(cfg.Rules, Rule{Name: "WWW.example.net.", Customer: "nobody"}, Rule{Name: "b", Customer: "x", Max: 9})
	cfg.Headroom = 1
	_, err := New(cfg, nil)
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		`POP "LON": named twice`, `POP "XXX": this one is not in the list`, "destination none: no POPs", `destination "asked": named twice`,
		`POP "ZZZ" is not in`, "POP LON: weight -1", "POP LON is in a list twice", `location "eu": named twice`, `location eu: no destination "nowhere"`,
		`POP LON: no location "mars"`, `customer "": named twice`, `customer x: override of location "eu": no destination "nowhere"`,
		`name www.example.net: no customer "nobody"`, `name "www.example.net": there twice`, "name b: max 9", "headroom 1",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
}

func TestChooseAllocatesNothing(t *testing.T) {
	cfg, nets, slow := world()
	c, err := New(cfg, build(t, nets))
	if err != nil {
		t.Fatal(err)
	}
	_, all := states()
	l := c.With(all[0], NewSlow(build(t, slow)))
	n := testing.AllocsPerRun(200, func() {
		r, under, _ := c.Rule("slowpop.x.y.example.net.")
		l.Choose(&Question{Rule: r, SlowName: under, Client: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 4, 5}), 24), Seed: 5})
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestWeights: over many seeds POPs and caches come as often as their weights say.
func TestWeights(t *testing.T) {
	cfg, nets, _ := world()
	cfg.Rules[0].Max = 1
	c, err := New(cfg, build(t, nets))
	if err != nil {
		t.Fatal(err)
	}
	_, all := states()
	s := all[4]
	s.POPs[0].Caches = []Cache{{Addr: netip.MustParseAddr("192.0.2.1"), Weight: 3}, {Addr: netip.MustParseAddr("192.0.2.2")}, {Addr: netip.MustParseAddr("192.0.2.3"), Down: true}}
	l := c.With(s, nil)
	const n = 40_000
	pops, addrs := map[policy.POPID]int{}, map[netip.Addr]int{}
	for seed := range uint64(n) {
		a := l.Choose(&Question{Client: netip.MustParsePrefix("10.0.0.0/24"), Seed: seed})
		pops[a.POP]++
		for _, x := range a.Addresses() {
			addrs[x]++
		}
	}
	near := func(what string, got int, of int, want float64) {
		if f := float64(got) / float64(of); math.Abs(f-want) > 0.01 {
			t.Errorf("%s: %.3f, want %.3f", what, f, want)
		}
	}
	near("LON", pops["LON"], n, 0.75*0.7)
	near("FRA", pops["FRA"], n, 0.25)
	near("NYC", pops["NYC"], n, 0.75*0.3)
	near("the heavy cache", addrs[netip.MustParseAddr("192.0.2.1")], pops["LON"], 0.75)
	if addrs[netip.MustParseAddr("192.0.2.3")] > 0 {
		t.Error("a cache that is down is answered")
	}
}
