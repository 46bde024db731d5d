package health

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
)

// A service that hangs costs its timeout once, not fall times.
func TestHangCostsOneTimeout(t *testing.T) {
	for _, tc := range []struct {
		fall int
		want string
	}{
		{1, "http=down@11.1s by probe"},
		{3, "http=down@11.3s by probe"}, // timeout + 2 fast
		{5, "http=down@11.5s by probe"},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newService()
			sp := spec(s)
			sp.Fall = tc.fall
			b := newBench(t, sp)
			b.after(5 * time.Second)
			s.set(func() { s.hang = true })
			b.after(10 * time.Second) // the run at 10.1 hangs
			b.wantChanges("http=up@101ms by probe", tc.want)
			if s.maxOpen > max(tc.fall, minParallel) {
				t.Errorf("fall %d: %d runs at a time", tc.fall, s.maxOpen)
			}
			b.stop()
			if s.busy() != 0 {
				t.Errorf("%d runs left", s.busy())
			}
		})
	}
}

// A pause shorter than the timeout, whatever runs it catches, is no verdict.
func TestPauseIsForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		sp := spec(s)
		sp.Fall = 1
		b := newBench(t, sp)
		b.after(10 * time.Second)
		s.set(func() { s.latency = ms(950) })
		b.after(ms(1051)) // the run at 10.1 answers at 11.05
		s.set(func() { s.latency = ms(1) })
		b.after(20 * time.Second)
		b.wantChanges("http=up@101ms by probe")
		b.stop()
	})
}

// A run in doubt has at least half its timeout and three times the usual
// latency, however late it starts.
func TestDoubtLeavesTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.latency = ms(300)
		sp := spec(s)
		sp.Fall = 2
		b := newBench(t, sp)
		b.after(10 * time.Second)
		s.set(func() { s.hang = true }) // one request is lost, the others are slow
		b.after(ms(400))
		s.set(func() { s.hang, s.latency = false, ms(700) })
		b.after(5 * time.Second)
		b.wantChanges("http=up@400ms by probe")
		b.stop()
	})
}

// An answer that comes when the time is over is a fail.
func TestLateAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		b := newBench(t, spec(s))
		b.after(5 * time.Second)
		stuck := make(chan struct{})
		s.set(func() { s.stuck = stuck })
		b.Poke("web", "http")
		b.after(ms(1))
		s.set(func() { s.stuck, s.hang = nil, true })
		b.after(ms(1050))
		close(stuck)
		b.after(ms(1))
		if last := b.state(0).Last; last.Outcome != Fail || !strings.HasPrefix(last.Detail, "answered after 1.051s") {
			t.Errorf("%+v", last)
		}
		b.stop()
	})
}

// What was asked before a verdict does not speak against it.
func TestVerdictEndsRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		sp := spec(s)
		sp.Rise = 1
		b := newBench(t, sp)
		b.after(5 * time.Second)
		stuck := make(chan struct{})
		s.set(func() { s.stuck = stuck })
		b.Poke("web", "http") // accepted before the kill, will say it passed
		b.after(ms(100))
		s.set(func() { s.stuck, s.result = nil, Result{Outcome: Fail, Conclusive: true} })
		b.Hint(Hint{Addr: vip, By: BySocket, At: time.Now()})
		b.after(ms(10))
		close(stuck)
		b.after(ms(10))
		b.wantChanges("http=up@1ms by probe", "http=down@5.101s by socket")
		if b.results != 2 {
			t.Errorf("%d results", b.results)
		}
		b.stop()
	})
}

// A check that is always slow is not in doubt for it.
func TestSlowIsUsual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.latency = ms(450)
		b := newBench(t, spec(s))
		b.after(time.Second)
		n := len(s.begun())
		b.after(30 * time.Second)
		if got := len(s.begun()) - n; got != 3 {
			t.Errorf("%d runs in three intervals: %v", got, s.begun())
		}
		b.stop()
	})
}

func TestHungChecker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		b := newBench(t, spec(s))
		b.after(5 * time.Second)
		stuck := make(chan struct{})
		s.set(func() { s.stuck, s.result.Outcome = stuck, Fail })
		b.after(10 * time.Second)
		// Its result would be a fail: but it said nothing in time.
		if got := b.changes[len(b.changes)-1].verdict; got != policy.Unknown || len(b.changes) != 2 {
			t.Errorf("verdicts %v", b.changes)
		}
		b.after(time.Hour)
		st := b.state(0)
		if st.Verdict != policy.Unknown || st.Hung != maxHung || s.busy() != maxHung {
			t.Errorf("after an hour: %v, hung %d, %d runs open", st.Verdict, st.Hung, s.busy())
		}
		if !strings.Contains(st.Last.Detail, "4 runs hang") || st.Last.Outcome != CannotTell {
			t.Errorf("last result %+v", st.Last)
		}
		s.set(func() { s.stuck, s.result.Outcome = nil, Pass })
		close(stuck)
		b.after(time.Minute)
		if st := b.state(0); st.Verdict != policy.Up || st.Hung != 0 {
			t.Errorf("afterwards: %v, hung %d", st.Verdict, st.Hung)
		}
		b.stop()
	})
}

// Run returns although a checker does not, and says so by returning late.
func TestRunEndsWithHungChecker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.stuck = make(chan struct{})
		b := newBench(t, spec(s))
		b.after(ms(50))
		start := time.Now()
		b.stop()
		if took := time.Since(start); took != maxLinger {
			t.Errorf("took %v", took)
		}
		close(s.stuck)
	})
}

func TestPanicIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		b := newBench(t, spec(s))
		b.after(5 * time.Second)
		s.set(func() { s.panics = true })
		b.after(10 * time.Second)
		b.wantChanges("http=up@101ms by probe", "http=unknown@10.3s by probe")
		if d := b.state(0).Last.Detail; d != "panic: a bug" {
			t.Errorf("detail %q", d)
		}
		n := len(s.begun())
		b.after(time.Minute) // not in doubt: no use to hurry
		if got := len(s.begun()) - n; got > 6 {
			t.Errorf("%d runs in a minute of panics", got)
		}
		b.stop()
	})
}

func TestDeadman(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		stall := make(chan struct{})
		sp := spec(s).normal()
		r := NewRunner(Options{OnVerdict: func(State) { <-stall }})
		if err := r.Set([]Spec{*sp}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(10 * time.Second)
		if st := r.States()[0]; st.Stalled(time.Now(), time.Second) {
			t.Errorf("stalled after 10 s with an interval of 10 s: %+v", st)
		}
		time.Sleep(4 * time.Second) // interval, timeout, grace and slack are over
		if st := r.States()[0]; !st.Stalled(time.Now(), time.Second) {
			t.Errorf("not stalled: last alive %v ago", time.Since(st.LastAlive))
		}
		if got := time.Since(r.Alive()); got < 13*time.Second {
			t.Errorf("the loop went round %v ago", got)
		}
		close(stall)
		time.Sleep(3*time.Second + ms(1))
		if got := time.Since(r.Alive()); got > time.Second {
			t.Errorf("the loop went round %v ago", got)
		}
		if st := r.States()[0]; st.Stalled(time.Now(), time.Second) {
			t.Errorf("still stalled")
		}
		cancel()
		<-done
	})
}

// While the process does not run, nothing has failed: runs get that time back.
func TestStalledProcessFailsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		sp := spec(s)
		sp.Fall = 1
		blocker := spec(newService())
		blocker.ID, blocker.Interval = "blocker", time.Hour
		var r *Runner
		var block atomic.Bool
		var verdicts []string
		r = NewRunner(Options{
			OnResult: func(st State) {
				if st.Spec.ID == "blocker" && block.Load() {
					time.Sleep(5 * time.Second) // as if the process were stopped
				}
			},
			OnVerdict: func(st State) { verdicts = append(verdicts, fmt.Sprint(st.Spec.ID, "=", st.Verdict, " ", st.Last)) },
		})
		if err := r.Set([]Spec{sp, blocker}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(5 * time.Second)
		s.set(func() { s.latency = 5300 * time.Millisecond })
		r.Poke("web", "http")
		time.Sleep(ms(1))
		synctest.Wait()
		s.set(func() { s.latency = ms(1) })
		block.Store(true)
		r.Poke("web", "blocker")
		time.Sleep(20 * time.Second)
		if len(verdicts) != 2 {
			t.Errorf("verdicts %q", verdicts)
		}
		cancel()
		<-done
	})
}
