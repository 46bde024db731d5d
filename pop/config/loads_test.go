package config

import (
	"reflect"
	"testing"
	"time"

	"github.com/catchment/catchment/health/load"
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
