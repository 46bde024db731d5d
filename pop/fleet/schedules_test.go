package fleet_test

import (
	"fmt"
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
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/fleet"
)

// TestFleetSchedules plays random schedules of whole fleets: the real
// decisions of every POP on the real state that its real messages make.
// Messages are lost, late and overtaken, the fleet falls apart and comes
// together, clocks differ and run unequally, forecasts lie, what all depend on
// fails everywhere, configurations are bad, the control core is lost for a
// day, daemons restart. After each event the invariants of
// design section 5 hold; in the end, when all is well again, the drains that
// wait get their turn. The number comes from CATCHMENT_SCHEDULES (make
// schedules plays a million).
func TestFleetSchedules(t *testing.T) {
	total := 600
	if n, err := strconv.Atoi(os.Getenv("CATCHMENT_SCHEDULES")); err == nil {
		total = n
	}
	var next atomic.Int64
	var sum tallied
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for !t.Failed() {
				seed := uint64(next.Add(1))
				if seed > uint64(total) {
					return
				}
				p := newPlay(seed, guard.Standard())
				if err := p.all(); err != nil {
					again := newPlay(seed, guard.Standard())
					again.verbose = true
					_ = again.all()
					t.Errorf("seed %d: %v\n%s", seed, err, strings.Join(again.log, "\n"))
				}
				sum.add(&p.tallied)
			}
		})
	}
	wg.Wait()
	if sum.withdraws == 0 || sum.drains == 0 || sum.waits == 0 || sum.isolated == 0 || sum.kept == 0 || sum.refused == 0 {
		t.Errorf("the schedules try too little: %+v", &sum)
	}
	t.Logf("%d schedules: %d withdraws, %d drains begun, %d rounds in the queue, %d changes refused, %d of them for isolation; %d times everything failed everywhere and nothing was lost: no invariant broken",
		total, sum.withdraws, sum.drains, sum.waits, sum.refused, sum.isolated, sum.kept)
}

// TestFleetSchedulesFindAMissingGuard shows that the invariants can fail.
func TestFleetSchedulesFindAMissingGuard(t *testing.T) {
	for _, name := range []string{guard.NameLastPOP, guard.NameDrains, guard.NameIsolated, guard.NameBlast, guard.NameHeadroom, guard.NameCorrelated} {
		rest := slices.DeleteFunc(guard.Standard(), func(g policy.Guard) bool { return g.Name() == name })
		broken := false
		for seed := uint64(1); seed < 5000 && !broken; seed++ {
			broken = newPlay(seed, rest).all() != nil
		}
		if !broken {
			t.Errorf("without %s no invariant is broken: it is not tested", name)
		}
	}
}

// tallied counts what schedules try.
type tallied struct {
	mu                                                sync.Mutex
	withdraws, drains, waits, isolated, kept, refused int
}

func (t *tallied) add(o *tallied) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.withdraws += o.withdraws
	t.drains += o.drains
	t.waits += o.waits
	t.isolated += o.isolated
	t.kept += o.kept
	t.refused += o.refused
}

const (
	playSteps = 40
	stale     = 5 * time.Second
	interval  = 5 * time.Second // of blast
	grace     = 10 * time.Second
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

// play is one schedule.
type play struct {
	tallied
	seed    uint64
	rng     *rand.Rand
	now     time.Time
	pops    []*station
	flights []flight
	broken  error
	verbose bool
	log     []string

	minPOPs, limit, blast int
	share, traffic        float64

	core     bool // there is a control core
	coreUp   bool // it has a quorum
	revision int
	entries  map[policy.POPID]int // turn/POP -> the revision that made it
}

// station is one POP.
type station struct {
	name    policy.POPID
	skew    time.Duration
	drift   float64
	decider policy.Decider
	cut     map[policy.POPID]bool // neither asks nor is asked
	noCore  bool
	lost    time.Time // since when the core is, by its own clock

	in    policy.Input
	view  fleet.State
	cfg   fleet.Config
	state policy.State
	last  policy.Decision
	boot  int
	seq   uint64
	takes map[policy.POPID]bool // who has answered in this life, and takes About

	losses []loss // of preference
}

// loss is a slice that lost preference, at that time by the true clock, with
// what is taken to have been on it.
type loss struct {
	at    time.Time
	share float64
}

// flight is a message under way.
type flight struct {
	from, to *station
	m        fleet.Message
	question bool
	asked    time.Time // by the asker's clock
	told     bool
	boot     int // of the asker: an answer to another life reaches nobody
}

func newPlay(seed uint64, guards []policy.Guard) *play {
	p := &play{seed: seed, rng: rand.New(rand.NewPCG(seed, 2)), now: epoch, coreUp: true, entries: map[policy.POPID]int{}}
	n := 2 + p.rng.IntN(5)
	p.minPOPs = 1 + p.rng.IntN(min(2, n-1))
	p.blast = 1 + p.rng.IntN(3)
	p.core = p.rng.IntN(2) == 0
	switch p.rng.IntN(4) {
	case 0:
		p.share = 0.2 + 0.4*p.rng.Float64()
	case 1: // no limit
	default:
		p.limit = 1 + p.rng.IntN(2)
	}
	if p.rng.IntN(2) == 0 {
		p.traffic = 0.1 + 0.3*p.rng.Float64()
	}
	for i := range n {
		p.pops = append(p.pops, p.station(i, n, guards))
	}
	for _, s := range p.pops {
		p.decide(s)
	}
	for _, a := range p.pops { // twice: only the second question says all
		for _, b := range append(p.pops, p.pops...) {
			if a != b {
				p.ask(a, b)
				p.land(0)
				p.land(0)
			}
		}
	}
	for _, s := range p.pops {
		p.decide(s)
	}
	return p
}

func popName(i int) policy.POPID { return policy.POPID(fmt.Sprintf("P%d", i)) }

func (p *play) station(i, n int, guards []policy.Guard) *station {
	s := &station{
		name: popName(i), skew: time.Duration(p.rng.IntN(7200)-3600) * time.Second, drift: 0.02 * (p.rng.Float64() - 0.5),
		decider: policy.Decider{Guards: guards}, cut: map[policy.POPID]bool{}, takes: map[policy.POPID]bool{},
	}
	s.cfg = fleet.Config{POP: s.name, Stale: stale}
	for j := range n {
		if j != i {
			s.cfg.Peers = append(s.cfg.Peers, fleet.Peer{POP: popName(j), URL: "http://192.0.2.9/", Capacity: 1})
		}
	}
	s.view = fleet.NewState(s.cfg)
	for k, id := range []policy.ServiceID{"dns", "web"} {
		svc := policy.Service{
			ID: id, Rungs: 3, LastRung: 2, DegradedRung: 1, SharedRung: 1, WithdrawOnDown: true, MinPOPs: p.minPOPs,
			HoldDown: time.Duration(p.rng.IntN(3)) * time.Second, DrainWait: 2 * time.Second,
		}
		for m := range 1 + k {
			svc.Slices = append(svc.Slices, policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, byte(10*k + m), 0}), 24)))
		}
		s.in.Services = append(s.in.Services, svc)
	}
	s.in.POP = s.name
	s.in.Health = map[policy.ServiceID]policy.Health{"dns": {Verdict: policy.Up}, "web": {Verdict: policy.Up}}
	s.in.Limits = policy.Limits{
		BlastSlices: p.blast, BlastInterval: interval, StaleAfter: stale, CorrelatedShare: 0.6, CorrelatedWindow: 20 * time.Second,
		IsolatedAfter: grace, DrainPOPs: p.limit, DrainShare: p.share, DrainHeadroom: 1, BlastTraffic: p.traffic,
	}
	return s
}

// clock is what a POP takes for the time.
func (p *play) clock(s *station) time.Time {
	return p.now.Add(s.skew + time.Duration(s.drift*float64(p.now.Sub(epoch))))
}

// decide is one round of a POP's controller.
func (p *play) decide(s *station) {
	now := p.clock(s)
	s.in.Fleet = s.view.View(now)
	s.in.Core, s.in.Queue.Configured = policy.Core{Configured: p.core, Lost: s.lost}, p.core && s.in.Limits.Queued()
	before := s.state
	s.state, s.last = s.decider.Decide(s.state, s.in, now)
	if s.state.Turn.Ticket != before.Turn.Ticket {
		s.in.Queue = policy.Queue{Configured: s.in.Queue.Configured} // what was read was of another wish
	}
	for _, d := range s.last.Slices {
		p.count(s, d)
	}
	if err := p.local(s, before); err != nil && p.broken == nil {
		p.broken = fmt.Errorf("%s at %v: %w", s.name, p.now.Sub(epoch), err)
	}
}

func (p *play) count(s *station, d policy.SliceDecision) {
	if d.Stance.Less(d.Before) {
		s.losses = append(s.losses, loss{p.now, s.in.TrafficOf(d.Slice)})
	}
	if d.Changed && !d.Stance.Announced() {
		p.withdraws++
	}
	if d.Changed && d.Stance.Action == policy.Drain {
		p.drains++
	}
	for _, g := range d.Guards {
		if g.Answer == policy.Allow {
			continue
		}
		p.refused++
		switch g.Guard {
		case guard.NameDrains:
			p.waits++
		case guard.NameIsolated:
			p.isolated++
		}
	}
}

// message is what a POP says of itself now.
func (p *play) message(s *station, to policy.POPID, about bool) fleet.Message {
	p.decide(s)
	s.seq++
	m := fleet.Message{From: s.name, To: to, Boot: fmt.Sprint(s.boot), Sequence: s.seq}
	for _, d := range s.last.Slices {
		h := s.in.Health[d.Service]
		c := fleet.Claim{Slice: d.Slice, Stance: d.Stance, Verdict: h.Verdict, Leaving: !d.Leaving.IsZero()}
		for _, f := range slices.Concat(h.Failing, h.Shared) {
			c.Failing = append(c.Failing, f.Check)
		}
		m.Slices = append(m.Slices, c)
	}
	if about {
		m.About = fleet.About{Turn: &fleet.Turn{Ticket: s.last.Turn.Ticket, Held: s.last.Turn.Held}}.Encode()
	}
	return m
}

// ask sends a question, if there is a way.
func (p *play) ask(a, b *station) {
	if a.cut[b.name] {
		return
	}
	asked, told := p.clock(a), a.takes[b.name]
	p.flights = append(p.flights, flight{from: a, to: b, m: p.message(a, b.name, told), question: true, asked: asked, told: told, boot: a.boot})
}

// land brings a message to its POP; a question is answered.
func (p *play) land(i int) {
	if i >= len(p.flights) {
		return
	}
	f := p.flights[i]
	p.flights = slices.Delete(p.flights, i, i+1)
	if f.from.cut[f.to.name] {
		return
	}
	if f.question {
		_, _ = f.to.view.Take(fleet.AskedUs{Message: f.m, At: p.clock(f.to)})
		answer := p.message(f.to, f.from.name, true)
		p.flights = append(p.flights, flight{from: f.to, to: f.from, m: answer, asked: f.asked, told: f.told, boot: f.boot})
		return
	}
	if f.boot != f.to.boot {
		return
	}
	f.to.takes[f.from.name] = true
	_, _ = f.to.view.Take(fleet.Answered{Message: f.m, Asked: f.asked, At: p.clock(f.to), Told: f.told})
	p.decide(f.to)
}

// sync is what a POP's keeper does with the core's queue (pop/turns).
func (p *play) sync(s *station) {
	if !p.core || !p.coreUp || s.noCore || !s.in.Limits.Queued() {
		return
	}
	if s.state.Turn.Ticket == 0 {
		delete(p.entries, s.name)
		return
	}
	if !s.in.Queue.Current {
		if s.boot == 0 || p.entries[s.name] == 0 { // a restart in a drain keeps its place
			p.revision++
			p.entries[s.name] = p.revision
		}
	}
	s.in.Queue = policy.Queue{Configured: true, Current: true}
	for name, at := range p.entries {
		if at < p.entries[s.name] {
			s.in.Queue.Before = append(s.in.Queue.Before, name)
		}
	}
}

// reach notes for a POP whether the core is in reach.
func (p *play) reach(s *station) {
	switch {
	case p.coreUp && !s.noCore:
		s.lost = time.Time{}
	case s.lost.IsZero():
		s.lost = p.clock(s)
	}
}

func (p *play) note(format string, args ...any) {
	if p.verbose {
		p.log = append(p.log, fmt.Sprintf("%7dms ", p.now.Sub(epoch).Milliseconds())+fmt.Sprintf(format, args...))
	}
}

// all plays the schedule, and then lets everything be well again.
func (p *play) all() error {
	for range playSteps {
		p.step()
		if err := p.invariants(); err != nil {
			return err
		}
	}
	switch p.seed % 150 {
	case 50:
		return p.allFail()
	case 100:
		return p.heal()
	}
	return nil
}

// restart is a daemon that begins anew from what its disk has.
func (p *play) restart(s *station) {
	s.boot++
	s.seq, s.takes = 0, map[policy.POPID]bool{}
	s.view = fleet.NewState(s.cfg)
	s.state = pop.Restored(pop.Former{Saved: pop.Saved{State: s.state}, Alive: p.clock(s)}, p.clock(s))
	s.in.Health = map[policy.ServiceID]policy.Health{}
	s.in.Queue = policy.Queue{}
	p.decide(s)
}
