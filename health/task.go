package health

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/damp"
)

// Bounds on what one check may have under way.
const (
	maxHung     = 4 // runs that did not come back (or Fall, if more); then no more are started
	minParallel = 2 // runs at a time while in doubt, at least and at most;
	maxParallel = 8 // fall in between
)

// trigger is what a run was started by, and when that came.
type trigger struct {
	by string
	at time.Time
}

// request is a run that waits for MaxRunning.
type request struct {
	task *task
	trigger
}

// run is one probe under way.
type run struct {
	task     *task
	trigger  trigger
	started  time.Time
	late     time.Time // when it has taken suspiciously long
	deadline time.Time // when it is ended
	full     time.Time // when its whole timeout is over
	cancel   context.CancelCauseFunc

	isLate  bool
	expired bool // ended by its deadline
	stale   bool // the verdict changed meanwhile: what it says counts for nothing
	hung    bool // did not come back: no longer waited for
}

// task is one check in the runner.
type task struct {
	state State // changed under Runner.mu
	count damp.Count

	runs      []*run // under way, oldest first, without hung ones
	hung      int
	usual     time.Duration // moving mean of the latency of good results
	lastGood  time.Time     // start of the newest run that said good
	lastStart time.Time
	next      time.Time // of the next run by schedule
	fast      bool      // next was planned in doubt
	pending   trigger   // a demand that came while enough demanded runs were under way
	queued    bool      // in Runner.waiting
	gone      bool      // no longer in the set

	wake  time.Time // when the loop has to look at it
	index int       // in Runner.due
}

func newTask(s *Spec, now time.Time) *task {
	return &task{
		state: State{Spec: s, Since: now, LastAlive: now, InDoubt: true},
		count: damp.Count{Rise: s.Rise, Fall: s.Fall},
		next:  now,
		fast:  true,
		index: -1,
	}
}

func (t *task) spec() *Spec { return t.state.Spec }

// adopt takes over a new spec of the same probe.
func (t *task) adopt(s *Spec, now time.Time) {
	same := t.spec().sameSchedule(s)
	t.state.Spec = s
	t.count.Rise, t.count.Fall = s.Rise, s.Fall
	if !same && !t.lastStart.IsZero() {
		t.next = t.lastStart.Add(t.gap())
		if t.next.Before(now) {
			t.next = now
		}
	}
}

// inDoubt reports whether to probe fast: the counts are between verdicts, or a
// run takes suspiciously long.
func (t *task) inDoubt() bool {
	if t.count.InDoubt() {
		return true
	}
	for _, r := range t.runs {
		if r.isLate && !r.stale {
			return true
		}
	}
	return false
}

func (t *task) gap() time.Duration {
	if t.inDoubt() {
		return t.spec().Fast
	}
	return t.spec().Interval
}

// plan sets the time of the next run from the start of the last one. Certain
// checks are jittered; one that has just become certain is put anywhere in
// its interval, so that checks started together do not stay together.
func (t *task) plan(rng *rand.Rand) {
	s := t.spec()
	was := t.fast
	t.fast = t.inDoubt()
	gap := t.gap()
	if !t.fast && s.Jitter > 0 {
		if was {
			gap = s.Fast + time.Duration(rng.Float64()*float64(s.Interval-s.Fast))
		} else {
			gap += time.Duration((2*rng.Float64() - 1) * s.Jitter * float64(s.Interval))
		}
	}
	t.next = t.lastStart.Add(max(gap, s.Fast))
}

// replan is plan for when doubt may have come or gone since the last one.
func (t *task) replan(rng *rand.Rand) {
	if t.inDoubt() != t.fast {
		t.plan(rng)
	}
}

// parallel is how many runs may be under way at a time while in doubt: as many
// fails as the verdict needs.
func (t *task) parallel() int { return min(max(t.spec().Fall, minParallel), maxParallel) }

func (t *task) mayStart() bool {
	switch {
	case t.queued:
		return false
	case t.hung > 0 && t.hung < t.most() && t.hung+len(t.runs) >= t.most():
		return false
	}
	return len(t.runs) == 0 || len(t.runs) < t.parallel() && t.inDoubt()
}

// most is how many goroutines a checker that never returns can hold.
func (t *task) most() int { return max(maxHung, t.parallel()) }

// demanded reports whether enough runs are under way that a hint or a person
// asked for: two, so that the one that tells is not kept waiting by one that
// hangs, and a storm of hints is no storm of probes.
func (t *task) demanded() bool {
	n := 0
	for _, r := range t.runs {
		if r.trigger.by != ByProbe && !r.stale && !r.expired && !r.isLate {
			n++
		}
	}
	return n >= 2
}

// nextWake returns when the loop has to look at the task again. It is in the
// past only if advance would do something then.
func (t *task) nextWake() time.Time {
	if t.pending.by != "" && !t.demanded() {
		return t.lastStart
	}
	var w time.Time
	earliest := func(at time.Time) {
		if w.IsZero() || at.Before(w) {
			w = at
		}
	}
	if t.mayStart() {
		earliest(t.next)
	}
	for _, r := range t.runs {
		if !r.isLate && !r.stale {
			earliest(r.late)
		}
		if r.expired {
			earliest(r.deadline.Add(grace(t.spec().Timeout)))
		} else {
			earliest(r.deadline)
		}
	}
	if w.IsZero() { // only a waiting request, which startWaiting sees to
		w = time.Now().Add(time.Hour)
	}
	return w
}

// newRun adds a run that starts now. The first one has the whole timeout. One
// that starts while an older one is in doubt needs not wait as long: it ends
// one fast interval after the one before, so that a service that hangs costs
// the timeout once, but never before it had half its timeout and three times
// the usual latency.
func (t *task) newRun(tr trigger, now time.Time) *run {
	s := t.spec()
	r := &run{
		task: t, trigger: tr, started: now,
		late:     now.Add(min(max(3*t.usual, s.Timeout/5), s.Timeout/2)),
		deadline: now.Add(s.Timeout),
		full:     now.Add(s.Timeout),
	}
	ahead := 0
	var first time.Time
	for _, o := range t.runs {
		if !o.stale {
			if ahead == 0 {
				first = o.deadline
			}
			ahead++
		}
	}
	if ahead > 0 {
		soon := first.Add(time.Duration(ahead) * s.Fast)
		if least := now.Add(max(s.Timeout/2, 3*t.usual)); soon.Before(least) {
			soon = least
		}
		if soon.Before(r.deadline) {
			r.deadline = soon
		}
	}
	t.runs = append(t.runs, r)
	return r
}

func (t *task) drop(r *run) {
	for i, o := range t.runs {
		if o == r {
			t.runs = append(t.runs[:i], t.runs[i+1:]...)
			return
		}
	}
}

// giveTime gives the runs under way their whole timeout: the service answers.
func (t *task) giveTime() {
	for _, r := range t.runs {
		if !r.expired {
			r.deadline = r.full
		}
	}
}

// outdate ends the runs under way: the verdict they were started for is there.
func (t *task) outdate(now time.Time) {
	for _, r := range t.runs {
		r.stale = true
		if !r.expired {
			r.expired, r.deadline = true, now
			r.cancel(context.Canceled)
		}
	}
}

// learn keeps what a result says about how long the check takes.
func (t *task) learn(r *run, res Result) {
	if res.Outcome != Pass && res.Outcome != Warn {
		return
	}
	if t.usual == 0 {
		t.usual = res.Latency
	} else {
		t.usual += (res.Latency - t.usual) / 8
	}
	if r.started.After(t.lastGood) {
		t.lastGood = r.started
	}
}

// record puts a result and the verdict it led to into the state.
func (s *State) record(res Result, v policy.Verdict, tr trigger, now time.Time) {
	if res.Outcome == s.Last.Outcome && s.Streak > 0 {
		s.Streak++
	} else {
		s.Streak = 1
	}
	s.Last, s.LastAlive = res, now
	if v == s.Verdict {
		return
	}
	s.Verdict, s.Since, s.DetectedAt, s.DetectedBy = v, now, now, ByProbe
	if tr.by == BySocket || tr.by == ByProcess {
		s.DetectedAt, s.DetectedBy = tr.at, tr.by
	}
}
