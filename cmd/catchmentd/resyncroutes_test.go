package main

import (
	"maps"
	"net/netip"
	"testing"
	"time"

	"github.com/catchment/catchment/server/resync/checkpoint"
)

// TestWindows: half of the middle flow's bandwidth-delay product, under the
// ceiling, and only where it is more than a connection begins with anyway.
func TestWindows(t *testing.T) {
	known := func(client string, rate uint64, rtt time.Duration) checkpoint.Known {
		return checkpoint.Known{Flow: checkpoint.Flow{Client: netip.MustParseAddrPort(client), Rate: rate, RTT: rtt}}
	}
	got := windows([]checkpoint.Known{
		known("203.0.113.1:1", 2_800_000, 100*time.Millisecond), // 100 segments
		known("203.0.113.2:1", 1, time.Millisecond), known("203.0.113.3:1", 2_800_000, 100*time.Millisecond),
		known("[2001:db8:1::1]:1", 1<<40, time.Second), known("198.51.100.1:1", 280_000, 100*time.Millisecond), known("198.51.101.1:1", 0, 0),
	}, 300)
	want := map[netip.Prefix]int{netip.MustParsePrefix("203.0.113.0/24"): 100, netip.MustParsePrefix("2001:db8:1::/48"): 300}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
