package health

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/catchment/catchment/policy"
)

// Options of a Runner.
type Options struct {
	Logger *slog.Logger
	// OnVerdict is called after each change of a verdict, OnResult after each
	// result (before OnVerdict, where it changed one). Both are called from the
	// runner's one goroutine, in order, and must be quick: nothing is probed
	// meanwhile. Either may be nil.
	OnVerdict func(State)
	OnResult  func(State)
	// MaxRunning bounds the probes under way at a time; more wait their turn,
	// hinted ones first. 0: half of the descriptor limit, at most 4096.
	MaxRunning int
}

// Runner runs checks. One goroutine owns every check: it starts runs, each in
// a goroutine of its own, ends them at their timeout, and counts what they
// said. An idle check costs a place in a heap, no goroutine and no timer.
type Runner struct {
	opt Options
	rng *rand.Rand // the loop's

	wake chan struct{} // something is in the inbox

	mu    sync.Mutex
	beat  time.Time // of the loop
	inbox []event
	// tasks and its indexes change in the loop under mu; the loop reads them
	// without. What a task holds besides its state belongs to the loop alone.
	tasks     []*task // in the order of Set
	byService map[policy.ServiceID][]*task

	// Owned by the loop.
	byKey   map[key]*task
	byAddr  map[netip.AddrPort][]*task
	byPID   map[string][]*task
	due     schedule
	looked  time.Time // when the loop last compared the time with what is due
	waiting []request // runs that MaxRunning holds back
	running int       // runs under way that hold a place, without hung ones
	alive   int       // goroutines of runs, all of them
	lost    int       // those among them that hang
}

type key struct {
	service policy.ServiceID
	check   policy.CheckID
}

// event is what others tell the loop; one of the fields is set.
type event struct {
	done  *run // it came back, with result
	res   Result
	specs []*Spec // a new set (not nil)
	hint  *Hint
	poke  *key
}

// NewRunner returns a runner that runs nothing until Set and Run.
func NewRunner(opt Options) *Runner {
	if opt.Logger == nil {
		opt.Logger = slog.New(slog.DiscardHandler)
	}
	if opt.MaxRunning <= 0 {
		opt.MaxRunning = defaultMaxRunning()
	}
	return &Runner{
		opt:  opt,
		rng:  rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())),
		wake: make(chan struct{}, 1),
	}
}

func defaultMaxRunning() int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 512
	}
	return int(min(max(lim.Cur/2, 16), 4096))
}

// Set replaces the whole set of checks. A check whose probe is unchanged keeps
// its verdict, counts and schedule; a new one runs at once; one that is gone is
// ended and never reported again. An impossible spec is refused and changes
// nothing. It takes effect when the loop gets to it; before Run it waits.
func (r *Runner) Set(specs []Spec) error {
	if err := checkSpecs(specs); err != nil {
		return err
	}
	set := make([]*Spec, len(specs))
	for i := range specs {
		set[i] = specs[i].normal()
	}
	r.post(event{specs: set})
	return nil
}

// Poke runs a check now, whatever its schedule says.
func (r *Runner) Poke(service policy.ServiceID, check policy.CheckID) {
	r.post(event{poke: &key{service, check}})
}

// Hint runs now every check that watches what the hint names.
func (r *Runner) Hint(h Hint) { r.post(event{hint: &h}) }

// States returns every check as it is now, in the order of Set.
func (r *Runner) States() []State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return snapshot(r.tasks)
}

// ServiceStates returns the checks of one service as they are now.
func (r *Runner) ServiceStates(id policy.ServiceID) []State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return snapshot(r.byService[id])
}

// Alive returns when the loop last went round, which it does at least once a
// second; zero before Run. A watchdog compares it with the time: a runner that
// does not go round judges nothing (State.Stalled tells it for one check).
func (r *Runner) Alive() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.beat
}

func snapshot(tasks []*task) []State {
	states := make([]State, len(tasks))
	for i, t := range tasks {
		states[i] = t.state
	}
	return states
}

func (r *Runner) post(e event) {
	r.mu.Lock()
	r.inbox = append(r.inbox, e)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// maxLinger bounds how long Run waits at its end for runs that do not return
// although their context has ended.
const maxLinger = 2 * time.Second

// Run probes until ctx ends, then ends every run and waits for them to come
// back; those that do not within two seconds are left behind and logged. It
// returns nil. It may be called once.
func (r *Runner) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			r.finish()
			return nil
		case <-r.wake:
		case <-timer.C:
		}
		timer.Reset(r.turn(ctx))
	}
}

// turn does all that is due and returns how long to sleep.
func (r *Runner) turn(ctx context.Context) time.Duration {
	for {
		r.forgiveStall(time.Now())
		r.mu.Lock()
		events := r.inbox
		r.inbox, r.beat = nil, time.Now()
		r.mu.Unlock()
		for _, e := range events {
			r.handle(ctx, e)
		}
		now := time.Now()
		r.forgiveStall(now)
		for t := r.due.top(); t != nil && !t.wake.After(now); t = r.due.top() {
			r.advance(ctx, t, now)
			r.reschedule(t)
		}
		r.startWaiting(ctx)
		if len(events) == 0 {
			return r.due.sleep(now)
		}
	}
}

func (r *Runner) handle(ctx context.Context, e event) {
	switch {
	case e.done != nil:
		r.returned(e.done, e.res)
		r.reschedule(e.done.task)
	case e.specs != nil:
		r.replace(e.specs)
	case e.hint != nil:
		for _, t := range r.byAddr[e.hint.Addr] {
			r.demand(ctx, t, trigger{e.hint.By, e.hint.At})
		}
		for _, t := range r.byPID[e.hint.PIDFile] {
			r.demand(ctx, t, trigger{e.hint.By, e.hint.At})
		}
	case e.poke != nil:
		if t := r.byKey[*e.poke]; t != nil {
			r.demand(ctx, t, trigger{ByPoke, time.Now()})
		}
	}
}

// demand runs the check now, or as soon as one of the demanded runs that are
// already under way is back.
func (r *Runner) demand(ctx context.Context, t *task, tr trigger) {
	if t.demanded() {
		t.pending = tr
		return
	}
	r.start(ctx, t, tr)
	r.reschedule(t)
}

// stallAfter is how late the loop may come before the runs under way are
// given that time back: the whole process was stopped or starved, and what it
// did not get round to reading was not missing.
const stallAfter = 50 * time.Millisecond

func (r *Runner) forgiveStall(now time.Time) {
	t := r.due.top()
	if t == nil {
		return
	}
	due := t.wake
	if due.Before(r.looked) {
		due = r.looked
	}
	r.looked = now
	late := now.Sub(due)
	if late < stallAfter {
		return
	}
	for _, t := range r.due {
		for _, run := range t.runs {
			run.late = run.late.Add(late)
			run.deadline = run.deadline.Add(late)
			run.full = run.full.Add(late)
		}
	}
	if late > time.Second {
		r.opt.Logger.Warn("health: the runner was stalled", "for", late)
	}
}

// replace carries out Set.
func (r *Runner) replace(specs []*Spec) {
	old := r.byKey
	now := time.Now()
	tasks := make([]*task, 0, len(specs))
	r.byKey = make(map[key]*task, len(specs))
	r.byAddr = make(map[netip.AddrPort][]*task)
	r.byPID = make(map[string][]*task)
	byService := make(map[policy.ServiceID][]*task)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range specs {
		k := key{s.Service, s.ID}
		t := old[k]
		if t != nil && t.spec().sameProbe(s) {
			t.adopt(s, now)
			delete(old, k)
		} else {
			t = newTask(s, now)
		}
		tasks = append(tasks, t)
		r.byKey[k] = t
		byService[s.Service] = append(byService[s.Service], t)
		for _, a := range s.Watch {
			r.byAddr[a] = append(r.byAddr[a], t)
		}
		if s.PIDFile != "" {
			r.byPID[s.PIDFile] = append(r.byPID[s.PIDFile], t)
		}
	}
	for _, t := range old {
		r.abandon(t)
	}
	r.waiting = slices.DeleteFunc(r.waiting, func(q request) bool { return q.task.gone })
	for _, t := range tasks {
		t.wake = t.nextWake()
		r.due.fix(t)
	}
	r.tasks, r.byService = tasks, byService
}

// finish ends every run and waits for those that come back.
func (r *Runner) finish() {
	for _, t := range r.tasks {
		for _, run := range t.runs {
			run.cancel(context.Canceled)
		}
	}
	limit := time.NewTimer(maxLinger)
	defer limit.Stop()
	for r.alive > r.lost {
		select {
		case <-r.wake:
		case <-limit.C:
			r.opt.Logger.Warn("health: checks did not end with the runner", "runs", r.alive-r.lost)
			return
		}
		r.mu.Lock()
		events := r.inbox
		r.inbox = nil
		r.mu.Unlock()
		for _, e := range events {
			switch {
			case e.done == nil:
			case e.done.hung:
				r.alive, r.lost = r.alive-1, r.lost-1
			default:
				r.alive--
			}
		}
	}
}
