package sim

import (
	"slices"
	"testing"

	"github.com/catchment/catchment/policy/shed"
)

// TestGraph: every client reaches a POP that is announced, and a prepend
// takes clients away from a POP, a longer one no fewer.
func TestGraph(t *testing.T) {
	g := NewGraph(1, 600, 20, ladder)
	level := make([]shed.Level, 20)
	count := func() []float64 {
		out := make([]float64, 20)
		for n, p := range g.Catchment(level) {
			if p < 0 || g.prepend[level[p]] < 0 {
				t.Fatalf("network %d reaches %d", n, p)
			}
			out[p] += g.nets[n].weight
		}
		return out
	}
	base := count()
	fewer := 0
	for p := range level {
		last := base[p]
		for l := shed.Level(1); int(l) < len(ladder); l++ {
			level[p] = l
			now := count()[p]
			if now > last+1e-9 {
				t.Errorf("POP %d at level %d attracts %.1f, %.1f before", p, l, now, last)
			}
			last = now
		}
		level[p] = 1
		if count()[p] < 0.7*base[p] {
			fewer++
		}
		level[p] = 0
	}
	if fewer < 5 {
		t.Errorf("a prepend moves much at %d of 20 POPs", fewer)
	}
}

// TestGaoRexford: the rules themselves, on six networks drawn by hand.
func TestGaoRexford(t *testing.T) {
	// POP 0 is a customer of network 2, POP 1 of network 3; 2 buys from 0, 3
	// from 1; 0 and 1 peer. 4 buys from 2 and 3, 5 peers with 4 only.
	g := &Graph{nets: make([]network, 6), prepend: []int{0, 1, Withdraw},
		pops: []site{{transits: []int{2}}, {x: 1, transits: []int{3}}}}
	g.buy(2, 0)
	g.buy(3, 1)
	g.peer(0, 1)
	g.buy(4, 2)
	g.buy(4, 3)
	g.peer(4, 5)
	for _, c := range []struct {
		level []shed.Level
		want  []int16
	}{
		{[]shed.Level{0, 0}, []int16{0, 1, 0, 1, 0, -1}}, // 4 ties and takes the near one; a peer does not pass on a provider's route
		{[]shed.Level{1, 0}, []int16{0, 1, 0, 1, 1, -1}}, // 2 still prefers its customer
		{[]shed.Level{2, 0}, []int16{1, 1, 1, 1, 1, -1}},
		{[]shed.Level{0, 2}, []int16{0, 0, 0, 0, 0, -1}},
	} {
		if got := g.Catchment(c.level); !slices.Equal(got, c.want) {
			t.Errorf("levels %v: %v, want %v", c.level, got, c.want)
		}
	}
}
