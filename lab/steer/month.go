package steer

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/catchment/catchment/policy/cost"
)

// Slots of a simulated month are of five minutes.
const (
	slot  = 300.0
	slots = 30 * 288
)

// region has three POPs; the first is where transit is cheap.
const perRegion = 3

// Month is a world of twelve POPs in four regions, and the demand of two months:
// the last one, which is known, and this one, which is not.
type Month struct {
	World cost.World
	Past  cost.Demand // by the hour
	Now   cost.Demand
}

// NewMonth makes one by chance. Movable is the share of each POP's traffic that
// can be moved without being noticed.
func NewMonth(seed uint64, movable float64) *Month {
	r := rand.New(rand.NewPCG(seed, 95))
	between := func(a, b float64) float64 { return a * math.Pow(b/a, r.Float64()) }
	m := &Month{World: cost.World{Budget: 3, Slots: slots}}
	var peak, zone []float64
	for region := range 4 {
		for i := range perRegion {
			peak, zone = append(peak, between(20e9, 120e9)), append(zone, float64(region)*6)
			price := []float64{between(0.1, 0.3), between(0.6, 1.5), between(2, 6)}[i]
			pop := cost.POP{Price: cost.Price{PerMbps: price, Commit: 1000}}
			if i == 0 && region%2 == 0 { // one that pays by volume, as at an exchange
				pop.Price = cost.Price{PerGB: between(0.0003, 0.0008)}
			}
			pop.Capacity = peak[len(peak)-1] * []float64{2.5, 1.6, 1.3}[i]
			m.World.POPs = append(m.World.POPs, pop)
		}
	}
	for i := range m.World.POPs {
		var row []float64
		for j := range m.World.POPs {
			d := 0.0
			switch {
			case i == j:
			case i/perRegion == j/perRegion:
				d = 4 + float64((i*7+j*7)%9)
			default:
				d = 60 + 30*float64((i/perRegion+j/perRegion)%3)
			}
			row = append(row, d)
		}
		m.World.Distance = append(m.World.Distance, row)
	}
	m.Past = demand(r, peak, zone, movable, slots/12, 12*slot)
	for i := range peak {
		peak[i] *= 0.95 + 0.2*r.Float64() // nobody knows how traffic grows
	}
	m.Now = demand(r, peak, zone, movable, slots, slot)
	return m
}

// demand goes up and down with the day and the week, with noise that lasts some
// slots and a few events that double it for hours.
func demand(r *rand.Rand, peak, zone []float64, movable float64, n int, seconds float64) (d cost.Demand) {
	noise, event := make([]float64, len(peak)), make([]float64, len(peak))
	keep := math.Exp(-seconds / 3600)
	for s := range n {
		hour := float64(s) * seconds / 3600
		var all, may []float64
		for i := range peak {
			local := math.Mod(hour+zone[i], 24)
			day := 0.55 + 0.45*math.Cos((local-21)/24*2*math.Pi)
			if int(hour/24)%7 >= 5 {
				day *= 1.1
			}
			noise[i] = noise[i]*keep + r.NormFloat64()*0.05*math.Sqrt(1-keep*keep)
			if event[i] -= seconds; event[i] < 0 && r.Float64() < seconds/(20*86400) {
				event[i] = (1 + 3*r.Float64()) * 3600
			}
			x := peak[i] * max(0.02, day*(1+noise[i]))
			if event[i] > 0 {
				x *= 1.5
			}
			all, may = append(all, x), append(may, x*movable*(0.9+0.2*r.Float64()))
		}
		d.All, d.Movable = append(d.All, all), append(d.Movable, may)
	}
	return d
}

// Cost is what a way to serve the month cost.
type Cost struct {
	Name  string
	Total float64
	Later float64 // ms in the mean of all traffic
	Moved float64 // share of all bytes
	Stuck float64 // share of bytes above a POP's capacity
}

// Run plays the month in all ways. Pacing takes the edge off peaks of seconds,
// and a month is billed by five minutes: smooth is the share of a slot's rate
// that it takes off.
func (m *Month) Run(smooth float64) []Cost {
	none := func(int, []float64, []float64) []cost.Move { return nil }
	all := m.serve("nearest", 1, none)
	paced := m.serve("pacing only", 1-smooth, none)
	cheapest := m.serve("cheapest first", 1, func(_ int, demand, movable []float64) []cost.Move { return m.cheapest(demand, movable) })
	past := m.World
	past.Slots = len(m.Past.All)
	plan := cost.NewPlan(&m.World, cost.Choose(&past, m.Past, 12*slot))
	ours := m.serve("ours", 1, func(_ int, demand, movable []float64) []cost.Move { return plan.Slot(demand, movable) })
	return []Cost{all, paced, cheapest, ours}
}

// cheapest sends all that can move to the cheapest POPs that have room.
func (m *Month) cheapest(demand, _ []float64) (out []cost.Move) {
	load := append([]float64(nil), demand...)
	price := func(i int) float64 { p := m.World.POPs[i].Price; return p.PerMbps + p.PerGB*324 }
	for i := range demand {
		for rest := demand[i]; rest > 0; {
			best := -1
			for j := range demand {
				if price(j) < price(i) && load[j] < m.World.POPs[j].Capacity && (best < 0 || price(j) < price(best)) {
					best = j
				}
			}
			if best < 0 {
				break
			}
			x := min(rest, m.World.POPs[best].Capacity-load[best])
			load[i], load[best], rest = load[i]-x, load[best]+x, rest-x
			out = append(out, cost.Move{From: i, To: best, Rate: x})
		}
	}
	return out
}

// serve plays the month in one way and bills it with the ledger.
func (m *Month) serve(name string, scale float64, move func(s int, demand, movable []float64) []cost.Move) Cost {
	l := cost.Ledger{}
	for i, p := range m.World.POPs {
		l.Links = append(l.Links, cost.Link{POP: i, Price: p.Price})
	}
	c, sum := Cost{Name: name}, 0.0
	for s := range m.Now.All {
		sent := make([]float64, len(m.World.POPs))
		for i, x := range m.Now.All[s] {
			sent[i] = x * scale
			sum += sent[i]
		}
		moves := move(s, m.Now.All[s], m.Now.Movable[s])
		for _, v := range moves {
			sent[v.From], sent[v.To] = sent[v.From]-v.Rate, sent[v.To]+v.Rate
			c.Later += v.Rate * m.World.Distance[v.From][v.To]
			c.Moved += v.Rate
		}
		for i := range sent {
			c.Stuck += max(0, sent[i]-m.World.POPs[i].Capacity)
		}
		l.Add(int64(s), sent, moves, nil)
	}
	for _, s := range l.Between(0, slots, 0) {
		c.Total += s.Cost
	}
	c.Later, c.Moved, c.Stuck = c.Later/sum, c.Moved/sum, c.Stuck/sum
	return c
}

// String is a line of the table.
func (c Cost) String() string {
	return fmt.Sprintf("%-15s %12.0f a month, %+7.2f ms in the mean, %5.1f %% of bytes moved", c.Name, c.Total, c.Later, 100*c.Moved)
}
