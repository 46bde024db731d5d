package main

import (
	"net/netip"
	"slices"

	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/checkpoint"
)

// segment is what a segment carries at the least that is usual.
const segment = 1400

// windows are the initcwnd of client networks, by the middle of what their
// flows had: half of rate times round trip, at most so many segments. Networks
// for which the usual ten are enough (RFC 6928) are left out.
func windows(flows []checkpoint.Known, most int) map[netip.Prefix]int {
	by := map[netip.Prefix][]int{}
	for i := range flows {
		f := &flows[i]
		if net := careful.NetOf(f.Client.Addr()); net.IsValid() && f.Rate > 0 && f.RTT > 0 {
			by[net] = append(by[net], int(min(float64(f.Rate)*f.RTT.Seconds()/2/segment, 1e6)))
		}
	}
	out := map[netip.Prefix]int{}
	for net, all := range by {
		slices.Sort(all)
		if n := min(all[len(all)/2], most); n > 10 {
			out[net] = n
		}
	}
	return out
}
