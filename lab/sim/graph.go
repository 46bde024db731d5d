package sim

import (
	"math"
	"math/bits"
	"math/rand/v2"

	"github.com/catchment/catchment/policy/shed"
)

// Graph is a generated internet: a clique of large transit networks, regional
// ones below them, and many edge networks where the clients are; and the POPs
// of one anycast operator, each with two transits and some peers.
//
// Routes follow Gao and Rexford: a network prefers routes from customers to
// those from peers to those from providers, then shorter paths; it passes
// routes of customers on to everybody, others only to customers. Among POPs
// that are equally good by that, clients go to the nearest (hot potato).
type Graph struct {
	nets []network
	pops []site
	// prepend is by how much each level lengthens the path; negative: not
	// announced.
	prepend []int
}

type network struct {
	x, y                        float64
	providers, customers, peers []int
	weight                      float64 // demand of its clients
}

type site struct {
	x, y            float64
	transits, peers []int // networks
}

// pset is a set of up to 64 POPs.
type pset uint64

// Withdraw is the prepend of a level that is not announced.
const Withdraw = -1

const maxPOPs = 64

// NewGraph generates networks and POPs, at most 64.
func NewGraph(seed uint64, networks, pops int, prepend []int) *Graph {
	r := rand.New(rand.NewPCG(seed, 11))
	g := &Graph{prepend: prepend}
	const large = 10
	regional := max(20, networks/10)
	for i := range networks {
		n := network{x: r.Float64(), y: r.Float64()}
		g.nets = append(g.nets, n)
		switch {
		case i < large:
			for o := range i {
				g.peer(i, o)
			}
		case i < large+regional:
			for range 2 + r.IntN(2) {
				g.buy(i, r.IntN(large))
			}
			for range 4 {
				if o := g.nearest(r, n.x, n.y, large, i); o >= 0 {
					g.peer(i, o)
				}
			}
		default:
			for range 1 + r.IntN(3) {
				g.buy(i, g.nearest(r, n.x, n.y, large, large+regional))
			}
			g.nets[i].weight = math.Exp(r.NormFloat64())
		}
	}
	for range min(pops, maxPOPs) {
		s := site{x: r.Float64(), y: r.Float64()}
		s.transits = []int{r.IntN(large), g.nearest(r, s.x, s.y, large, large+regional)}
		for range 6 {
			s.peers = append(s.peers, g.nearest(r, s.x, s.y, large, networks))
		}
		g.pops = append(g.pops, s)
	}
	return g
}

// nearest returns a near network of [from, to): the nearest of a few drawn.
func (g *Graph) nearest(r *rand.Rand, x, y float64, from, to int) int {
	best, dist := -1, 0.0
	for range min(12, to-from) {
		o := from + r.IntN(to-from)
		if d := math.Hypot(g.nets[o].x-x, g.nets[o].y-y); best < 0 || d < dist {
			best, dist = o, d
		}
	}
	return best
}

func (g *Graph) buy(customer, provider int) {
	for _, p := range g.nets[customer].providers {
		if p == provider {
			return
		}
	}
	if provider >= 0 && provider != customer {
		g.nets[customer].providers = append(g.nets[customer].providers, provider)
		g.nets[provider].customers = append(g.nets[provider].customers, customer)
	}
}

func (g *Graph) peer(a, b int) {
	if a != b {
		g.nets[a].peers = append(g.nets[a].peers, b)
		g.nets[b].peers = append(g.nets[b].peers, a)
	}
}

// routes is what each network has chosen: the class of the route, its length,
// and the POPs that are equally good.
type routes struct {
	class  []uint8 // 0 none, 1 customer, 2 peer, 3 provider
	length []int
	pops   []pset
}

// offer gives a network a route; it is kept if it is shorter than what the
// network has of the class, and joined to what is equally short.
func (t *routes) offer(n int, class uint8, length int, pops pset) (shorter bool) {
	switch {
	case t.class[n] != 0 && t.class[n] < class:
		return false
	case t.class[n] == class && t.length[n] < length:
		return false
	case t.class[n] == class && t.length[n] == length:
		t.pops[n] |= pops
		return false
	}
	t.class[n], t.length[n], t.pops[n] = class, length, pops
	return true
}

const longest = 40

// Catchment returns, for each network, the POP that its clients reach with
// the POPs at given levels; -1: none.
func (g *Graph) Catchment(level []shed.Level) []int16 {
	t := &routes{class: make([]uint8, len(g.nets)), length: make([]int, len(g.nets)), pops: make([]pset, len(g.nets))}
	g.up(t, level)
	g.across(t, level)
	g.down(t)
	out := make([]int16, len(g.nets))
	for i := range out {
		out[i] = g.choose(i, t.pops[i])
	}
	return out
}

// up spreads routes from customers to providers, by length.
func (g *Graph) up(t *routes, level []shed.Level) {
	var queue [longest + 1][]int
	for p := range g.pops {
		if pre := g.prepend[level[p]]; pre >= 0 {
			queue[1+pre] = append(queue[1+pre], g.pops[p].transits...)
		}
	}
	direct := func(n, length int) {
		for p := range g.pops {
			if pre := g.prepend[level[p]]; pre >= 0 && 1+pre == length {
				for _, o := range g.pops[p].transits {
					if o == n {
						t.offer(n, 1, length, 1<<p)
					}
				}
			}
		}
	}
	for l := 1; l < longest; l++ {
		for _, n := range queue[l] {
			direct(n, l)
		}
		for _, n := range queue[l] {
			if t.class[n] != 1 || t.length[n] != l {
				continue
			}
			for _, p := range g.nets[n].providers {
				if t.offer(p, 1, l+1, t.pops[n]) {
					queue[l+1] = append(queue[l+1], p)
				}
			}
		}
	}
}

// across gives routes of customers, and those of POPs that peer directly, to
// networks that have none of their own customers.
func (g *Graph) across(t *routes, level []shed.Level) {
	type route struct {
		n, length int
		pops      pset
	}
	var all []route
	for n := range g.nets {
		if t.class[n] == 1 {
			for _, o := range g.nets[n].peers {
				all = append(all, route{o, t.length[n] + 1, t.pops[n]})
			}
		}
	}
	for p := range g.pops {
		if pre := g.prepend[level[p]]; pre >= 0 {
			for _, n := range g.pops[p].peers {
				all = append(all, route{n, 1 + pre, 1 << p})
			}
		}
	}
	for _, r := range all {
		t.offer(r.n, 2, r.length, r.pops)
	}
}

// down spreads what everybody has chosen to customers that have nothing
// better, by length.
func (g *Graph) down(t *routes) {
	var queue [longest + 2][]int
	for n := range g.nets {
		if t.class[n] != 0 {
			queue[min(t.length[n], longest)] = append(queue[min(t.length[n], longest)], n)
		}
	}
	for l := range longest {
		for i := 0; i < len(queue[l]); i++ {
			n := queue[l][i]
			if t.length[n] != l {
				continue
			}
			for _, c := range g.nets[n].customers {
				if t.offer(c, 3, l+1, t.pops[n]) {
					queue[l+1] = append(queue[l+1], c)
				}
			}
		}
	}
}

// choose is the nearest POP of a set.
func (g *Graph) choose(n int, set pset) int16 {
	best, dist := int16(-1), 0.0
	for set != 0 {
		p := bits.TrailingZeros64(uint64(set))
		set &^= 1 << p
		if d := math.Hypot(g.nets[n].x-g.pops[p].x, g.nets[n].y-g.pops[p].y); best < 0 || d < dist {
			best, dist = int16(p), d
		}
	}
	return best
}
