package shed

import (
	"fmt"
	"math"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/plan"
)

// Change is a level that a POP would announce for a slice.
type Change struct {
	POP   policy.POPID
	Slice policy.SliceID
	To    Level
}

// Interval is the load forecast of one POP.
type Interval struct {
	POP      policy.POPID
	Capacity float64
	Now      float64 // load now, with what is on its way
	Mean, SD float64 // load after the changes
	// Known is false where the POP's own load is missing or too old.
	Known bool
}

// Low and High bound the load at z standard deviations (1.96: 95 %).
func (i Interval) Low(z float64) float64  { return max(0, i.Mean-z*i.SD) }
func (i Interval) High(z float64) float64 { return i.Mean + z*i.SD }

// Forecast says what each POP would carry after changes, by POP as in the
// view: what `catchment plan` prints. Nothing is judged: guards and headroom
// are the caller's to ask.
func Forecast(cfg Config, v *View, changes []Change, now time.Time) ([]Interval, error) {
	f, err := newFleet(cfg, v, now)
	if err != nil {
		return nil, err
	}
	after := clone(f.level)
	for _, c := range changes {
		i, ok := f.index[c.POP]
		s := f.slice(c.Slice)
		if !ok || s < 0 || int(c.To) >= f.levels {
			return nil, fmt.Errorf("shed: forecast of %s at level %d on %s: not known", c.POP, c.To, c.Slice)
		}
		after[s][i] = c.To
	}
	p, _ := f.problem()
	for s := range after {
		for i, l := range after[s] {
			if l > 0 && p.Response[i][l].To == nil {
				p.Response[i][l] = f.response(i, l)
			}
		}
	}
	p.Plays = f.plays()
	mean, _ := p.Forecast(after)
	variance := f.variance(after)
	out := make([]Interval, len(v.POPs))
	for i := range out {
		pop := &v.POPs[i]
		in, high, _ := cfg.Pending(pop, v.Reserved, now)
		sample := cfg.sd(pop, now)
		pending := 0.0
		if cfg.Z > 0 {
			pending = (high - in) / cfg.Z
		}
		out[i] = Interval{POP: pop.ID, Capacity: pop.Capacity, Now: p.Load[i], Mean: max(0, mean[i]),
			SD: math.Sqrt(variance[i] + sample*sample + pending*pending), Known: f.fresh[i]}
	}
	return out, nil
}

// plays converts the matrix's plays for the solver.
func (f *fleet) plays() []plan.Play {
	var out []plan.Play
	for _, y := range f.v.Matrix.Plays {
		n := len(f.v.POPs)
		p := plan.Play{Level: make([]Level, n), Leave: make([]float64, n), Gain: make([]float64, n), High: make([]float64, n)}
		for i := range n {
			id := f.v.POPs[i].ID
			g := f.v.Matrix.aged(y.Gain[id], f.now)
			p.Level[i], p.Leave[i] = y.Level[id], y.Leave[id]
			p.Gain[i], p.High[i] = g.Mean, min(1, g.Mean+f.cfg.Z*g.SD())
		}
		out = append(out, p)
	}
	return out
}

func (f *fleet) slice(id policy.SliceID) int {
	for s, o := range f.v.Slices {
		if o == id {
			return s
		}
	}
	return -1
}

// variance is what the changes add to the variance of each POP's load. The
// slices of one POP at one level go wrong together, POPs independently.
func (f *fleet) variance(after [][]Level) []float64 {
	n := len(f.v.POPs)
	out := make([]float64, n)
	for i := range n {
		base := make([]float64, f.levels) // demand that changes, by the level that says how
		for s := range after {
			if from, to := f.level[s][i], after[s][i]; from != to {
				base[max(from, to)] += f.demand[s][i]
			}
		}
		for l, b := range base {
			if b == 0 {
				continue
			}
			k := f.at(i, Level(l))
			out[i] += b * b * k.Leave.Var
			for _, t := range k.To {
				if q, ok := f.index[t.POP]; ok {
					out[q] += b * b * t.SD * t.SD
				}
			}
		}
	}
	return out
}
