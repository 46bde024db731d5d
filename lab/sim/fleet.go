package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

// Fleet is a world for the policies: client networks on a Graph, POPs with
// capacities, one service of k slices. It does not change; runs do.
type Fleet struct {
	Clients int // client networks; those of one edge network move together
	// Log is told what POPs under our own policy decide; nil: nobody.
	Log func(format string, args ...any)

	graph  *Graph
	k      int
	slices []policy.SliceID
	names  []policy.POPID
	weight []float64 // demand by network, 1000 in all
	base   []int16   // catchment with every POP normal
	share  []float64 // of demand by POP in the base catchment
	cap    []float64
	seen   map[string][]int16
	worlds []*Graph // the graph, and what cable cuts leave of it
	effort int      // plans that a planner tries at most in a round, 0: its own bound
	proxy  []int    // the network whose resolver a network uses
}

// Levels of the fleet's ladder: one prepend, three, withdrawn.
var ladder = []int{0, 1, 3, Withdraw}

// deepest is the deepest level that load may choose: a slice may be withdrawn,
// of which Config.Keep stay.
const deepest = shed.Level(3)

// NewFleet generates a fleet. Each POP's capacity is its own evening peak
// times a headroom between the two given.
func NewFleet(seed uint64, clients, networks, pops, k int, room [2]float64) *Fleet {
	r := rand.New(rand.NewPCG(seed, 21))
	f := &Fleet{Clients: clients, graph: NewGraph(seed, networks, pops, ladder), k: k, slices: Slices(k), seen: map[string][]int16{}}
	f.worlds = []*Graph{f.graph}
	total := 0.0
	for _, n := range f.graph.nets {
		total += n.weight
	}
	// The client networks of an edge network have sizes of their own.
	f.weight = make([]float64, len(f.graph.nets))
	sum := 0.0
	for i, n := range f.graph.nets {
		for range int(math.Round(float64(clients) * n.weight / total)) {
			f.weight[i] += r.ExpFloat64()
		}
		sum += f.weight[i]
	}
	for i := range f.weight {
		f.weight[i] *= 1000 / sum
	}
	f.base = f.catchment(0, make([]shed.Level, pops))
	f.share, f.cap = make([]float64, pops), make([]float64, pops)
	for i, p := range f.base {
		f.share[p] += f.weight[i] / 1000
	}
	f.resolvers(rand.New(rand.NewPCG(seed, 23)))
	for p := range f.cap {
		f.names = append(f.names, policy.POPID([]byte{'P', byte('0' + p/10), byte('0' + p%10)}))
		peak := 0.0
		for h := range 24 {
			load := 0.0
			for i, q := range f.base {
				if int(q) == p {
					load += f.weight[i] * f.diurnal(i, float64(h))
				}
			}
			peak = max(peak, load)
		}
		f.cap[p] = max(peak, smallest) * (room[0] + (room[1]-room[0])*r.Float64())
	}
	return f
}

// smallest is the least peak that a POP is built for, of a demand of 1000.
const smallest = 8

// diurnal is a network's demand at an hour of the day, by where it is: the
// map is 6 hours wide.
func (f *Fleet) diurnal(net int, hour float64) float64 {
	local := hour + 6*f.graph.nets[net].x
	return 0.7 + 0.3*math.Cos((local-20)*math.Pi/12)
}

// catchment is that of one of the worlds, remembered.
func (f *Fleet) catchment(world int, level []shed.Level) []int16 {
	key := string(append(level2bytes(level), byte(world)))
	c, ok := f.seen[key]
	if !ok {
		c = f.worlds[world].Catchment(level)
		f.seen[key] = c
	}
	return c
}

func level2bytes(level []shed.Level) []byte {
	out := make([]byte, len(level))
	for i, l := range level {
		out[i] = byte(l)
	}
	return out
}

// Matrix is what the fleet knows from a playbook: each level of each POP tried
// once on one slice, measured with noise.
func (f *Fleet) Matrix(seed uint64, noise float64) *shed.Matrix {
	r := rand.New(rand.NewPCG(seed, 31))
	share := map[policy.POPID]float64{}
	for p, id := range f.names {
		share[id] = f.share[p]
	}
	m := shed.NewMatrix(shed.DefaultModel(), share, len(ladder))
	sample := func(c []int16) map[policy.POPID]float64 {
		out := map[policy.POPID]float64{}
		for i, p := range c {
			out[f.names[p]] += f.weight[i]
		}
		for _, id := range f.names {
			out[id] *= 1 + noise*r.NormFloat64()
		}
		return out
	}
	for p, id := range f.names {
		for l := shed.Level(1); int(l) < len(ladder); l++ {
			level := make([]shed.Level, len(f.names))
			level[p] = l
			e := shed.Event{POP: id, To: l, Before: sample(f.base), After: sample(f.catchment(0, level)), Drift: 0.001, At: epoch}
			if next, err := m.Observe(e); err == nil {
				m = next
			}
		}
	}
	return m
}

// Surge is a flash crowd among the clients that are at home at one POP.
type Surge struct {
	POP        int
	From, To   time.Duration // since the run began
	Factor     float64       // of their demand at its height, reached in a minute
	overloaded bool          // whether it brings the POP above its capacity
}

// Scenario is what happens in one run.
type Scenario struct {
	Seed     uint64
	Hour     float64 // of the day at which it begins
	Length   time.Duration
	Surges   []Surge
	Failures []Failure
	Cuts     []Cut // one at a time
	Attacks  []Attack
	// Age is the least and most age of what POPs hear of each other, and Lost
	// the part of messages (samples, reservations) that are lost.
	Age  [2]time.Duration
	Lost float64
	// Noise is the standard deviation of a load sample, relative.
	Noise float64
}

// NewScenario draws surges at up to most POPs at once.
func (f *Fleet) NewScenario(seed uint64, most int) Scenario {
	r := rand.New(rand.NewPCG(seed, 41))
	sc := Scenario{Seed: seed, Hour: 24 * r.Float64(), Length: time.Hour, Age: [2]time.Duration{10 * time.Second, 60 * time.Second}, Lost: 0.2, Noise: 0.005}
	for _, p := range r.Perm(len(f.names))[:1+r.IntN(most)] {
		from := 5*time.Minute + time.Duration(r.IntN(300))*time.Second
		at := sc.Hour + from.Hours()
		load := 0.0
		for i, q := range f.base {
			if int(q) == p {
				load += f.weight[i] * f.diurnal(i, at)
			}
		}
		want := f.cap[p] * (1.05 + 0.3*r.Float64())
		sc.Surges = append(sc.Surges, Surge{POP: p, From: from, To: from + 30*time.Minute, Factor: want / load, overloaded: true})
	}
	return sc
}

// demand fills d with each network's demand at a time of a run.
func (f *Fleet) demand(sc *Scenario, t time.Duration, d []float64) {
	factor := make([]float64, len(f.names))
	for p := range factor {
		factor[p] = 1
	}
	for _, s := range sc.Surges {
		up := min(1, max(0, (t-s.From).Minutes()))
		down := min(1, max(0, (t-s.To).Minutes()))
		factor[s.POP] *= 1 + (s.Factor-1)*(up-down)
	}
	hour := sc.Hour + t.Hours()
	for i := range d {
		d[i] = f.weight[i] * f.diurnal(i, hour) * factor[f.base[i]]
	}
}
