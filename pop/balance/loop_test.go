package balance

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy/shed"
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
				t.Logf("%s at %.1f, levels %v\n%s", p.id, w.total(slices.Index(w.pops, p)), p.to, strings.Join(p.words(), "\n"))
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
		w.pops[0].demand = 112
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
		w.pops[0].demand = 50
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

// TestNobodyHasRoom: overloaded, and nothing moves.
func TestNobodyHasRoom(t *testing.T) {
	play(t, []float64{70, 94, 94}, func(w *world) {
		w.begin()
		w.pops[0].demand = 120
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
	play(t, []float64{80, 80, 50}, func(w *world) {
		for i := range 2 { // all that leaves goes to P2
			w.pops[i].split = map[int]float64{2: 1}
		}
		w.begin()
		w.pops[0].demand, w.pops[1].demand = 118, 118
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
		w.pops[0].demand = 112
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
		w.pops[0].demand = 40
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
