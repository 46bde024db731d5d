package fleet_test

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
)

// step does one random thing to the fleet.
func (p *play) step() {
	s := p.pops[p.rng.IntN(len(p.pops))]
	o := p.pops[p.rng.IntN(len(p.pops))]
	switch k := p.rng.IntN(30); k {
	case 0, 1, 2:
		p.note("%s down", s.name)
		p.health(s, policy.Health{Verdict: policy.Down, Failing: []policy.Failure{{Check: policy.CheckID(fmt.Sprint("c", p.rng.IntN(3)))}}})
	case 3, 4:
		p.note("%s up", s.name)
		p.health(s, policy.Health{Verdict: policy.Up})
	case 5:
		p.note("%s degraded", s.name)
		p.health(s, policy.Health{Verdict: policy.Degraded, Fraction: 0.5})
	case 6:
		p.everywhere()
	case 7, 8, 9:
		p.note("%s drains", s.name)
		in := policy.Intent{Kind: policy.IntentDrain, By: "eng", At: p.clock(s)}
		if p.rng.IntN(2) == 0 {
			in.Service = "web"
		}
		s.in.Intents = append(slices.Clone(s.in.Intents), in)
		p.decide(s)
	case 10, 11:
		p.note("%s undrained", s.name)
		s.in.Intents = nil
		p.decide(s)
	case 12:
		p.apart()
	case 13:
		p.coreChanges(s)
	case 14:
		p.note("%s restarts", s.name)
		p.restart(s)
	case 15:
		p.badConfig(s)
	case 16:
		p.lie(s)
	case 17:
		p.loadWish(s)
	case 18, 19:
		p.sync(s)
		p.decide(s)
	case 20, 21, 22:
		if s != o {
			p.note("%s asks %s", s.name, o.name)
			p.ask(s, o)
		}
	case 23:
		if len(p.flights) > 0 {
			i := p.rng.IntN(len(p.flights))
			p.note("lost: %s to %s", p.flights[i].from.name, p.flights[i].to.name)
			p.flights = slices.Delete(p.flights, i, i+1)
		}
	default:
		if len(p.flights) > 0 {
			i := p.rng.IntN(len(p.flights))
			p.note("lands: %s to %s, question %v", p.flights[i].from.name, p.flights[i].to.name, p.flights[i].question)
			p.land(i)
		}
	}
	if p.rng.IntN(3) == 0 {
		p.now = p.now.Add(time.Duration(p.rng.IntN(3000)) * time.Millisecond)
	}
	if s = p.pops[p.rng.IntN(len(p.pops))]; p.rng.IntN(2) == 0 {
		p.decide(s)
	}
}

func (p *play) health(s *station, h policy.Health) {
	s.in.Health = maps.Clone(s.in.Health)
	s.in.Health[[]policy.ServiceID{"dns", "web"}[p.rng.IntN(2)]] = h
	p.decide(s)
}

// everywhere is something that all depend on, and that fails at all of them.
func (p *play) everywhere() {
	h := policy.Health{Verdict: policy.Up, Shared: []policy.Failure{{Check: "origin"}}}
	if p.rng.IntN(2) == 0 {
		h = policy.Health{Verdict: policy.Down, Failing: []policy.Failure{{Check: "http"}}}
	}
	p.note("everywhere: %v", h)
	for _, i := range p.rng.Perm(len(p.pops)) {
		p.pops[i].in.Health = map[policy.ServiceID]policy.Health{"dns": h, "web": h}
		p.decide(p.pops[i])
	}
}

// apart cuts the fleet in two, or mends it.
func (p *play) apart() {
	mend := p.rng.IntN(2) == 0
	for _, s := range p.pops {
		clear(s.cut)
	}
	if mend {
		p.note("together again")
		return
	}
	side := map[policy.POPID]bool{}
	for _, s := range p.pops {
		side[s.name] = p.rng.IntN(2) == 0
	}
	for _, a := range p.pops {
		for _, b := range p.pops {
			a.cut[b.name] = side[a.name] != side[b.name]
		}
	}
	p.note("apart: %v", side)
}

// coreChanges loses the core, for a POP or for all and for a day at times.
func (p *play) coreChanges(s *station) {
	switch p.rng.IntN(4) {
	case 0:
		p.coreUp = !p.coreUp
		p.note("core up: %v", p.coreUp)
		if !p.coreUp && p.rng.IntN(3) == 0 {
			for _, s := range p.pops {
				p.reach(s)
			}
			p.now = p.now.Add(24 * time.Hour)
		}
	case 1:
		s.noCore = !s.noCore
		p.note("%s without core: %v", s.name, s.noCore)
	}
	for _, s := range p.pops {
		p.reach(s)
	}
	p.now = p.now.Add(time.Duration(p.rng.IntN(20)) * time.Second)
}

// badConfig gives a POP no checks, or all of them back.
func (p *play) badConfig(s *station) {
	h := policy.Health{Empty: true}
	if p.rng.IntN(2) == 0 {
		h = policy.Health{Verdict: policy.Up}
	}
	p.note("%s has no checks: %v", s.name, h.Empty)
	s.in.Health = map[policy.ServiceID]policy.Health{"dns": h, "web": h}
	p.decide(s)
}

// lie is a forecast that is old or made of lies.
func (p *play) lie(s *station) {
	s.in.Receivers = nil
	if p.rng.IntN(3) > 0 {
		high := 1.4 * p.rng.Float64()
		s.in.Receivers = []policy.Receiver{{POP: "P0", Now: 0.3, Mean: 0.8 * high, Low: 0.5 * high, High: high}}
	}
	s.in.Traffic = map[policy.SliceID]float64{}
	for _, svc := range s.in.Services {
		for _, id := range svc.Slices {
			if p.rng.IntN(3) > 0 {
				s.in.Traffic[id] = 0.3 * p.rng.Float64()
			}
		}
	}
	p.note("%s forecasts %v, traffic %v", s.name, s.in.Receivers, s.in.Traffic)
}

// loadWish is a wish of the load loop, with room or without.
func (p *play) loadWish(s *station) {
	svc := s.in.Services[p.rng.IntN(2)]
	id := svc.Slices[p.rng.IntN(len(svc.Slices))]
	s.in.Shed = maps.Clone(s.in.Shed)
	if p.rng.IntN(4) == 0 {
		delete(s.in.Shed, id)
		return
	}
	w := policy.Shed{Since: p.clock(s), Stance: policy.Stance{Action: policy.Announce, Rung: 1}}
	if p.rng.IntN(3) > 0 {
		w.Room = []policy.Room{{POP: "elsewhere", Load: 1, Until: p.clock(s).Add(time.Duration(p.rng.IntN(20)-2) * time.Second)}}
	}
	if s.in.Shed == nil {
		s.in.Shed = map[policy.SliceID]policy.Shed{}
	}
	s.in.Shed[id] = w
	p.note("%s wants %v for load: %v", s.name, id, w)
	p.decide(s)
}

// invariants are those of the whole fleet.
func (p *play) invariants() error {
	if p.broken != nil {
		return p.broken
	}
	for _, svc := range p.pops[0].in.Services {
		for _, id := range svc.Slices {
			n := 0
			for _, s := range p.pops {
				if s.state.Slices[id].Stance.Announced() {
					n++
				}
			}
			if n < p.minPOPs {
				return fmt.Errorf("last-pop: %v is announced by %d POPs, min-pops is %d", id, n, p.minPOPs)
			}
		}
	}
	out := 0
	var names []policy.POPID
	for _, s := range p.pops {
		if p.draining(s) {
			out++
			names = append(names, s.name)
		}
	}
	if p.limit > 0 && out > p.limit {
		return fmt.Errorf("drains: %v drain, at most %d may", names, p.limit)
	}
	if p.share > 0 && out > 1 && float64(out) > p.share*float64(len(p.pops))+1e-9 {
		return fmt.Errorf("drains: %v of %d drain, at most %.2f of them may", names, len(p.pops), p.share)
	}
	return nil
}

// draining reports whether anything is taken away by an operator's drain.
func (p *play) draining(s *station) bool {
	for _, d := range s.last.Slices {
		if d.Stance.Action != policy.Announce && d.Intent != nil && d.Intent.Kind == policy.IntentDrain && d.Reason.Code == policy.Operator {
			return true
		}
	}
	return false
}

// local are the invariants of one POP's decision.
func (p *play) local(s *station, before policy.State) error {
	within, moved := 0, 0.0
	for _, l := range s.losses { // by its own clock, which may run slower
		if p.now.Sub(l.at) < interval-interval/50 {
			within++
			moved += l.share
		}
	}
	if p.traffic > 0 && within > 1 && moved > p.traffic+1e-6 {
		return fmt.Errorf("blast: %.2f of the fleet's traffic moved within %v, the limit is %.2f", moved, interval, p.traffic)
	}
	if within > p.blast {
		return fmt.Errorf("blast: %d slices lost preference within %v, the limit is %d", within, interval, p.blast)
	}
	isolated := s.in.Core.Isolated(s.in.Limits, p.clock(s))
	for _, d := range s.last.Slices {
		was := before.Slices[d.Slice].Stance
		if isolated && d.Stance != was && (d.Reason.Code == policy.Load || d.Stance.Less(was) && (d.Reason.Code == policy.CheckPart || d.Reason.Code == policy.SharedDown)) {
			return fmt.Errorf("isolated: %v went from %v to %v because %v", d.Slice, was, d.Stance, d.Reason)
		}
		if !d.Stance.Less(was) {
			continue
		}
		if d.Stance.Action == policy.Drain && !before.Turn.Held && s.in.Overloaded() != "" && !s.in.Limits.Queued() {
			return fmt.Errorf("headroom: the drain of %v begins although it %s", d.Slice, s.in.Overloaded())
		}
		if s.in.Health[d.Service].Empty && d.Intent == nil && d.Reason.Code != policy.Operator && d.Reason.Code != policy.Load {
			return fmt.Errorf("blast: %v went from %v to %v without checks, because %v", d.Slice, was, d.Stance, d.Reason)
		}
		if d.Reason.Code == policy.CheckDown {
			if err := p.epidemic(s, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// epidemic: nothing goes for its health while most POPs that are heard went
// down lately.
func (p *play) epidemic(s *station, d policy.SliceDecision) error {
	now := p.clock(s)
	down, known := 1, 1
	for _, q := range s.in.Fleet.Peers {
		c, ok := q.Slices[d.Slice]
		if !ok || !q.Fresh(s.in.Limits, now) || c.Verdict == policy.Unknown {
			continue
		}
		if known++; c.Verdict == policy.Down && now.Sub(c.DownSince) < 15*time.Second {
			down++
		}
	}
	if down >= 2 && float64(down) >= 0.6*float64(known) {
		return fmt.Errorf("correlated: %v is taken away while %d of %d POPs are down", d.Slice, down, known)
	}
	return nil
}
