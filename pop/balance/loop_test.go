package balance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/fleet"
)

// play runs a test in a bubble with a world.
func play(t *testing.T, demand []float64, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, demand...)
		defer w.end()
		f(w)
		if t.Failed() {
			for _, p := range w.pops {
				t.Logf("%s at %.1f, levels %v, notes %q\n%s", p.id, w.total(slices.Index(w.pops, p)), p.levels(), p.loop.Report().Notes, strings.Join(p.words(), "\n"))
			}
		}
	})
}

// TestShedsAndTakesBack: an overloaded POP steps back to whom it has reserved
// room at, nobody goes above a limit for it, what happened is checked, and
// when the load is gone it takes all back.
func TestShedsAndTakesBack(t *testing.T) {
	play(t, []float64{70, 50, 50, 50}, func(w *world) {
		w.begin()
		if n := w.pops[0].below(); n > 0 {
			t.Fatalf("%d slices below normal at 70 %%", n)
		}
		w.set(func() { w.pops[0].demand = 112 })
		w.run(10 * time.Minute)
		if l, n := w.total(0), w.pops[0].below(); l > 95 || n == 0 || n > 2 {
			t.Errorf("carries %.1f of 100 with %d slices below normal", l, n)
		}
		if w.caused > 0 {
			t.Errorf("%.0f POP-seconds above capacity at receivers", w.caused)
		}
		claims, held := w.inCore()
		if len(claims) != w.pops[0].below() || len(held) != 0 {
			t.Errorf("in the core: claims %v and reservations %v, all of which has arrived", claims, held)
		}
		if text := strings.Join(w.pops[0].words(), "\n"); !strings.Contains(text, "of it moved 0.08 to P1, 0.08 to P2") || !strings.Contains(text, "of capacity moved, forecast 0.2") {
			t.Errorf("journal: %s", text)
		}
		w.set(func() { w.pops[0].demand = 50 })
		w.run(25 * time.Minute)
		if n := w.pops[0].below(); n > 0 {
			t.Errorf("%d slices still below normal", n)
		}
		if claims, held = w.inCore(); len(claims)+len(held) != 0 {
			t.Errorf("in the core: claims %v and reservations %v", claims, held)
		}
		if w.caused > 0 {
			t.Errorf("%.0f POP-seconds above capacity caused", w.caused)
		}
	})
}

// TestFreed: a reservation ends when its load has arrived, not with its time.
func TestFreed(t *testing.T) {
	play(t, []float64{70, 50, 50, 50}, func(w *world) {
		w.begin()
		w.set(func() { w.pops[0].demand = 105 })
		w.run(time.Minute)
		if _, held := w.inCore(); len(held) != 3 || w.pops[0].below() != 1 {
			t.Fatalf("%d slices below normal, reservations %v", w.pops[0].below(), held)
		}
		w.run(100 * time.Second)
		if _, held := w.inCore(); len(held) != 0 || w.pops[0].below() != 1 {
			t.Errorf("%d slices below normal, reservations %v", w.pops[0].below(), held)
		}
	})
}

// TestOneOnly: where all but one POP must stay normal on a slice, only one
// steps back on it, whatever they know of each other.
func TestOneOnly(t *testing.T) {
	play(t, []float64{70, 70, 40, 40}, func(w *world) {
		w.cfg.Normal = 3
		w.first = 20 * time.Second
		w.age = [2]time.Duration{55 * time.Second, 60 * time.Second}
		w.begin()
		w.set(func() { w.pops[0].demand, w.pops[1].demand = 110, 110 })
		w.run(5*time.Minute, func() {
			for k, id := range w.ids {
				if w.pops[0].levels()[k] > 0 && w.pops[1].levels()[k] > 0 {
					t.Errorf("both step back on %v", id)
				}
			}
		})
		if w.pops[0].below()+w.pops[1].below() == 0 {
			t.Error("nobody steps back")
		}
	})
}

// TestNobodyHasRoom: overloaded, and nothing moves.
func TestNobodyHasRoom(t *testing.T) {
	play(t, []float64{70, 94, 94}, func(w *world) {
		w.begin()
		w.set(func() { w.pops[0].demand = 120 })
		w.run(10 * time.Minute)
		if n := w.pops[0].below(); n > 0 || w.caused > 0 {
			t.Errorf("%d slices moved to POPs without room, %.0f POP-seconds caused", n, w.caused)
		}
		if r := w.pops[0].loop.Report(); r.Code != shed.NoRoom {
			t.Errorf("%s: %s", r.Code, r.Detail)
		}
	})
}

// TestTwoOverloaded: one neighbour has room for one of them.
func TestTwoOverloaded(t *testing.T) {
	play(t, []float64{80, 80, 60}, func(w *world) {
		for i := range 2 { // all that leaves goes to P2
			w.set(func() { w.pops[i].split = map[int]float64{2: 1} })
		}
		w.first = 20 * time.Second // rounds at the same moment, neither has heard of the other's load
		w.age = [2]time.Duration{55 * time.Second, 60 * time.Second}
		w.begin()
		w.set(func() { w.pops[0].demand, w.pops[1].demand = 118, 118 })
		w.run(15*time.Minute, func() {
			if l := w.total(2); l > 100 {
				t.Errorf("P2 carries %.1f of 100", l)
			}
		})
		if w.pops[0].below()+w.pops[1].below() == 0 || w.caused > 0 {
			t.Errorf("%d and %d slices moved, %.0f POP-seconds caused", w.pops[0].below(), w.pops[1].below(), w.caused)
		}
	})
}

// TestCoreLost: nothing moves either way while the core is out of reach.
func TestCoreLost(t *testing.T) {
	play(t, []float64{70, 50, 50, 50}, func(w *world) {
		w.begin()
		w.core.Fail(errors.New("cut"))
		w.set(func() { w.pops[0].demand = 112 })
		w.run(5 * time.Minute)
		if n := w.pops[0].below(); n > 0 {
			t.Errorf("%d slices moved without the core", n)
		}
		if r := w.pops[0].loop.Report(); r.Code != shed.Alone || r.Lost.IsZero() {
			t.Errorf("%s: %s", r.Code, r.Detail)
		}
		w.core.Fail(nil)
		w.run(5 * time.Minute)
		moved := w.pops[0].below()
		if moved == 0 {
			t.Fatal("nothing moves although the core is back")
		}
		w.core.Fail(errors.New("cut"))
		w.set(func() { w.pops[0].demand = 40 })
		w.run(20 * time.Minute)
		if n := w.pops[0].below(); n != moved {
			t.Errorf("%d slices below normal, %d when the core went", n, moved)
		}
		w.core.Fail(nil)
		w.run(20 * time.Minute)
		if n := w.pops[0].below(); n != 0 {
			t.Errorf("%d slices still below normal", n)
		}
	})
}

// errCut is a core out of reach.
var errCut = errors.New("cut")

// TestRestartMidStep: the daemon ends between the reservation and the change
// of route, or between that and saying so. The next life neither repeats nor
// undoes a step, and leaves nothing in the core that is not so.
func TestRestartMidStep(t *testing.T) {
	for _, after := range []bool{false, true} {
		play(t, []float64{70, 50, 50, 50}, func(w *world) {
			w.begin()
			p := w.pops[0]
			crashed := false
			p.hook = func(_ policy.SliceID, _ policy.Shed, now bool) {
				if now == after && !crashed {
					crashed = true
					w.core.Fail(errCut)
					panicked := p.stop
					p.stop = nil
					go panicked() // ends Run; what it still tries of the core fails
					if !after {
						w.set(func() { p.stalled = true }) // and the route does not change
					}
				}
			}
			w.set(func() { p.demand = 112 })
			w.run(3 * time.Minute)
			if !crashed {
				t.Fatal("there was no step")
			}
			moved := p.below()
			if after != (moved > 0) {
				t.Fatalf("%d slices moved in a life that ended %v the change of route", moved, after)
			}
			w.core.Fail(nil)
			w.set(func() { p.hook, p.stalled = nil, false })
			changes := p.changed()
			w.first = 20 * time.Second
			p.start()
			w.run(50 * time.Second)
			if p.changed() != changes {
				t.Error("the restart moved something")
			}
			w.run(65 * time.Second)
			if _, held := w.inCore(); after && len(held) > 0 {
				t.Errorf("reservations of the former life: %v", held)
			}
			w.run(10 * time.Minute)
			claims, held := w.inCore()
			if len(claims) != p.below() || p.below() == 0 || len(held) > 0 {
				t.Errorf("%d slices below normal, claims %v, reservations %v", p.below(), claims, held)
			}
			w.set(func() { p.demand = 50 })
			w.run(30 * time.Minute)
			if claims, held = w.inCore(); p.below()+len(claims)+len(held) > 0 || w.caused > 0 {
				t.Errorf("afterwards %d slices below normal, claims %v, reservations %v, %.0f POP-seconds caused", p.below(), claims, held, w.caused)
			}
		})
	}
}

// TestGuardRefuses: what was reserved is given back when a guard does not let
// the route change, and the step is made when it does.
func TestGuardRefuses(t *testing.T) {
	play(t, []float64{70, 50, 50, 50}, func(w *world) {
		w.begin()
		p := w.pops[0]
		w.set(func() { p.stalled = true })
		w.set(func() { p.demand = 112 })
		w.run(3 * time.Minute)
		if claims, held := w.inCore(); p.below()+len(claims)+len(held) > 0 {
			t.Errorf("%d slices moved, claims %v, reservations %v", p.below(), claims, held)
		}
		if r := p.loop.Report(); r.Refused == 0 || r.Made > 0 || !strings.Contains(strings.Join(r.Notes, " "), "deadman") {
			t.Errorf("%d refused, %d made, %q", r.Refused, r.Made, r.Notes)
		}
		w.set(func() { p.stalled = false })
		w.run(3 * time.Minute)
		if p.below() == 0 {
			t.Error("nothing moved although the guard no longer objects")
		}
	})
}

// TestStaleLoads: a POP that hears nobody sends nobody anything.
func TestStaleLoads(t *testing.T) {
	play(t, []float64{70, 50, 50, 50}, func(w *world) {
		w.begin()
		w.set(func() { w.pops[0].deaf = true })
		w.run(4 * time.Minute)
		w.set(func() { w.pops[0].demand = 112 })
		w.run(6 * time.Minute)
		if n := w.pops[0].below(); n > 0 {
			t.Errorf("%d slices moved to POPs that were not heard for minutes", n)
		}
		w.set(func() { w.pops[0].deaf = false })
		w.run(3 * time.Minute)
		if n := w.pops[0].below(); n == 0 {
			t.Error("nothing moved although they are heard again")
		}
	})
}

// TestLies: who does not say what it can carry, or says it in another unit,
// or says nonsense, gets nothing.
func TestLies(t *testing.T) {
	play(t, []float64{70, 50, 50, 50}, func(w *world) {
		w.set(func() { w.pops[1].lie = func(l *fleet.Load) { l.Capacity = 0 } })
		w.set(func() { w.pops[2].lie = func(l *fleet.Load) { l.Unit = "out" } })
		w.set(func() { w.pops[3].lie = func(l *fleet.Load) { l.Slices[0].Load = -1 } })
		w.begin()
		w.run(3 * time.Minute)
		w.set(func() { w.pops[0].demand = 112 })
		w.run(6 * time.Minute)
		if n := w.pops[0].below(); n > 0 {
			t.Errorf("%d slices moved", n)
		}
		if notes := strings.Join(w.pops[0].loop.Report().Notes, "; "); !strings.Contains(notes, "P1 does not say what it can carry") || !strings.Contains(notes, "P2 tells its load in") {
			t.Errorf("notes %s", notes)
		}
	})
}

// TestSurpriseStops: load goes elsewhere than it should. That is said, one
// round is left out, and it is learned.
func TestSurpriseStops(t *testing.T) {
	play(t, []float64{70, 30, 30, 30}, func(w *world) {
		w.begin()
		p := w.pops[0]
		w.set(func() { p.split = map[int]float64{3: 1} })
		w.set(func() { p.demand = 100 })
		stopped := false
		w.run(3*time.Minute, func() { stopped = stopped || p.loop.Report().Code == shed.Stopped })
		text := strings.Join(p.words(), "\n")
		if !strings.Contains(text, "alarm: surprise: ") || !strings.Contains(text, "elsewhere than forecast, most of it at P3") || p.alarm("surprise") == "" {
			t.Errorf("alarm %q, journal %s", p.alarm("surprise"), text)
		}
		if !stopped || p.loop.Report().Surprises == 0 {
			t.Error("no round was left out")
		}
		k := p.book.Matrix("web").Lookup("P0", 1, time.Now())
		for _, to := range k.To {
			if to.POP == "P3" && to.Mean < 0.7 {
				t.Errorf("P3 is expected to get %.2f of it", to.Mean)
			}
		}
		w.run(3 * time.Minute) // another POP learns it by the core
		for _, to := range w.pops[1].book.Matrix("web").Lookup("P0", 1, time.Now()).To {
			if to.POP == "P3" && to.Mean < 0.7 {
				t.Errorf("P1 expects P3 to get %.2f of it", to.Mean)
			}
		}
	})
}

// TestObserve: the same is decided, journaled, and not done.
func TestObserve(t *testing.T) {
	play(t, []float64{70, 50, 50, 50}, func(w *world) {
		for _, p := range w.pops {
			w.set(func() { p.mode = Observe })
		}
		w.begin()
		w.set(func() { w.pops[0].demand = 112 })
		w.run(5 * time.Minute)
		claims, held := w.inCore()
		if text := strings.Join(w.pops[0].words(), "\n"); w.pops[0].below()+len(claims)+len(held) > 0 || !strings.Contains(text, "would move 192.0.2.0/26 from level 0 to 1") || strings.Count(text, "would move") != 1 {
			t.Errorf("%d moved, claims %v, held %v: %s", w.pops[0].below(), claims, held, text)
		}
	})
}

// TestDryRun: a dry run beside the daemon that acts, under the same name and
// without its wishes, leaves what that has in the core alone.
func TestDryRun(t *testing.T) {
	play(t, []float64{70, 50, 50, 50}, func(w *world) {
		w.begin()
		p := w.pops[0]
		w.set(func() { p.demand = 112 })
		w.run(5 * time.Minute)
		claims, _ := w.inCore()
		if len(claims) == 0 {
			t.Fatal("nothing moved")
		}
		for _, mode := range []Mode{Observe, Off} {
			o := p.loop.opt
			o.Dry, o.Config.Mode, o.Path, o.First, o.Controller = true, mode, "", time.Second, wishless{p}
			dry, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(w.t.Context())
			done := make(chan struct{})
			go func() { defer close(done); dry.Run(ctx) }()
			w.run(3 * time.Second)
			cancel()
			<-done
			if now, _ := w.inCore(); !slices.Equal(now, claims) {
				t.Errorf("%s: claims were %v, now %v", mode, claims, now)
			}
		}
	})
}

// wishless is the controller of a dry run.
type wishless struct{ *site }

func (s wishless) Situation() Situation {
	out := s.site.Situation()
	out.Shed = nil
	return out
}

// TestSwitchedOff: what was moved comes back one slice at a time, and then
// nothing of the POP stays in the core.
func TestSwitchedOff(t *testing.T) {
	play(t, []float64{70, 50, 50, 50}, func(w *world) {
		w.begin()
		p := w.pops[0]
		w.set(func() { p.demand = 140 })
		w.run(5 * time.Minute)
		if claims, _ := w.inCore(); len(claims) == 0 {
			t.Fatal("nothing moved")
		}
		c := p.loop.opt.Config
		c.Mode = Off
		if err := p.loop.Set(c, p.loop.opt.Targets); err != nil {
			t.Fatal(err)
		}
		was := len(p.Situation().Shed)
		if was < 2 {
			t.Fatalf("%d moved: too few to see an order", was)
		}
		for range 300 { // far more than it takes
			w.run(10 * time.Second)
			is := len(p.Situation().Shed)
			if is < was-1 {
				t.Fatalf("%d came back at once", was-is)
			}
			if was = is; is == 0 {
				break
			}
		}
		w.run(time.Minute)
		if claims, held := w.inCore(); len(claims)+len(held) > 0 || p.loop.Message() != nil {
			t.Errorf("claims %v, reservations %v, says %s", claims, held, p.loop.Message())
		}
	})
}

// TestWithdraw: where a slice may be withdrawn, the guards about last POPs are
// waited for.
func TestWithdraw(t *testing.T) {
	play(t, []float64{70, 40, 40, 40}, func(w *world) {
		w.cfg.Deepest = 2
		w.pops[0].leave[1] = 0.01 // the rung moves nothing
		w.begin()
		w.set(func() { w.pops[0].demand = 120 })
		w.run(8 * time.Minute)
		gone := 0
		for _, l := range w.pops[0].levels() {
			if l == 2 {
				gone++
			}
		}
		if gone == 0 || w.total(0) > 97 || w.caused > 0 {
			t.Errorf("%d slices withdrawn, %.1f carried, %.0f POP-seconds caused", gone, w.total(0), w.caused)
		}
		for _, p := range w.pops[1:] { // everybody else goes
			w.set(func() { p.failing = true })
		}
		w.run(time.Minute)
		for k, l := range w.pops[0].levels() {
			if l == 2 {
				t.Errorf("%v stays withdrawn although nobody else is up", w.ids[k])
			}
		}
	})
}

// TestLadders: services that load moves have one ladder; where it moves none,
// ladders are nobody's business.
func TestLadders(t *testing.T) {
	rungs := func(n int) []string { return []string{"normal", "backup"}[:n] }
	o := Options{POP: "LON", Config: Config{Mode: Off, Every: time.Second, Shed: shed.Defaults()}, Targets: []Target{{ID: "web", Moves: true, Rungs: rungs(2)}, {ID: "app", Moves: true, Rungs: rungs(1)}}}
	if _, err := New(o); err != nil {
		t.Errorf("off: %v", err)
	}
	o.Config.Mode = Observe
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "the ladder of app has 1 rungs") {
		t.Errorf("observe: %v", err)
	}
}
