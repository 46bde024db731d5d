package sim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

// Draws asks whether an action that is predicted to be safe ever overloads
// anybody: random demands and capacities with a fleet-wide headroom, each
// overloaded site acts once by what it knows, and then every load is off by
// noise (in points of all demand: half the sum of differences).
func Draws(m *Measured, n int, headroom, points float64) *Report {
	rep := &Report{Name: "draws", Title: fmt.Sprintf("%d random demands and capacities, headroom %.2gx, noise of %.2g points (%s)", n, headroom, points, m.Source),
		Head: []string{"policy", "sites over before", "acted", "overload removed %", "draws with somebody overloaded by it", "moved % of all"}}
	matrix := m.Matrix()
	actors := []actor{
		{"withdraw", m.all(withdrawn)}, {"prepend", m.all(1)},
		{"greedy", m.rounds(matrix, func(c *shed.Config) { c.Z, c.Noise, c.Growth, c.Receive, c.Target, c.Trigger = 0, 0, 0, 1, 1, 1 }, false)},
		{"ours, margin 2", m.rounds(matrix, func(c *shed.Config) { c.Z, c.Trigger, c.Target, c.Receive = 2, 1, 1, 1 }, true)},
		{"ours", m.rounds(matrix, func(c *shed.Config) { c.Z, c.Trigger, c.Target, c.Receive = safe, 1, 1, 1 }, true)},
	}
	caused := map[string]int{}
	for _, a := range actors {
		var sum draw
		for i := range n {
			d := m.draw(uint64(i+1), headroom, points)
			d.act(m, a.act)
			sum.before += d.before
			sum.acted += d.acted
			sum.excess += d.excess
			sum.left += d.left
			sum.moved += d.moved
			if d.caused {
				caused[a.name]++
			}
		}
		rep.Add(a.name, sum.before, sum.acted, 100*(1-sum.left/sum.excess), caused[a.name], 100*sum.moved/float64(n))
	}
	rep.Notes = append(rep.Notes, fmt.Sprintf("ours keeps %.2g standard deviations of the noise free at each receiver (margin 2: two); a site whose load fits nowhere with that keeps it.", safe),
		"Somebody is overloaded by it: above capacity after the actions and the noise, and neither before nor with the noise alone.")
	rep.Goals = append(rep.Goals, Goal{Name: "draws-overloaded-by-safe-actions", Value: float64(caused["ours"]), Limit: 0})
	return rep
}

// safe is the margin of ours in standard deviations of the noise.
const safe = 4.2

// actor decides for all overloaded sites of a draw: what they change.
type actor struct {
	name string
	act  func(d *draw) []shed.Change
}

// draw is one random situation, and what came of it.
type draw struct {
	demand, capacity, noise []float64
	sd                      []float64 // of the noise, by site
	before, acted           int
	excess, left, moved     float64
	caused                  bool
}

// draw makes a situation: demand of 1 in all, spread by the base catchment
// times a lognormal factor; capacities of headroom in all.
func (m *Measured) draw(seed uint64, headroom, points float64) *draw {
	r := rand.New(rand.NewPCG(seed, 61))
	n := len(m.Sites)
	d := &draw{demand: make([]float64, n), capacity: make([]float64, n), noise: make([]float64, n), sd: make([]float64, n)}
	for i := range n {
		d.demand[i] = m.Row(i, 0)[i] * math.Exp(0.25*r.NormFloat64())
		d.capacity[i] = m.Row(i, 0)[i] * (0.85 + 0.3*r.Float64())
	}
	scale(d.demand, 1)
	scale(d.capacity, headroom)
	// Noise with a standard deviation that grows with the root of the share,
	// so that half the sum of absolute differences is the points on average.
	unit := 0.0
	for i := range n {
		unit += math.Sqrt(d.demand[i]) * math.Sqrt(2/math.Pi) / 2
	}
	for i := range n {
		d.sd[i] = points / 100 / unit * math.Sqrt(d.demand[i])
		d.noise[i] = d.sd[i] * r.NormFloat64()
	}
	return d
}

func scale(v []float64, to float64) {
	all := sum(v)
	for i := range v {
		v[i] *= to / all
	}
}

// act plays the actions and counts.
func (d *draw) act(m *Measured, act func(*draw) []shed.Change) {
	changes := act(d)
	load := m.play(d.demand, changes)
	d.moved = distance(load, d.demand)
	moves := map[policy.POPID]bool{}
	for _, c := range changes {
		moves[c.POP] = true
	}
	d.acted = len(moves)
	for i := range load {
		if d.demand[i] > d.capacity[i] {
			d.before++
		}
		d.excess += max(0, d.demand[i]-d.capacity[i])
		d.left += max(0, load[i]-d.capacity[i])
		if load[i]+d.noise[i] > d.capacity[i] && d.demand[i]+d.noise[i] <= d.capacity[i] && d.demand[i] <= d.capacity[i] && load[i] > d.demand[i]+1e-12 {
			d.caused = true
		}
	}
}

// measuredSlices is the number of slices in draws.
const measuredSlices = 8

// play returns the true loads: each change moves what was measured for its
// level, of the site's own demand.
func (m *Measured) play(demand []float64, changes []shed.Change) []float64 {
	load := append([]float64(nil), demand...)
	for _, c := range changes {
		for i, p := range m.Sites {
			if p != c.POP {
				continue
			}
			leave, split := m.response(i, c.To)
			all := 0.0
			for _, g := range split {
				all += g
			}
			moved := leave * demand[i] / measuredSlices
			load[i] -= moved
			for q, o := range m.Sites {
				load[q] += moved * split[o] / all
			}
		}
	}
	return load
}

// all puts every slice of each overloaded site to a level.
func (m *Measured) all(l shed.Level) func(*draw) []shed.Change {
	return func(d *draw) []shed.Change {
		var out []shed.Change
		for i, p := range m.Sites {
			if d.demand[i] > d.capacity[i] {
				for _, s := range Slices(measuredSlices) {
					out = append(out, shed.Change{POP: p, Slice: s, To: l})
				}
			}
		}
		return out
	}
}

// rounds lets each overloaded site play one round of policy/shed, one after
// the other, with reservations or without.
func (m *Measured) rounds(matrix *shed.Matrix, set func(*shed.Config), reserve bool) func(*draw) []shed.Change {
	cfg := shed.Defaults()
	cfg.Deepest, cfg.Normal, cfg.Keep, cfg.Step, cfg.Growth, cfg.Tolerance = withdrawn, 1, 0, 1, 0, 0
	cfg.Effort = 3000
	set(&cfg)
	return func(d *draw) []shed.Change {
		v := m.View(measuredSlices, matrix)
		for i := range v.POPs {
			p := &v.POPs[i]
			p.Capacity = d.capacity[i]
			if cfg.Z > 0 {
				p.SD = d.sd[i]
			}
			for s := range p.Load {
				p.Load[s] = d.demand[i] / measuredSlices
			}
		}
		var out []shed.Change
		for i, p := range m.Sites {
			if d.demand[i] <= d.capacity[i] {
				continue
			}
			v.Me = p
			now := epoch.Add(time.Second)
			dec, err := shed.Round(cfg, v, now)
			if err != nil {
				continue
			}
			for _, st := range dec.Steps {
				if reserve && cfg.Admit(v, st, now) != nil {
					continue
				}
				if reserve {
					v.Reserved = append(v.Reserved, st.Reserve...)
				}
				out = append(out, shed.Change{POP: p, Slice: st.Slice, To: st.To})
			}
		}
		return out
	}
}
