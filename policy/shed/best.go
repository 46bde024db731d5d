package shed

import (
	"math"
	"time"

	"github.com/catchment/catchment/policy/plan"
)

// exactPlans is up to how many plans Best looks at all of.
const exactPlans = 20_000

// Best is Plan for a question that a person waits for: of a small fleet the
// best plan of all, of a larger one what Solve finds. It reports which.
func Best(cfg Config, v *View, now time.Time) (out Outcome, exact bool, err error) {
	if err := cfg.Check(); err != nil {
		return Outcome{}, false, err
	}
	f, err := newFleet(cfg, v, now)
	if err != nil {
		return Outcome{}, false, err
	}
	p, _ := f.problem()
	p.Plays = f.plays()
	var r plan.Result
	if f.count(p) <= exactPlans {
		r, err = plan.Exact(p, exactPlans)
		exact = err == nil
	}
	if !exact {
		if r, err = plan.Solve(p); err != nil {
			return Outcome{}, false, err
		}
	}
	out = Outcome{Moved: r.Moved, Overload: r.Overload}
	for s := range r.Level {
		for i, l := range r.Level[s] {
			if l != f.level[s][i] {
				out.Changes = append(out.Changes, Change{POP: v.POPs[i].ID, Slice: v.Slices[s], To: l})
			}
		}
	}
	out.After, err = Forecast(cfg, v, out.Changes, now)
	return out, exact, err
}

// count is how many plans there are, slices that are alike not permuted left
// aside.
func (f *fleet) count(p *plan.Problem) float64 {
	log := 0.0
	for s := range p.Now {
		for i := range p.Now[s] {
			log += math.Log(float64(p.Most[s][i]-p.Least[s][i]) + 1)
		}
	}
	return math.Exp(log)
}
