package plan

import "slices"

// flow is what each POP carries of one slice under given levels.
type flow struct {
	mean  []float64 // expected load of the slice, [pop]
	extra []float64 // upper bound minus mean of what arrived by steps, [pop]
	cost  float64   // of load that is not at home
	hops  float64   // load that goes on from a POP which steps back itself

	// For a difference of two flows: which POPs it is not zero for.
	touched []int
	marked  []bool
}

// add changes what a POP carries.
func (f *flow) add(i int, mean, extra float64) {
	if f.marked != nil && !f.marked[i] {
		f.marked[i] = true
		f.touched = append(f.touched, i)
	}
	f.mean[i] += mean
	f.extra[i] += extra
}

// reset makes a difference zero again.
func (f *flow) reset() {
	for _, i := range f.touched {
		f.mean[i], f.extra[i], f.marked[i] = 0, 0, false
	}
	f.touched, f.cost, f.hops = f.touched[:0], 0, 0
}

func newFlow(n int) flow { return flow{mean: make([]float64, n), extra: make([]float64, n)} }

// flow fills f with slice s under levels. Each POP below normal sends the
// measured parts of its demand away. Where a destination steps back on the
// same slice, the same part of what arrives goes on by that POP's own
// response, once: responses were measured one at a time, and this is their
// composition as a chain. After two hops it stays where it is.
func (p *Problem) flow(s int, level []Level, f *flow) {
	copy(f.mean, p.Demand[s])
	clear(f.extra)
	f.cost, f.hops = 0, 0
	if y := p.play(level); y != nil {
		p.perform(s, y, f)
		return
	}
	for i, l := range level {
		if l > 0 {
			p.send(s, i, level, 1, f)
		}
	}
}

// play returns the play with exactly these levels, nil if there is none.
func (p *Problem) play(level []Level) *Play {
	for i := range p.Plays {
		if slices.Equal(p.Plays[i].Level, level) {
			return &p.Plays[i]
		}
	}
	return nil
}

// perform fills f with slice s under a play. Its cost is not known.
func (p *Problem) perform(s int, y *Play, f *flow) {
	moved := 0.0
	for i, part := range y.Leave {
		moved += part * p.Demand[s][i]
		f.mean[i] -= part * p.Demand[s][i]
	}
	for i := range y.Gain {
		f.mean[i] += moved * y.Gain[i]
		f.extra[i] += moved * (y.High[i] - y.Gain[i])
	}
}

// send adds to f, times sign, what POP i sends away of slice s.
func (p *Problem) send(s, i int, level []Level, sign float64, f *flow) {
	demand := p.Demand[s][i] * sign
	if demand == 0 {
		return
	}
	for _, t := range p.Response[i][level[i]].To {
		moved := demand * t.Mean
		f.add(i, -moved, 0)
		f.add(int(t.POP), moved, demand*(t.High-t.Mean))
		f.cost += moved * t.Cost
		if l := level[t.POP]; l > 0 {
			p.bounce(i, int(t.POP), moved, l, f)
		}
	}
}

// bounce sends on what came from one POP to via, which steps back itself.
// What would go home again stays at via, and is counted as uncertain.
func (p *Problem) bounce(from, via int, moved float64, level Level, f *flow) {
	for _, t := range p.Response[via][level].To {
		on := moved * t.Mean
		f.hops += on
		if int(t.POP) == from {
			f.add(via, 0, on)
			continue
		}
		// Composed, not measured: half of it may stay, four times as much may come.
		f.add(via, -on, on/2)
		f.add(int(t.POP), on, moved*(t.High-t.Mean)+3*on)
		f.cost += on * t.Cost
	}
}

// Forecast returns the expected load of each POP and its upper bound if the
// levels were announced instead of those of now.
func (p *Problem) Forecast(level [][]Level) (load, high []float64) {
	st := newState(p)
	for s := range level {
		st.put(s, level[s])
	}
	high = make([]float64, len(st.load))
	for i := range high {
		high[i] = p.High[i] + st.load[i] - p.Load[i] + st.extra[i]
	}
	return st.load, high
}

// risk is how far a POP's upper bound is above its limit when growth, upper
// bound included, is added to it. A POP that is above its limit already has
// overload; its risk begins at its ceiling.
func (p *Problem) risk(i int, growth float64) float64 {
	if p.Load[i] > p.Limit[i] {
		if p.Ceiling == nil {
			return 0
		}
		return p.Load[i] + growth - p.Ceiling[i]
	}
	return p.High[i] + growth - max(p.Limit[i], p.High[i]) - p.Tolerance*p.Limit[i]
}

// half is half the sum of absolute differences: the load that changed place.
func half(a, b []float64) float64 {
	sum := 0.0
	for i := range a {
		if d := a[i] - b[i]; d > 0 {
			sum += d
		} else {
			sum -= d
		}
	}
	return sum / 2
}
