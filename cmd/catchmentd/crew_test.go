package main

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// part is a task for tests.
type part struct {
	name  string
	ready chan struct{} // nil: at once, without saying so
	run   func(context.Context) error
}

func (p part) String() string                { return p.name }
func (p part) Run(ctx context.Context) error { return p.run(ctx) }

type slowPart struct{ part }

func (p slowPart) Ready() <-chan struct{} { return p.ready }

func untilDone(ctx context.Context) error { <-ctx.Done(); return nil }

func TestCrew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t.Context())
		ready, ended := make(chan struct{}), false
		time.AfterFunc(time.Second, func() { close(ready) })
		begin := time.Now()
		ok := c.start(slowPart{part{"one", ready, func(ctx context.Context) error { <-ctx.Done(); ended = true; return nil }}})
		if !ok || time.Since(begin) != time.Second {
			t.Errorf("started %v after %v", ok, time.Since(begin))
		}
		fail := make(chan struct{})
		if !c.start(part{name: "two", run: func(context.Context) error { <-fail; return errors.New("two: broke") }}) {
			t.Error("not started")
		}
		close(fail)
		<-c.failed
		synctest.Wait()
		if ended || c.ctx.Err() != nil {
			t.Error("one part's failure ended another")
		}
		if c.start(part{name: "three", run: untilDone}) {
			t.Error("goes on starting after a failure")
		}
		if err := c.join(); err == nil || err.Error() != "two: broke" || !ended {
			t.Errorf("join: %v, ended %v", err, ended)
		}
	})
}

// TestCrewStart: a part that fails before it is ready, one that ends, and the
// second failure.
func TestCrewStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t.Context())
		if !c.start(slowPart{part{"none", make(chan struct{}), func(context.Context) error { return nil }}}) {
			t.Error("a part that ended without an error is none that failed")
		}
		if c.start(slowPart{part{"one", make(chan struct{}), func(context.Context) error { return errors.New("no") }}}) {
			t.Error("started")
		}
		c.start(part{name: "two", run: func(context.Context) error { return errors.New("neither") }})
		if err := c.join(); err == nil || err.Error() != "one: no" {
			t.Error(err)
		}
	})
}

func TestCrewLeavesBehindWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrew(t.Context())
		end := make(chan struct{})
		c.start(part{name: "stuck", run: func(context.Context) error { <-end; return nil }})
		if err := c.join(); err == nil || !strings.Contains(err.Error(), "not every part ended within 5s") {
			t.Error(err)
		}
		close(end)
	})
}

// TestResets: leaving word never blocks, one slow reset delays no other, and
// the end joins what is under way.
func TestResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, fast := netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("2001:db8::2")
		type done struct {
			neighbor netip.Addr
			why      string
			at       time.Duration
		}
		var mu sync.Mutex
		var all []done
		begin := time.Now()
		r := newResets(func(ctx context.Context, n netip.Addr, why string) error {
			if n == slow {
				<-ctx.Done() // for as long as it may
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, done{n, why, time.Since(begin)})
			return ctx.Err()
		}, slog.New(slog.DiscardHandler))
		r.order(slow, "before Run")
		r.order(slow, "one")
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); r.Run(ctx) }()
		synctest.Wait()
		r.order(fast, "two")
		synctest.Wait()
		time.Sleep(resetTime)
		synctest.Wait()
		r.order(slow, "three")
		synctest.Wait()
		cancel()
		<-ended
		want := []done{{fast, "two", 0}, {slow, "one", resetTime}, {slow, "three", resetTime}}
		if len(all) != 3 || all[0] != want[0] || all[1] != want[1] || all[2] != want[2] {
			t.Errorf("got %v\nwant %v", all, want)
		}
	})
}
