package guard_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

// TestSchedules plays random schedules of a fleet against the guards: verdicts
// that change, drains, lost and one-way messages, skewed clocks, daemons that
// restart, lies. After each step the invariants must hold. The number comes
// from CATCHMENT_SCHEDULES (make schedules runs a million).
func TestSchedules(t *testing.T) {
	total := 10_000
	if testing.Short() {
		total = 2_000
	}
	if n, err := strconv.Atoi(os.Getenv("CATCHMENT_SCHEDULES")); err == nil {
		total = n
	}
	var next, withdraws, refused atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !t.Failed() {
				seed := uint64(next.Add(1))
				if seed > uint64(total) {
					return
				}
				w := newWorld(seed, guard.Standard())
				if err := w.play(steps); err != nil {
					again := newWorld(seed, guard.Standard())
					again.verbose = true
					again.play(steps)
					t.Errorf("seed %d: %v\n%s", seed, err, strings.Join(again.log, "\n"))
				}
				withdraws.Add(int64(w.withdraws))
				refused.Add(int64(w.refused))
			}
		})
	}
	wg.Wait()
	if withdraws.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d withdraws and %d refusals: the schedules try nothing", withdraws.Load(), refused.Load())
	}
	t.Logf("%d schedules, %d withdraws, %d refused by guards, no invariant broken", total, withdraws.Load(), refused.Load())
}

// TestSchedulesFindAMissingGuard shows that the invariants can fail: without a
// guard they are broken within a few thousand schedules.
func TestSchedulesFindAMissingGuard(t *testing.T) {
	for _, name := range []string{guard.NameOwnPrefix, guard.NameLastPOP, guard.NameStale, guard.NameBlast, guard.NameDeadman, guard.NameCorrelated, guard.NameHeadroom} {
		broken := false
		for seed := uint64(1); seed < 20_000 && !broken; seed++ {
			broken = newWorld(seed, without(name)).play(steps) != nil
		}
		if !broken {
			t.Errorf("without %s no invariant is broken: it is not tested", name)
		}
	}
}

// world is a fleet in virtual time. Every POP has a clock of its own.
type world struct {
	rng       *rand.Rand
	now       time.Time
	pops      []*node
	minPOPs   int
	blast     int
	verbose   bool
	log       []string
	withdraws int
	refused   int
	broken    error // the first local invariant that did not hold
}

type node struct {
	name    policy.POPID
	skew    time.Duration
	decider policy.Decider
	in      policy.Input
	state   policy.State
	last    policy.Decision
	losses  []time.Time
}

const (
	slicesPerPOP = 2
	steps        = 24 // of one schedule
)

func sliceN(i int) policy.SliceID {
	return policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(i), 0}), 24))
}

func newWorld(seed uint64, guards []policy.Guard) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), now: t0}
	n := 2 + w.rng.IntN(4)
	w.minPOPs = 1 + w.rng.IntN(min(2, n-1))
	w.blast = 1 + w.rng.IntN(slicesPerPOP)
	for i := range n {
		p := &node{name: policy.POPID(fmt.Sprintf("P%d", i)), skew: time.Duration(w.rng.IntN(7200)-3600) * time.Second, decider: policy.Decider{Guards: guards}}
		svc := policy.Service{
			ID: "web", Rungs: 2, LastRung: 1, DegradedRung: 1, WithdrawOnDown: true, MinPOPs: w.minPOPs,
			HoldDown: time.Duration(w.rng.IntN(3)) * time.Second, DrainWait: 2 * time.Second,
		}
		for k := range slicesPerPOP {
			svc.Slices = append(svc.Slices, sliceN(k))
		}
		p.in = policy.Input{
			POP: p.name, Services: []policy.Service{svc}, Fleet: policy.Fleet{Configured: true},
			Health: map[policy.ServiceID]policy.Health{"web": {Verdict: policy.Up}},
			Limits: policy.Limits{
				BlastSlices: w.blast, BlastInterval: 5 * time.Second, StaleAfter: 5 * time.Second,
				CorrelatedShare: 0.6, CorrelatedWindow: 20 * time.Second,
			},
		}
		for j := range n {
			if j != i {
				p.in.Fleet.Peers = append(p.in.Fleet.Peers, policy.Peer{POP: policy.POPID(fmt.Sprintf("P%d", j))})
			}
		}
		w.pops = append(w.pops, p)
	}
	for _, p := range w.pops {
		w.decide(p)
	}
	for _, a := range w.pops {
		for _, b := range w.pops {
			if a != b {
				w.ask(a, b, true)
			}
		}
	}
	return w
}

func (w *world) clock(p *node) time.Time { return w.now.Add(p.skew) }

func (w *world) decide(p *node) {
	before := p.state
	p.state, p.last = p.decider.Decide(p.state, p.in, w.clock(p))
	if err := w.regardless(p, before); err != nil && w.broken == nil {
		w.broken = err
	}
	for _, d := range p.last.Slices {
		if d.Stance.Less(d.Before) {
			p.losses = append(p.losses, w.now)
		}
		if d.Changed && !d.Stance.Announced() {
			w.withdraws++
		}
		for _, g := range d.Guards {
			if g.Answer != policy.Allow {
				w.refused++
			}
		}
	}
	if err := w.local(p, before); err != nil && w.broken == nil {
		w.broken = fmt.Errorf("%s at %v: %w", p.name, w.now.Sub(t0), err)
	}
}

// regardless checks that what is announced stays or goes as it would without
// any word of the RPKI.
func (w *world) regardless(p *node, before policy.State) error {
	if len(p.in.Invalid) == 0 {
		return nil
	}
	in := p.in
	in.Invalid = nil
	without, _ := p.decider.Decide(before, in, w.clock(p))
	for id, s := range before.Slices {
		if got, want := p.state.Slices[id].Stance, without.Slices[id].Stance; s.Stance.Announced() && got != want {
			return fmt.Errorf("own-prefix: %v went from %v to %v, without the RPKI's word to %v", id, s.Stance, got, want)
		}
	}
	return nil
}

// ask carries a's question to b and, unless it is lost, b's answer back. What
// weakens is believed from the question, what strengthens only from the answer.
func (w *world) ask(a, b *node, answered bool) {
	asked := w.clock(a)
	told := w.status(a, b)
	view := b.peer(a.name)
	for id, s := range told {
		if old, ok := view.Slices[id]; ok && (s.Leaving || s.Verdict == policy.Down || s.Stance.Action != policy.Announce) {
			if s.DownSince = old.DownSince; s.DownSince.IsZero() && s.Verdict == policy.Down {
				s.DownSince = w.clock(b)
			}
			view.Slices[id] = s
		}
	}
	w.decide(b)
	if !answered {
		return
	}
	w.now = w.now.Add(time.Duration(w.rng.IntN(50)) * time.Millisecond)
	answer := w.status(b, a)
	view = a.peer(b.name)
	for id, s := range answer {
		if s.Verdict == policy.Down {
			if s.DownSince = view.Slices[id].DownSince; s.DownSince.IsZero() {
				s.DownSince = w.clock(a)
			}
			answer[id] = s
		}
	}
	view.Slices, view.Heard, view.Asked = answer, w.clock(a), asked
	w.decide(a)
}

func (w *world) status(p, _ *node) map[policy.SliceID]policy.PeerSlice {
	m := map[policy.SliceID]policy.PeerSlice{}
	for _, d := range p.last.Slices {
		h := p.in.Health["web"]
		s := policy.PeerSlice{Stance: d.Stance, Verdict: h.Verdict, Leaving: !d.Leaving.IsZero()}
		for _, f := range h.Failing {
			s.Failing = append(s.Failing, f.Check)
		}
		m[d.Slice] = s
	}
	return m
}

func (p *node) peer(name policy.POPID) *policy.Peer {
	for i := range p.in.Fleet.Peers {
		if p.in.Fleet.Peers[i].POP == name {
			return &p.in.Fleet.Peers[i]
		}
	}
	panic("no peer " + name)
}

// step does one random thing.
func (w *world) step() {
	p := w.pops[w.rng.IntN(len(w.pops))]
	q := w.pops[w.rng.IntN(len(w.pops))]
	switch k := w.rng.IntN(20); k {
	case 0, 1, 2, 3:
		w.note("%s down", p.name)
		w.health(p, policy.Health{Verdict: policy.Down, Failing: []policy.Failure{{Check: policy.CheckID(fmt.Sprintf("c%d", w.rng.IntN(3)))}}})
	case 4, 5:
		w.note("%s up", p.name)
		w.health(p, policy.Health{Verdict: policy.Up})
	case 6:
		v := policy.Verdict(w.rng.IntN(4))
		w.note("%s stalled with %v", p.name, v)
		w.health(p, policy.Health{Verdict: v, Stalled: true})
	case 7:
		w.note("%s has no checks", p.name)
		w.health(p, policy.Health{Empty: true})
	case 8:
		w.note("%s drains", p.name)
		p.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, By: "eng", At: w.clock(p)}}
	case 9:
		w.note("%s undrained", p.name)
		p.in.Intents = nil
	case 10:
		w.note("%s restarts", p.name)
		for i := range p.in.Fleet.Peers {
			p.in.Fleet.Peers[i] = policy.Peer{POP: p.in.Fleet.Peers[i].POP}
		}
		p.in.Health = map[policy.ServiceID]policy.Health{}
	case 11:
		w.note("%s remembers a prefix that is not ours", p.name)
		p.in.Services[0].Slices = p.in.Services[0].Slices[:slicesPerPOP]
		p.state.Slices[sliceN(200)] = policy.SliceState{Service: "web"}
		p.in.Intents = append(p.in.Intents, policy.Intent{Kind: policy.IntentPin, By: "eng", Slice: sliceN(200), Stance: policy.Stance{Action: policy.Announce}})
	case 12:
		id := sliceN(w.rng.IntN(slicesPerPOP))
		p.in.Invalid = map[policy.SliceID]string{id: "its ROA is not for us"}
		if w.rng.IntN(2) == 0 {
			p.in.Invalid = nil
		}
		w.note("%s hears of invalid %v", p.name, p.in.Invalid)
	case 13, 14, 15:
		w.load(p)
	default:
		if p != q {
			answered := w.rng.IntN(4) > 0
			w.note("%s asks %s, answered %v", p.name, q.name, answered)
			w.ask(p, q, answered)
		}
	}
	if w.rng.IntN(3) == 0 {
		w.now = w.now.Add(time.Duration(w.rng.IntN(4000)) * time.Millisecond)
	}
	w.decide(w.pops[w.rng.IntN(len(w.pops))])
}

func (w *world) health(p *node, h policy.Health) {
	p.in.Health = map[policy.ServiceID]policy.Health{"web": h}
	w.decide(p)
}

// load is a wish of the load loop, with or without room for it.
func (w *world) load(p *node) {
	id := sliceN(w.rng.IntN(slicesPerPOP))
	p.in.Shed = maps.Clone(p.in.Shed)
	if w.rng.IntN(4) == 0 {
		w.note("%s takes %v back", p.name, id)
		delete(p.in.Shed, id)
		return
	}
	s := policy.Shed{Since: w.clock(p)}
	if w.rng.IntN(2) == 0 {
		s.Stance = policy.Stance{Action: policy.Announce, Rung: 1}
	}
	for _, q := range w.pops {
		if w.rng.IntN(2) == 0 {
			s.Room = append(s.Room, policy.Room{POP: q.name, Load: 10 * w.rng.Float64(), Until: w.clock(p).Add(time.Duration(w.rng.IntN(20)-3) * time.Second)})
		}
	}
	if p.in.Shed == nil {
		p.in.Shed = map[policy.SliceID]policy.Shed{}
	}
	w.note("%s wants %v for its load: %v, room %v", p.name, id, s.Stance, s.Room)
	p.in.Shed[id] = s
}

// room checks that load moves nothing that nobody has promised to take.
func (w *world) room(p *node, id policy.SliceID, s policy.SliceState) error {
	rooms := p.in.Shed[id].Room
	for _, r := range rooms {
		if r.POP == p.name || !w.clock(p).Before(r.Until) {
			return fmt.Errorf("headroom: %v steps back for load with %v reserved", id, rooms)
		}
	}
	if len(rooms) == 0 {
		return fmt.Errorf("headroom: %v steps back for load, nothing is reserved", id)
	}
	return nil
}

func (w *world) note(format string, args ...any) {
	if !w.verbose {
		return
	}
	w.log = append(w.log, fmt.Sprintf("%6dms ", w.now.Sub(t0).Milliseconds())+fmt.Sprintf(format, args...))
}

func (w *world) play(steps int) error {
	for range steps {
		w.step()
		if err := w.invariants(); err != nil {
			return err
		}
	}
	return nil
}

// invariants of design section 5, as far as they need no control core.
func (w *world) invariants() error {
	for k := range slicesPerPOP {
		n := 0
		for _, p := range w.pops {
			if p.state.Slices[sliceN(k)].Stance.Announced() {
				n++
			}
		}
		if n < w.minPOPs {
			return fmt.Errorf("last-pop: %v is announced by %d POPs, min-pops is %d", sliceN(k), n, w.minPOPs)
		}
	}
	return w.broken
}

// local checks what one POP must keep to by itself.
func (w *world) local(p *node, before policy.State) error {
	within := 0
	for _, t := range p.losses {
		if w.now.Sub(t) < 5*time.Second {
			within++
		}
	}
	if within > w.blast {
		return fmt.Errorf("blast: %d slices lost preference within 5s, the limit is %d", within, w.blast)
	}
	h := p.in.Health["web"]
	for id, s := range p.state.Slices {
		if id == sliceN(200) && s.Stance.Announced() {
			return fmt.Errorf("own-prefix: %v is announced", id)
		}
		was := before.Slices[id].Stance
		alone := !slices.ContainsFunc(p.in.Fleet.Peers, func(q policy.Peer) bool {
			return w.clock(p).Sub(q.Heard) <= 5*time.Second && guard.WhyNot(q, id) == ""
		})
		if p.in.Invalid[id] != "" && s.Stance.Announced() && !was.Announced() && s.Reason.Code != policy.Guarded && !(alone && before.Slices[id].Served) {
			return fmt.Errorf("own-prefix: %v is announced although it is invalid, because %v", id, s.Reason)
		}
		if !s.Stance.Less(was) || len(p.in.Intents) > 0 {
			continue
		}
		if s.Reason.Code == policy.Load {
			if err := w.room(p, id, s); err != nil {
				return err
			}
		}
		if h.Stalled || h.Empty {
			return fmt.Errorf("deadman or blast: %v went from %v to %v without a verdict", id, was, s.Stance)
		}
		if s.Stance.Announced() {
			continue
		}
		down, known, fresh := 1, 1, 0
		for _, q := range p.in.Fleet.Peers {
			if w.clock(p).Sub(q.Heard) > 5*time.Second {
				continue
			}
			fresh++
			if v := q.Slices[id]; v.Verdict == policy.Down && w.clock(p).Sub(v.DownSince) < 15*time.Second {
				down, known = down+1, known+1
			} else if v.Verdict != policy.Unknown {
				known++
			}
		}
		if fresh < w.minPOPs {
			return fmt.Errorf("stale: %v withdrawn with %d fresh peers", id, fresh)
		}
		if s.Reason.Code != policy.Load && down >= 2 && float64(down) >= 0.6*float64(known) {
			return fmt.Errorf("correlated: %v withdrawn while %d of %d POPs are down", id, down, known)
		}
	}
	return nil
}
