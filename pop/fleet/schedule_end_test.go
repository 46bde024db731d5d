package fleet_test

import (
	"fmt"
	"time"

	"github.com/catchment/catchment/policy"
)

// round is an undisturbed second: everybody is heard by everybody.
func (p *play) round() {
	p.now = p.now.Add(time.Second)
	for _, a := range p.pops {
		p.reach(a)
		p.sync(a)
		p.decide(a)
		for _, b := range p.pops {
			if a != b {
				p.ask(a, b)
				p.land(len(p.flights) - 1)
				p.land(len(p.flights) - 1)
			}
		}
		p.decide(a)
	}
}

// allFail lets every check fail at every POP at once, in a fleet that is well:
// every slice stays announced where it is.
func (p *play) allFail() error {
	p.well()
	for range 40 {
		p.round()
		if err := p.invariants(); err != nil {
			return err
		}
	}
	type spot struct {
		s  *station
		id policy.SliceID
	}
	var up []spot
	for _, s := range p.pops {
		for _, d := range s.last.Slices {
			if d.Stance.Announced() {
				up = append(up, spot{s, d.Slice})
			}
		}
	}
	h := policy.Health{Verdict: policy.Down, Failing: []policy.Failure{{Check: "http"}}}
	p.note("everything fails everywhere")
	for _, i := range p.rng.Perm(len(p.pops)) {
		p.pops[i].in.Health = map[policy.ServiceID]policy.Health{"dns": h, "web": h}
	}
	for range 30 {
		p.round()
		if err := p.invariants(); err != nil {
			return err
		}
	}
	announced := map[policy.SliceID]int{}
	for _, u := range up {
		if u.s.state.Slices[u.id].Stance.Announced() {
			announced[u.id]++
		}
	}
	for _, u := range up {
		if announced[u.id] == 0 {
			return fmt.Errorf("all checks fail at once: %v is announced nowhere", u.id)
		}
	}
	p.kept++
	return nil
}

// well ends every trouble but the drains that are asked for.
func (p *play) well() {
	p.coreUp = true
	p.flights = nil
	for _, s := range p.pops {
		clear(s.cut)
		s.noCore, s.in.Receivers, s.in.Shed, s.in.Intents = false, nil, nil, nil
		s.in.Health = map[policy.ServiceID]policy.Health{"dns": {Verdict: policy.Up}, "web": {Verdict: policy.Up}}
	}
}

// heal shows that the queue moves: when all is well, every POP that wants to
// drain gets its turn, one after the other.
func (p *play) heal() error {
	p.well()
	for range 20 {
		p.round()
		if err := p.invariants(); err != nil {
			return err
		}
	}
	waiting := map[*station]bool{}
	for _, i := range p.rng.Perm(len(p.pops)) {
		s := p.pops[i]
		s.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, Service: "web", By: "eng", At: p.clock(s)}}
		waiting[s] = true
		p.decide(s)
	}
	p.note("all is well, and all want to drain")
	for range 30 * len(p.pops) {
		p.round()
		if err := p.invariants(); err != nil {
			return err
		}
		for s := range waiting {
			if s.state.Turn.Held || !s.in.Limits.Queued() {
				delete(waiting, s)
				s.in.Intents = nil
			}
		}
		if len(waiting) == 0 {
			return nil
		}
	}
	var who []policy.POPID
	for s := range waiting {
		who = append(who, s.name)
	}
	return fmt.Errorf("drains: all is well, and %v never get their turn", who)
}
