package config

import (
	"strings"
	"testing"
	"time"
)

// slowText has a service with an address, and a DNS server with a cheap list.
const slowText = `
pop: LON
bgp: {global: {config: {as: 64500, router-id: 10.0.0.1}}, neighbors: [{config: {neighbor-address: 10.0.0.2, peer-as: 64501}}]}
services: [{name: web, prefixes: [192.0.2.0/24], always: true, vips: {addresses: [192.0.2.1]}}]
`

const slowDNS = `dns: {listen: ["127.0.0.1:53"], zones: [{name: example.net, file: /z}], steer: {pops: [{pop: LON}], destinations: [{name: eu, pops: [{pop: LON}], CHEAP}]}}
`

func TestSlowness(t *testing.T) {
	dns, plain := strings.Replace(slowDNS, "CHEAP", "cheap: [{pop: LON}]", 1), strings.Replace(slowDNS, "CHEAP", "", 1)
	for name, c := range map[string]struct {
		section string
		want    string // in the errors, or else the warnings; empty: right
	}{
		"a rate":                    {"slowness: {rate: 5Mbit}", ""},
		"all":                       {"slowness: {rate: 5Mbit, steer: true, export: /e, nets: {file: /n, datacenters: a}, operator: [/o], places: {database: /p, slow: [FR]}}\n" + dns, ""},
		"powerdns":                  {"slowness: {rate: 5Mbit, powerdns: {file: /y, name: www.slow.example.net, server: ns1.example.net, near: n.example.net, cheap: c.example.net}}", ""},
		"powerdns without a name":   {"slowness: {rate: 5Mbit, powerdns: {file: /y, server: ns1.example.net, near: n.example.net, cheap: c.example.net}}", "slowness.powerdns: file, name, server, near and cheap belong together; name is the name that clients"},
		"powerdns without a file":   {"slowness: {rate: 5Mbit, powerdns: {cheap: c.example.net}}", "slowness.powerdns: file, name, server, near and cheap belong together; cheap is"},
		"powerdns of a zone":        {"slowness: {rate: 5Mbit, powerdns: {file: /y, name: net, server: ns1.example.net, near: n.example.net, cheap: c.example.net}}", "slowness.powerdns.name: \"net\": want the name"},
		"powerdns of two names":     {"slowness: {rate: 5Mbit, powerdns: {file: /y, name: www.a.net, server: ns1.example.net, near: n.example.net, cheap: \"c.net: d\"}}", "slowness.powerdns.cheap"},
		"datacenters with blanks":   {"slowness: {rate: 5Mbit, nets: {file: /n, datacenters: 'a b'}}", "slowness.nets.datacenters: \"a b\": want names"},
		"datacenters, one empty":    {"slowness: {rate: 5Mbit, nets: {file: /n, datacenters: 'a,,b'}}", "slowness.nets.datacenters"},
		"lists alone":               {"slowness: {steer: true, operator: [/o]}\n" + dns, ""},
		"no rate":                   {"slowness: {export: /e}", "slowness.export: has no meaning without slowness.rate"},
		"steer by nothing":          {"slowness: {steer: true}\n" + dns, "slowness.steer: has no meaning without slowness.rate"},
		"a rate in bytes":           {"slowness: {rate: 5MB}", "slowness.rate"},
		"a rate of dreams":          {"slowness: {rate: 20Gbit}", "want 64Kbit to 10Gbit"},
		"little":                    {"slowness: {rate: 5Mbit, least: 1KiB}", "slowness.least: 1024 bytes: want at least 16KiB"},
		"too often":                 {"slowness: {rate: 5Mbit, every: 1ms}", "slowness.every: 1ms: want 500ms to 1m0s"},
		"judged too often":          {"slowness: {rate: 5Mbit, judge: 1ms}", "slowness.judge"},
		"a short half-life":         {"slowness: {rate: 5Mbit, half-life: 1s}", "slowness.half-life"},
		"stale at once":             {"slowness: {rate: 5Mbit, stale: 1s}", "slowness.stale"},
		"one sample":                {"slowness: {rate: 5Mbit, samples: 1}", "slowness.samples: 1: want at least 2"},
		"few networks":              {"slowness: {rate: 5Mbit, networks: 10}", "slowness.networks"},
		"share below nothing":       {"slowness: {rate: 5Mbit, share: -1}", "slowness.share"},
		"more than all":             {"slowness: {rate: 5Mbit, most: 1.5}", "slowness.most: 1.5: want a share"},
		"a relative file":           {"slowness: {rate: 5Mbit, export: e.csv}", `slowness.export: "e.csv": want an absolute path`},
		"nets without datacenters":  {"slowness: {rate: 5Mbit, nets: {file: /n}}", "slowness.nets: file and datacenters belong together"},
		"places without a database": {"slowness: {rate: 5Mbit, places: {slow: [FR]}}", "slowness.places.database: not set: where is it written who is in FR?"},
		"a database without places": {"slowness: {rate: 5Mbit, providers: {database: /p}}", "slowness.providers.slow: not set: which of the database are slow, such as AS64500"},
		"twice the same address":    {"slowness: {rate: 5Mbit, vips: [192.0.2.1, 192.0.2.1]}", "slowness.vips[1]: 192.0.2.1 is in the list already"},
		"steer without DNS":         {"slowness: {rate: 5Mbit, steer: true}", "slowness.steer: there is no DNS server here"},
		"steer to nowhere":          {"slowness: {rate: 5Mbit, steer: true}\n" + plain, "slowness.steer: no destination of dns.steer has a cheap list"},
	} {
		got, err := Parse(strings.NewReader(slowText+c.section+"\n"), "yaml", Options{})
		said := ""
		if err != nil {
			said = err.Error()
		} else if strings.Contains(strings.Join(got.Warnings, "\n"), "slowness") {
			said = strings.Join(got.Warnings, "\n")
		}
		if (c.want == "") != (said == "") || !strings.Contains(said, c.want) {
			t.Errorf("%s: %q, want %q", name, said, c.want)
		}
	}
}

// TestSlownessDefaults: off without a section; with a rate the addresses of the
// services count.
func TestSlownessDefaults(t *testing.T) {
	c, err := Parse(strings.NewReader(slowText), "yaml", Options{})
	if err != nil || c.Slowness.On() {
		t.Errorf("%+v, %v", c.Slowness, err)
	}
	c, err = Parse(strings.NewReader(slowText+"slowness: {rate: 5Mbit}\n"), "yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := &c.Slowness
	if !s.On() || s.Lists() || s.Rate != 5e6 || len(s.VIPs) != 1 || s.Least != 64<<10 || s.Judge != time.Minute || s.Networks != 1_000_000 || s.Stale != 24*time.Hour || s.Share != 100_000 {
		t.Errorf("%+v", s)
	}
}

// TestSlownessReload: what measuring was begun with stays.
func TestSlownessReload(t *testing.T) {
	parse := func(section string) *Config {
		c, err := Parse(strings.NewReader(slowText+section+"\n"), "yaml", Options{})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, c := range []struct{ from, to, want string }{
		{"slowness: {rate: 5Mbit}", "slowness: {rate: 8Mbit, judge: 2m, stale: 1h, export: /e, least: 1MiB, samples: 20}", ""},
		{"slowness: {rate: 5Mbit}", "", "slowness.rate: to begin or end"},
		{"", "slowness: {operator: [/o]}", "slowness.rate: to begin or end"},
		{"slowness: {rate: 5Mbit}", "slowness: {rate: 5Mbit, half-life: 24h}", "slowness.half-life"},
		{"slowness: {rate: 5Mbit}", "slowness: {rate: 5Mbit, networks: 2000}", "slowness.networks"},
		{"slowness: {rate: 5Mbit}", "slowness: {rate: 5Mbit, every: 5s}", "slowness.every"},
	} {
		err := CheckReload(parse(c.from), parse(c.to))
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q to %q: %v, want %q", c.from, c.to, err, c.want)
		}
	}
}
