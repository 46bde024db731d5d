package shed

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/plan"
)

// Round decides what this POP changes now. It returns an error only for views
// that make no sense; then nothing changes.
func Round(cfg Config, v *View, now time.Time) (Decision, error) {
	if err := cfg.Check(); err != nil {
		return Decision{}, err
	}
	f, err := newFleet(cfg, v, now)
	if err != nil {
		return Decision{}, err
	}
	if f.me < 0 {
		return Decision{}, fmt.Errorf("shed: a round needs a POP to decide for")
	}
	d := f.decide()
	d.Free = cfg.Free(v.Me, v.POPs, v.Reserved, now)
	return d, nil
}

func (f *fleet) decide() Decision {
	v, cfg := f.v, f.cfg
	_, load, _, over := f.loads(f.me)
	used := load / max(v.POPs[f.me].Capacity, 1e-300)
	switch {
	case v.Isolated:
		return Decision{Code: Alone, Detail: "the control core is out of reach: load moves nothing"}
	case !f.fresh[f.me]:
		return Decision{Code: Blind, Detail: "our own load or capacity is not known"}
	case f.since(v.Changed) < cfg.Settle:
		return Decision{Code: Settling, Detail: fmt.Sprintf("the last change is %v old", f.since(v.Changed).Round(time.Second))}
	case v.Surprised:
		return Decision{Code: Stopped, Detail: "the last change did something else than was forecast"}
	case over && cfg.Absorb == AbsorbAll:
		return Decision{Code: Absorbing, Detail: fmt.Sprintf("%.0f %% of capacity", 100*used)}
	}
	if d, done := f.shed(over, used); done {
		return d
	}
	if f.below() {
		return f.takeBack(used)
	}
	return Decision{Code: Fine, Detail: fmt.Sprintf("%.0f %% of capacity", 100*used)}
}

// since is how long ago something was; never is very long ago.
func (f *fleet) since(t time.Time) time.Duration {
	if t.IsZero() {
		return 1 << 62
	}
	return f.now.Sub(t)
}

// below says whether this POP steps back on any slice for its load.
func (f *fleet) below() bool {
	for s := range f.level {
		if f.level[s][f.me] > 0 && !f.out[s][f.me] {
			return true
		}
	}
	return false
}

// shed plans for the fleet and returns this POP's part; done is false where
// there is nothing to do for anybody's overload.
func (f *fleet) shed(mine bool, used float64) (d Decision, done bool) {
	if !f.overloaded() || !mine && !f.near() {
		return d, false
	}
	p, over := f.problem()
	if f.since(f.v.Returned) < f.cfg.Turn && (!mine || used < 1) {
		if !mine {
			return d, false
		}
		return Decision{Code: Turning, Detail: fmt.Sprintf("took back %v ago", f.since(f.v.Returned).Round(time.Second))}, true
	}
	r, err := plan.Solve(p)
	if err != nil {
		return Decision{Code: NoRoom, Detail: err.Error()}, mine
	}
	d = Decision{Code: Helping, Overload: r.Overload, Detail: f.names(over) + " has no other way"}
	if mine {
		d.Code = Shedding
		d.Detail = fmt.Sprintf("%.0f %% of capacity, %.0f %% after the plan", 100*used, 100*r.Load[f.me]/f.v.POPs[f.me].Capacity)
	}
	rest := r.Load[f.me] > p.Limit[f.me]*(1+f.cfg.Tolerance)
	var refused error
	if !mine || !rest || f.cfg.Absorb != AbsorbCascade {
		if d.Steps, refused = f.steps(p, r); refused != nil && mine {
			d.Steps = f.alone(p, d.Steps)
		}
	}
	if len(d.Steps) == 0 {
		if !mine {
			return d, false
		}
		d.Code = NoRoom
		if refused != nil {
			d.Detail += "; " + refused.Error()
		}
	}
	return d, true
}

// overloaded says whether any POP is above its trigger.
func (f *fleet) overloaded() bool {
	for i := range f.v.POPs {
		if _, _, _, over := f.loads(i); over {
			return true
		}
	}
	return false
}

// names lists the POPs above their triggers.
func (f *fleet) names(over []bool) string {
	var out string
	for i, o := range over {
		if o {
			if out != "" {
				out += ", "
			}
			out += string(f.v.POPs[i].ID)
		}
	}
	return out
}

// alone plans for this POP alone: where the fleet's plan needs others to move
// first, and they have not, there may be something else to do meanwhile. It
// returns what moves more, that or the steps given.
func (f *fleet) alone(p *plan.Problem, steps []Step) []Step {
	q := *p
	q.Most = clone(f.level)
	for s := range q.Most {
		q.Most[s][f.me] = p.Most[s][f.me]
	}
	r, err := plan.Solve(&q)
	if err != nil {
		return steps
	}
	other, _ := f.steps(&q, r)
	if moves(other) > moves(steps) {
		return other
	}
	return steps
}

// moves is the load that steps move away.
func moves(steps []Step) float64 {
	sum := 0.0
	for i := range steps {
		sum += steps[i].Moves
	}
	return sum
}

// steps lists this POP's changes of a plan, those that move most first, as
// far as they may be made in one round: what would be refused for what is
// known here already is left out, and refused says why (the first of them). A level that was never
// observed is tried alone.
func (f *fleet) steps(p *plan.Problem, r plan.Result) (out []Step, refused error) {
	type change struct {
		slice int
		moves float64
	}
	var changes []change
	for s := range r.Level {
		if to := r.Level[s][f.me]; to != f.level[s][f.me] {
			leave := f.at(f.me, to).Leave.Mean - f.at(f.me, f.level[s][f.me]).Leave.Mean
			changes = append(changes, change{s, leave * f.demand[s][f.me]})
		}
	}
	slices.SortStableFunc(changes, func(a, b change) int { return cmp.Compare(b.moves, a.moves) })
	budget := f.cfg.Step * p.Load[f.me]
	level, v := clone(f.level), *f.v
	for _, c := range changes {
		step := f.step(p, level, c.slice, r.Level[c.slice][f.me])
		if len(out) > 0 && (step.Moves > budget || step.Probe) {
			continue
		}
		err := f.helps(step)
		if err == nil {
			err = f.cfg.Admit(&v, step, f.now)
		}
		if err != nil {
			if refused == nil {
				refused = err
			}
			continue
		}
		v.Reserved = append(slices.Clip(v.Reserved), step.Reserve...)
		budget -= step.Moves
		out = append(out, step)
		level[c.slice][f.me] = step.To
		if step.Probe {
			break
		}
	}
	return out, refused
}

// helps refuses the step of a POP that is not overloaded itself, and would
// fill those that are with as much as it makes room for: in the plan of the
// fleet that comes back to it, but others may never do their part of it.
func (f *fleet) helps(st Step) error {
	if _, _, _, mine := f.loads(f.me); mine || st.To < st.From {
		return nil
	}
	harm := 0.0
	for _, a := range st.Arrive {
		if _, _, _, over := f.loads(f.index[a.POP]); over {
			harm += a.High
		}
	}
	if harm > 0 && harm >= st.Moves {
		return fmt.Errorf("shed: %s: would make room for %.4g, and bring up to %.4g to POPs that are overloaded", st.Slice, st.Moves, harm)
	}
	return nil
}

// step describes this POP's change of a slice to a level, on top of level.
func (f *fleet) step(p *plan.Problem, level [][]Level, s int, to Level) Step {
	from := level[s][f.me]
	after := clone(level)
	after[s][f.me] = to
	load0, high0 := p.Forecast(level)
	load1, high1 := p.Forecast(after)
	k := f.at(f.me, max(from, to))
	st := Step{Slice: f.v.Slices[s], From: from, To: to, Moves: load0[f.me] - load1[f.me],
		SD: k.Leave.SD() * f.demand[s][f.me], Before: f.before(s), Probe: k.Events == 0}
	for q := range load1 {
		mean, high := load1[q]-load0[q], high1[q]-high0[q]
		if q == f.me || high <= 0 {
			continue
		}
		a := Arrival{POP: f.v.POPs[q].ID, Mean: max(0, mean), High: high}
		st.Arrive = append(st.Arrive, a)
		if high > f.cfg.Tolerance*f.v.POPs[q].Capacity {
			st.Reserve = append(st.Reserve, f.reservation(a, st))
		}
	}
	return st
}

func (f *fleet) reservation(a Arrival, st Step) Reservation {
	return Reservation{ReservationID: ReservationID{From: f.v.Me, To: a.POP, Slice: st.Slice}, Level: st.To,
		Mean: a.Mean, High: a.High, Taken: f.now, Until: f.now.Add(f.cfg.Hold)}
}

// takeBack returns one slice toward normal, the one that brings most back, if
// this POP surely stays below its return limit with it. What others sent past
// it while it stood back comes too.
func (f *fleet) takeBack(used float64) Decision {
	v, cfg := f.v, f.cfg
	if f.since(v.Shed) < cfg.Turn {
		return Decision{Code: Turning, Detail: fmt.Sprintf("stepped back %v ago", f.since(v.Shed).Round(time.Second))}
	}
	p, _ := f.problem()
	limit := cfg.Return * v.POPs[f.me].Capacity
	best := Step{}
	for s := range v.Slices {
		if f.level[s][f.me] == 0 || f.out[s][f.me] {
			continue
		}
		for to := range f.level[s][f.me] { // the normal announcement first
			st := f.back(p, s, to)
			if p.High[f.me]+st.Arrive[0].High > limit {
				continue
			}
			if best.From == 0 || st.Moves < best.Moves {
				best = st
			}
			break
		}
	}
	if best.From == 0 {
		return Decision{Code: Waiting, Detail: fmt.Sprintf("%.0f %% of capacity, with a slice more it may exceed %.0f %%", 100*used, 100*cfg.Return)}
	}
	best.Reserve = []Reservation{f.reservation(best.Arrive[0], best)}
	return Decision{Code: Returning, Detail: fmt.Sprintf("%.0f %% of capacity", 100*used), Steps: []Step{best}}
}

// before is what was carried of a slice when this POP was last normal on it:
// now, or as its claim says.
func (f *fleet) before(s int) Before {
	id := f.v.Slices[s]
	if f.level[s][f.me] > 0 {
		for _, c := range f.v.Claims {
			if c.POP == f.v.Me && c.Slice == id {
				return c.Before
			}
		}
		return Before{}
	}
	b := Before{Had: f.v.POPs[f.me].Load[id]}
	for i := range f.v.POPs {
		b.Of += f.v.POPs[i].Load[id]
	}
	return b
}

// remembered is how much comes back with a slice if its demand comes from
// where it came from when this POP stepped back: the share it had then of what
// is asked of the slice now, less what it still carries.
func (f *fleet) remembered(s int, to Level) float64 {
	b := f.before(s)
	if b.Of <= 0 {
		return 0
	}
	now := 0.0
	for i := range f.v.POPs {
		now += f.v.POPs[i].Load[f.v.Slices[s]]
	}
	all := min(1, max(0, b.Had/b.Of))*now - f.v.POPs[f.me].Load[f.v.Slices[s]]
	gone := f.at(f.me, f.level[s][f.me]).Leave.Mean
	if to > 0 && gone > 0 {
		all *= max(0, 1-f.at(f.me, to).Leave.Mean/gone)
	}
	return max(0, all)
}

// back describes taking a slice back to a level: its only arrival is ours.
func (f *fleet) back(p *plan.Problem, s int, to Level) Step {
	from := f.level[s][f.me]
	after := clone(f.level)
	after[s][f.me] = to
	load, high := p.Forecast(after)
	mean := load[f.me] - p.Load[f.me]
	sd := f.demand[s][f.me] * f.at(f.me, from).Leave.SD()
	most := max(max(mean, high[f.me]-p.High[f.me])+f.cfg.Z*sd, f.remembered(s, to))
	return Step{Slice: f.v.Slices[s], From: from, To: to, Moves: -mean, SD: sd, Before: f.before(s),
		Arrive: []Arrival{{POP: f.v.Me, Mean: mean, High: most}}}
}

// Surprise reports whether a step did something else than was forecast: half
// the sum of differences between what arrived where and what should have,
// and says so. Loads are those of the step's slice; own is the POP's whole
// load before the step.
func (c Config) Surprise(me policy.POPID, st Step, before, after map[policy.POPID]float64, own float64) (wrong bool, detail string) {
	growth := total(after) / max(total(before), 1e-300)
	want := map[policy.POPID]float64{me: -st.Moves}
	for _, a := range st.Arrive {
		if a.POP != me {
			want[a.POP] = a.Mean
		}
	}
	sum, worst, most := 0.0, me, 0.0
	for _, q := range slices.Sorted(maps.Keys(before)) {
		if st.Moves < 0 && q != me {
			continue // a return is judged by what came back
		}
		d := after[q]/growth - before[q] - want[q]
		sum += max(d, -d) / 2
		if max(d, -d) > most {
			worst, most = q, max(d, -d)
		}
	}
	if own <= 0 || sum <= c.Surprised*own {
		return false, ""
	}
	return true, fmt.Sprintf("%.1f %% of our load went elsewhere than forecast, most of it at %s (%.4g)", 100*sum/own, worst, most)
}

func clone(level [][]Level) [][]Level {
	out := make([][]Level, len(level))
	for s := range level {
		out[s] = slices.Clone(level[s])
	}
	return out
}
