package pop

import (
	"fmt"
	"math"
	"slices"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
)

// shift is a slice that a POP would announce otherwise than it does.
type shift struct {
	pop     policy.POPID
	service policy.ServiceID
	slice   policy.SliceID
	to      policy.Stance
}

// delta is by how much the load of a POP would change: its mean, and its
// variance.
type delta struct{ mean, variance float64 }

// within95 are so many standard deviations to each side.
const within95 = 1.96

// low and high bound a change with 95 %: who gets load does not lose any.
func (d delta) low() float64 {
	if low := d.mean - within95*math.Sqrt(d.variance); d.mean <= 0 || low > 0 {
		return low
	}
	return 0
}

func (d delta) high() float64 {
	if high := d.mean + within95*math.Sqrt(d.variance); d.mean >= 0 || high < 0 {
		return high
	}
	return 0
}

// demandGuess is the standard deviation of what a POP would carry that now
// announces a service nowhere, as a part of it: where its share was measured
// that may be long ago, otherwise it is no more than its size.
func (s *situation) demandGuess(id policy.POPID) float64 {
	if c := s.matrices.Seeds().Catchments; c != nil && c.Normal.Clients[id] > 0 {
		return 0.25
	}
	return 0.5
}

// fleetState is what every POP does with every slice now, and what it carries.
type fleetState struct {
	carrying
	stances map[policy.POPID]map[policy.SliceID]policy.Stance
}

// fleetNow is the fleet before anything happens.
func (s *situation) fleetNow() fleetState {
	f := fleetState{carrying: s.carried(), stances: map[policy.POPID]map[policy.SliceID]policy.Stance{s.cfg.POP: s.announced()}}
	for i := range s.view.Fleet {
		r := &s.view.Fleet[i]
		of := map[policy.SliceID]policy.Stance{}
		for id, p := range r.Slices {
			of[id] = p.Stance
		}
		f.stances[r.POP] = of
	}
	return f
}

// forecast is by how much the load of each POP would change, by POP. Loads of
// different services move by different ladders, so each is told by itself.
func (s *situation) forecast(f *fleetState, shifts []shift) (map[policy.POPID]delta, error) {
	out := map[policy.POPID]delta{}
	by := map[policy.ServiceID][]shift{}
	for _, sh := range shifts {
		by[sh.service] = append(by[sh.service], sh)
	}
	for _, svc := range s.view.Input.Services {
		here := make(map[policy.SliceID]bool, len(svc.Slices))
		for _, id := range svc.Slices {
			here[id] = len(by[svc.ID]) > 0
		}
		own := slices.DeleteFunc(by[svc.ID], func(sh shift) bool { return !here[sh.slice] })
		if len(own) == 0 {
			continue
		}
		moved, err := s.forecastService(f, &svc, own)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", svc.ID, err)
		}
		for p, d := range moved {
			sum := out[p]
			out[p] = delta{sum.mean + d.mean, sum.variance + d.variance}
		}
	}
	return out, nil
}

// change is what changes by itself alone: samples without noise, nothing on
// its way.
func change() shed.Config {
	c := shed.Defaults()
	c.Noise, c.Growth, c.Normal, c.Keep = 0, 0, 1, 0
	return c
}

func (s *situation) forecastService(f *fleetState, svc *policy.Service, shifts []shift) (map[policy.POPID]delta, error) {
	v := s.shedView(f, svc, shifts)
	if v.Matrix == nil {
		return nil, fmt.Errorf("there is no response matrix")
	}
	var changes []shed.Change
	for _, sh := range shifts {
		if slices.ContainsFunc(v.POPs, func(p shed.POP) bool { return p.ID == sh.pop }) {
			changes = append(changes, shed.Change{POP: sh.pop, Slice: sh.slice, To: shed.LevelOf(sh.to, svc.Rungs)})
		}
	}
	intervals, err := shed.Forecast(change(), v, changes, s.now)
	if err != nil {
		return nil, err
	}
	out, guess := map[policy.POPID]delta{}, 0.0
	for i, in := range intervals {
		out[in.POP] = delta{in.Mean - in.Now, in.SD * in.SD}
		if nowhere(&v.POPs[i], v.Slices, svc.Rungs) && slices.ContainsFunc(shifts, func(sh shift) bool { return sh.pop == in.POP }) {
			guess = max(guess, s.demandGuess(in.POP))
		}
	}
	leftOver(v, changes, intervals, svc.Rungs, out)
	for id, d := range out { // what comes back is not known well, nor what others lose by it
		out[id] = delta{d.mean, d.variance + guess*guess*d.mean*d.mean}
	}
	return out, nil
}

// nowhere reports whether a POP announces no slice normally or on a rung.
func nowhere(p *shed.POP, ids []policy.SliceID, rungs int) bool {
	return !slices.ContainsFunc(ids, func(id policy.SliceID) bool {
		l, ok := p.Level[id]
		return ok && int(l) < max(1, rungs)
	})
}

// shedView is what shed.Forecast judges by: the slices of one service, and the
// POPs that announce one of them now or then.
func (s *situation) shedView(f *fleetState, svc *policy.Service, shifts []shift) *shed.View {
	v := &shed.View{Slices: svc.Slices}
	share := map[policy.POPID]float64{}
	m := s.matrixOf(svc.ID)
	for i := range f.pops {
		c := &f.pops[i]
		stances := f.stances[c.id]
		announces := slices.ContainsFunc(svc.Slices, func(id policy.SliceID) bool { return stances[id].Announced() }) ||
			slices.ContainsFunc(shifts, func(sh shift) bool { return sh.pop == c.id && sh.to.Announced() })
		if !announces {
			continue
		}
		p := shed.POP{ID: c.id, Capacity: max(c.capacity, 1), At: s.now, Load: map[policy.SliceID]float64{}, Level: map[policy.SliceID]shed.Level{}}
		for _, id := range svc.Slices {
			p.Level[id] = shed.LevelOf(stances[id], svc.Rungs)
			if x := c.slice[id]; x > 0 {
				p.Load[id] = x
			}
		}
		v.POPs = append(v.POPs, p)
		share[c.id] = 1
		if m != nil && m.Rows[c.id] != nil {
			share[c.id] = m.Rows[c.id].Share
		}
	}
	if m != nil {
		v.Matrix = m.Fleet(share, max(1, svc.Rungs)+1)
	}
	return v
}

// leftOver makes POPs that announce nothing any more carry nothing: responses
// are known one at a time, and two that step back together send load to each
// other. It goes to the rest as their gains are.
func leftOver(v *shed.View, changes []shed.Change, intervals []shed.Interval, rungs int, out map[policy.POPID]delta) {
	type at struct {
		pop   policy.POPID
		slice policy.SliceID
	}
	to := make(map[at]shed.Level, len(changes))
	for _, c := range changes {
		to[at{c.POP, c.Slice}] = c.To
	}
	level := func(i int, id policy.SliceID) shed.Level {
		if l, ok := to[at{v.POPs[i].ID, id}]; ok {
			return l
		}
		return v.POPs[i].Level[id]
	}
	stay, gains, losses := map[policy.POPID]bool{}, 0.0, 0.0
	for i := range v.POPs {
		id := v.POPs[i].ID
		for _, slice := range v.Slices {
			stay[id] = stay[id] || int(level(i, slice)) < max(1, rungs)
		}
		switch d := out[id].mean; {
		case !stay[id]:
			losses += intervals[i].Now
		case d > 0:
			gains += d
		default:
			losses -= d
		}
	}
	if gains <= 0 || losses <= 0 || len(stay) == 0 {
		return // nobody is left, or nothing moves
	}
	for i := range intervals {
		id, d := intervals[i].POP, out[intervals[i].POP]
		switch {
		case !stay[id]:
			out[id] = delta{-intervals[i].Now, d.variance}
		case d.mean > 0 && anyLeaves(stay):
			more := d.mean * (losses/gains - 1)
			out[id] = delta{d.mean + more, d.variance + more*more}
		}
	}
}

// anyLeaves reports whether a POP announces nothing any more.
func anyLeaves(stay map[policy.POPID]bool) bool {
	for _, stays := range stay {
		if !stays {
			return true
		}
	}
	return false
}
