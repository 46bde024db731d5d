package plan

import "slices"

// state is a plan being worked on: its levels, and sums that are kept up to
// date slice by slice.
type state struct {
	p     *Problem
	level [][]Level
	at    []flow // of each slice under level
	now   []flow // of each slice under p.Now
	load  []float64
	extra []float64 // growth of the uncertain part against now, [pop]
	moved []float64 // load that changes its POP against now, [slice]
	steps int       // sum of all levels
	off   []int     // POPs below normal, [slice]
	kept  []int     // slices at level 0, [pop]
	score Score
	tried int
	unit  float64 // mean limit
	price float64 // of risk; RiskPrice except while searching

	spare   flow
	diff    flow
	feeders [][]int // POPs with a level that sends load to this one
	resend  []int   // scratch: POPs whose part of a slice must be sent anew
}

func newState(p *Problem) *state {
	n, k := p.Size()
	if p.Weights == (Weights{}) {
		q := *p
		q.Weights = DefaultWeights()
		p = &q
	}
	st := &state{p: p, level: clone(p.Now), at: make([]flow, k), now: make([]flow, k),
		load: slices.Clone(p.Load), extra: make([]float64, n), moved: make([]float64, k),
		off: make([]int, k), kept: make([]int, n), spare: newFlow(n), diff: newFlow(n), price: RiskPrice}
	st.diff.marked = make([]bool, n)
	for _, l := range p.Limit {
		st.unit += l / float64(n)
	}
	for s := range k {
		st.at[s], st.now[s] = newFlow(n), newFlow(n)
		p.flow(s, p.Now[s], &st.at[s])
		p.flow(s, p.Now[s], &st.now[s])
		for i, l := range p.Now[s] {
			st.steps += int(l)
			st.off[s] += min(1, int(l))
			st.kept[i] += 1 - min(1, int(l))
		}
	}
	st.feed()
	st.score = st.rate()
	return st
}

// feed fills feeders.
func (st *state) feed() {
	st.feeders = make([][]int, len(st.load))
	for i, levels := range st.p.Response {
		for _, r := range levels {
			for _, t := range r.To {
				if f := st.feeders[t.POP]; len(f) == 0 || f[len(f)-1] != i {
					st.feeders[t.POP] = append(f, i)
				}
			}
		}
	}
}

// put sets a slice's levels and brings all sums up to date.
func (st *state) put(s int, level []Level) {
	for i, l := range level {
		old := st.level[s][i]
		st.steps += int(l) - int(old)
		st.off[s] += min(1, int(l)) - min(1, int(old))
		st.kept[i] -= min(1, int(l)) - min(1, int(old))
	}
	copy(st.level[s], level)
	f, at, now := &st.spare, &st.at[s], &st.now[s]
	st.p.flow(s, level, f)
	for i := range st.load {
		st.load[i] += f.mean[i] - at.mean[i]
		st.extra[i] += max(0, f.extra[i]-now.extra[i]) - max(0, at.extra[i]-now.extra[i])
	}
	st.moved[s] = half(f.mean, now.mean)
	st.at[s], st.spare = st.spare, st.at[s]
	st.score = st.rate()
}

// try returns the score with other levels on one slice, changing nothing.
// changed names the POPs whose level differs; negative ones are skipped.
func (st *state) try(s int, level []Level, changed ...int) Score {
	st.tried++
	steps := st.steps
	st.resend = st.resend[:0]
	for _, c := range changed {
		if c < 0 {
			continue
		}
		steps += int(level[c]) - int(st.level[s][c])
		st.resend = append(st.resend, c)
		for _, o := range st.feeders[c] {
			if level[o] > 0 && !slices.Contains(changed, o) && !slices.Contains(st.resend, o) {
				st.resend = append(st.resend, o)
			}
		}
	}
	d := &st.diff
	if len(st.p.Plays) > 0 && (st.p.play(level) != nil || st.p.play(st.level[s]) != nil) {
		st.differ(s, level, d)
		st.resend = st.resend[:0]
	}
	for _, o := range st.resend {
		st.p.send(s, o, st.level[s], -1, d)
		st.p.send(s, o, level, 1, d)
	}
	sc := st.with(s, d, steps)
	d.reset()
	return sc
}

// differ fills d with what slice s would change, computed whole.
func (st *state) differ(s int, level []Level, d *flow) {
	st.p.flow(s, level, &st.spare)
	for i := range level {
		d.add(i, st.spare.mean[i]-st.at[s].mean[i], st.spare.extra[i]-st.at[s].extra[i])
	}
	d.cost, d.hops = st.spare.cost-st.at[s].cost, st.spare.hops-st.at[s].hops
}

// with returns the score after slice s has changed by d.
func (st *state) with(s int, d *flow, steps int) Score {
	p, at, now := st.p, &st.at[s], &st.now[s]
	w := p.Weights
	sc := st.score
	soft := w.Cost*d.cost + w.Hops*d.hops + w.Step*float64(steps-st.steps)*st.unit/1000
	for _, i := range d.touched {
		m := at.mean[i] + d.mean[i]
		e := st.extra[i] + max(0, at.extra[i]+d.extra[i]-now.extra[i]) - max(0, at.extra[i]-now.extra[i])
		soft += w.Move / 2 * (abs(m-now.mean[i]) - abs(at.mean[i]-now.mean[i]))
		o0, r0, j0 := p.terms(i, st.load[i], st.extra[i])
		o1, r1, j1 := p.terms(i, st.load[i]+d.mean[i], e)
		sc.Risk += r1 - r0
		sc.Over += o1 - o0 + st.price*(r1-r0)
		soft += w.Jump * (j1 - j0)
	}
	sc.Soft += soft
	return sc
}

// terms returns overload, risk and jump of one POP.
func (p *Problem) terms(i int, load, extra float64) (over, risk, jump float64) {
	limit, d := p.Limit[i], load-p.Load[i]
	over = max(0, load-limit)
	risk = max(0, p.risk(i, d+extra))
	if limit > 0 {
		jump = d * d / limit
	}
	return over, risk, jump
}

// rate computes the score from the sums.
func (st *state) rate() Score {
	w, sc := st.p.Weights, Score{}
	for i := range st.load {
		o, r, j := st.p.terms(i, st.load[i], st.extra[i])
		sc.Over += o
		sc.Risk += r
		sc.Soft += w.Jump * j
	}
	sc.Over += st.price * sc.Risk
	for s := range st.at {
		sc.Soft += w.Cost*st.at[s].cost + w.Hops*st.at[s].hops + w.Move*st.moved[s]
	}
	sc.Soft += w.Step * float64(st.steps) * st.unit / 1000
	return sc
}

func (st *state) result() Result {
	r := Result{Level: st.level, Load: st.load, High: make([]float64, len(st.load)), Score: st.score, Tried: st.tried}
	for i, l := range st.load {
		r.High[i] = st.p.High[i] + l - st.p.Load[i] + st.extra[i]
		r.Overload += max(0, l-st.p.Limit[i])
	}
	for _, m := range st.moved {
		r.Moved += m
	}
	return r
}

func abs(x float64) float64 { return max(x, -x) }
