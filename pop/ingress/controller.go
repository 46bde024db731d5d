package ingress

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/assign"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

const (
	lookPause = 50 * time.Millisecond // between two looks at what has to leave its target
	roundTime = 3 * time.Second       // longest time to hand a round's routes over
)

// Controller owns the assignment.
type Controller struct {
	opt  Options
	log  *slog.Logger
	look chan struct{} // size one: a verdict changed
	call chan func()
	done chan struct{}
	view atomic.Pointer[api.IngressReport] // nil before the first round
	sums atomic.Pointer[Sums]

	// Owned by the goroutine of Run.
	cfg    *config.Config
	at     assignment
	last   map[place]float64 // demand, as last known
	away   map[visit]absence
	alarms map[alarmKey]api.Alarm
	shown  map[string]bool      // alarms that OnAlarm knows to be on
	seen   map[string]time.Time // since when something is amiss that is no alarm yet
	failed bool                 // the speaker did not take the last routes, or the disk the state
	sent   bool                 // what is assigned was handed over in this life
	moves  map[assign.Code]uint64
	rounds uint64
	began  time.Time // of the last whole round
}

// New makes a controller; Run starts it.
func New(o Options) (*Controller, error) {
	c := &Controller{
		opt: o, log: o.Logger, cfg: o.Config, look: make(chan struct{}, 1), call: make(chan func()), done: make(chan struct{}),
		at: assignment{}, last: map[place]float64{}, away: map[visit]absence{}, alarms: map[alarmKey]api.Alarm{}, shown: map[string]bool{}, seen: map[string]time.Time{},
		moves: map[assign.Code]uint64{},
	}
	c.sums.Store(&Sums{})
	if !o.Restore {
		return c, nil
	}
	at, err := read(o.Path)
	c.at = at.known(&o.Config.Ingress)
	return c, err
}

func (c *Controller) String() string { return "ingress" }

// Look asks for a look soon at what has to leave its target. It never blocks.
func (c *Controller) Look() {
	select {
	case c.look <- struct{}{}:
	default:
	}
}

// Run assigns until ctx ends.
func (c *Controller) Run(ctx context.Context) error {
	defer close(c.done)
	round := time.NewTimer(0)
	defer round.Stop()
	soon := time.NewTimer(0)
	defer soon.Stop()
	for {
		changed := c.opt.Own.Changed()
		select {
		case <-ctx.Done():
			return nil
		case f := <-c.call:
			f()
			soon.Reset(0)
			continue
		case <-changed:
			soon.Reset(lookPause)
			continue
		case <-c.look:
			soon.Reset(0)
			continue
		case <-soon.C:
			c.decide(ctx, true)
		case <-round.C:
			c.decide(ctx, false)
			round.Reset(c.cfg.Ingress.Interval)
		}
	}
}

// Adopt makes cfg the configuration from the next round on. What it does not
// have any more is assigned no longer.
func (c *Controller) Adopt(ctx context.Context, cfg *config.Config) error {
	ran := make(chan struct{})
	f := func() {
		defer close(ran)
		c.cfg = cfg
		c.at = c.at.known(&cfg.Ingress)
		c.sent = false
	}
	select {
	case c.call <- f:
		<-ran
		return nil
	case <-c.done:
		return errors.New("ingress: has ended")
	case <-ctx.Done():
		return fmt.Errorf("ingress: %w", ctx.Err())
	}
}

// decide looks at everything once and carries out what follows. With reflex it
// moves only what has to leave its target.
func (c *Controller) decide(ctx context.Context, reflex bool) {
	st, err := c.opt.Own.Status(ctx)
	if err != nil {
		return // the daemon ends, or its controller has not decided yet
	}
	now := time.Now()
	in := c.gather(st, now)
	in.problem.Reflex = reflex
	r, err := assign.Solve(&in.problem)
	if c.alarm("ingress-failed", policy.SliceID{}, err != nil, fmt.Sprint(err), now); err != nil {
		c.log.Error("ingress: nothing is assigned anew", "err", err)
		return
	}
	if !reflex {
		c.rounds++
		c.began = now
	}
	for _, m := range r.Moves {
		e := entry{POP: in.targets[m.To], Since: now}
		c.at[in.places[m.Item]] = e
	}
	c.carryOut(ctx, len(r.Moves) > 0, now)
	for _, m := range r.Moves {
		c.moves[m.Code]++
		c.record(in, &r, m)
	}
	c.watch(in, &r, now)
	c.show()
	c.publish(in, &r, now)
}

// carryOut tells the routers, and keeps on disk what they were told.
func (c *Controller) carryOut(ctx context.Context, moved bool, now time.Time) {
	if c.opt.DryRun || c.sent && !moved && !c.failed {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTime)
	defer cancel()
	err := c.opt.Layers.SetRouters(ctx, c.at.routes(&c.cfg.Ingress))
	if c.alarm("ingress-announce-failed", policy.SliceID{}, err != nil, fmt.Sprint(err), now) {
		c.log.Error("ingress: the routers are not all told", "err", err)
	}
	kept := c.at.write(c.opt.Path)
	if c.alarm("ingress-state", policy.SliceID{}, kept != nil, fmt.Sprintf("a restart would begin from older assignments: %v", kept), now) {
		c.log.Error("ingress: assignments are not written", "err", kept)
	}
	c.failed, c.sent = err != nil || kept != nil, true
}
