package turns

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/core"
)

// keepers are POPs at one core, in memory.
type keepers struct {
	t    *testing.T
	core *core.Memory
	of   map[policy.POPID]*Keeper
	stop map[policy.POPID]func()
}

func newKeepers(t *testing.T, names ...policy.POPID) *keepers {
	ks := &keepers{t, core.NewMemory(core.Options{}), map[policy.POPID]*Keeper{}, map[policy.POPID]func(){}}
	for _, n := range names {
		ks.start(n)
	}
	t.Cleanup(func() {
		for _, stop := range ks.stop {
			stop()
		}
	})
	return ks
}

func (ks *keepers) start(n policy.POPID) {
	k := New(Options{POP: n, Store: ks.core, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := k.Run(ctx); err != nil {
			ks.t.Error(err)
		}
	})
	ks.of[n], ks.stop[n] = k, sync.OnceFunc(func() { cancel(); wg.Wait() })
}

// expect checks what each of the POPs is told.
func (ks *keepers) expect(when string, want map[policy.POPID]string) {
	ks.t.Helper()
	for n, w := range want {
		q := ks.of[n].Queue()
		got := fmt.Sprint(q.Before)
		if !q.Current {
			got = "not current"
		}
		if got != w {
			ks.t.Errorf("%s: %s is told %s, want %s", when, n, got, w)
		}
	}
}

// TestOrder: who came first is before the others, and nobody's place changes
// but by those before leaving.
func TestOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ks := newKeepers(t, "LON", "FRA", "AMS")
		synctest.Wait()
		for _, n := range []policy.POPID{"FRA", "AMS", "LON"} {
			ks.of[n].Want(true)
			synctest.Wait()
		}
		ks.expect("at first", map[policy.POPID]string{"FRA": "[]", "AMS": "[FRA]", "LON": "[AMS FRA]"})
		ks.of["FRA"].Want(false)
		ks.of["FRA"].Want(true) // begins anew, at the end
		ks.expect("at once", map[policy.POPID]string{"FRA": "not current"})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		ks.expect("FRA again", map[policy.POPID]string{"AMS": "[]", "LON": "[AMS]", "FRA": "[AMS LON]"})

		// A restart in the middle of a drain keeps the place; until the
		// controller has said what it wants nothing is given up.
		ks.stop["AMS"]()
		ks.start("AMS")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		ks.expect("AMS is back", map[policy.POPID]string{"AMS": "not current", "LON": "[AMS]"})
		ks.of["AMS"].Want(true)
		synctest.Wait()
		ks.expect("AMS drains on", map[policy.POPID]string{"AMS": "[]"})
		ks.stop["AMS"]()
		ks.start("AMS")
		ks.of["AMS"].Want(false)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		ks.expect("AMS was undrained", map[policy.POPID]string{"AMS": "not current", "LON": "[]", "FRA": "[LON]"})
	})
}

// TestSaysItOnce: what is wrong is logged when it begins and when it is over,
// not at each try.
func TestSaysItOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		c := core.NewMemory(core.Options{})
		c.Fail(errors.New("no quorum"))
		k := New(Options{POP: "LON", Store: c, Log: slog.New(slog.NewTextHandler(&log, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = k.Run(ctx) })
		k.Want(true)
		time.Sleep(time.Minute)
		c.Fail(nil)
		time.Sleep(time.Minute)
		c.Fail(errors.New("no quorum"))
		k.Want(false)
		time.Sleep(time.Minute)
		cancel()
		wg.Wait()
		if not, again := strings.Count(log.String(), "is not up to date"), strings.Count(log.String(), "up to date again"); not != 2 || again != 1 {
			t.Errorf("said %d times that it is not up to date and %d times that it is again, want 2 and 1:\n%s", not, again, &log)
		}
	})
}

// TestCoreAway: without the core nobody is told that it is its turn.
func TestCoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ks := newKeepers(t, "LON", "FRA")
		ks.core.Fail(errors.New("no quorum"))
		ks.of["LON"].Want(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		ks.expect("away", map[policy.POPID]string{"LON": "not current"})
		ks.core.Fail(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		ks.expect("back", map[policy.POPID]string{"LON": "[]"})
		ks.core.Fail(errors.New("no quorum"))
		ks.of["FRA"].Want(true)
		ks.of["LON"].Want(false)
		ks.of["LON"].Want(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		ks.expect("away again", map[policy.POPID]string{"LON": "not current", "FRA": "not current"})
		ks.core.Fail(nil)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		first, second := ks.of["LON"].Queue(), ks.of["FRA"].Queue()
		if !first.Current || !second.Current || len(first.Before)+len(second.Before) != 1 {
			t.Errorf("two in the queue, each told %v and %v", first, second)
		}
	})
}

// TestNeverTwo: POPs that come and go at random, a core that fails at random:
// never are two of them told that nobody is before them.
func TestNeverTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []policy.POPID{"A", "B", "C", "D"}
		ks := newKeepers(t, names...)
		seen := 0
		for i := range 3000 {
			n := names[(i*7+i/5)%len(names)]
			ks.of[n].Want(i%3 > 0)
			if i%11 == 0 {
				ks.core.Fail(errors.New("no quorum"))
			} else if i%11 == 5 {
				ks.core.Fail(nil)
			}
			time.Sleep(time.Duration(i%5) * 300 * time.Millisecond)
			synctest.Wait()
			var first []policy.POPID
			for _, n := range names {
				if q := ks.of[n].Queue(); q.Current && len(q.Before) == 0 {
					first = append(first, n)
				}
			}
			seen += len(first)
			if len(first) > 1 {
				t.Fatalf("step %d: %v are all first", i, slices.Clone(first))
			}
		}
		if seen < 100 {
			t.Errorf("only %d times was anybody first: nothing is tried", seen)
		}
	})
}

// TestRestoredPlace: a place that nobody wants, as a restored backup brings it
// while everybody runs, is taken out and keeps nobody waiting for long.
func TestRestoredPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ks := newKeepers(t, "LON", "FRA")
		ks.of["LON"].Want(false)
		time.Sleep(time.Second)
		synctest.Wait()
		old := core.Write{Who: "restore", Why: "an old backup"}
		if _, err := ks.core.Put(t.Context(), old, core.Key{Kind: Kind, Name: "LON"}, []byte(`{"pop":"LON"}`), core.Absent); err != nil {
			t.Fatal(err)
		}
		ks.of["FRA"].Want(true)
		synctest.Wait()
		ks.expect("restored", map[policy.POPID]string{"FRA": "[LON]"})
		time.Sleep(time.Minute)
		synctest.Wait()
		ks.expect("a minute later", map[policy.POPID]string{"FRA": "[]"})
	})
}
