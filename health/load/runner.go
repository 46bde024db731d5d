package load

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Timing says when samples are taken and what becomes of them. Zeros mean the
// defaults.
type Timing struct {
	Interval time.Duration // between samples; 2 s
	Timeout  time.Duration // of one sample; 1 s
	Average  time.Duration // time constant of the smoothing; 10 s
	Stale    time.Duration // age of a sample at which the value is unknown; 15 s
}

func (t Timing) normal() Timing {
	t.Interval = cmp.Or(max(t.Interval, 0), 2*time.Second)
	t.Timeout = cmp.Or(max(t.Timeout, 0), time.Second)
	t.Average = cmp.Or(max(t.Average, 0), 10*time.Second)
	t.Stale = cmp.Or(max(t.Stale, 0), 15*time.Second)
	t.Stale = max(t.Stale, 2*t.Interval) // a rate needs two samples
	return t
}

// Runner takes samples of a plan's sources, each in a goroutine of its own
// that owns it, so that one that hangs keeps up no other. Its methods may be
// called from any goroutine.
type Runner struct {
	log  *slog.Logger
	wake chan struct{} // the tasks have changed

	mu    sync.Mutex
	plan  Plan
	tasks []*task // in the order of the plan
	gone  []*task // no longer wanted, still running
}

// NewRunner returns a runner that measures nothing until Set and Run.
func NewRunner(log *slog.Logger) *Runner {
	return &Runner{log: log, wake: make(chan struct{}, 1)}
}

func (r *Runner) String() string { return "load" }

// Set replaces what is measured and what it is measured against. A source
// whose name, scope and key are as before goes on with what it knows, unless
// the timing is another. An impossible plan is refused and changes nothing.
func (r *Runner) Set(p Plan) error {
	p.Timing = p.Timing.normal()
	if err := p.check(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := map[string]*task{}
	for _, t := range r.tasks {
		old[t.Name] = t
	}
	tasks := make([]*task, 0, len(p.Sources))
	for _, s := range p.Sources {
		if t := old[s.Name]; t != nil && t.Timing == p.Timing && t.Scope == s.Scope && t.Key == s.Key && slices.Equal(t.Units, s.Units) {
			delete(old, s.Name) // its Split is the plan's
			tasks = append(tasks, t)
			continue
		}
		tasks = append(tasks, &task{Source: s, Timing: p.Timing, log: r.log, done: make(chan struct{}), series: map[pointKey]*series{}})
	}
	for _, t := range old {
		if t.cancel != nil {
			t.cancel()
			r.gone = append(r.gone, t)
		}
	}
	r.plan, r.tasks = p, tasks
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return nil
}

func (p *Plan) check() error {
	seen := map[string]bool{}
	for _, s := range p.Sources {
		switch {
		case s.Name == "" || s.Sampler == nil || len(s.Units) == 0:
			return fmt.Errorf("load: source %q: want a name, a sampler and units", s.Name)
		case seen[s.Name]:
			return fmt.Errorf("load: two sources are called %q", s.Name)
		case s.Scope.POP && (s.Scope.Host != "" || s.Scope.Service != ""), s.Scope.Host != "" && s.Scope.Service != "",
			s.Scope.Slice.Prefix().IsValid() && s.Scope.Service == "":
			return fmt.Errorf("load: source %s: of the POP, a host or a service, not of two of them", s.Name)
		}
		seen[s.Name] = true
	}
	return nil
}

// maxLinger bounds how long Run waits at its end for samplers that do not
// return although their context has ended.
const maxLinger = 2 * time.Second

// Run measures until ctx ends, then waits for the samplers to come back; those
// that do not within two seconds are left behind and logged. It returns nil.
// It may be called once.
func (r *Runner) Run(ctx context.Context) error {
	for {
		r.start(ctx)
		select {
		case <-ctx.Done():
			r.finish()
			return nil
		case <-r.wake:
		}
	}
}

// start starts the tasks that are new, and forgets those that have ended.
func (r *Runner) start(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = slices.DeleteFunc(r.gone, func(t *task) bool {
		select {
		case <-t.done:
			return true
		default:
			return false
		}
	})
	for _, t := range r.tasks {
		if t.cancel == nil && ctx.Err() == nil {
			own, cancel := context.WithCancel(ctx)
			t.cancel = cancel
			go t.run(own) // joined by finish
		}
	}
}

// finish waits for every task that was started.
func (r *Runner) finish() {
	r.mu.Lock()
	all := slices.Concat(r.tasks, r.gone)
	r.mu.Unlock()
	limit := time.NewTimer(maxLinger)
	defer limit.Stop()
	over := false
	for _, t := range all {
		if t.cancel == nil {
			continue
		}
		t.cancel()
		if !over {
			select {
			case <-t.done:
			case <-limit.C:
				over = true
			}
		}
		if over {
			select {
			case <-t.done:
			default:
				r.log.Warn("load: a sampler did not end with the runner", "source", t.Name)
			}
		}
	}
}

// Snapshot is what is known now.
func (r *Runner) Snapshot() Snapshot {
	now := time.Now()
	r.mu.Lock()
	plan, tasks := r.plan, r.tasks
	r.mu.Unlock()
	states := make([]SourceState, len(tasks))
	for i, t := range tasks {
		states[i] = t.state(now)
	}
	return plan.sum(states, now)
}
