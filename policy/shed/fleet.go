package shed

import (
	"fmt"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/plan"
)

// fleet is a View with numbers for names: what Round and Forecast work on.
type fleet struct {
	cfg    Config
	v      *View
	now    time.Time
	index  map[policy.POPID]int
	me     int
	levels int         // number of levels, the withdraw included
	level  [][]Level   // announced now, [slice][pop]; the top level where not announced
	out    [][]bool    // not announced for other reasons than load, [slice][pop]
	demand [][]float64 // estimated demand with every POP normal, [slice][pop]
	fresh  []bool      // the sample may be used, [pop]
	moves  []bool      // the plan may change the POP's levels, [pop]
	known  [][]Known   // responses looked up so far, [pop][level]
}

// neighbour is the part of an overloaded POP's demand that must go to a POP
// for it to be asked to make room.
const neighbour = 0.02

func newFleet(cfg Config, v *View, now time.Time) (*fleet, error) {
	f := &fleet{cfg: cfg, v: v, now: now, index: map[policy.POPID]int{}, me: -1, levels: int(cfg.Deepest) + 1}
	if v.Matrix == nil {
		return nil, fmt.Errorf("shed: no response matrix")
	}
	for i := range v.POPs {
		p := &v.POPs[i]
		if _, twice := f.index[p.ID]; twice {
			return nil, fmt.Errorf("shed: POP %s is in the view twice", p.ID)
		}
		f.index[p.ID] = i
		if p.ID == v.Me {
			f.me = i
		}
		if row := v.Matrix.Rows[p.ID]; row != nil {
			f.levels = max(f.levels, len(row.Levels))
		}
		_, ok := cfg.High(p, now)
		f.fresh = append(f.fresh, ok)
	}
	if f.me < 0 && v.Me != "" {
		return nil, fmt.Errorf("shed: %s is not in its own view of the fleet", v.Me)
	}
	f.known = make([][]Known, len(v.POPs))
	f.announced()
	return f, nil
}

// announced fills level and out.
func (f *fleet) announced() {
	top := Level(f.levels - 1)
	for _, s := range f.v.Slices {
		level, out := make([]Level, len(f.v.POPs)), make([]bool, len(f.v.POPs))
		for i := range f.v.POPs {
			l, ok := f.v.POPs[i].Level[s]
			level[i], out[i] = min(l, top), !ok
			if !ok {
				level[i] = top
			}
		}
		f.level, f.out = append(f.level, level), append(f.out, out)
	}
	for _, c := range f.v.Claims { // newer than samples of others
		s, i := f.slice(c.Slice), -1
		if n, ok := f.index[c.POP]; ok {
			i = n
		}
		if s >= 0 && i >= 0 && i != f.me && !f.out[s][i] {
			f.level[s][i] = max(f.level[s][i], min(c.Level, top))
		}
	}
}

// at returns what is known of a POP's level, looked up once.
func (f *fleet) at(i int, l Level) Known {
	if f.known[i] == nil {
		f.known[i] = make([]Known, f.levels)
	}
	if l > 0 && f.known[i][l].To == nil {
		f.known[i][l] = f.v.Matrix.Lookup(f.v.POPs[i].ID, l, f.now)
	}
	return f.known[i][l]
}

// estimate fills demand: what each POP would carry of each slice if every POP
// were normal. Users are spread over slices, so a POP's share of demand is
// about the same on each: slices on which nobody steps back are taken as
// measured; on the others what came from POPs below normal is taken off, and
// a POP's own demand is its share on the slices where it is normal. A POP
// that is normal nowhere is believed to have what it keeps plus what its
// level is known to send away.
func (f *fleet) estimate() {
	n := len(f.v.POPs)
	if f.demand != nil {
		return
	}
	total := make([]float64, len(f.v.Slices))
	for s, id := range f.v.Slices {
		f.demand = append(f.demand, make([]float64, n))
		for i := range n {
			f.demand[s][i] = f.v.POPs[i].Load[id]
			total[s] += f.demand[s][i]
		}
	}
	for range 2 { // the second pass knows what the first found of the senders
		share := f.shares(total)
		for s, id := range f.v.Slices {
			in := make([]float64, n)
			for i := range n {
				if l := f.level[s][i]; l > 0 && !f.out[s][i] {
					for _, t := range f.at(i, l).To {
						if q, ok := f.index[t.POP]; ok {
							in[q] += share[i] * total[s] * t.Mean
						}
					}
				}
			}
			for i := range n {
				switch {
				case f.out[s][i]:
					f.demand[s][i] = 0
				case f.level[s][i] > 0:
					f.demand[s][i] = share[i] * total[s]
				default:
					f.demand[s][i] = max(0, f.v.POPs[i].Load[id]-in[i])
				}
			}
		}
	}
}

// shares returns each POP's share of the demand for a slice: the mean over
// the slices on which it is normal.
func (f *fleet) shares(total []float64) []float64 {
	share := make([]float64, len(f.v.POPs))
	for i := range share {
		sum, all, kept, moved := 0.0, 0.0, 0.0, 0.0
		for s, id := range f.v.Slices {
			if f.out[s][i] || total[s] == 0 {
				continue
			}
			if l := f.level[s][i]; l == 0 {
				sum += f.demand[s][i]
				all += total[s]
			} else if leave := f.at(i, l).Leave.Mean; leave < 0.9 {
				kept += f.v.POPs[i].Load[id] / (1 - leave)
				moved += total[s]
			}
		}
		switch {
		case all > 0:
			share[i] = sum / all
		case moved > 0:
			share[i] = kept / moved
		default:
			if row := f.v.Matrix.Rows[f.v.POPs[i].ID]; row != nil {
				share[i] = row.Share
			}
		}
	}
	return share
}

// problem states the fleet's problem for the solver. over[i] says that a POP
// is above its trigger and must come down to the target.
func (f *fleet) problem() (p *plan.Problem, over []bool) {
	n := len(f.v.POPs)
	f.estimate()
	p = &plan.Problem{Demand: f.demand, Now: f.level, Least: f.level, Normal: f.cfg.Normal, Knobs: f.knobs(),
		Tolerance: f.cfg.Tolerance, Weights: f.cfg.Weights, Effort: f.cfg.Effort, Keep: make([]int, n), Response: make([][]plan.Response, n)}
	over = make([]bool, n)
	for i := range n {
		limit, load, high, ov := f.loads(i)
		over[i] = ov
		p.Limit, p.Load, p.High = append(p.Limit, limit), append(p.Load, load), append(p.High, high)
		p.Ceiling = append(p.Ceiling, f.cfg.ceiling(load, f.v.POPs[i].Capacity))
		p.Keep[i] = f.cfg.Keep
	}
	f.moves = f.mayMove(over)
	for i := range n {
		p.Response[i] = make([]plan.Response, f.levels)
		for l := 1; l < f.levels; l++ {
			if f.needed(i, Level(l)) {
				p.Response[i][l] = f.response(i, Level(l))
			}
		}
	}
	for s := range f.level {
		most := make([]Level, n)
		for i := range n {
			most[i] = f.level[s][i]
			if f.moves[i] && !f.out[s][i] {
				most[i] = max(most[i], f.cfg.Deepest)
			}
		}
		p.Most = append(p.Most, most)
	}
	return p, over
}

// loads returns a POP's limit, its load with what is on its way, and the
// upper bound of that.
func (f *fleet) loads(i int) (limit, load, high float64, over bool) {
	pop := &f.v.POPs[i]
	load, over = f.cfg.Expected(pop, f.v.Reserved, f.now)
	limit = f.cfg.Receive * pop.Capacity
	if !f.fresh[i] {
		limit = max(limit, load)
		return limit, load, limit, false
	}
	_, pending, _ := f.cfg.Pending(pop, f.v.Reserved, f.now)
	high, _ = f.cfg.High(pop, f.now)
	high = max(high+pending, load)
	if over {
		return f.cfg.Target * pop.Capacity, load, high, true
	}
	return max(limit, load), load, high, false
}

// knobs is Config.Knobs, not counting POPs that do not announce a slice.
func (f *fleet) knobs() int {
	if f.cfg.Knobs == 0 {
		return 0
	}
	most := 0
	for s := range f.out {
		out := 0
		for _, o := range f.out[s] {
			if o {
				out++
			}
		}
		most = max(most, out)
	}
	return f.cfg.Knobs + most
}

// mayMove says which POPs the plan may touch: those above their triggers, and
// those to which they send load, which may make room for it.
func (f *fleet) mayMove(over []bool) []bool {
	moves := make([]bool, len(over))
	for i, o := range over {
		if !o {
			continue
		}
		moves[i] = true
		for l := Level(1); l <= f.cfg.Deepest; l++ {
			for _, t := range f.at(i, l).To {
				if q, ok := f.index[t.POP]; ok && t.Mean >= neighbour && f.fresh[q] {
					moves[q] = true
				}
			}
		}
	}
	return moves
}

// near says whether this POP may be asked to make room for another.
func (f *fleet) near() bool {
	over := make([]bool, len(f.v.POPs))
	for i := range over {
		_, _, _, over[i] = f.loads(i)
	}
	return f.mayMove(over)[f.me]
}

// needed says whether the plan can ask what a level does.
func (f *fleet) needed(i int, l Level) bool {
	if f.moves[i] && l <= f.cfg.Deepest {
		return true
	}
	for s := range f.level {
		if f.level[s][i] == l {
			return true
		}
	}
	return false
}

// response converts what is known of a level for the solver.
func (f *fleet) response(i int, l Level) plan.Response {
	k := f.at(i, l)
	r := plan.Response{To: make([]plan.Share, 0, len(k.To))}
	for _, t := range k.To {
		q, ok := f.index[t.POP]
		if !ok || q == i || t.Mean+f.cfg.Z*t.SD < 1e-5 {
			continue
		}
		r.To = append(r.To, plan.Share{POP: int32(q), Mean: t.Mean, High: min(1, t.Mean+f.cfg.Z*t.SD), Cost: f.cost(i, q)})
	}
	return r
}

// cost is what a unit of load costs more at another POP: money and distance.
func (f *fleet) cost(from, to int) float64 {
	if f.v.Cost == nil {
		return 0
	}
	return f.v.Cost(f.v.POPs[from].ID, f.v.POPs[to].ID)
}
