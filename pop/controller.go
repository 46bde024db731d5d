package pop

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/metrics"
)

// tick is the longest time between two rounds: ages grow without any event.
const tick = time.Second

// Options are what a controller is made of. Fleet, Addresses, Doors, Loads, Measured,
// Matrices, RPKI, Core, Turns, Metrics and Reload may be nil.
type Options struct {
	Config    *config.Config
	Announcer Announcer
	Checks    Checks
	Fleet     Fleet
	Journal   Journal
	Addresses Addresses
	Doors     Doors // nil: no server of our own
	Loads     Loads
	Measured  Measured
	Balance   Balance  // nil: no load loop
	Matrices  Matrices // for plans
	RPKI      RPKI
	Core      Core
	Metrics   *metrics.Metrics
	Turns     Turns // the queue of drains in Core
	Store     *Store
	Logger    *slog.Logger
	Version   string
	DryRun    bool
	// Reload reads the configuration again and hands it to everybody but the
	// controller. It is called on the controller's goroutine.
	Reload func(context.Context, *config.Config) (*config.Config, []string, error)
	Try    Try // for plans; may be nil
}

// Controller owns the state of the POP.
type Controller struct {
	opt     Options
	log     *slog.Logger
	decider policy.Decider
	started time.Time

	look  chan struct{} // size one: something changed, look again
	calls chan func()   // run on the controller's goroutine
	done  chan struct{} // closed when Run has returned
	ready chan struct{} // closed by the first round

	planning chan struct{} // size one: held by the plan that is made

	// detected is when the oldest verdict came that no round has seen yet,
	// judged the services of all such verdicts.
	mu       sync.Mutex
	detected time.Time
	judged   map[policy.ServiceID]bool
	// unsent is when the verdict came whose announcements are on their way
	// to the neighbors.
	unsent time.Time

	view    atomic.Pointer[View]          // empty before the first round
	newer   atomic.Pointer[chan struct{}] // closed by the next view
	stopped atomic.Bool                   // in order, with everything withdrawn

	// Owned by the goroutine of Run.
	cfg       *config.Config
	services  map[policy.ServiceID]*config.Service
	plain     []policy.Service // the same, as policy wants them
	looked    time.Time        // when all checks were last looked at
	checks    map[policy.ServiceID][]health.State
	health    map[policy.ServiceID]policy.Health
	index     announcements
	state     policy.State
	intents   []policy.Intent
	load      map[policy.ServiceID]float64
	shed      map[policy.SliceID]policy.Shed // what load wants; never changed in place
	set       []bgp.Announcement             // handed to the announcer last
	setOnce   bool
	failed    map[policy.SliceID]bool // of set: the announcer did not take it
	last      policy.Decision
	reasons   map[policy.SliceID]policy.Reason // journaled last
	alarms    alarms
	meter     meter
	addresses []VIP        // asked for last
	refused   []netip.Addr // new connections to them are; in order
	placed    bool         // and all there
	steady    bool         // every service keeps its own: only a reload changes what is asked for
	moved     bool         // a reload may have changed them
	shares    shares       // of the fleet's traffic
	foreseen  foreseen     // of drains that have not begun
	blind     bool         // the state is lost, and no check has said what to announce
	retry     time.Time    // when a set or an address that failed is tried again

	windows windows
}

// New makes a controller; Run starts it.
func New(o Options) *Controller {
	c := &Controller{
		opt: o, log: o.Logger, decider: policy.Decider{Guards: guard.Standard()},
		look: make(chan struct{}, 1), calls: make(chan func()), done: make(chan struct{}), ready: make(chan struct{}), planning: make(chan struct{}, 1),
		judged: map[policy.ServiceID]bool{}, load: map[policy.ServiceID]float64{}, reasons: map[policy.SliceID]policy.Reason{}, alarms: alarms{}, meter: meter{m: o.Metrics},
	}
	c.view.Store(&View{})
	c.newer.Store(new(make(chan struct{})))
	if f := o.Store.Load(); f.Fresh(time.Now()) { // before anybody asks for Own
		c.index = remembered(f.Announced)
	}
	c.adopt(o.Config)
	return c
}

func (c *Controller) String() string { return "controller" }

// Ready is closed once the controller has decided for the first time: what a
// former life announced, or what is announced without checks, is out.
func (c *Controller) Ready() <-chan struct{} { return c.ready }

// adopt makes cfg the configuration of the next round.
func (c *Controller) adopt(cfg *config.Config) {
	c.cfg = cfg
	c.services = make(map[policy.ServiceID]*config.Service, len(cfg.Services))
	c.plain = make([]policy.Service, len(cfg.Services))
	for i := range cfg.Services {
		c.services[cfg.Services[i].ID] = &cfg.Services[i]
		c.plain[i] = cfg.Services[i].Service
	}
	c.looked = time.Time{}
	c.steady = false
	c.index = index(cfg, c.index.forced(c.last))
	wishes := c.shed
	c.shed = c.sheddable(wishes, cfg)
	c.dropped(wishes)
	c.takeWindows(c.windows.added())
}

// OnVerdict is for health.Options: a verdict changed.
func (c *Controller) OnVerdict(s health.State) {
	c.mu.Lock()
	if c.detected.IsZero() || s.DetectedAt.Before(c.detected) {
		c.detected = s.DetectedAt
	}
	c.judged[s.Spec.Service] = true
	c.mu.Unlock()
	c.Look()
}

// Look asks for a round soon. It never blocks; bursts become one round.
func (c *Controller) Look() {
	select {
	case c.look <- struct{}{}:
	default:
	}
}

// Run decides until ctx ends. State that a former life left is taken up first,
// so that a restart announces what was announced before anything is judged.
func (c *Controller) Run(ctx context.Context) error {
	defer close(c.done)
	c.started = time.Now()
	c.restore()
	c.ensureAddresses(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	loads := time.NewTicker(tick)
	defer loads.Stop()
	var fleetChanged <-chan struct{}
	if c.opt.Fleet != nil {
		fleetChanged = c.opt.Fleet.Changed()
	}
	for {
		select {
		case <-ctx.Done():
			c.opt.Store.Save(c.saved())
			return nil
		case f := <-c.calls:
			f()
			continue
		case <-loads.C:
			c.measure(ctx)
			c.opt.Store.Alive(time.Now())
		case <-c.look:
		case <-fleetChanged:
		case <-timer.C:
		}
		timer.Reset(c.round(ctx))
	}
}

// OnWritten is for the speaker: the last UPDATE of a Set has been written.
func (c *Controller) OnWritten(start time.Time, took time.Duration) {
	c.mu.Lock()
	detected := c.unsent
	c.unsent = time.Time{}
	c.mu.Unlock()
	c.Look() // what routers hear has changed
	if c.opt.Metrics != nil && !detected.IsZero() {
		c.opt.Metrics.ObserveDecision(start.Add(took).Sub(detected))
	}
}

// Alive reports whether the controller's goroutine answers within d.
func (c *Controller) Alive(ctx context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return c.call(ctx, func() {}) == nil
}

// Own lists every prefix that may be announced: of the configuration given,
// and what an older one left that is not withdrawn yet. It is called on the
// controller's goroutine, or before Run.
func (c *Controller) Own(cfg *config.Config) []netip.Prefix { return index(cfg, c.index).own() }

// call runs f on the controller's goroutine and waits for it.
func (c *Controller) call(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	select {
	case c.calls <- func() { defer close(ran); f() }:
		<-ran
		return nil
	case <-c.done:
		return fmt.Errorf("the controller has stopped")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// roundTime bounds how long a round may take.
const roundTime = 3 * time.Second

// round decides once and carries the decision out. It returns how long the
// next round may wait if nothing happens. Whoever asked for it may go away
// meanwhile: what is decided is carried out all the same.
func (c *Controller) round(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTime)
	defer cancel()
	c.mu.Lock()
	detected, judged := c.detected, c.judged
	c.detected, c.judged = time.Time{}, map[policy.ServiceID]bool{}
	c.mu.Unlock()

	now := time.Now()
	c.examine(judged, now)
	in := c.input(now)
	state, d := c.decider.Decide(c.state, in, now)
	c.state, c.last = state, d
	c.carryOut(ctx, d, in, detected, now)
	c.tell(d, now)
	c.queue(d)
	changed := c.record(d, in, now)
	c.publish(d, in, changed, now)
	c.decided()

	wait := tick
	if !d.Wake.IsZero() {
		wait = min(wait, d.Wake.Sub(now))
	}
	if !c.retry.IsZero() {
		wait = min(wait, c.retry.Sub(now))
	}
	return max(wait, time.Millisecond)
}

func (c *Controller) decided() {
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
}

// tell makes the other POPs hear at once that this one got weaker, and asks
// them again while a guard waits for their answers.
func (c *Controller) tell(d policy.Decision, now time.Time) {
	if c.opt.Fleet == nil {
		return
	}
	since, weaker := d.Turn.Since, d.Turn.Since.Equal(now)
	for _, s := range d.Slices {
		if s.Leaving.After(since) {
			since = s.Leaving
		}
		weaker = weaker || s.Stance.Less(s.Before) || s.Leaving.Equal(now)
	}
	switch {
	case weaker:
		c.opt.Fleet.Poke(now)
	case d.Ask:
		c.opt.Fleet.Poke(since)
	}
}
