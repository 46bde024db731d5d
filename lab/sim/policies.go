package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/plan"
	"github.com/catchment/catchment/policy/shed"
)

// Policy is one way to treat overload. One is called for each POP in its
// round, All once for all.
type Policy struct {
	Name string
	One  func(r *run, p int)
	All  func(r *run)
}

// fleetConfig is the configuration that all policies share where they have it.
func fleetConfig() shed.Config {
	cfg := shed.Defaults()
	cfg.Deepest = deepest
	return cfg
}

// Policies returns those compared, ours last.
func (f *Fleet) Policies() []Policy {
	blank := f.blank()
	greedy := fleetConfig()
	greedy.Z, greedy.Noise, greedy.Growth, greedy.Receive, greedy.Step = 0, 0, 0, greedy.Target, 1
	greedy.Turn = greedy.Settle
	return []Policy{
		{Name: "nothing"},
		{Name: "withdraw", One: func(r *run, p int) { r.threshold(p, shed.Level(len(ladder)-1), false) }},
		{Name: "prepend", One: func(r *run, p int) { r.threshold(p, 1, true) }},
		{Name: "layered DNS", One: func(r *run, p int) { r.fastRoute(p, false) }},
		{Name: "ideal DNS", One: func(r *run, p int) { r.fastRoute(p, true) }},
		{Name: "no learning", One: func(r *run, p int) { r.alone(p, greedy, blank) }},
		{Name: "greedy", One: func(r *run, p int) { r.alone(p, greedy, nil) }},
		{Name: "optimum", All: (*run).optimum},
		{Name: "ours", One: func(r *run, p int) { r.ours(p, fleetConfig()) }},
	}
}

// blank knows nothing: a step moves all of a slice, spread by size.
func (f *Fleet) blank() *shed.Matrix {
	share := map[policy.POPID]float64{}
	for p, id := range f.names {
		share[id] = f.share[p]
	}
	m := shed.DefaultModel()
	m.Leave, m.LeaveSD, m.Weak = 1, 0, 1e9
	return shed.NewMatrix(m, share, len(ladder))
}

// threshold is a POP that knows itself only: above the limit it puts all its
// slices to a level; it takes them back when its load is low (byLoad) or after
// ten minutes.
func (r *run) threshold(p int, l shed.Level, byLoad bool) {
	cfg, st := fleetConfig(), &r.pops[p]
	load := sum(r.samples[p][len(r.samples[p])-1].load) / r.f.cap[p]
	switch {
	case st.changed >= 0 && r.at-st.changed < cfg.Settle:
	case st.direction <= 0 && load > cfg.Trigger:
		for s := range r.level {
			r.set(p, s, l)
		}
		r.turn(p, 1, true)
	case st.direction > 0 && (byLoad && load < cfg.Return || !byLoad && r.at-st.shed > cfg.Turn):
		for s := range r.level {
			r.set(p, s, 0)
		}
		r.turn(p, -1, true)
	}
}

// alone is our own round without reservations, margins and long hysteresis:
// each POP for itself, by what it knows of responses.
func (r *run) alone(p int, cfg shed.Config, matrix *shed.Matrix) {
	v := r.view(p)
	cfg.Effort, v.Reserved = r.f.effort, nil
	if matrix != nil {
		v.Matrix = matrix
	}
	d, err := shed.Round(cfg, v, epoch.Add(r.at))
	if err != nil || len(d.Steps) == 0 {
		return
	}
	for _, st := range d.Steps {
		r.set(p, r.slice(st.Slice), st.To)
	}
	r.turn(p, way(d.Steps[0]), d.Code != shed.Helping)
}

// way is +1 for a step back, -1 for one that takes back.
func way(st shed.Step) int {
	if st.To > st.From {
		return 1
	}
	return -1
}

func (r *run) slice(id policy.SliceID) int {
	for s, o := range r.f.slices {
		if o == id {
			return s
		}
	}
	return -1
}

// ours is what a POP will do: check the last steps, decide, reserve, change.
func (r *run) ours(p int, cfg shed.Config) {
	st, now := &r.pops[p], epoch.Add(r.at)
	cfg.Effort = r.f.effort
	v := r.view(p)
	st.surprised = r.check(cfg, p, v)
	v.Surprised, v.Matrix = st.surprised, r.matrix
	d, err := shed.Round(cfg, v, now)
	if err != nil {
		return
	}
	if d.Code != shed.Fine {
		r.log("%v %s %s: %s; %d steps, overload left %.3f", r.at, v.Me, d.Code, d.Detail, len(d.Steps), d.Overload)
	}
	r.free(d.Free)
	took := 0
	for _, step := range d.Steps {
		if r.lost() || cfg.Admit(v, step, now) != nil {
			r.m.Refused++
			r.log("%v %s refused, or lost: %v", r.at, v.Me, cfg.Admit(v, step, now))
			continue
		}
		for _, res := range step.Reserve {
			res.Applied = now
			r.free([]shed.ReservationID{res.ReservationID})
			r.core = append(r.core, res)
		}
		r.claim(v.Me, step)
		v.Reserved, v.Claims = r.core, r.claims
		s := r.slice(step.Slice)
		r.logStep(p, s, step)
		r.set(p, s, step.To)
		st.checks = append(st.checks, check{step: step, due: r.at + 2*time.Minute, before: slice(v, step.Slice), own: v.POPs[p].Total(),
			demand: r.demandOf(p, v, step), levels: append([]shed.Level(nil), r.level[s]...)})
		took++
	}
	if took > 0 {
		r.turn(p, way(d.Steps[0]), d.Code != shed.Helping)
	}
}

// logStep tells of a step what is expected to arrive where, and what will.
func (r *run) logStep(p, s int, step shed.Step) {
	if r.f.Log == nil {
		return
	}
	was, will := make([]float64, len(r.f.names)), make([]float64, len(r.f.names))
	level := slices.Clone(r.level[s])
	for i, q := range r.f.catchment(r.world, r.announced(level)) {
		if q >= 0 {
			was[q] += r.demand[i] / float64(r.f.k)
		}
	}
	level[p] = step.To
	for i, q := range r.f.catchment(r.world, r.announced(level)) {
		if q >= 0 {
			will[q] += r.demand[i] / float64(r.f.k)
		}
	}
	text := ""
	for q, id := range r.f.names {
		for _, a := range step.Arrive {
			if d := will[q] - was[q]; a.POP == id && max(d, a.High) > 0.01*r.f.cap[q] {
				text += fmt.Sprintf(" %s %.3f..%.3f truly %.3f of %.3f", id, a.Mean, a.High, d, r.f.cap[q])
			}
		}
	}
	r.log("%v %s slice %d from %d to %d, others %v:%s", r.at, r.f.names[p], s, step.From, step.To, others(r.level[s], p), text)
}

// claim writes a POP's claim for a slice, or removes it with a return.
func (r *run) claim(p policy.POPID, st shed.Step) {
	r.claims = slices.DeleteFunc(slices.Clone(r.claims), func(c shed.Claim) bool { return c.POP == p && c.Slice == st.Slice })
	if st.To > 0 {
		r.claims = append(r.claims, st.Claim(p))
	}
}

// lost says whether a transaction with the core fails for lost messages: it is
// tried three times within a round.
func (r *run) lost() bool {
	for range 3 {
		if r.r.Float64() >= r.sc.Lost {
			return false
		}
	}
	return true
}

// demandOf is what the POP would carry of a step's slice at normal: its mean
// over the slices where it is normal, the slice itself before a step back.
func (r *run) demandOf(p int, v *shed.View, st shed.Step) float64 {
	sum, n := 0.0, 0
	for s, id := range v.Slices {
		if r.level[s][p] == 0 && id != st.Slice {
			sum += v.POPs[p].Load[id]
			n++
		}
	}
	if st.From == 0 || n == 0 {
		return v.POPs[p].Load[st.Slice]
	}
	return sum / float64(n)
}

// slice is the load of one slice by POP, as a view has it.
func slice(v *shed.View, id policy.SliceID) map[policy.POPID]float64 {
	out := map[policy.POPID]float64{}
	for i := range v.POPs {
		out[v.POPs[i].ID] = v.POPs[i].Load[id]
	}
	return out
}

// check compares steps that have settled with their forecasts, and learns
// from them where nobody else changed the slice in between.
func (r *run) check(cfg shed.Config, p int, v *shed.View) (surprised bool) {
	st := &r.pops[p]
	kept := st.checks[:0]
	for _, c := range st.checks {
		if r.at < c.due {
			kept = append(kept, c)
			continue
		}
		s := r.slice(c.step.Slice)
		if string(level2bytes(c.levels)) != string(level2bytes(r.level[s])) {
			continue
		}
		after := slice(v, c.step.Slice)
		if wrong, _ := cfg.Surprise(v.Me, c.step, c.before, after, c.own); wrong {
			surprised = true
			r.m.Surprise++
		}
		if slices.ContainsFunc(others(c.levels, p), func(l shed.Level) bool { return l > 0 }) {
			continue
		}
		e := shed.Event{POP: v.Me, From: c.step.From, To: c.step.To, Before: c.before, After: after, Demand: c.demand, Drift: 0.01, At: epoch.Add(r.at)}
		if m, err := r.matrix.Observe(e); err == nil {
			r.matrix = m
		}
	}
	st.checks = kept
	return surprised
}

// others are the levels of all POPs but one.
func others(level []shed.Level, but int) []shed.Level {
	return append(slices.Clone(level[:but]), level[but+1:]...)
}

// free removes reservations from the core.
func (r *run) free(ids []shed.ReservationID) {
	for _, id := range ids {
		for i := range r.core {
			if r.core[i].ReservationID == id {
				r.core = append(r.core[:i:i], r.core[i+1:]...)
				break
			}
		}
	}
}

// optimum plans for all POPs with the true loads and responses of this very
// moment, no noise and no margin, and may change anything each round.
func (r *run) optimum() {
	f, cfg, n := r.f, fleetConfig(), len(r.f.names)
	p := &plan.Problem{Effort: f.effort, Normal: cfg.Normal, Tolerance: cfg.Tolerance, Keep: make([]int, n)}
	needed := false
	for q := range n {
		load := sum(r.load[q])
		limit := max(cfg.Receive*f.cap[q], min(load, cfg.Trigger*f.cap[q]))
		if load > cfg.Trigger*f.cap[q] {
			limit, needed = cfg.Target*f.cap[q], true
		}
		p.Limit, p.Load, p.High, p.Keep[q] = append(p.Limit, limit), append(p.Load, load), append(p.High, load), cfg.Keep
	}
	for s := range r.level {
		p.Now = append(p.Now, r.announced(r.level[s]))
		demand, least, most := make([]float64, n), make([]shed.Level, n), make([]shed.Level, n)
		for q := range n {
			demand[q], most[q] = r.home[q][s], cfg.Deepest
			if r.failed[q] {
				least[q], most[q] = p.Now[s][q], p.Now[s][q]
			}
			needed = needed || r.level[s][q] > 0
		}
		p.Demand, p.Least, p.Most = append(p.Demand, demand), append(p.Least, least), append(p.Most, most)
	}
	if !needed {
		return
	}
	for q := range n {
		p.Response = append(p.Response, r.truth(q))
	}
	res, err := plan.Solve(p)
	if err != nil {
		return
	}
	for q := range n {
		for s := range res.Level {
			if !r.failed[q] && res.Level[s][q] != r.level[s][q] {
				r.set(q, s, res.Level[s][q])
			}
		}
	}
}

// truth is what the levels of a POP do to the demand of this moment.
func (r *run) truth(p int) []plan.Response {
	out := make([]plan.Response, 1, len(ladder))
	for l := 1; l < len(ladder); l++ {
		level := r.announced(make([]shed.Level, len(r.f.names)))
		level[p] = shed.Level(l)
		to, all := make([]float64, len(level)), max(sum(r.home[p]), 1e-12)
		for i, q := range r.f.catchment(r.world, level) {
			if r.away[i] == int16(p) && q != int16(p) && q >= 0 {
				to[q] += r.demand[i] / all
				for s := range r.hostile {
					to[q] += r.hostile[s][i] / all
				}
			}
		}
		var resp plan.Response
		for q, part := range to {
			if part > 0 {
				resp.To = append(resp.To, plan.Share{POP: int32(q), Mean: part, High: part})
			}
		}
		out = append(out, resp)
	}
	return out
}
