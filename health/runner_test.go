package health

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
)

// service is a fake service: how it answers can be changed while it is probed.
type service struct {
	mu      sync.Mutex
	latency time.Duration
	result  Result
	hang    bool          // accepts, never answers
	stuck   chan struct{} // if set, the checker ignores its context until closed
	panics  bool
	starts  []time.Duration // since epoch
	epoch   time.Time
	open    int
	maxOpen int
}

func newService() *service {
	return &service{latency: time.Millisecond, result: Result{Outcome: Pass}, epoch: time.Now()}
}

func (s *service) set(f func()) { s.mu.Lock(); f(); s.mu.Unlock() }

func (s *service) Check(ctx context.Context) Result {
	s.mu.Lock()
	s.starts = append(s.starts, time.Since(s.epoch))
	s.open++
	s.maxOpen = max(s.maxOpen, s.open)
	latency, res, stuck, panics, hang := s.latency, s.result, s.stuck, s.panics, s.hang
	s.mu.Unlock()
	defer s.set(func() { s.open-- })
	if panics {
		panic("a bug")
	}
	if stuck != nil {
		<-stuck
		return res
	}
	answer := time.After(latency)
	if hang {
		answer = nil
	}
	select {
	case <-answer:
		return res
	case <-ctx.Done():
		return Result{Outcome: Fail, Detail: "no answer: " + context.Cause(ctx).Error()}
	}
}

func (s *service) begun() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.starts)
}

func (s *service) busy() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// change is one verdict with the time it came.
type change struct {
	check   policy.CheckID
	at      time.Duration
	verdict policy.Verdict
	by      string
}

// bench runs a runner in a synctest bubble.
type bench struct {
	*Runner
	t       *testing.T
	epoch   time.Time
	changes []change
	results int
	cancel  context.CancelFunc
	done    chan error
}

func newBench(t *testing.T, specs ...Spec) *bench {
	b := &bench{t: t, epoch: time.Now(), done: make(chan error, 1)}
	b.Runner = NewRunner(Options{
		OnResult: func(State) { b.results++ },
		OnVerdict: func(s State) {
			b.changes = append(b.changes, change{s.Spec.ID, time.Since(b.epoch), s.Verdict, s.DetectedBy})
		},
	})
	if err := b.Set(specs); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	b.cancel = cancel
	go func() { b.done <- b.Run(ctx) }()
	return b
}

// after sleeps and lets everything settle.
func (b *bench) after(d time.Duration) *bench {
	time.Sleep(d)
	synctest.Wait()
	return b
}

func (b *bench) stop() {
	b.cancel()
	if err := <-b.done; err != nil {
		b.t.Errorf("Run returned %v", err)
	}
}

func (b *bench) state(i int) State { return b.States()[i] }

// wantChanges compares the verdicts so far with "check=verdict@time by what".
func (b *bench) wantChanges(want ...string) {
	b.t.Helper()
	var got []string
	for _, c := range b.changes {
		got = append(got, fmt.Sprintf("%s=%v@%v by %s", c.check, c.verdict, c.at, c.by))
	}
	if !slices.Equal(got, want) {
		b.t.Errorf("verdicts:\n got %q\nwant %q", got, want)
	}
}

func spec(c Checker) Spec {
	return Spec{
		ID: "http", Service: "web", Checker: c, Key: "k", Interval: 10 * time.Second, Fast: 100 * time.Millisecond,
		Timeout: time.Second, Rise: 2, Fall: 3, Weight: 1, Watch: []netip.AddrPort{vip}, PIDFile: "/run/web.pid",
	}
}

var vip = netip.MustParseAddrPort("192.0.2.1:80")

func ms(n int) time.Duration { return time.Duration(n) * time.Millisecond }

func TestIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		b := newBench(t, spec(s))
		b.after(25 * time.Second)
		// At once, fast until certain, then by the interval.
		if want := []time.Duration{0, ms(100), ms(10100), ms(20100)}; !slices.Equal(s.begun(), want) {
			t.Errorf("starts %v, want %v", s.begun(), want)
		}
		s.set(func() { s.result = Result{Outcome: Fail, Detail: "500"} })
		b.after(6 * time.Second) // 30.1 fails, 30.2 and 30.3 fast
		b.wantChanges("http=up@101ms by probe", "http=down@30.301s by probe")
		st := b.state(0)
		if st.Last.Detail != "500" || st.Streak != 3 || st.InDoubt || st.Last.Latency != ms(1) {
			t.Errorf("state %+v", st)
		}
		s.set(func() { s.result = Result{Outcome: Warn} })
		b.after(10 * time.Second)
		b.wantChanges("http=up@101ms by probe", "http=down@30.301s by probe", "http=degraded@40.401s by probe")
		if b.results != len(s.begun()) {
			t.Errorf("%d results of %d runs", b.results, len(s.begun()))
		}
		b.stop()
	})
}

// One fail between passes asks fast and changes nothing.
func TestDoubtEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		b := newBench(t, spec(s))
		b.after(5 * time.Second)
		s.set(func() { s.result.Outcome = Fail })
		b.after(ms(5101)) // until 10.101: one fail
		if st := b.state(0); st.Verdict != policy.Up || !st.InDoubt {
			t.Errorf("after one fail: %v, in doubt %v", st.Verdict, st.InDoubt)
		}
		s.set(func() { s.result.Outcome = Pass })
		b.after(15 * time.Second)
		if want := []time.Duration{0, ms(100), ms(10100), ms(10200), ms(20200)}; !slices.Equal(s.begun(), want) {
			t.Errorf("starts %v, want %v", s.begun(), want)
		}
		b.wantChanges("http=up@101ms by probe")
		b.stop()
	})
}

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
		b := newBench(t, spec(s))
		b.after(10 * time.Second)
		s.set(func() { s.latency = ms(950) })
		b.after(ms(1051)) // the run at 10.1 answers at 11.05
		s.set(func() { s.latency = ms(1) })
		b.after(20 * time.Second)
		b.wantChanges("http=up@101ms by probe")
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

func TestHintIsAVerdictAtOnce(t *testing.T) {
	for _, h := range []Hint{{Addr: vip, By: BySocket}, {PIDFile: "/run/web.pid", By: ByProcess}} {
		synctest.Test(t, func(t *testing.T) {
			s := newService()
			sp := spec(s)
			sp.Interval = time.Hour
			b := newBench(t, sp)
			b.after(time.Minute)
			b.Hint(Hint{Addr: netip.MustParseAddrPort("192.0.2.1:81"), By: BySocket, At: time.Now()})
			b.after(time.Second)
			if len(s.begun()) != 2 {
				t.Errorf("somebody else's hint ran the check: %v", s.begun())
			}
			s.set(func() { s.result = Result{Outcome: Fail, Conclusive: true} })
			h.At = time.Now()
			b.Hint(h)
			b.after(ms(10))
			b.wantChanges("http=up@101ms by probe", "http=down@1m1.001s by "+h.By)
			if got := b.state(0).DetectedAt; !got.Equal(h.At) {
				t.Errorf("detected at %v, hint at %v", got, h.At)
			}
			b.stop()
		})
	}
}

// Many hints at once are two runs, and the second starts after the last hint.
func TestHintStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		b := newBench(t, spec(s))
		b.after(5 * time.Second)
		n := len(s.begun())
		for range 100 {
			b.Hint(Hint{Addr: vip, By: BySocket, At: time.Now()})
		}
		b.after(ms(50))
		if got := len(s.begun()) - n; got != 2 {
			t.Errorf("%d runs for 100 hints", got)
		}
		b.stop()
	})
}

// A refusal that is older than a pass is not conclusive: the listener is back.
func TestStaleRefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		b := newBench(t, spec(s))
		b.after(5 * time.Second)
		s.set(func() { s.result, s.latency = Result{Outcome: Fail, Conclusive: true}, ms(400) })
		b.Poke("web", "http")
		b.after(ms(250)) // late: a second run started at 200 ms
		s.set(func() { s.result, s.latency = Result{Outcome: Pass}, ms(1) })
		b.after(ms(1000))
		b.wantChanges("http=up@101ms by probe")
		b.stop()
	})
}

func TestPoke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		b := newBench(t, spec(s))
		b.after(5 * time.Second)
		b.Poke("web", "nothing")
		b.Poke("web", "http")
		b.after(ms(10))
		if want := []time.Duration{0, ms(100), 5 * time.Second}; !slices.Equal(s.begun(), want) {
			t.Errorf("starts %v, want %v", s.begun(), want)
		}
		b.stop()
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, other := newService(), newService()
		a := spec(s)
		gone := spec(other)
		gone.ID = "gone"
		b := newBench(t, a, gone)
		b.after(5 * time.Second)
		since := b.state(0).Since
		n := len(other.begun())

		same := a
		same.Weight, same.Watch = 7, nil
		changed := gone
		changed.ID, changed.Key = "new", "other"
		if err := b.Set([]Spec{changed, same}); err != nil {
			t.Fatal(err)
		}
		b.after(4 * time.Second)
		st := b.States()
		if st[1].Verdict != policy.Up || !st[1].Since.Equal(since) || st[1].Spec.Weight != 7 || len(s.begun()) != 2 {
			t.Errorf("unchanged check: %+v, starts %v", st[1], s.begun())
		}
		if st[0].Spec.ID != "new" || len(other.begun()) != n+2 {
			t.Errorf("new check ran at %v", other.begun())
		}
		b.after(2 * time.Second) // its schedule goes on as if nothing had been
		if want := []time.Duration{0, ms(100), ms(10100)}; !slices.Equal(s.begun(), want) {
			t.Errorf("starts %v, want %v", s.begun(), want)
		}
		// Another question under the same name is another check.
		same.Key = "changed"
		if err := b.Set([]Spec{same}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if st := b.States(); len(st) != 1 || st[0].Verdict != policy.Unknown {
			t.Errorf("changed check: %+v", st)
		}
		if err := b.Set([]Spec{same, same}); err == nil || !strings.Contains(err.Error(), `service "web" check "http": given twice`) {
			t.Errorf("double name: %v", err)
		}
		b.stop()
	})
}

// What is under way when a check goes is ended and reported to nobody.
func TestReloadEndsRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		s.hang = true
		b := newBench(t, spec(s))
		b.after(ms(150))
		if err := b.Set(nil); err == nil {
			b.after(ms(1))
		}
		if s.busy() != 0 || b.results != 0 || len(b.States()) != 0 {
			t.Errorf("%d runs open, %d results, %d states", s.busy(), b.results, len(b.States()))
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

func TestJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService()
		sp := spec(s)
		sp.Jitter = 0.2
		b := newBench(t, sp)
		b.after(time.Hour)
		if s.begun()[0] != 0 {
			t.Errorf("first run at %v", s.begun()[0])
		}
		var sum time.Duration
		different := map[time.Duration]bool{}
		starts := s.begun()
		for i := 3; i < len(starts); i++ {
			gap := starts[i] - starts[i-1]
			if gap < 8*time.Second || gap > 12*time.Second {
				t.Errorf("gap %v", gap)
			}
			sum += gap
			different[gap] = true
		}
		n := len(starts) - 3
		if mean := sum / time.Duration(n); mean < 9500*time.Millisecond || mean > 10500*time.Millisecond || len(different) < n/2 {
			t.Errorf("mean gap %v, %d different of %d", mean, len(different), n)
		}
		b.stop()
	})
}

// More checks than may run at a time all get their turn, hinted ones first.
func TestMaxRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []policy.CheckID
		r := NewRunner(Options{MaxRunning: 2, OnResult: func(s State) { mu.Lock(); order = append(order, s.Spec.ID); mu.Unlock() }})
		var specs []Spec
		for i := range 6 {
			s := newService()
			s.latency = ms(100)
			sp := spec(s)
			sp.ID = policy.CheckID(fmt.Sprint(i))
			sp.Rise, sp.Fast, sp.Watch = 1, time.Second, nil
			if i == 5 {
				sp.Watch = []netip.AddrPort{vip}
			}
			specs = append(specs, sp)
		}
		if err := r.Set(specs); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		time.Sleep(ms(50))
		r.Hint(Hint{Addr: vip, By: BySocket, At: time.Now()})
		time.Sleep(ms(450))
		synctest.Wait()
		if len(order) != 6 || slices.Index(order, "5") > 3 {
			t.Errorf("order %v", order)
		}
		cancel()
		<-done
	})
}

func TestSetRefuses(t *testing.T) {
	for _, tc := range []struct {
		change func(*Spec)
		want   string
	}{
		{func(s *Spec) { s.ID = "" }, `service "web" check "": no name`},
		{func(s *Spec) { s.Checker = nil }, `service "web" check "http": no checker`},
		{func(s *Spec) { s.Interval = 0 }, `service "web" check "http": interval 0s: must be more than 0`},
		{func(s *Spec) { s.Timeout = -1 }, `service "web" check "http": timeout -1ns: must be more than 0`},
		{func(s *Spec) { s.Fast = -1 }, `service "web" check "http": fast -1ns: must not be negative`},
		{func(s *Spec) { s.Jitter = 1.5 }, `service "web" check "http": jitter 1.5: must be from 0 to 1`},
		{func(s *Spec) { s.Weight = -1 }, `service "web" check "http": weight -1: must not be negative`},
	} {
		s := spec(newService())
		tc.change(&s)
		if err := NewRunner(Options{}).Set([]Spec{s}); err == nil || err.Error() != tc.want {
			t.Errorf("got %v, want %s", err, tc.want)
		}
	}
}

func TestDefaultFast(t *testing.T) {
	for interval, want := range map[time.Duration]time.Duration{
		ms(20): ms(20), ms(200): ms(50), 2 * time.Second: ms(200), time.Hour: time.Second,
	} {
		if got := (Spec{Interval: interval}).normal().Fast; got != want {
			t.Errorf("interval %v: fast %v, want %v", interval, got, want)
		}
	}
}
