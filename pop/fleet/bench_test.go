package fleet

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

// BenchmarkView is what each decision pays for knowing ten other POPs.
func BenchmarkView(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(fmt.Sprintf("slices=%d", n), func(b *testing.B) {
			cfg := Config{POP: "LON", Stale: 5 * time.Second, Secrets: secret}
			for p := range 10 {
				cfg.Peers = append(cfg.Peers, Peer{POP: policy.POPID(fmt.Sprintf("P%d", p)), URL: "http://192.0.2.9/"})
			}
			f, err := New(cfg, nil, quiet())
			if err != nil {
				b.Fatal(err)
			}
			now := time.Now()
			for _, p := range cfg.Peers {
				m := Message{From: p.POP, To: "LON", Boot: "b", Sequence: 1}
				for i := range n {
					m.Slices = append(m.Slices, up(policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24))))
				}
				if err := f.take(Answered{Message: m, Asked: now, At: now}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if v := f.View(now); len(v.Peers[9].Slices) != n {
					b.Fatal(v)
				}
			}
		})
	}
}
