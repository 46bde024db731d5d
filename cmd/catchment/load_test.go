package main

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
)

func TestQuantity(t *testing.T) {
	for _, c := range []struct {
		unit string
		x    float64
		want string
	}{
		{"out", 0, "0 bit/s"}, {"in", 999, "999 bit/s"}, {"out", 999.7, "1 kbit/s"}, {"out", 1.2345e9, "1.23 Gbit/s"}, {"out", 4e13, "40 Tbit/s"},
		{"requests", 12.34, "12.3/s"}, {"requests", 45678, "45.7k/s"}, {"connections", 4.01, "4"}, {"connections", 123456, "123 k"},
		{"cpu", 0.4567, "45.7 %"}, {"pressure-io", 0.0001, "0.01 %"},
	} {
		if got := quantity(c.unit, c.x); got != c.want {
			t.Errorf("%v %s: got %q, want %q", c.x, c.unit, got, c.want)
		}
	}
}

func TestWriteHosts(t *testing.T) {
	rate, cpu := 4.2e9, 0.25
	var out strings.Builder
	writeHosts(&out, []api.HostLoad{
		{Host: "cache1", Load: []api.LoadStatus{{Unit: "out", Value: &rate, Capacity: 5e9}, {Unit: "requests"}, {Unit: "pressure-io", Value: &cpu}}},
		{Host: "local", Load: []api.LoadStatus{{Unit: "cpu", Value: &cpu}}},
	})
	want := `HOST    IN  OUT               REQUESTS  CONNECTIONS  CPU
cache1  -   4.2 Gbit/s, 84 %  unknown   -            -
local   -   -                 -         -            25 %
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWriteLoad(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	rate, cpu := 4.2e9, 0.25
	st := api.Status{Now: now, Load: &api.LoadReport{Sources: []api.LoadSource{
		{Name: "host:connections", Of: "host local", Load: []api.LoadStatus{{Unit: "connections"}}},
		{Name: "nginx", Of: "service web", Error: "GET: refused\nagain", Load: []api.LoadStatus{{Unit: "requests"}, {Unit: "connections"}}},
		{Name: "other", Of: "service dns", Error: "not this one", Load: []api.LoadStatus{{Unit: "requests"}}},
	}}}
	var out strings.Builder
	writeLoad(&out, now, []api.LoadStatus{
		{Unit: "out", Value: &rate, Capacity: 1e10, At: now.Add(-2 * time.Second)},
		{Unit: "requests", Capacity: 5000, At: now.Add(-40 * time.Second)},
		{Unit: "connections"},
		{Unit: "cpu", Value: &cpu, At: now.Add(-2 * time.Second)},
	}, sourcesOf(st, "web"))
	want := `LOAD         NOW         CAPACITY   IN USE  SAMPLE   NOTE
out          4.2 Gbit/s  10 Gbit/s  42 %    2s ago   -
requests     unknown     5k/s       -       40s ago  nginx: GET: refused again
connections  unknown     -          -       never    nginx: GET: refused again
cpu          25 %        -          -       2s ago   -
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
