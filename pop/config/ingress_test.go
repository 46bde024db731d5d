package config

import (
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/health/probe"
	"github.com/catchment/catchment/policy"
)

func TestIngressTyped(t *testing.T) {
	c := loaded(t, "reference.yaml")
	slice := func(s string) policy.SliceID { return policy.SliceID(netip.MustParsePrefix(s)) }
	addr := netip.MustParseAddr
	want := Ingress{
		Routers: []IngressRouter{{
			Name: "pe1", Neighbors: []netip.Addr{addr("10.0.3.11")}, Demand: 1,
			Costs: map[policy.POPID]float64{"LON": 10, "FRA": 25},
			Sources: []IngressSource{
				{Page: load.PageConfig{URL: "http://192.0.2.203:9116/snmp?target=pe1", Format: "prometheus",
					Metric: `ifHCInOctets{ifName="core0"}`, Kind: "counter", Scale: 8, Unit: load.Out}},
				{Slice: slice("192.0.2.0/24"), Page: load.PageConfig{URL: "http://192.0.2.204:8080/by-router.json", Format: "json",
					Path: ".pe1.web", Unit: load.Out}},
			},
		}},
		Targets: []IngressTarget{
			{POP: "LON", NextHop4: addr("192.0.2.11"), NextHop6: addr("2001:db8::11"), Capacity: 10e9,
				Check: &probe.Config{Type: probe.HTTP, URL: "http://192.0.2.11/healthz"}},
			{POP: "FRA", NextHop4: addr("192.0.2.12"), NextHop6: addr("2001:db8::12"), Capacity: 10e9,
				Check: &probe.Config{Type: probe.ICMP, Address: "192.0.2.12"}},
		},
		Slices:   []policy.SliceID{slice("192.0.2.0/24"), slice("2001:db8:100::/48"), slice("198.51.100.0/24")},
		Prefixes: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, LocalPref: 200,
		Communities: []bgp.Community{bgp.NoExport}, Unit: load.Out, Interval: 10 * time.Second, HoldDown: 30 * time.Second,
		Shed: 0.95, Fill: 0.85, MoveCost: 1, MaxMoves: 10, MaxShare: 0.2,
		Check: CheckTiming{Interval: time.Second, Fast: 200 * time.Millisecond, Timeout: 500 * time.Millisecond, Rise: 2, Fall: 3},
	}
	if !reflect.DeepEqual(c.Ingress, want) {
		t.Errorf("got %+v\nwant %+v", c.Ingress, want)
	}
	if !c.Ingress.On() || loaded(t, "minimal.yaml").Ingress.On() {
		t.Error("on with routers, and off without")
	}
}

// ingressFile is a route controller that is no POP.
const ingressFile = `
pop: CTL
bgp:
  global: {config: {as: 64500, router-id: 10.0.0.9}}
  neighbors:
    - config: {neighbor-address: 10.0.0.11, peer-as: 64500}
      graceful-restart: {config: {enabled: true}}
    - config: {neighbor-address: 10.0.0.12, peer-as: 64501}
ingress:
  routers:
    - {name: pe1, neighbors: [10.0.0.11], costs: [{pop: LON, cost: 10}, {pop: FRA, cost: 20}]}
  targets:
    - {pop: LON, next-hops: [10.1.0.1], check: "icmp://10.1.0.1"}
    - {pop: FRA, next-hops: [10.1.0.2], capacity: 2Gbit, check: "tcp://10.1.0.2:80"}
  prefixes: [192.0.2.0/24]
`

func TestIngressAlone(t *testing.T) {
	c, err := Parse(strings.NewReader(ingressFile), "yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 || len(c.Services) > 0 || c.Ingress.Targets[1].Capacity != 2e9 || c.Ingress.Targets[0].NextHop6.IsValid() {
		t.Errorf("%q %+v", c.Warnings, c.Ingress)
	}
}

func TestIngressRefused(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"name: pe1,", "", "ingress.routers[0].name: not set"},
		{"[10.0.0.11]", "[]", "ingress.routers[0].neighbors: not set"},
		{"[10.0.0.11]", "[10.0.0.13]", "ingress.routers[0].neighbors[0]: 10.0.0.13 is not in bgp.neighbors"},
		{"[10.0.0.11]", "[10.0.0.12]", "ingress.routers[0].neighbors[0]: 10.0.0.12 is in AS 64501, we in AS 64500"},
		{"[10.0.0.11]", "[10.0.0.11, 10.0.0.11]", "ingress.routers[0].neighbors[1]: 10.0.0.11 is of router pe1 already"},
		{"pop: LON, cost: 10", "pop: NYC, cost: 10", `ingress.routers[0].costs[0].pop: "NYC"`},
		{"pop: LON, cost: 10", "pop: FRA, cost: 10", "ingress.routers[0].costs[1].pop"},
		{"cost: 20", "cost: -1", "ingress.routers[0].costs[1].cost"},
		{"costs: [{pop: LON, cost: 10}, {pop: FRA, cost: 20}]", "demand: 1", "ingress.routers[0].costs: not set"},
		{"pop: LON, next-hops: [10.1.0.1]", "pop: LON, next-hops: []", "ingress.targets[0].next-hops: not set"},
		{"pop: LON, next-hops: [10.1.0.1]", "pop: LON, next-hops: [10.1.0.1, 10.1.0.3]", "ingress.targets[0].next-hops[1]"},
		{"pop: LON, next-hops: [10.1.0.1]", "pop: LON, next-hops: [127.0.0.1]", "ingress.targets[0].next-hops[0]"},
		{`, check: "icmp://10.1.0.1"`, "", "ingress.targets[0].check: not set, and LON is in neither fleet.peers nor fleet.rib"},
		{"icmp://", "gopher://", "ingress.targets[0].check"},
		{"2Gbit", "2Gb", "ingress.targets[1].capacity: want a number"},
		{"prefixes: [192.0.2.0/24]", "prefixes: []", "ingress.services: there is no slice"},
		{"prefixes: [192.0.2.0/24]", "services: [web]", `ingress.services[0]: "web"`},
		{"  prefixes:", "  interval: 1ms\n  prefixes:", "ingress.interval"},
		{"  prefixes:", "  unit: cpu\n  prefixes:", "ingress.unit"},
		{"  prefixes:", "  fill-to: 0.95\n  prefixes:", "ingress.fill-to"},
		{"  prefixes:", "  shed-above: 1.5\n  prefixes:", "ingress.shed-above"},
		{"  prefixes:", "  max-share: 2\n  prefixes:", "ingress.max-share"},
		{"  prefixes:", "  move-cost: -1\n  prefixes:", "ingress.move-cost"},
		{"  prefixes:", "  local-pref: 0\n  prefixes:", "ingress.local-pref"},
		{"  prefixes:", "  local-preference: 300\n  prefixes:", `ingress.local-preference: unknown key`},
		{"cost: 20}]", "cost: 20}], sources: [{url: x, format: json}]", "ingress.routers[0].sources[0].url"},
		{"cost: 20}]", `cost: 20}], sources: [{url: "http://a/", format: json, path: .x, prefix: 203.0.113.0/24}]`, "ingress.routers[0].sources[0].prefix"},
		{"  routers:\n    - {name: pe1", "  other:\n    - {name: pe1", "ingress.routers: not set"},
	} {
		text := strings.Replace(ingressFile, c.from, c.to, 1)
		if text == ingressFile {
			t.Errorf("%q is not in the file", c.from)
		}
		_, err := Parse(strings.NewReader(text), "yaml", Options{})
		if err == nil || !slices.ContainsFunc(flat(err), func(e error) bool { return strings.Contains(e.Error(), c.want) }) {
			t.Errorf("%q for %q: want %q, got %v", c.to, c.from, c.want, err)
		}
	}
}

func TestIngressReload(t *testing.T) {
	parse := func(text string) *Config {
		c, err := Parse(strings.NewReader(text), "yaml", Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	on := parse(ingressFile)
	if err := CheckReload(on, parse(strings.Replace(ingressFile, "cost: 20", "cost: 21", 1))); err != nil {
		t.Error(err)
	}
	head, _, _ := strings.Cut(ingressFile, "ingress:")
	off := parse(head + "fib: {install: true}\n")
	if err := CheckReload(off, parse(ingressFile+"fib: {install: true}\n")); err == nil || !strings.Contains(err.Error(), "ingress.routers") {
		t.Errorf("on by a reload: %v", err)
	}
}

func TestAmounts(t *testing.T) {
	for text, want := range map[string]amount{"10": 10, "1.5": 1.5, "2Gbit": 2e9, "0": 0, "-1": -1, "NaN": -1, "Inf": -1, "2G": -1, "": -1} {
		got, err := parseAmount(text)
		if (err != nil) != (want < 0) || err == nil && got != want || math.IsNaN(float64(got)) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
