package balance

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/matrix"
)

// world is a fleet in the virtual time of a synctest bubble: POPs with the
// real loop, the real policy with all its guards and a model of the control
// core; demand, BGP and telemetry are simulated.
type world struct {
	mu     sync.Mutex // of all that follows, and of the sites
	t      *testing.T
	r      *rand.Rand
	core   *core.Memory
	cfg    shed.Config
	ids    []policy.SliceID
	pops   []*site
	age    [2]time.Duration // of what POPs hear of one another
	lossy  float64          // part of it that is lost
	first  time.Duration    // until the first round of every POP; 0: at random
	delay  time.Duration    // of each answer of the core
	unit   load.Unit
	caused float64 // POP-seconds above capacity at POPs that had enough of their own
	over   float64 // POP-seconds above capacity
	lend   bool    // DNS lends clients
	loans  []shed.Loan
	lent   map[[2]int]float64 // part of the demand that follows it by now
}

// slow is a core that is far away: what happens at the same moment at several
// POPs is interleaved.
type slow struct {
	Core
	delay time.Duration
}

func (s slow) Reservations(ctx context.Context, reads ...core.Read) ([]core.Held, int64, error) {
	time.Sleep(s.delay)
	defer time.Sleep(s.delay)
	return s.Core.Reservations(ctx, reads...)
}

func (s slow) Take(ctx context.Context, w core.Write, st core.Step) ([]core.Held, error) {
	time.Sleep(s.delay)
	defer time.Sleep(s.delay)
	return s.Core.Take(ctx, w, st)
}

// site is one POP.
type site struct {
	w        *world
	id       policy.POPID
	capacity float64
	demand   float64           // its own, over all slices
	leave    []float64         // by level: part of its demand that leaves; index 0 is 0
	split    map[int]float64   // where it goes
	at       []time.Time       // when the level of a slice changed, [slice]
	from, to []int             // the levels before and after, [slice]
	lie      func(*fleet.Load) // what it says instead
	deaf     bool              // hears nobody
	stalled  bool
	mode     Mode
	hook     func(id policy.SliceID, want policy.Shed, after bool)
	failing  bool   // its service is down
	told     []said // what it has said, oldest first
	heard    map[policy.POPID]int

	loop *Loop
	book *matrix.Book
	stop func()
	dir  string

	decider policy.Decider
	state   policy.State
	in      policy.Input
	last    []policy.SliceDecision
	alarms  map[string]string
	journal []journal.Entry
	changes []time.Time
}

type said struct {
	at    time.Time
	load  []byte
	claim map[policy.SliceID]policy.PeerSlice
}

const slicesEach = 4

var rungNames = []string{"normal", "backup"}

// newWorld makes POPs with capacity 100 and the demand given, each of which
// loses most of a slice at level 1, evenly to the others.
func newWorld(t *testing.T, seed uint64, demand ...float64) *world {
	w := &world{t: t, r: rand.New(rand.NewPCG(seed, 77)), cfg: shed.Defaults(), age: [2]time.Duration{time.Second, time.Second}, unit: load.Requests}
	w.core = core.NewMemory(core.Options{})
	w.delay = 40 * time.Millisecond
	w.cfg.Effort = 2000
	w.cfg.Normal = 1
	for i := range slicesEach {
		w.ids = append(w.ids, policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i * 64)}), 26)))
	}
	for i, d := range demand {
		s := &site{w: w, id: policy.POPID(fmt.Sprint("P", i)), capacity: 100, demand: d, leave: []float64{0, 0.85, 1}, split: map[int]float64{},
			at: make([]time.Time, slicesEach), from: make([]int, slicesEach), to: make([]int, slicesEach), heard: map[policy.POPID]int{}, dir: t.TempDir(), alarms: map[string]string{}}
		for j := range demand {
			if j != i {
				s.split[j] = 1 / float64(len(demand)-1)
			}
		}
		s.in = policy.Input{POP: s.id, Services: []policy.Service{{
			ID: "web", Slices: w.ids, Rungs: len(rungNames), LastRung: 1, DegradedRung: 1, WithdrawOnDown: true, MinPOPs: 1,
		}}, Health: map[policy.ServiceID]policy.Health{"web": {Verdict: policy.Up, Fraction: 1}}, Limits: policy.Limits{StaleAfter: 5 * time.Second}}
		s.decider = policy.Decider{Guards: guard.Standard()}
		w.pops = append(w.pops, s)
	}
	return w
}

// start begins a life of a POP.
func (s *site) start() {
	s.w.set(s.decide)
	s.book = matrix.NewBook(filepath.Join(s.dir, "matrix.json"), slog.New(slog.DiscardHandler))
	weight := map[policy.POPID]float64{}
	seeds := matrix.Seeds{POP: s.id, Weight: weight, Ladders: map[policy.ServiceID]matrix.Ladder{"web": {{Name: "normal"}, {Name: "backup", Prepend: 1}}}}
	c := &matrix.Catchments{Source: "playbook", Measured: time.Now(), Normal: matrix.Row{Name: "normal", Clients: map[policy.POPID]float64{}}}
	for _, p := range s.w.pops {
		weight[p.id] = p.demand
		c.POPs = append(c.POPs, p.id)
		c.Normal.Clients[p.id] = p.demand
	}
	for i, p := range s.w.pops {
		row := matrix.Row{Name: string(p.id) + "=backup", Settings: []matrix.Setting{{POP: p.id, Rung: "backup"}}, Clients: map[policy.POPID]float64{}}
		for j, q := range s.w.pops {
			row.Clients[q.id] = q.demand + p.demand*p.leave[1]*p.split[j]
			if i == j {
				row.Clients[q.id] = q.demand * (1 - p.leave[1])
			}
		}
		c.Rows = append(c.Rows, row)
	}
	seeds.Catchments = c
	s.book.Set(seeds)
	vips := make([]netip.Addr, slicesEach)
	for i, id := range s.w.ids {
		vips[i] = id.Prefix().Addr().Next()
	}
	var err error
	s.loop, err = New(Options{
		POP: s.id, Config: Config{Mode: cmp.Or(s.mode, Act), Every: 30 * time.Second, Unit: s.w.unit, Shed: s.w.cfg, Lend: s.w.lending(s.id)},
		Targets: []Target{{ID: "web", Slices: s.w.ids, VIPs: vips, Rungs: rungNames, Moves: true}},
		First:   s.w.first, Tell: 5 * time.Second, Core: slow{s.w.core, s.w.delay}, Controller: s, Peers: s, Measured: s, Responses: s.book, Journal: s,
		Path: filepath.Join(s.dir, "balance.json"), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		s.w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(s.w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.loop.Run(ctx) }()
	s.stop = func() { cancel(); <-done }
}

// Snapshot is the site's measurement (Measured): requests of the POP, and the
// connections of the VIPs.
func (s *site) Snapshot() load.Snapshot {
	now := time.Now()
	s.w.lock()
	defer s.w.unlock()
	mine := s.w.load(now)[slices.Index(s.w.pops, s)]
	noise := 1 + 0.003*s.w.r.NormFloat64()
	out := load.Snapshot{At: now, Sources: []load.SourceState{{Name: "host:connections"}}}
	out.POP.Load[s.w.unit] = load.Value{Value: noise * sum(mine), Known: true, At: now}
	out.POP.Capacity[s.w.unit] = s.capacity
	for i, id := range s.w.ids {
		out.Sources[0].Points = append(out.Sources[0].Points, load.PointState{
			Name: id.Prefix().Addr().Next().String(), Unit: load.Connections, Value: load.Value{Value: 100 * mine[i], Known: true, At: now},
		})
	}
	return out
}

func (w *world) lock() { w.mu.Lock() }

func (w *world) unlock() { w.mu.Unlock() }

// set changes something while the loops run.
func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// input is what the controller knows now; the caller holds s.w.mu.
func (s *site) input(now time.Time) {
	v := policy.Health{Verdict: policy.Up, Fraction: 1, Stalled: s.stalled}
	s.in.Fleet = policy.Fleet{Configured: true}
	for _, p := range s.w.pops {
		if p != s {
			q := policy.Peer{POP: p.id, Capacity: 1}
			if n := len(p.told); n > 0 && !s.deaf {
				q.Heard, q.Asked, q.Slices = now, now, p.told[n-1].claim
			}
			s.in.Fleet.Peers = append(s.in.Fleet.Peers, q)
		}
	}
	if s.failing {
		v = policy.Health{Verdict: policy.Down, Failing: []policy.Failure{{Check: "http"}}}
	}
	s.in.Health = map[policy.ServiceID]policy.Health{"web": v}
}

// decide is what the controller does each second; the caller holds s.w.mu.
func (s *site) decide() {
	now := time.Now()
	s.input(now)
	st, d := s.decider.Decide(s.state, s.in, now)
	s.state, s.last = st, d.Slices
	for _, sd := range d.Slices {
		k := slices.Index(s.w.ids, sd.Slice)
		if l := int(shed.LevelOf(sd.Stance, len(rungNames))); l != s.to[k] {
			s.from[k], s.to[k], s.at[k] = s.to[k], l, now
			s.changes = append(s.changes, now)
		}
	}
}

// Shed implements Controller as pop.Controller does.
func (s *site) Shed(_ context.Context, id policy.SliceID, want policy.Shed) (policy.SliceDecision, bool, error) {
	if s.hook != nil {
		s.hook(id, want, false)
		defer func() { s.hook(id, want, true) }()
	}
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.input(time.Now())
	d, out := s.decider.Wish(s.state, s.in, id, want, time.Now())
	if out == policy.Refused {
		return d, false, fmt.Errorf("%v", d.Reason)
	}
	s.in.Shed = policy.With(s.in.Shed, id, want)
	s.decide()
	return d, out == policy.Reached, nil
}

func (s *site) Unshed(_ context.Context, id policy.SliceID, back policy.Shed) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.in.Shed = policy.With(s.in.Shed, id, back)
	s.decide()
	return nil
}

func (s *site) Ready() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (s *site) Situation() Situation {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	out := Situation{Decision: slices.Clone(s.last), Heard: map[policy.SliceID]bool{}, Shed: map[policy.SliceID]policy.Shed{}}
	for _, d := range s.last {
		out.Heard[d.Slice] = d.Stance.Announced()
	}
	for id, w := range s.in.Shed {
		out.Shed[id] = w
	}
	return out
}

func (s *site) Alarm(_ context.Context, name string, on bool, detail string) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if delete(s.alarms, name); on {
		s.alarms[name] = detail
	}
}

func (s *site) Append(e journal.Entry) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	e.Time = time.Now()
	s.journal = append(s.journal, e)
}

// said is what the site tells the others now.
func (s *site) say() {
	m := s.loop.Message()
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if m != nil && s.lie != nil {
		l, _ := fleet.DecodeLoad(m)
		s.lie(&l)
		m = l.Encode()
	}
	c := map[policy.SliceID]policy.PeerSlice{}
	for _, d := range s.last {
		c[d.Slice] = policy.PeerSlice{Stance: d.Stance, Verdict: s.in.Health["web"].Verdict, Leaving: !d.Leaving.IsZero()}
	}
	s.told = append(s.told, said{time.Now(), m, c})
}

// hear brings what the site has heard of the others.
func (s *site) hear() {
	now := time.Now()
	for _, p := range s.w.pops {
		if p == s || s.deaf || len(p.told) == 0 {
			continue
		}
		age := s.w.age[0] + time.Duration(s.w.r.Int64N(int64(s.w.age[1]-s.w.age[0])+1))
		for s.w.r.Float64() < s.w.lossy {
			age += 10 * time.Second
		}
		n := len(p.told) - 1
		for n > s.heard[p.id] && p.told[n].at.After(now.Add(-age)) {
			n--
		}
		s.heard[p.id] = n
	}
}

// Peers implements Peers.
func (s *site) Peers(time.Time) []fleet.PeerReport {
	s.w.lock()
	defer s.w.unlock()
	var out []fleet.PeerReport
	for _, p := range s.w.pops {
		if p == s {
			continue
		}
		r := fleet.PeerReport{Peer: policy.Peer{POP: p.id, Capacity: 1, Source: "status"}}
		if len(p.told) > 0 {
			t := p.told[s.heard[p.id]]
			r.Heard, r.Slices = t.at, t.claim
			if l, err := fleet.DecodeLoad(json.RawMessage(t.load)); err == nil {
				r.Load, r.LoadAt = &l, t.at.Add(-l.Age())
			}
		}
		out = append(out, r)
	}
	return out
}

// run lets time pass, in steps of the tick, and counts what is too much.
func (w *world) run(d time.Duration, each ...func()) {
	const tick = 5 * time.Second
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(tick)
		synctest.Wait()
		for _, p := range w.pops {
			w.set(p.decide)
			if p.loop != nil {
				p.say()
			}
		}
		w.resolve(tick)
		w.lock()
		for _, p := range w.pops {
			p.hear()
		}
		loads := w.load(time.Now())
		w.unlock()
		for i, p := range w.pops {
			if l := sum(loads[i]); l > p.capacity*1.0001 {
				w.over += tick.Seconds()
				if p.demand <= p.capacity {
					w.caused += tick.Seconds()
				}
			}
		}
		for _, f := range each {
			f()
		}
	}
}

// begin starts every POP and lets the loads settle.
func (w *world) begin() {
	for _, p := range w.pops {
		p.start()
	}
	w.run(2 * time.Minute)
}

func (w *world) end() {
	for _, p := range w.pops {
		if p.stop != nil {
			p.stop()
			p.stop = nil
		}
	}
}
