package main

import (
	"math"
	"net/netip"
	"testing"
	"time"
)

const printed = `Statistics:

  Queries sent:         622795
  Queries completed:    622790 (100.00%)
  Queries lost:         5 (0.00%)

  Response codes:       NOERROR 591000 (94.89%), NXDOMAIN 31790 (5.11%)
  Queries per second:   155679.123456
`

// What dnsperf prints that was not answered rightly is no sample.
func TestCount(t *testing.T) {
	done, lost, rate, err := count([]byte(printed))
	if done != 622790 || lost != 5 || rate != 155679.123456 || err != nil {
		t.Error(done, lost, rate, err)
	}
	for _, bad := range []string{"", "Error: cannot connect", `Queries completed:    0 (0.00%)
Queries lost: 100
Queries per second: 0.0`, `Queries completed:    10 (100.00%)
Queries lost: 0
Response codes: REFUSED 10 (100.00%)
Queries per second: 1.0`} {
		if _, _, _, err := count([]byte(bad)); err == nil {
			t.Errorf("%q is a sample", bad)
		}
	}
}

// What slows both in a round does not show in the ratio.
func TestRatio(t *testing.T) {
	tab := table{}
	for _, foreign := range []time.Duration{1, 3, 2, 9} {
		tab["x ours"] = append(tab["x ours"], sample{cpu: 6 * foreign * time.Microsecond})
		tab["x gdnsd"] = append(tab["x gdnsd"], sample{cpu: 5 * foreign * time.Microsecond})
	}
	if r := tab.ratio("x", "ours", "gdnsd", cpu); r != 1.2 {
		t.Errorf("%v, want 1.2", r)
	}
	if r := tab.ratio("x", "ours", "knot", cpu); !math.IsNaN(r) {
		t.Errorf("%v without a peer", r)
	}
}

// The map has as many networks as asked for, all different, and most questions
// are for clients in it.
func TestData(t *testing.T) {
	nets := networks(2000, 1)
	seen := map[netip.Prefix]bool{}
	for _, n := range nets {
		if seen[n.prefix] || n.prefix != n.prefix.Masked() || n.pop < 0 || n.pop >= pops {
			t.Fatalf("%v", n)
		}
		seen[n.prefix] = true
	}
	in := 0
	for _, p := range subnets(nets, 1000) {
		for _, n := range nets {
			if n.prefix.Contains(p.Addr()) {
				in++
				break
			}
		}
	}
	if len(seen) != 2000 || in < 850 || in == 1000 {
		t.Errorf("%d networks, %d of 1000 clients in them", len(seen), in)
	}
}
