package balance

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
)

// TestSchedules plays random schedules against the loop: loads that jump, POPs
// that fail, hear nobody, lie or start again at any moment, a core that comes
// and goes, telemetry that is old or lost. CATCHMENT_BALANCES says how many.
func TestSchedules(t *testing.T) {
	total := 4
	if n, err := strconv.Atoi(os.Getenv("CATCHMENT_BALANCES")); err == nil {
		total = n
	}
	steps := 0
	for seed := range uint64(total) {
		synctest.Test(t, func(t *testing.T) {
			s := newSchedule(t, seed)
			defer s.end()
			s.play()
			steps += s.steps
		})
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if total >= 4 && steps < total {
		t.Errorf("%d steps in %d schedules: tries little", steps, total)
	}
	t.Logf("%d schedules, %d steps", total, steps)
}

// schedule is one of them.
type schedule struct {
	*world
	rng   *rand.Rand // the world's own is of its goroutines
	steps int
	lost  bool
	log   []string
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	demand := make([]float64, 3+seed%3)
	w := newWorld(t, seed, demand...)
	s := &schedule{world: w, rng: rand.New(rand.NewPCG(seed, 99))}
	for _, p := range w.pops {
		p.demand = 30 + 50*w.r.Float64()
		for j := range w.pops {
			if j != slices.Index(w.pops, p) {
				p.split[j] = 0.05 + w.r.Float64()
			}
		}
		all := 0.0
		for j := range w.pops {
			all += p.split[j]
		}
		for j := range p.split {
			p.split[j] /= all
		}
		p.leave[1] = 0.5 + 0.45*w.r.Float64()
		p.hook = func(id policy.SliceID, want policy.Shed, after bool) { s.wish(p, id, want, after) }
	}
	w.cfg.Normal = 1 + w.r.IntN(len(w.pops)-1)
	w.cfg.Deepest = 1
	w.lend = seed%4 >= 2
	if seed%2 == 0 {
		w.first = 20 * time.Second // all at the same moment
	}
	w.age, w.lossy = [2]time.Duration{10 * time.Second, 60 * time.Second}, 0.2
	return s
}

// wish checks a step in the moment in which its route is to change: its room
// is in the core, and a claim that says so.
func (s *schedule) wish(p *site, id policy.SliceID, want policy.Shed, after bool) {
	s.lock()
	lost := s.lost
	if !after && !lost && want.Stance != (policy.Stance{Action: policy.Announce}) {
		s.steps++
	}
	s.unlock()
	if after || lost || want.Stance == (policy.Stance{Action: policy.Announce}) {
		return
	}
	claims, held := s.inCore()
	if len(want.Room) == 0 {
		s.t.Errorf("%s: %v without any room", p.id, id)
	}
	for _, r := range want.Room {
		found := false
		for _, h := range held {
			found = found || h.From == string(p.id) && h.To == string(r.POP) && h.Slice == id.String() && float64(h.Amount.Requests) >= r.Load
		}
		if !found {
			s.t.Errorf("%s: %v at %s is not in the core: %v", p.id, r.Load, r.POP, held)
		}
	}
	n := 0
	for _, c := range claims {
		if c.Slice == id {
			n++
		}
	}
	if n > len(s.pops)-s.cfg.Normal {
		s.t.Errorf("%v: %d POPs of %d claim to step back, %d must stay normal", id, n, len(s.pops), s.cfg.Normal)
	}
}

func (s *schedule) play() {
	s.begin()
	for range 25 {
		s.disturb()
		s.run(time.Duration(10+s.rng.IntN(110))*time.Second, s.invariants)
		if s.t.Failed() {
			break
		}
	}
	s.calm()
	if s.t.Failed() {
		s.t.Log(strings.Join(s.log, "\n"))
		for i, p := range s.pops {
			s.t.Logf("%s carries %.1f, levels %v\n%s", p.id, s.total(i), p.levels(), strings.Join(p.words(), "\n"))
		}
	}
}

// disturb does one random thing.
func (s *schedule) disturb() {
	p := s.pops[s.rng.IntN(len(s.pops))]
	note := func(format string, args ...any) {
		s.log = append(s.log, time.Now().Format("15:04:05 ")+fmt.Sprintf(format, args...))
	}
	switch k := s.rng.IntN(16); k {
	case 13, 14, 15:
		note("%s is overloaded", p.id)
		s.set(func() {
			for _, q := range s.pops {
				q.failing, q.deaf = false, false
				q.demand = 30 + 30*s.rng.Float64()
			}
			p.demand = 98 + 25*s.rng.Float64()
			s.pops[s.rng.IntN(len(s.pops))].demand = 98 + 15*s.rng.Float64()
		})
		s.run(3*time.Minute, s.invariants)
	case 0, 1, 2, 3, 4, 5:
		d := 20 + 90*s.rng.Float64()
		note("%s has a demand of %.0f", p.id, d)
		s.set(func() { p.demand = d })
	case 6:
		note("core out of reach: %v", !s.lost)
		s.set(func() { s.lost = !s.lost })
		if s.lost {
			s.core.Fail(errCut)
		} else {
			s.core.Fail(nil)
		}
	case 7:
		note("%s hears nobody: %v", p.id, !p.deaf)
		s.set(func() { p.deaf = !p.deaf })
	case 8:
		note("%s fails: %v", p.id, !p.failing)
		s.set(func() { p.failing = !p.failing })
	case 9:
		note("%s: its checks stall: %v", p.id, !p.stalled)
		s.set(func() { p.stalled = !p.stalled })
	case 10, 11:
		note("%s starts again", p.id)
		p.stop()
		p.start()
	case 12:
		note("%s is pinned, or released", p.id)
		s.set(func() {
			if len(p.in.Intents) > 0 {
				p.in.Intents = nil
			} else {
				p.in.Intents = []policy.Intent{{Kind: policy.IntentPin, By: "eng", At: time.Now(), Stance: policy.Stance{Action: policy.Announce}}}
			}
		})
	default:
		note("quiet")
	}
}

// invariants of each moment.
func (s *schedule) invariants() {
	s.lock()
	defer s.unlock()
	for k, id := range s.ids {
		back := 0
		for _, p := range s.pops {
			for _, d := range p.last {
				if d.Slice == id && d.Stance.Announced() && d.Reason.Code == policy.Load {
					back++
				}
			}
		}
		if back > len(s.pops)-s.cfg.Normal {
			s.t.Errorf("%v: %d POPs of %d step back for load, %d must stay normal", s.ids[k], back, len(s.pops), s.cfg.Normal)
		}
	}
	for _, p := range s.pops {
		n := 0
		for _, w := range p.in.Shed {
			if w.Stance.Announced() && w.Stance.Rung > int(s.cfg.Deepest) {
				s.t.Errorf("%s wants %v, deepest is %d", p.id, w.Stance, s.cfg.Deepest)
			}
			n++
		}
		if n > len(s.ids)-s.cfg.Keep {
			s.t.Errorf("%s steps back on %d slices of %d and keeps %d", p.id, n, len(s.ids), s.cfg.Keep)
		}
	}
}

// calm ends all that disturbs: everything comes back, and the core says what is.
func (s *schedule) calm() {
	s.set(func() { s.lost = false })
	s.core.Fail(nil)
	s.set(func() {
		for _, p := range s.pops {
			p.deaf, p.failing, p.stalled, p.in.Intents, p.demand = false, false, false, nil, 40
		}
	})
	s.run(12*time.Minute, s.invariants)
	caused := s.caused
	s.run(40*time.Minute, s.invariants)
	if s.caused > caused {
		s.t.Errorf("%.0f POP-seconds above capacity after all was calm", s.caused-caused)
	}
	claims, held := s.inCore()
	if len(s.loans) > 0 {
		s.t.Errorf("lent by DNS after all was calm: %+v", s.loans)
	}
	if len(claims)+len(held) > 0 {
		s.t.Errorf("in the core after all was calm: claims %v, reservations %v", claims, held)
	}
	for _, p := range s.pops {
		if n := p.below(); n > 0 || len(p.Situation().Shed) > 0 {
			s.t.Errorf("%s: %d slices below normal after all was calm, wishes %v", p.id, n, p.Situation().Shed)
		}
	}
}
