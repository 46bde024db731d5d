package main

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
)

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
