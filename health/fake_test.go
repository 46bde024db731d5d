package health

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
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
