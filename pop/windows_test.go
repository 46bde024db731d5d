package pop_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/maintenance"
)

// windowAt is an hour of the first day of the world's clock.
const windowAt = "2000-01-01 01:00 UTC"

func (w *world) upAndReady() {
	w.start()
	w.verdict(policy.Up)
	w.pass(time.Minute)
	w.lines()
}

// until passes time up to that time of the first day.
func (w *world) until(clock string) {
	w.t.Helper()
	at, err := time.Parse("2006-01-02 15:04:05", "2000-01-01 "+clock)
	if err != nil {
		w.t.Fatal(err)
	}
	w.pass(time.Until(at))
}

// TestWindow: drained when it starts, back after its end and the hold-down,
// told everywhere, over a restart in its middle.
func TestWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t, dir)
		w.upAndReady()
		res, err := w.c.AddMaintenance(t.Context(), maintenance.Window{Name: "power", At: windowAt, For: 30 * time.Minute, Service: "web", By: "ann", Why: "the feed"})
		if err != nil || res.Text != "window power: drains from 2000-01-01 00:59 UTC, starts 2000-01-01 01:00 UTC, ends 2000-01-01 01:30 UTC" {
			t.Fatalf("%q, %v", res.Text, err)
		}
		if all, err := w.c.Maintenance(t.Context()); err != nil || len(all) != 1 || all[0].State != "" || all[0].By != "ann" {
			t.Errorf("%+v, %v", all, err)
		}
		a, _ := fleet.DecodeAbout(w.c.About())
		if len(a.Windows) != 1 || a.Windows[0].Name != "power" || a.Windows[0].LastsMS != 30*60*1000 {
			t.Errorf("told to the others: %+v", a.Windows)
		}
		w.until("00:30:00")
		plan, err := w.c.Plan(t.Context(), api.PlanRequest{Suppose: []api.Supposition{{Kind: api.SupposeHold, Slice: web}}, For: api.Duration(2 * time.Hour)})
		if err != nil || !strings.Contains(fmt.Sprint(plan.Slices[0].Steps), "when the window power begins") {
			t.Errorf("a plan does not see it: %+v, %v", plan.Slices, err)
		}
		w.until("00:59:29")
		w.expect("")
		w.until("00:59:32") // 20 s of drain and 10 s to spare
		w.expect("set [192.0.2.0/24 graceful-shutdown]")
		if st := w.status(); len(st.Maintenance) != 1 || st.Maintenance[0].State != api.WindowDrains || len(st.Intents) != 1 || st.Intents[0].Window != "power" || st.Slices()[0].Reason.Code != policy.Maintenance {
			t.Errorf("%+v", st)
		}
		w.until("01:00:00")
		w.expect(setNone + "; " + vipOff)
		w.until("01:10:00")
		w.stop()
		w = newWorld(t, dir)
		w.start()
		defer func() { w.stop() }()
		w.verdict(policy.Up)
		w.until("01:29:59")
		w.lines()
		if len(w.set) != 0 {
			t.Fatalf("announced in the window: %v", w.set)
		}
		w.until("01:30:08") // the hold-down of 10 s
		w.expect("")
		w.until("01:30:13")
		w.expect(vipOn + "; " + setWeb)
		if st := w.status(); len(st.Maintenance) != 0 || len(st.Alarms) != 0 {
			t.Errorf("%+v, %+v", st.Maintenance, st.Alarms)
		}
		var said []string
		for _, e := range w.entries {
			said = append(said, e.Text)
		}
		if all := strings.Join(said, "\n"); !strings.Contains(all, "begins for the window power, which starts 2000-01-01 01:00 UTC") || !strings.Contains(all, "window power is over") {
			t.Errorf("the journal says\n%s", all)
		}
	})
}

// TestWindowWaits: a guard that objects when a window is due is waited for,
// and a person told.
func TestWindowWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.cfg.Limits.DrainPOPs = 1
		fra := policy.Peer{
			POP: "FRA", Slices: map[policy.SliceID]policy.PeerSlice{web: {Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}},
			Turn: policy.PeerTurn{Known: true, Ticket: 3, Held: true, Asked: time.Now().Add(24 * time.Hour)},
		}
		w.fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{fra}}
		w.cfg.Maintenance = []maintenance.Window{{Name: "nightly", At: "daily 01:00 UTC", For: 30 * time.Minute, By: "configuration"}}
		w.upAndReady()
		defer w.stop()
		w.until("00:59:50")
		if s := w.status().Slices()[0]; s.Reason.Guard != guard.NameDrains || w.alarm("maintenance") != "" {
			t.Errorf("before it starts: %v, alarm %q", s.Reason, w.alarm("maintenance"))
		}
		w.until("01:00:05")
		if got := w.alarm("maintenance"); !strings.Contains(got, "window nightly has begun and 192.0.2.0/24 is still announced: guarded (drains): waiting: FRA drains") {
			t.Errorf("alarm %q", got)
		}
		w.mu.Lock()
		fra.Turn.Ticket, fra.Turn.Held = 0, false
		w.fleet.Peers = []policy.Peer{fra}
		w.mu.Unlock()
		w.until("01:01:00")
		w.expect("set [192.0.2.0/24 graceful-shutdown]; " + setNone + "; " + vipOff)
		if w.alarm("maintenance") != "" {
			t.Error("the alarm stays")
		}
		// An operator ends it early; tomorrow's stays.
		if _, err := w.c.Release(t.Context(), undrain); err != nil {
			t.Fatal(err)
		}
		w.pass(15 * time.Second)
		w.expect(vipOn + "; " + setWeb)
		if all, _ := w.c.Maintenance(t.Context()); all[0].State != api.WindowEnded {
			t.Errorf("%+v", all)
		}
		w.until("01:45:00")
		if all, _ := w.c.Maintenance(t.Context()); all[0].State != "" || all[0].Start.Day() != 2 {
			t.Errorf("%+v", all)
		}
		w.expect("")
	})
}

// TestWindowRefused: what cannot be added or removed.
func TestWindowRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.cfg.Maintenance = []maintenance.Window{{Name: "nightly", At: "daily 01:00 UTC", For: 30 * time.Minute, By: "configuration"}}
		w.upAndReady()
		defer w.stop()
		good := maintenance.Window{Name: "power", At: windowAt, For: time.Hour, By: "ann"}
		for want, change := range map[string]func(*maintenance.Window){
			"no time zone":            func(m *maintenance.Window) { m.At = "2000-01-01 01:00 Mars" },
			"is over already":         func(m *maintenance.Window) { m.At = "1999-12-01 01:00 UTC" },
			"no service \"dns\"":      func(m *maintenance.Window) { m.Service = "dns" },
			"there is a window night": func(m *maintenance.Window) { m.Name = "nightly" },
		} {
			m := good
			change(&m)
			if _, err := w.c.AddMaintenance(t.Context(), m); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %s", err, want)
			}
		}
		if _, err := w.c.AddMaintenance(t.Context(), good); err != nil {
			t.Fatal(err)
		}
		if _, err := w.c.RemoveMaintenance(t.Context(), "nightly", "ann", ""); err == nil || !strings.Contains(err.Error(), "of the configuration") {
			t.Errorf("%v", err)
		}
		if _, err := w.c.RemoveMaintenance(t.Context(), "lunch", "ann", ""); err == nil || !strings.Contains(err.Error(), "no window") {
			t.Errorf("%v", err)
		}
		w.until("00:59:40")
		w.expect("set [192.0.2.0/24 graceful-shutdown]") // two windows, one drain
		if _, err := w.c.RemoveMaintenance(t.Context(), "power", "ann", "not today"); err != nil {
			t.Fatal(err)
		}
		w.expect("")
	})
}
