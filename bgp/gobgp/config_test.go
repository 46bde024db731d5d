package gobgp_test

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp/gobgp"
	"go.yaml.in/yaml/v3"
)

const global = "global: {config: {as: 64500, router-id: 10.0.0.1}}\n"

func parse(t *testing.T, text string) (*gobgp.Config, error) {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("test YAML: %v", err)
	}
	return gobgp.ParseConfig(m)
}

func TestConfigRules(t *testing.T) {
	neighbor := func(s string) string { return global + "neighbors:\n  - " + s }
	for name, c := range map[string]struct{ text, want string }{
		"unknown key": {neighbor("config: {neighbor-address: 10.0.0.2, peer-az: 64501}"),
			`bgp.neighbors[0].config.peer-az: unknown key (did you mean "peer-as"?)`},
		"unknown section": {global + "neighbours: []",
			`bgp.neighbours: unknown key (did you mean "neighbors"?)`},
		"far from any key": {global[:len(global)-3] + ", qqqqqqqq: 1}}",
			`bgp.global.config.qqqqqqqq: unknown key (known here: as, local-address-list, port, router-id)`},
		"state is output": {neighbor("{config: {neighbor-address: 10.0.0.2, peer-as: 1}, state: {peer-as: 2}}"),
			`bgp.neighbors[0].state: unknown key (known here: add-paths, afi-safis, apply-policy, as-path-options, config, ` +
				`ebgp-multihop, error-handling, graceful-restart, logging-options, route-reflector, route-server, timers, transport, ttl-security, use-multiple-paths)`},
		"no as":            {"global: {config: {router-id: 10.0.0.1}}", `bgp.global.config.as: missing`},
		"no router-id":     {"global: {config: {as: 64500}}", `bgp.global.config.router-id: missing`},
		"IPv6 router-id":   {`global: {config: {as: 64500, router-id: "::1"}}`, `bgp.global.config.router-id: "::1" is not an IPv4 address`},
		"as out of range":  {"global: {config: {as: 4294967296, router-id: 10.0.0.1}}", `bgp.global.config.as: 4294967296 is not a number from 0 to 4294967295`},
		"as not a number":  {`global: {config: {as: "AS64500", router-id: 10.0.0.1}}`, `bgp.global.config.as: "AS64500" is not a number from 0 to 4294967295`},
		"half a port":      {"global: {config: {as: 1, router-id: 10.0.0.1, port: 1.5}}", `bgp.global.config.port: 1.5 is not a number from -2147483648 to 2147483647`},
		"bad listen":       {"global: {config: {as: 1, router-id: 10.0.0.1, local-address-list: [lo]}}", `bgp.global.config.local-address-list[0]: "lo" is not an IP address`},
		"no address":       {neighbor("config: {peer-as: 64501}"), `bgp.neighbors[0].config.neighbor-address: missing`},
		"bad address":      {neighbor("config: {neighbor-address: 10.0.0.256, peer-as: 64501}"), `bgp.neighbors[0].config.neighbor-address: "10.0.0.256" is not an IP address`},
		"no peer-as":       {neighbor("config: {neighbor-address: 10.0.0.2}"), `bgp.neighbors[0].config.peer-as: missing`},
		"twice":            {neighbor("config: {neighbor-address: 10.0.0.2, peer-as: 1}\n  - config: {neighbor-address: 10.0.0.2, peer-as: 2}"), `bgp.neighbors[1].config.neighbor-address: 10.0.0.2 is already bgp.neighbors[0]`},
		"twice, spelling":  {neighbor("config: {neighbor-address: \"2001:db8::2\", peer-as: 1}\n  - config: {neighbor-address: \"2001:DB8:0::2\", peer-as: 2}"), `bgp.neighbors[1].config.neighbor-address: 2001:db8::2 is already bgp.neighbors[0]`},
		"no such group":    {neighbor("config: {neighbor-address: 10.0.0.2, peer-group: up}"), `bgp.neighbors[0].config.peer-group: no peer group is named "up"`},
		"nameless group":   {global + "peer-groups: [{config: {peer-as: 1}}]", `bgp.peer-groups[0].config.peer-group-name: missing`},
		"hold time":        {neighbor("{config: {neighbor-address: 10.0.0.2, peer-as: 1}, timers: {config: {hold-time: 2}}}"), `bgp.neighbors[0].timers.config.hold-time: want at least 3 seconds (RFC 4271); a session without a hold timer is not supported`},
		"long password":    {neighbor("config: {neighbor-address: 10.0.0.2, peer-as: 1, auth-password: " + strings.Repeat("x", 81) + "}"), `bgp.neighbors[0].config.auth-password: longer than the 80 bytes that TCP MD5 takes`},
		"local address":    {neighbor("{config: {neighbor-address: 10.0.0.2, peer-as: 1}, transport: {config: {local-address: eth0}}}"), `bgp.neighbors[0].transport.config.local-address: "eth0" is not an IP address`},
		"no family":        {neighbor("{config: {neighbor-address: 10.0.0.2, peer-as: 1}, afi-safis: [{config: {enabled: true}}]}"), `bgp.neighbors[0].afi-safis[0].config.afi-safi-name: missing`},
		"bad family":       {neighbor("{config: {neighbor-address: 10.0.0.2, peer-as: 1}, afi-safis: [{config: {afi-safi-name: ipv5}}]}"), `bgp.neighbors[0].afi-safis[0].config.afi-safi-name: "ipv5" is not one of gobgpd's words for this key`},
		"other family":     {neighbor("{config: {neighbor-address: 10.0.0.2, peer-as: 1}, afi-safis: [{config: {afi-safi-name: l2vpn-evpn}}]}"), `bgp.neighbors[0].afi-safis[0].config.afi-safi-name: "l2vpn-evpn" is not supported: want ipv4-unicast or ipv6-unicast`},
		"route server":     {neighbor("{config: {neighbor-address: 10.0.0.2, peer-as: 1}, route-server: {config: {route-server-client: true}}}"), `bgp.neighbors[0].route-server.config.route-server-client: not supported: a route server gives each client a table of its own, past the own-prefix guard`},
		"zebra":            {global + "zebra: {config: {enabled: true}}", `bgp.zebra: not supported: Catchment writes routes into the kernel itself (fib.install)`},
		"vrfs":             {global + "vrfs: [{config: {name: a}}]", `bgp.vrfs: not supported: Catchment announces unicast routes only`},
		"multihop and ttl": {neighbor("{config: {neighbor-address: 10.0.0.2, peer-as: 1}, ebgp-multihop: {config: {enabled: true}}, ttl-security: {config: {enabled: true}}}"), `bgp: ebgp-multihop and ttl-security are mututally exclusive`},
		"list for section": {global + "neighbors: [[1]]", `bgp.neighbors[0]: want a section with keys, have a list`},
		"section for list": {global + "neighbors: {config: 1}", `bgp.neighbors: want a list, have a section`},
		"bool":             {neighbor("{config: {neighbor-address: 10.0.0.2, peer-as: 1}, transport: {config: {passive-mode: maybe}}}"), `bgp.neighbors[0].transport.config.passive-mode: "maybe" is neither true nor false`},
		"our policy name":  {global + "policy-definitions: [{name: catchment-guard}]", `bgp.policy-definitions[0].name: names that begin with "catchment-" are Catchment's own`},
		"no such policy":   {"global: {config: {as: 1, router-id: 10.0.0.1}, apply-policy: {config: {export-policy-list: [a]}}}", `bgp.global.apply-policy.config.export-policy-list[0]: no policy is named "a"`},
		"policy twice":     {global + "policy-definitions: [{name: a}, {name: a}]", `bgp.policy-definitions[1].name: "a" is there twice`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse(t, c.text)
			if err == nil {
				t.Fatalf("accepted; want %s", c.want)
			}
			if err.Error() != c.want {
				t.Errorf("error:\n%s\nwant:\n%s", err, c.want)
			}
		})
	}
}

func TestConfigReportsAllUnknownKeys(t *testing.T) {
	_, err := parse(t, "global: {config: {as: 1, router-id: 10.0.0.1, ass: 2}}\nneighbor: []")
	want := "bgp.global.config.ass: unknown key (did you mean \"as\"?)\n" +
		"bgp.neighbor: unknown key (did you mean \"neighbors\"?)"
	if err == nil || err.Error() != want {
		t.Errorf("error:\n%v\nwant:\n%s", err, want)
	}
}

func TestConfigValues(t *testing.T) {
	c, err := parse(t, `
global: {config: {as: "4200000000", router-id: 10.0.0.1, port: "-1"}}
peer-groups:
  - config: {peer-group-name: up, auth-password: secret}
    graceful-restart: {config: {enabled: true, restart-time: 90}}
    timers: {config: {hold-time: 9}}
neighbors:
  - Config: {Neighbor-Address: 10.0.0.2, peer-as: 64501, peer-group: up, description: first}
    timers: {config: {hold-time: "30"}}
  - config: {neighbor-address: "2001:db8::2", peer-as: "64501", peer-group: up}
    ebgp-multihop: {config: {enabled: "true"}}
    afi-safis:
      - {config: {afi-safi-name: ipv6-unicast}}
      - {config: {afi-safi-name: ipv4-unicast, enabled: false}}
  - config: {neighbor-address: 10.0.0.4, peer-as: 4200000000}
    transport: {config: {passive-mode: true}}
    ttl-security: {config: {enabled: true}}
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.LocalAS() != 4200000000 || c.RouterID().String() != "10.0.0.1" {
		t.Errorf("AS %d, router-id %s", c.LocalAS(), c.RouterID())
	}
	n := c.Neighbors()
	if len(n) != 3 {
		t.Fatalf("%d neighbors", len(n))
	}
	if a := n[0]; a.HoldTime != 30*time.Second || !a.MD5 || !a.GracefulRestart || a.AS != 64501 ||
		a.Description != "first" || !a.IPv4 || a.IPv6 || a.LocalAS != 4200000000 {
		t.Errorf("neighbor 0: %+v", a)
	}
	if b := n[1]; b.HoldTime != 9*time.Second || !b.Multihop || !b.IPv6 || b.IPv4 || !b.GracefulRestart {
		t.Errorf("neighbor 1: %+v", b)
	}
	if d := n[2]; !d.Passive || !d.TTLSecurity || d.MD5 || d.GracefulRestart || d.HoldTime != 90*time.Second {
		t.Errorf("neighbor 2: %+v", d)
	}
}
