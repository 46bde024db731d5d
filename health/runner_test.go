package health

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
)

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

// Many hints at once are three runs, and the last starts after the last hint.
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
		if got := len(s.begun()) - n; got != 3 {
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
