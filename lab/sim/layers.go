package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/catchment/catchment/policy/shed"
)

// layers is layered DNS offload (FastRoute, NSDI 2015): every POP answers DNS,
// and one above its limit answers a part of the queries with the address of
// the next layer, which only the larger half of the POPs announces. A POP
// decides for the clients whose resolvers reach it, which is not the same as
// the clients that reach it.
type layers struct {
	ideal  bool
	want   []float64 // part of queries answered with the next layer, [pop]
	part   []float64 // part of clients that have such an answer, [pop]
	second []shed.Level
	moved  float64 // load that is served by the next layer
}

// What keeps layered DNS from being exact: elsewhere is the part of networks
// whose clients use a resolver somewhere else (a public one, the provider's),
// and answers is how long answers are used on average.
const (
	elsewhere = 0.2
	answers   = time.Minute
)

// resolvers draws whose resolver each network uses.
func (f *Fleet) resolvers(r *rand.Rand) {
	var few []int // where others' resolvers are
	for range 8 {
		few = append(few, r.IntN(len(f.graph.nets)))
	}
	for i := range f.graph.nets {
		f.proxy = append(f.proxy, i)
		if r.Float64() < elsewhere {
			f.proxy[i] = few[r.IntN(len(few))]
		}
	}
}

// fastRoute moves a part of the clients to the next layer: more while the POP
// is above the limit, less while it is below. Ideal is what FastRoute cannot
// have: every client's resolver in the client's catchment, answers that are
// used at once, and a next layer that takes by size.
func (r *run) fastRoute(p int, ideal bool) {
	if r.dns == nil {
		n := len(r.f.names)
		r.dns = &layers{ideal: ideal, want: make([]float64, n), part: make([]float64, n), second: make([]shed.Level, n)}
		for q := range n {
			if !r.large(q) {
				r.dns.second[q] = shed.Level(len(ladder) - 1)
			}
		}
	}
	cfg, want := fleetConfig(), r.dns.want
	load := sum(r.samples[p][len(r.samples[p])-1].load) / r.f.cap[p]
	switch {
	case load > cfg.Trigger:
		want[p] = min(0.9, want[p]+(load-cfg.Target)/load*(1-want[p]))
		r.turn(p, 1, true)
	case want[p] > 0 && load < cfg.Return:
		want[p] = max(0, want[p]-0.1)
		r.turn(p, -1, true)
	}
}

// large says whether a POP announces the second layer.
func (r *run) large(p int) bool { return r.f.share[p] >= 1/float64(len(r.f.share)) }

// layer moves the clients of layered DNS.
func (r *run) layer() {
	d := r.dns
	d.moved = 0
	for p := range d.part {
		if d.ideal {
			d.part[p] = d.want[p]
		} else {
			d.part[p] += (d.want[p] - d.part[p]) * (1 - math.Exp(-tick.Seconds()/answers.Seconds()))
		}
	}
	if d.ideal {
		r.bySize()
		return
	}
	to := r.f.catchment(r.world, r.announced(d.second))
	for s := range r.cur {
		for i, load := range r.demand {
			from, at := r.cur[s][r.f.proxy[i]], r.cur[s][i]
			if from < 0 || at < 0 || to[i] < 0 || to[i] == at || d.part[from] == 0 {
				continue
			}
			r.reroute(int(at), int(to[i]), s, d.part[from]*load/float64(r.f.k))
		}
	}
}

// bySize moves each POP's part of its users to the larger POPs by size.
func (r *run) bySize() {
	all := 0.0
	for q := range r.load {
		if r.large(q) && !r.failed[q] {
			all += r.f.share[q]
		}
	}
	users := append([]float64(nil), r.users...)
	for p, part := range r.dns.part {
		for s := range r.load[p] {
			for q := range r.load {
				if part > 0 && q != p && r.large(q) && !r.failed[q] {
					r.reroute(p, q, s, part*users[p]/float64(r.f.k)*r.f.share[q]/all)
				}
			}
		}
	}
}

// reroute moves users' load of a slice from one POP to another.
func (r *run) reroute(from, to, s int, load float64) {
	r.load[from][s] -= load
	r.load[to][s] += load
	r.users[from] -= load
	r.users[to] += load
	r.dns.moved += load
}
