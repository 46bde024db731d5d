package shed

import (
	"math"
	"time"

	"github.com/catchment/catchment/policy/plan"
)

// Outcome is a plan for the whole fleet: what an operator is shown, and what
// POPs that see the same will do by themselves, step by step.
type Outcome struct {
	Changes []Change
	After   []Interval
	// Moved is the load whose POP changes, Overload what stays above limits.
	Moved, Overload float64
}

// exactPlans is up to how many plans Best looks at all of.
const exactPlans = 20_000

// Plan solves the fleet's problem as Round does, without the staging and the
// waiting, for all POPs.
func Plan(cfg Config, v *View, now time.Time) (Outcome, error) {
	out, _, err := planned(cfg, v, now, 0)
	return out, err
}

// Best is Plan for a question that a person waits for: of a small fleet the
// best plan of all, of a larger one what Solve finds. It reports which.
func Best(cfg Config, v *View, now time.Time) (out Outcome, exact bool, err error) {
	return planned(cfg, v, now, exactPlans)
}

// planned looks at all plans where there are at most so many.
func planned(cfg Config, v *View, now time.Time, limit int) (out Outcome, exact bool, err error) {
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
	if exact = f.count(p) <= float64(limit); exact {
		r, err = plan.Exact(p, limit)
	} else {
		r, err = plan.Solve(p)
	}
	if err != nil {
		return Outcome{}, false, err
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
