package sim

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/catchment/catchment/lab/goal"
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
		{"withdraw", m.changes(m.all(withdrawn))}, {"prepend", m.changes(m.all(1))},
		{"layered DNS", m.nextLayer},
		{"no learning", m.changes(m.rounds(m.blank(), bold, false))},
		{"greedy", m.changes(m.rounds(matrix, bold, false))},
		{"optimum", m.changes(m.jointly(matrix))},
		{"ours, margin 2", m.changes(m.rounds(matrix, func(c *shed.Config) { c.Z, c.Trigger, c.Target, c.Receive = 2, 1, 1, 1 }, true))},
		{"ours", m.changes(m.rounds(matrix, func(c *shed.Config) { c.Z, c.Trigger, c.Target, c.Receive = safe, 1, 1, 1 }, true))},
	}
	caused := map[string]int{}
	for _, a := range actors {
		var sum draw
		all := make([]*draw, n)
		each(n, func(i int) {
			all[i] = m.draw(uint64(i+1), headroom, points)
			all[i].act(a.act)
		})
		for _, d := range all {
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
		"optimum: one planner for all sites that knows demands and responses exactly, and nothing of the noise to come; it too may only withdraw or prepend whole slices, one site at least normal on each. Layered DNS moves what is above capacity by size to the larger half, every user's resolver in the user's catchment.",
		"Somebody is overloaded by it: above capacity after the actions and the noise, and neither before nor with the noise alone.")
	rep.Goals = append(rep.Goals, goal.AtMost("draws-overloaded-by-safe-actions", float64(caused["ours"]), 0))
	return rep
}

// safe is the margin of ours in standard deviations of the noise.
const safe = 4.2

// actor acts for all overloaded sites of a draw: the loads that this gives,
// and how many sites did anything.
type actor struct {
	name string
	act  func(d *draw) (load []float64, acted int)
}

// bold keeps no margins.
func bold(c *shed.Config) {
	c.Z, c.Noise, c.Growth, c.Receive, c.Target, c.Trigger = 0, 0, 0, 1, 1, 1
}

// changes makes an actor of what decides on changes of levels.
func (m *Measured) changes(decide func(*draw) []shed.Change) func(*draw) ([]float64, int) {
	return func(d *draw) ([]float64, int) {
		changes := decide(d)
		moves := map[policy.POPID]bool{}
		for _, c := range changes {
			moves[c.POP] = true
		}
		return m.play(d.demand, changes), len(moves)
	}
}

// blank knows nothing: a step moves all of a slice, spread by size.
func (m *Measured) blank() *shed.Matrix {
	model := shed.DefaultModel()
	model.Leave, model.LeaveSD, model.Weak = 1, 0, 1e9
	return shed.NewMatrix(model, m.Shares(), int(withdrawn)+1)
}

// nextLayer moves what is above capacity to the larger half of the sites.
func (m *Measured) nextLayer(d *draw) (load []float64, acted int) {
	load = append([]float64(nil), d.demand...)
	order := slices.Clone(m.Sites)
	slices.SortFunc(order, func(a, b policy.POPID) int { return cmp.Compare(m.Shares()[b], m.Shares()[a]) })
	for i := range d.demand {
		more := d.demand[i] - d.capacity[i]
		if more <= 0 {
			continue
		}
		acted++
		all := 0.0
		for _, q := range order[:len(order)/2] {
			if q != m.Sites[i] {
				all += m.Shares()[q]
			}
		}
		load[i] -= more
		for _, q := range order[:len(order)/2] {
			if q != m.Sites[i] {
				load[slices.Index(m.Sites, q)] += more * m.Shares()[q] / all
			}
		}
	}
	return load, acted
}

// jointly plans for all sites at once.
func (m *Measured) jointly(matrix *shed.Matrix) func(*draw) []shed.Change {
	cfg := drawConfig(bold)
	matrix = &shed.Matrix{Model: matrix.Model, Rows: matrix.Rows} // plays are of other demands
	return func(d *draw) []shed.Change {
		out, err := shed.Plan(cfg, d.view(m, matrix, 0), epoch.Add(time.Second))
		if err != nil {
			return nil
		}
		return out.Changes
	}
}

// drawConfig is the configuration of a draw's planners.
func drawConfig(set func(*shed.Config)) shed.Config {
	cfg := shed.Defaults()
	cfg.Deepest, cfg.Normal, cfg.Keep, cfg.Step, cfg.Growth, cfg.Tolerance = withdrawn, 1, 0, 1, 0, 0
	cfg.Effort = 3000
	set(&cfg)
	return cfg
}

// view is the draw as its sites see it before the noise.
func (d *draw) view(m *Measured, matrix *shed.Matrix, z float64) *shed.View {
	v := m.View(measuredSlices, matrix)
	for i := range v.POPs {
		p := &v.POPs[i]
		p.Capacity = d.capacity[i]
		if z > 0 {
			p.SD = d.sd[i]
		}
		for s := range p.Load {
			p.Load[s] = d.demand[i] / measuredSlices
		}
	}
	return v
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
func (d *draw) act(act func(*draw) ([]float64, int)) {
	load, acted := act(d)
	d.moved, d.acted = distance(load, d.demand), acted
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
	cfg := drawConfig(set)
	return func(d *draw) []shed.Change {
		v := d.view(m, matrix, cfg.Z)
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
