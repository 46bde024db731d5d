package pop_test

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/api"
)

// farCore is a control core that can be out of reach.
type farCore struct {
	mu    sync.Mutex
	ok    bool
	since time.Time
}

func (f *farCore) is(ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ok, f.since = ok, time.Now()
}

func (f *farCore) Reachable() (bool, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ok, f.since
}

func (f *farCore) Trouble() string { return "" }

// TestIsolatedHolds: a POP that has lost its core keeps what it announces, says
// so, and goes on when the core is back.
func TestIsolatedHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		core := &farCore{ok: true}
		w.core, w.cfg.Limits.IsolatedAfter = core, 30*time.Second
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.pass(time.Minute)
		w.lines()
		core.is(false)
		w.pass(20 * time.Second)
		if w.alarm("core-lost") != "" {
			t.Error("an alarm within the grace time")
		}
		w.pass(20 * time.Second)
		if got := w.alarm("core-lost"); !strings.Contains(got, "what can wait for it is held") {
			t.Errorf("alarm %q", got)
		}
		w.verdict(policy.Degraded)
		w.expect("")
		if r := w.status().Slices()[0].Reason; r.Guard != guard.NameIsolated {
			t.Errorf("kept because %v", r)
		}
		core.is(true)
		w.pass(2 * time.Second)
		w.expect("set [192.0.2.0/24 prepend 3]")
		if w.alarm("core-lost") != "" {
			t.Error("the alarm stays")
		}
		core.is(false)
		w.pass(time.Minute)
		w.verdict(policy.Down)
		w.expect(setNone + "; " + vipOff)
	})
}

// status is the POP as the API tells it.
func (w *world) status() api.Status {
	w.t.Helper()
	st, err := w.c.Status(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

// alarm is what an alarm says; empty: there is none of that name.
func (w *world) alarm(name string) string {
	w.t.Helper()
	for _, a := range w.status().Alarms {
		if a.Name == name {
			return a.Detail
		}
	}
	return ""
}
