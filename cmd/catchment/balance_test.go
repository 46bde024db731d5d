package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func TestWriteBalance(t *testing.T) {
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	id := policy.SliceID(netip.MustParsePrefix("192.0.2.0/25"))
	low, high := 6.1e9, 7.2e9
	b := &api.BalanceStatus{
		Mode: "act", Unit: "out", At: now.Add(-5 * time.Second), Code: "shedding", Detail: "112 % of capacity", Notes: []string{"AMS says nothing of its load: it gets nothing"},
		POPs: []api.BalancePOP{{POP: "LON", Load: 11.2e9, Capacity: 1e10, At: now.Add(-2 * time.Second), Over: true, Low: &low, High: &high}, {POP: "AMS"}},
		Steps: []api.BalanceStep{
			{Slice: id, Service: "web", From: "normal", To: "backup", At: now.Add(-time.Minute), Moves: 2.4e9, Within: 3e8, Arrive: []api.BalanceRoom{{To: "FRA", Mean: 2e9, High: 2.5e9}, {To: "AMS", Mean: 4e8, High: 6e8}}, Outcome: "as forecast"},
			{Slice: id, Service: "web", From: "backup", To: "normal", Moves: -2.4e9, Within: 3e8, Arrive: []api.BalanceRoom{{To: "LON", Mean: 2e9}}},
		},
		Reserved: []api.BalanceRoom{{From: "LON", To: "FRA", Slice: id, High: 2.5e9, Applied: true, Until: now.Add(time.Minute)}},
	}
	var out bytes.Buffer
	writeBalance(&out, now, b)
	for _, want := range []string{
		"Balance (act): shedding: 112 % of capacity, 5s ago",
		"note: AMS says nothing of its load",
		"192.0.2.0/25 1m ago from normal to backup: 2.4 Gbit/s ± 300 Mbit/s to FRA 2 Gbit/s (at most 2.5 Gbit/s), AMS 400 Mbit/s (at most 600 Mbit/s)\n    as forecast",
		"192.0.2.0/25 would go from backup to normal: 2.4 Gbit/s ± 300 Mbit/s back\n",
		"LON has reserved 2.5 Gbit/s at FRA for 192.0.2.0/25, on its way, until 12:01:00 UTC",
		"112 %", "61 % to 72 %", "never",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if b.Of(policy.SliceID(netip.MustParsePrefix("198.51.100.0/24"))) != nil || len(b.Of(id).Steps) != 2 {
		t.Error("what speaks of one slice")
	}
}
