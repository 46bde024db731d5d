package pop_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/shed"
	"github.com/catchment/catchment/pop/balance"
	"github.com/catchment/catchment/pop/config"
)

// balanced is a world in which load may move the service.
func balanced(t *testing.T, dir string) *world {
	w := newWorld(t, dir)
	w.cfg.Balance = config.Balance{Mode: config.BalanceAct, Services: []policy.ServiceID{"web"}, Shed: shed.Defaults()}
	return w
}

func backup(until time.Duration) policy.Shed {
	return policy.Shed{
		Stance: policy.Stance{Action: policy.Announce, Rung: 1}, Detail: "1.12 of capacity", Since: time.Now(),
		Room: []policy.Room{{POP: "FRA", Load: 20, Until: time.Now().Add(until)}},
	}
}

// TestShed: what load wants is announced if the guards let it, with its
// reason; it outlives the daemon, and a restart moves nothing.
func TestShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := balanced(t, dir)
		w.start()
		w.verdict(policy.Up)
		w.lines()
		d, reached, err := w.c.Shed(t.Context(), web, policy.Shed{Stance: policy.Stance{Action: policy.Announce, Rung: 1}, Since: time.Now()})
		if err == nil || reached || d.Reason.Guard != "headroom" || !strings.Contains(err.Error(), "no other POP has reserved room") {
			t.Errorf("without room: %v because %v, %v", d.Stance, d.Reason, err)
		}
		w.expect("")
		if _, reached, err = w.c.Shed(t.Context(), web, backup(time.Minute)); err != nil || !reached {
			t.Fatalf("reached %v, %v", reached, err)
		}
		if got := w.lines(); !strings.Contains(got, "192.0.2.0/24 prepend 3") {
			t.Errorf("announced: %s", got)
		}
		if s := w.c.Situation(); *balance.Level(s.Decision[0], 2, s.Heard[web]) != 1 || s.Shed[web].Detail != "1.12 of capacity" {
			t.Errorf("%+v", s)
		}
		e, err := w.c.Explain(t.Context(), web)
		if err != nil || e.Slice.Reason.String() != "load: 1.12 of capacity" || !strings.Contains(strings.Join(e.WouldChange, " "), "balance.return") {
			t.Errorf("%v: %v", e.Slice.Reason, e.WouldChange)
		}
		w.pass(2 * time.Minute) // the reservation is over
		w.lines()
		w.stop()

		w = balanced(t, dir)
		w.start()
		w.verdict(policy.Up)
		if got := w.lines(); !strings.Contains(got, "192.0.2.0/24 prepend 3") || strings.Contains(got, "192.0.2.0/24;") {
			t.Errorf("after a restart: %s", got)
		}
		if err := w.c.Unshed(t.Context(), web, policy.Shed{}); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if s := w.c.Situation(); len(s.Shed) != 0 || s.Decision[0].Stance != (policy.Stance{Action: policy.Announce}) {
			t.Errorf("taken back: %+v", s)
		}
		w.stop()
	})
}

// TestShedOnlyInAct: after a reload that switches the loop off what load had
// moved stays until the loop lets go of it, and no more is moved.
func TestShedOnlyInAct(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := balanced(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		if _, _, err := w.c.Shed(t.Context(), web, backup(time.Minute)); err != nil {
			t.Fatal(err)
		}
		w.reload = func(old *config.Config) (*config.Config, []string, error) {
			next := *old
			next.Balance.Mode = config.BalanceObserve
			return &next, []string{"balance.mode: act -> observe"}, nil
		}
		changes, err := w.c.Reload(t.Context(), "eng")
		if err != nil || len(changes) != 2 || !strings.Contains(changes[1], "slices that load has moved (1) come back one at a time") {
			t.Fatalf("%q, %v", changes, err)
		}
		w.pass(time.Minute)
		if s := w.c.Situation(); len(s.Shed) != 1 || s.Decision[0].Stance.Rung != 1 {
			t.Errorf("%+v", s)
		}
		if err := w.c.Unshed(t.Context(), web, policy.Shed{}); err != nil { // as the loop does
			t.Error(err)
		}
		w.pass(time.Minute)
		if s := w.c.Situation(); len(s.Shed) != 0 || s.Decision[0].Stance != (policy.Stance{Action: policy.Announce}) {
			t.Errorf("%+v", s)
		}
		if _, _, err := w.c.Shed(t.Context(), web, backup(time.Minute)); err == nil || !strings.Contains(err.Error(), "balance.mode observe") {
			t.Errorf("in observe: %v", err)
		}
	})
}

// TestShedWithoutRung: a reload that takes a rung away takes back what load
// had moved to it; a wish for what is no rung would stay for good.
func TestShedWithoutRung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := balanced(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		if _, _, err := w.c.Shed(t.Context(), web, backup(time.Minute)); err != nil {
			t.Fatal(err)
		}
		w.reload = func(old *config.Config) (*config.Config, []string, error) {
			next := *old
			next.Services = slices.Clone(old.Services)
			next.Services[0].Ladder = old.Services[0].Ladder[:1]
			return &next, []string{"services.web.ladder"}, nil
		}
		if len(w.c.Situation().Shed) != 1 {
			t.Fatal("nothing moved")
		}
		if _, err := w.c.Reload(t.Context(), "eng"); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Minute)
		if s := w.c.Situation(); len(s.Shed) != 0 {
			t.Errorf("%+v", s.Shed)
		}
	})
}
