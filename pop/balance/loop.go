package balance

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/matrix"
)

// Mode says what the loop does with what it decides.
type Mode string

// Modes.
const (
	Off     Mode = "off"
	Observe Mode = "observe" // it is journaled and shown, and nothing moves
	Act     Mode = "act"
)

// Config is what the operator wants.
type Config struct {
	Mode  Mode
	Every time.Duration // between rounds
	Unit  load.Unit     // of loads and capacities
	Shed  shed.Config
	// Cost is View.Cost; nil: 0.
	Cost func(from, to policy.POPID) float64
}

// Target is a service whose load the POP carries.
type Target struct {
	ID     policy.ServiceID
	Slices []policy.SliceID
	VIPs   []netip.Addr
	Rungs  []string // names of the ladder's rungs, the normal announcement first
	Moves  bool     // load may move its slices
}

// Controller carries out what the loop wants (pop.Controller).
type Controller interface {
	// Shed makes a wish of load the slice's, if the guards let what it wants
	// happen now; otherwise nothing changes and the decision says why. A wish
	// for the normal announcement takes back the one there is. reached is
	// false where it stands, but a guard still waits for other POPs.
	Shed(ctx context.Context, id policy.SliceID, want policy.Shed) (d policy.SliceDecision, reached bool, err error)
	// Unshed puts a wish that there was before in the place of one that could
	// not be had, whatever comes of it; a zero Since means none.
	Unshed(ctx context.Context, id policy.SliceID, back policy.Shed) error
	// Ready is closed when something was decided.
	Ready() <-chan struct{}
	// Situation is what was decided last.
	Situation() Situation
	// Alarm raises or clears an alarm.
	Alarm(ctx context.Context, name string, on bool, detail string)
}

// Situation is what a POP announces, and what load wants of it.
type Situation struct {
	Decision []policy.SliceDecision
	Heard    map[policy.SliceID]bool // announced, and a router hears it
	Shed     map[policy.SliceID]policy.Shed
}

// Peers are the other POPs (fleet.Fleet).
type Peers interface {
	Peers(now time.Time) []fleet.PeerReport
}

// Measured is what the POP carries (load.Runner).
type Measured interface{ Snapshot() load.Snapshot }

// Responses are what is known of how load moves (matrix.Book).
type Responses interface {
	Matrix(policy.ServiceID) *shed.Matrix
	Observe(matrix.Event) error
	Events() []matrix.Event
	Merge([]matrix.Event) (int, error)
}

// Journal takes what happens.
type Journal interface{ Append(journal.Entry) }

// Options are what a Loop is made of. Core may be nil: then it can only
// observe.
type Options struct {
	POP        policy.POPID
	Config     Config
	Targets    []Target
	Core       Core
	Controller Controller
	Peers      Peers
	Measured   Measured
	Responses  Responses
	Journal    Journal
	First      time.Duration // until the first round; 0: at random within the interval
	Tell       time.Duration // between measurements of our own load for others; 0: 1 s
	Path       string        // file of what is remembered; empty: nothing is
	Logger     *slog.Logger
}

// Loop is the load loop of one POP.
type Loop struct {
	opt Options
	log *slog.Logger
	set chan struct{} // size one: the configuration has changed

	// Owned by the goroutine of Run.
	ledger ledger
	saved  saved
	last   page // of the core, as last read
	said   journaled
	stop   bool      // the last check said surprise
	tidy   bool      // off, and nothing of us is left in the core
	lost   time.Time // since when the core cannot be read
	why    error

	made, refused, surprises uint64

	mu      sync.Mutex
	pending *Options // what Set brought
	own     fleet.Load
	ownAt   time.Time
	report  Report
}

// New makes a loop that Run starts.
func New(o Options) (*Loop, error) {
	l := &Loop{opt: o, log: o.Logger, set: make(chan struct{}, 1)}
	if err := o.check(); err != nil {
		return nil, err
	}
	l.ledger = ledger{me: o.POP, hold: o.Config.Shed.Hold, first: map[seenKey]time.Time{}, until: map[seenKey]time.Time{}}
	l.report = Report{Mode: o.Config.Mode, Unit: o.Config.Unit.String()}
	return l, nil
}

func (o *Options) check() error {
	if o.Config.Mode == Act && o.Core == nil {
		return errors.New("balance: to act it needs the control core, where room is reserved")
	}
	if o.Config.Every <= 0 {
		return errors.New("balance: no time between rounds")
	}
	if o.Config.Shed.Hold > core.MaxReservation {
		return fmt.Errorf("balance: hold %v is longer than the core keeps a reservation (%v)", o.Config.Shed.Hold, core.MaxReservation)
	}
	rungs := -1
	for _, t := range o.Targets {
		switch {
		case !t.Moves:
		case rungs >= 0 && len(t.Rungs) != rungs:
			return fmt.Errorf("balance: the ladder of %s has %d rungs, others that load moves have %d: responses are learned by rung", t.ID, len(t.Rungs), rungs)
		default:
			rungs = len(t.Rungs)
		}
	}
	return o.Config.Shed.Check()
}

func (l *Loop) String() string { return "balance" }

// Set brings another configuration; it counts from the next round on.
func (l *Loop) Set(c Config, targets []Target) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.opt // Core and the like never change
	o.Config, o.Targets = c, targets
	if err := o.check(); err != nil {
		return err
	}
	l.pending = &o
	select {
	case l.set <- struct{}{}:
	default:
	}
	return nil
}

// telling is how often, if not said otherwise, what the POP says of its load is
// made anew.
const telling = time.Second

// Run plays rounds until ctx ends. The first comes within one interval: POPs
// that were started together do not decide together.
func (l *Loop) Run(ctx context.Context) error {
	select {
	case <-l.opt.Controller.Ready():
	case <-ctx.Done():
		return nil
	}
	l.remember(time.Now())
	l.measure(time.Now())
	round := time.NewTimer(cmp.Or(l.opt.First, rand.N(l.opt.Config.Every)))
	defer round.Stop()
	tell := time.NewTicker(cmp.Or(l.opt.Tell, telling))
	defer tell.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.set:
			l.adopt()
		case <-tell.C:
			if l.opt.Config.Mode != Off {
				l.measure(time.Now())
			}
		case <-round.C:
			l.round(ctx, time.Now())
			round.Reset(l.opt.Config.Every)
		}
	}
}

// adopt takes in what Set brought.
func (l *Loop) adopt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.pending != nil {
		l.opt.Config, l.opt.Targets = l.pending.Config, l.pending.Targets
		l.pending = nil
	}
	l.ledger.hold, l.tidy = l.opt.Config.Shed.Hold, false
	l.report.Mode, l.report.Unit = l.opt.Config.Mode, l.opt.Config.Unit.String()
}

// measure makes anew what the POP says of its load.
func (l *Loop) measure(now time.Time) {
	snapshot := l.opt.Measured.Snapshot()
	carried := l.carried(now)
	own, at, err := Measure(l.opt.Config.Unit, &snapshot, carried)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report.Unmeasured = ""
	if err != nil { // what was measured grows old by itself
		l.report.Unmeasured = err.Error()
		l.own.Slices = relevel(l.own.Slices, carried)
		return
	}
	l.own, l.ownAt = own, at
}

// carried are the targets as they stand now.
func (l *Loop) carried(now time.Time) []Carried {
	s := l.opt.Controller.Situation()
	by := make(map[policy.SliceID]policy.SliceDecision, len(s.Decision))
	for _, d := range s.Decision {
		by[d.Slice] = d
	}
	var out []Carried
	for _, t := range l.opt.Targets {
		c := Carried{ID: t.ID, VIPs: t.VIPs, Moves: t.Moves}
		for _, id := range t.Slices {
			cs := CarriedSlice{ID: id}
			if d, ok := by[id]; ok {
				cs.Level = Level(d, len(t.Rungs), s.Heard[id])
				cs.Keeps = l.keeps(t.ID, d, len(t.Rungs), now)
			}
			c.Slices = append(c.Slices, cs)
		}
		out = append(out, c)
	}
	return out
}

// relevel is what was measured last with the levels of now.
func relevel(list []fleet.SliceLoad, carried []Carried) []fleet.SliceLoad {
	out := slices.Clone(list)
	for i := range out {
		out[i].Level = nil
		for _, c := range carried {
			for _, s := range c.Slices {
				if s.ID == out[i].Slice {
					out[i].Level = s.Level
				}
			}
		}
	}
	return out
}

// keeps is the part of a slice's demand that is expected to stay here.
func (l *Loop) keeps(svc policy.ServiceID, d policy.SliceDecision, rungs int, now time.Time) float64 {
	if !d.Stance.Announced() {
		return 0
	}
	m := l.opt.Responses.Matrix(svc)
	level := shed.LevelOf(d.Stance, rungs)
	if level == 0 || m == nil {
		return 1
	}
	return 1 - m.Lookup(l.opt.POP, level, now).Leave.Mean
}

// Message is what other POPs are told of our load: the bytes for
// fleet.Config.Load and for presence. Empty: nothing is known; nil: the loop
// is off.
func (l *Loop) Message() json.RawMessage {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.report.Mode == Off {
		return nil
	}
	said := l.own
	said.AgeMS = max(0, time.Since(l.ownAt).Milliseconds())
	if l.ownAt.IsZero() || said.Age() > oldest {
		return json.RawMessage{}
	}
	return said.Encode()
}

// oldest is the age of a sample that is not worth telling.
const oldest = time.Hour

// Facts are what is known now, for plans and forecasts. The book and the
// matrix are those of the last round.
func (l *Loop) Facts(now time.Time) Facts {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.report.facts
	f.Own, f.OwnAt = l.own, l.ownAt
	f.Peers = l.opt.Peers.Peers(now)
	return f
}

// gather puts the facts of a round together. Where the core is out of reach
// what was last read of it goes on to count.
func (l *Loop) gather(ctx context.Context, now time.Time) Facts {
	l.measure(now)
	f := Facts{Me: l.opt.POP, Memory: l.saved.Memory, Cost: l.opt.Config.Cost, Peers: l.opt.Peers.Peers(now)}
	l.mu.Lock()
	f.Own, f.OwnAt = l.own, l.ownAt
	l.mu.Unlock()
	for _, t := range l.opt.Targets {
		if !t.Moves {
			continue
		}
		f.Services = append(f.Services, Service{ID: t.ID, Slices: t.Slices, Rungs: len(t.Rungs)})
	}
	if len(f.Services) > 0 {
		f.Matrix = l.opt.Responses.Matrix(f.Services[0].ID)
	}
	if l.opt.Core == nil {
		return f
	}
	p, err := read(ctx, l.opt.Core, &l.ledger, now)
	if err == nil {
		err = l.responses(ctx)
	}
	switch {
	case err == nil:
		l.last, l.lost, l.why = p, time.Time{}, nil
		l.ledger.forget(&p)
	default:
		l.why = err
		if l.lost.IsZero() {
			l.lost = now
			l.log.Warn("balance: the control core cannot be read, load moves nothing", "err", err)
		}
		f.Isolated = l.opt.Config.Mode == Act
	}
	f.Book = l.last.Book
	return f
}

// round is one round.
func (l *Loop) round(ctx context.Context, now time.Time) {
	cfg := &l.opt.Config
	if cfg.Mode == Off {
		l.rest(ctx, now)
		return
	}
	f := l.gather(ctx, now)
	v, notes := f.View(cfg.Shed)
	if l.why != nil {
		notes = append(notes, l.why.Error())
	}
	if len(f.Services) == 0 {
		l.tell(now, f, nil, shed.Decision{Code: shed.Fine, Detail: "load moves no service"}, notes)
		return
	}
	l.stop = false
	l.judge(ctx, v, now)
	f.Matrix = l.opt.Responses.Matrix(f.Services[0].ID)
	v.Surprised, v.Matrix = l.stop, f.matrix(cfg.Shed, v.POPs)
	d, err := shed.Round(cfg.Shed, v, now)
	if err != nil {
		l.log.Error("balance: no round", "err", err)
		l.tell(now, f, v, shed.Decision{Code: shed.Blind, Detail: err.Error()}, notes)
		return
	}
	done := l.carryOut(ctx, &f, v, &d, now)
	notes = append(notes, l.last.bad...)
	l.tell(now, f, v, d, append(notes, done...))
}

// rest is a round of a loop that is off: nothing of it stays in the core.
func (l *Loop) rest(ctx context.Context, now time.Time) {
	if l.opt.Core == nil || l.tidy {
		return
	}
	p, err := read(ctx, l.opt.Core, &l.ledger, now)
	if err == nil {
		l.last = p
		err = l.reconcile(ctx, nil, now)
	}
	l.tidy = err == nil
	l.mu.Lock()
	defer l.mu.Unlock()
	l.report = Report{Mode: Off, Unit: l.report.Unit, Core: true}
}

// carryOut does what a round decided, and says what became of it.
func (l *Loop) carryOut(ctx context.Context, f *Facts, v *shed.View, d *shed.Decision, now time.Time) (notes []string) {
	if f.Isolated || l.opt.Core == nil {
		return nil
	}
	if err := l.reconcile(ctx, d.Free, now); err != nil {
		l.log.Warn("balance: the core and what is announced are brought together in the next round", "err", err)
		return []string{err.Error()}
	}
	if l.opt.Config.Mode != Act {
		return nil
	}
	var made []shed.Step
	for _, st := range d.Steps {
		if err := l.step(ctx, f, v, st, now); err != nil {
			l.refused++
			notes = append(notes, fmt.Sprintf("%v: %v", st.Slice, err))
			continue
		}
		l.made++
		made = append(made, st)
	}
	d.Steps = made
	return notes
}

// target is the service that a slice belongs to.
func (l *Loop) target(id policy.SliceID) *Target {
	for i := range l.opt.Targets {
		if slices.Contains(l.opt.Targets[i].Slices, id) {
			return &l.opt.Targets[i]
		}
	}
	return nil
}

// rungs is the number of rungs of the slice's ladder, at least 1.
func (l *Loop) rungs(id policy.SliceID) int {
	if t := l.target(id); t != nil {
		return max(1, len(t.Rungs))
	}
	return 1
}

// note writes into the journal.
func (l *Loop) note(kind journal.Kind, id policy.SliceID, format string, args ...any) {
	e := journal.Entry{POP: l.opt.POP, Kind: kind, Slice: id, Text: fmt.Sprintf(format, args...)}
	if t := l.target(id); t != nil {
		e.Service = t.ID
	}
	l.opt.Journal.Append(e)
	l.log.Info(strings.ToLower(string(kind)), "text", e.Text)
}
