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
	// Lend is the rung below all of BGP: DNS sends some clients elsewhere.
	Lend shed.Lending
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
	Dry        bool          // nothing is written to the core: what is there of this POP is another daemon's
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
	let    time.Time // when the last slice was let go, in a mode that moves nothing
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
		case !t.Moves || o.Config.Mode == Off:
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
