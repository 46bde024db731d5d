package fib

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/catchment/catchment/bgp"
)

var prefix = netip.MustParsePrefix("192.0.2.0/24")

func ip(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(n)}) }

// from is a path of neighbor n with next hop n.
func from(n int, asPath ...uint32) bgp.Path {
	return bgp.Path{Prefix: prefix, Neighbor: ip(n), NextHop: ip(n), ASPath: asPath}
}

func with(p bgp.Path, med uint32, communities ...bgp.Community) bgp.Path {
	p.MED, p.Communities = &med, communities
	return p
}

func stale(p bgp.Path) bgp.Path { p.Stale = true; return p }

func TestBest(t *testing.T) {
	for _, tt := range []struct {
		name      string
		multipath int
		paths     []bgp.Path
		want      []netip.Addr
	}{
		{"only one", 1, []bgp.Path{from(1, 7)}, []netip.Addr{ip(1)}},
		{"shorter AS path", 1, []bgp.Path{from(1, 7, 8), from(2, 9)}, []netip.Addr{ip(2)}},
		{"lowest neighbor", 1, []bgp.Path{from(3, 7), from(2, 9)}, []netip.Addr{ip(2)}},
		{"MED of the same AS", 1, []bgp.Path{with(from(1, 7), 20), with(from(2, 7), 10)}, []netip.Addr{ip(2)}},
		{"missing MED is zero", 1, []bgp.Path{with(from(1, 7), 1), from(2, 7)}, []netip.Addr{ip(2)}},
		{"MED of another AS", 1, []bgp.Path{with(from(1, 7), 20), with(from(2, 8), 10)}, []netip.Addr{ip(1)}},
		{"MED only after length", 1, []bgp.Path{with(from(1, 7), 20), with(from(2, 7, 7), 10)}, []netip.Addr{ip(1)}},
		{"MED removes before neighbors are compared", 1,
			[]bgp.Path{with(from(1, 7), 20), with(from(2, 8), 10), with(from(3, 7), 10)}, []netip.Addr{ip(2)}},
		{"graceful shutdown is longer than any path", 1,
			[]bgp.Path{with(from(1, 7), 0, bgp.GracefulShutdown), from(2, 7, 7, 7, 7)}, []netip.Addr{ip(2)}},
		{"graceful shutdown alone", 1, []bgp.Path{with(from(1, 7), 0, bgp.GracefulShutdown)}, []netip.Addr{ip(1)}},
		{"stale is worse than graceful shutdown", 1,
			[]bgp.Path{stale(from(1, 7)), with(from(2, 7), 0, bgp.GracefulShutdown)}, []netip.Addr{ip(2)}},
		{"long-lived stale", 1, []bgp.Path{with(from(1, 7), 0, bgp.LLGRStale), from(2, 7, 7)}, []netip.Addr{ip(2)}},
		{"stale alone", 1, []bgp.Path{stale(from(1, 7))}, []netip.Addr{ip(1)}},
		{"multipath of equal length", 8, []bgp.Path{from(3, 7), from(1, 8), from(2, 9, 9)}, []netip.Addr{ip(1), ip(3)}},
		{"multipath has a limit", 2, []bgp.Path{from(3, 7), from(1, 8), from(2, 9)}, []netip.Addr{ip(1), ip(2)}},
		{"multipath not with drained ones", 8, []bgp.Path{from(3, 7), with(from(1, 8), 0, bgp.GracefulShutdown)}, []netip.Addr{ip(3)}},
		{"no next hop", 1, []bgp.Path{{Prefix: prefix, Neighbor: ip(1)}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 20 { // the order of arrival must not matter
				rand.Shuffle(len(tt.paths), func(i, j int) { tt.paths[i], tt.paths[j] = tt.paths[j], tt.paths[i] })
				b := NewBest(tt.multipath)
				var last Decision
				for _, p := range tt.paths {
					last, _ = b.Add(p)
				}
				if !slices.Equal(last.NextHops, tt.want) {
					t.Fatalf("%v, want %v", last.NextHops, tt.want)
				}
			}
		})
	}
}

func TestBestChanges(t *testing.T) {
	b := NewBest(1)
	expect := func(what string, d Decision, changed, want bool, hops ...netip.Addr) {
		t.Helper()
		if changed != want || !slices.Equal(d.NextHops, hops) || d.Prefix != prefix {
			t.Errorf("%s: %+v, changed %v; want %v, %v", what, d, changed, hops, want)
		}
	}
	d, c := b.Add(from(1, 7, 7))
	expect("first", d, c, true, ip(1))
	d, c = b.Add(from(2, 7))
	expect("better", d, c, true, ip(2))
	d, c = b.Add(from(2, 8))
	expect("same next hop, other path", d, c, false, ip(2))
	d, c = b.Add(from(2, 8, 8, 8))
	expect("the better one prepends", d, c, true, ip(1))
	d, c = b.Withdraw(prefix, ip(9), 0)
	expect("withdraw of nothing", d, c, false, ip(1))
	d, c = b.Withdraw(prefix, ip(1), 0)
	expect("withdraw", d, c, true, ip(2))
	if got := b.Drop(ip(1)); got != nil {
		t.Errorf("dropped a neighbor without paths: %v", got)
	}
	if got := b.Drop(ip(2)); len(got) != 1 || len(got[0].NextHops) != 0 {
		t.Errorf("dropped the last neighbor: %v", got)
	}
	if len(b.candidates)+len(b.chosen) != 0 {
		t.Errorf("left behind: %v, %v", b.candidates, b.chosen)
	}
}

// TestBestIsAFunctionOfTheCandidates: whatever came and went before.
func TestBestIsAFunctionOfTheCandidates(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for run := range 300 {
		b := NewBest(1 + r.IntN(3))
		now := map[int]bgp.Path{}
		var last Decision
		for range 30 {
			n := 1 + r.IntN(5)
			if r.IntN(3) == 0 {
				delete(now, n)
				last, _ = b.Withdraw(prefix, ip(n), 0)
				continue
			}
			p := with(from(n, slices.Repeat([]uint32{uint32(1 + r.IntN(2))}, 1+r.IntN(2))...), uint32(r.IntN(2)))
			p.Stale = r.IntN(4) == 0
			now[n] = p
			last, _ = b.Add(p)
		}
		fresh := NewBest(b.multipath)
		want := Decision{Prefix: prefix}
		for _, p := range now {
			want, _ = fresh.Add(p)
		}
		if !reflect.DeepEqual(last, want) {
			t.Fatalf("run %d: %s, from scratch %s", run, fmt.Sprint(last), fmt.Sprint(want))
		}
	}
}
