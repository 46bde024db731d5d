package config

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
)

func TestLoadTyped(t *testing.T) {
	c := loaded(t, "reference.yaml")
	want := Loads{
		Timing:       load.Timing{Interval: 2 * time.Second, Timeout: time.Second, Average: 10 * time.Second, Stale: 15 * time.Second},
		System:       true,
		Connections:  true,
		Capacity:     load.Capacity{load.In: 20e9, load.Out: 20e9},
		HostCapacity: load.Capacity{load.Connections: 200000, load.CPU: 0.8},
		Links:        []load.LinkConfig{{Device: "eth0"}, {Device: "eth1", Capacity: 10e9}},
		Sources: []LoadSource{
			{"cache1", load.Scope{Host: "cache1"}, load.PageConfig{
				URL: "http://192.0.2.201:9145/metrics", Format: "prometheus", Metric: `nginx_http_requests_total{host=~"www.*"}`, Unit: load.Requests, Kind: "counter",
			}},
			{"cache2", load.Scope{Host: "cache2"}, load.PageConfig{
				URL: "http://192.0.2.202:8080/stats.json", Format: "json", Path: ".traffic.bytes_per_second", Unit: load.Out, Scale: 8,
			}},
			{"nginx", load.Scope{Service: "web"}, load.PageConfig{URL: "http://192.0.2.1:8081/stub_status", Format: "stub-status"}},
			{"web4", load.Scope{Service: "web", Slice: policy.SliceID(netip.MustParsePrefix("192.0.2.0/24"))}, load.PageConfig{
				URL: "http://192.0.2.1:8081/by-address.json", Format: "json", Path: `.["192.0.2.1"]`, Unit: load.Requests, Kind: "counter",
			}},
			{"web6", load.Scope{Service: "web", Slice: policy.SliceID(netip.MustParsePrefix("2001:db8:100::/48"))}, load.PageConfig{
				URL: "http://192.0.2.1:8081/by-address.json", Format: "json", Path: `.["2001:db8:100::1"]`, Unit: load.Requests, Kind: "counter",
			}},
		},
	}
	if !reflect.DeepEqual(c.Load, want) {
		t.Errorf("got %+v\nwant %+v", c.Load, want)
	}
	if got := c.Services[0].Capacity; got != (load.Capacity{load.Requests: 50000, load.Connections: 100000}) {
		t.Errorf("web: %v", got)
	}
}

func TestBitRates(t *testing.T) {
	for text, want := range map[string]bitRate{
		"10Gbit": 10e9, "400 Mbit/s": 400e6, "1.5Tbit": 1.5e12, "64kbit": 64000, "0bit": 0, "5bit/s": 5,
		"10G": -1, "10GB": -1, "10": -1, "": -1, "-1Gbit": -1, "Gbit": -1, "NaNGbit": -1, "2000Tbit": -1, "10gbit": -1, "infbit": -1,
	} {
		if got, err := parseBitRate(text); (err != nil) != (want < 0) || err == nil && got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

// TestLoadOfSlices: all slices of a service have a source or none has.
func TestLoadOfSlices(t *testing.T) {
	const head = `
pop: LON
bgp: {global: {config: {as: 64500, router-id: 10.0.0.1}}}
services:
  - {name: web, prefixes: [192.0.2.0/24, "2001:db8:100::/48"], always: true}
load:
  sources:
    - {name: a, url: "http://127.0.0.1/load", format: json, path: ".a", unit: requests, kind: counter, of: slice, slice: 192.0.2.0/24}
`
	const other = `    - {name: b, url: "http://127.0.0.1/load", format: json, path: ".b", unit: requests, of: slice, slice: "2001:db8:100::/48"}
`
	c, err := Parse(strings.NewReader(head+other), "yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Load.Sources[1].Scope; got.Service != "web" || got.String() != "slice 2001:db8:100::/48" {
		t.Errorf("%+v", got)
	}
	for text, want := range map[string]string{
		head: "load.sources: requests of web is measured by slice: want a source of slice 2001:db8:100::/48 too",
		head + strings.Replace(other, "2001:db8:100::/48", "2001:db8:1::/48", 1): `load.sources[1].slice: 2001:db8:1::/48 is no prefix of any service`,
		head + strings.Replace(other, "2001:db8:100::/48", "web", 1):             `load.sources[1].slice: "web": want the prefix of a service`,
		head + strings.Replace(other, "of: slice", "of: pop", 1):                 `load.sources[1].slice: has no meaning with of: pop`,
	} {
		if _, err := Parse(strings.NewReader(text), "yaml", Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
