package health

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// advance does what is due for a task: ends runs that are over their time,
// gives up those that do not come back, and starts the next one.
func (r *Runner) advance(ctx context.Context, t *task, now time.Time) {
	r.mu.Lock()
	t.state.LastAlive = now
	r.mu.Unlock()
	for _, run := range append([]*run(nil), t.runs...) {
		r.age(run, now)
	}
	t.replan(r.rng)
	r.showDoubt(t)
	switch {
	case t.pending.by != "" && !t.demanded():
		tr := t.pending
		t.pending = trigger{}
		r.start(ctx, t, tr)
	case t.mayStart() && !t.next.After(now):
		r.start(ctx, t, trigger{ByProbe, now})
	}
}

func (r *Runner) age(run *run, now time.Time) {
	t := run.task
	if !run.isLate && !now.Before(run.late) {
		run.isLate = true
	}
	switch {
	case !run.expired && !now.Before(run.deadline):
		run.expired = true
		run.cancel(context.DeadlineExceeded)
	case run.expired && !now.Before(run.deadline.Add(grace(t.spec().Timeout))):
		run.hung = true
		t.drop(run)
		r.running--
		r.lost++
		t.hung++
		r.opt.Logger.Warn("health: a run did not come back", "service", t.spec().Service,
			"check", t.spec().ID, "hung", t.hung)
		if run.stale {
			r.showDoubt(t)
			return
		}
		r.conclude(run, Result{
			Detail:  fmt.Sprintf("hung: not back %v after its timeout of %v", grace(t.spec().Timeout), t.spec().Timeout),
			Started: run.started, Latency: now.Sub(run.started),
		}, now)
	}
}

// start runs the check now, or queues it where too much is under way.
func (r *Runner) start(ctx context.Context, t *task, tr trigger) {
	now := time.Now()
	switch {
	case t.queued && tr.by == ByProbe:
		return
	case t.hung >= t.most():
		t.lastStart = now
		t.plan(r.rng)
		r.conclude(&run{task: t, trigger: tr, started: now}, Result{
			Detail: fmt.Sprintf("not run: %d runs hang", t.hung), Started: now,
		}, now)
		return
	case r.running >= r.opt.MaxRunning:
		r.queue(request{t, tr})
		return
	}
	r.unqueue(t)
	run := t.newRun(tr, now)
	var runCtx context.Context
	runCtx, run.cancel = context.WithCancelCause(ctx)
	r.running++
	r.alive++
	t.lastStart = now
	t.plan(r.rng)
	checker := t.spec().Checker
	go func() {
		r.post(event{done: run, res: r.check(runCtx, checker)})
	}()
}

// queue lets a run wait for its turn, a demanded one before all others.
func (r *Runner) queue(q request) {
	r.unqueue(q.task)
	q.task.queued = true
	if q.trigger.by == ByProbe {
		r.waiting = append(r.waiting, q)
	} else {
		r.waiting = slices.Insert(r.waiting, 0, q)
	}
}

func (r *Runner) unqueue(t *task) {
	if t.queued {
		t.queued = false
		r.waiting = slices.DeleteFunc(r.waiting, func(q request) bool { return q.task == t })
	}
}

func (r *Runner) startWaiting(ctx context.Context) {
	for len(r.waiting) > 0 && r.running < r.opt.MaxRunning {
		q := r.waiting[0]
		r.waiting = r.waiting[1:]
		q.task.queued = false
		r.start(ctx, q.task, q.trigger)
		r.reschedule(q.task)
	}
}

// check calls the checker and survives it.
func (r *Runner) check(ctx context.Context, c Checker) (res Result) {
	started := time.Now()
	defer func() {
		if p := recover(); p != nil {
			r.opt.Logger.Error("health: a checker panicked", "panic", p, "stack", string(debug.Stack()))
			res = Result{Detail: fmt.Sprintf("panic: %v", p)}
		}
		res.Started, res.Latency = started, time.Since(started)
	}()
	return c.Check(ctx)
}

// returned takes the result of a run that came back.
func (r *Runner) returned(run *run, res Result) {
	t := run.task
	run.cancel(nil)
	r.alive--
	if run.hung { // at last
		r.lost--
		t.hung--
		r.showDoubt(t)
		return
	}
	if t.gone {
		return
	}
	r.running--
	t.drop(run)
	if run.stale {
		t.replan(r.rng)
		return
	}
	if run.expired && (res.Outcome == Pass || res.Outcome == Warn) {
		res.Detail = fmt.Sprintf("answered after %v: %s", res.Latency.Round(time.Millisecond), res.Detail)
		res.Outcome = Fail
	}
	r.conclude(run, res, time.Now())
}

// conclude counts a result and tells the world.
func (r *Runner) conclude(run *run, res Result, now time.Time) {
	t := run.task
	if run.started.Before(t.lastGood) {
		res.Conclusive = false // a newer run found it working
	}
	t.learn(run, res)
	if res.Outcome == Pass || res.Outcome == Warn {
		t.giveTime()
	}
	verdict, changed, _ := t.count.Step(res.Outcome, res.Conclusive)
	if changed {
		t.outdate(now)
	}
	t.replan(r.rng)
	r.mu.Lock()
	was := t.state.Verdict
	t.state.record(res, verdict, run.trigger, now)
	t.state.InDoubt, t.state.Hung = t.inDoubt(), t.hung
	state := t.state
	r.mu.Unlock()
	if r.opt.OnResult != nil {
		r.opt.OnResult(state)
	}
	if !changed {
		return
	}
	r.opt.Logger.Info("health: verdict", "service", state.Spec.Service, "check", state.Spec.ID,
		"verdict", verdict, "was", was, "by", state.DetectedBy, "detail", res.Detail)
	if r.opt.OnVerdict != nil {
		r.opt.OnVerdict(state)
	}
}

// showDoubt brings the state up to date where no result did.
func (r *Runner) showDoubt(t *task) {
	doubt := t.inDoubt()
	if doubt == t.state.InDoubt && t.hung == t.state.Hung {
		return
	}
	r.mu.Lock()
	t.state.InDoubt, t.state.Hung = doubt, t.hung
	r.mu.Unlock()
}

func (r *Runner) reschedule(t *task) {
	if t.gone {
		return
	}
	t.wake = t.nextWake()
	r.due.fix(t)
}

// abandon ends what a check that is no longer wanted has under way. Its runs
// give their places back now and are joined when they return.
func (r *Runner) abandon(t *task) {
	t.gone = true
	for _, run := range t.runs {
		run.cancel(context.Canceled)
		r.running--
	}
	r.due.remove(t)
}
