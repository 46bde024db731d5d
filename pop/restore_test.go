package pop_test

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// What was handed to the writer stays as it was while the controller goes on:
// the writer encodes it at its own pace.
func TestSavedIntentsAreTheWriters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		for _, k := range []policy.IntentKind{policy.IntentHold, policy.IntentDrain} {
			if _, err := w.c.Intent(t.Context(), policy.Intent{Kind: k, Service: "web", By: "eng"}); err != nil {
				t.Fatal(err)
			}
		}
		saved := w.c.Saved(t.Context())
		before := slices.Clone(saved.Intents)
		if _, err := w.c.Release(t.Context(), api.Released{Kinds: []policy.IntentKind{policy.IntentHold}, Service: "web"}); err != nil {
			t.Fatal(err)
		}
		if len(before) != 2 || !slices.Equal(saved.Intents, before) {
			t.Errorf("saved were %v, and are now %v", before, saved.Intents)
		}
	})
}

// A configuration that lost most of its slices, taken over by a restart: they
// go as the guards allow, announced as they were, with their addresses.
func TestRestartWithFewerServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t, dir)
		old := w.cfg.Services[0]
		old.ID, old.Slices = "old", nil
		old.VIPs = config.VIPs{Addresses: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Device: "lo"}
		med := uint32(7)
		old.Ladder = []config.Rung{{Name: "normal", Attributes: bgp.Attributes{MED: &med, Communities: []bgp.Community{64500<<16 | 1}}, Neighbors: map[netip.Addr]bgp.Override{
			netip.MustParseAddr("10.0.0.9"): {Withhold: true}}}}
		old.Rungs, old.Always = 1, true
		for i := range 20 {
			old.Slices = append(old.Slices, policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i), 0, 0}), 24)))
		}
		w.cfg.Services = append(w.cfg.Services, old)
		w.start()
		w.verdict(policy.Up)
		w.pass(2 * time.Second)
		before := w.Announced()
		if len(before) != 21 {
			t.Fatal(len(before))
		}
		if err := w.c.Leave(t.Context(), w, "signal"); err != nil {
			t.Fatal(err)
		}
		w.stop()

		w = newWorld(t, dir)
		w.cfg.Limits.BlastSlices, w.cfg.Limits.BlastInterval = 5, 10*time.Second
		w.start()
		defer w.stop()
		if own := w.c.Own(w.cfg); len(own) != 21 {
			t.Errorf("own are %v", own)
		}
		after := w.Announced()
		if len(after) != 16 {
			t.Errorf("%d of 21 are left at once; 5 were to go in 10 s", len(after))
		}
		if !strings.HasPrefix(w.lines(), "addresses [192.0.2.1 on lo 10.0.0.1 on lo]; set") {
			t.Error("the address of slices that are still announced went first")
		}
		for _, a := range after {
			i := slices.IndexFunc(before, func(b bgp.Announcement) bool { return b.Prefix == a.Prefix })
			if !reflect.DeepEqual(a, before[i]) && !a.Equal(before[i]) {
				t.Errorf("was %+v\nand is %+v", before[i], a)
			}
		}
		w.pass(time.Minute)
		if after := w.Announced(); len(after) != 1 || after[0].Prefix != web.Prefix() {
			t.Errorf("a minute later: %v", after)
		}
		if got := w.lines(); !strings.HasSuffix(got, "set [192.0.2.0/24]; addresses [192.0.2.1 on lo]") {
			t.Errorf("happened: %s", got)
		}
	})
}

// Stances are taken up again if the last life ended within two minutes: by the
// clock that nobody sets within a boot, else by the wall clock, and where that
// was set back.
func TestAgeOfTheState(t *testing.T) {
	for _, c := range []struct {
		name  string
		boot  string        // of the next life
		since time.Duration // passed between the lives, by the boot's clock
		wall  time.Duration // by the wall clock
		lost  bool          // the sign of life
		fresh bool
	}{
		{"a restart", "boot", time.Second, time.Second, false, true},
		{"long ago", "boot", time.Hour, time.Hour, false, false},
		{"wall clock set forward", "boot", time.Second, 5 * time.Minute, false, true},
		{"wall clock set back", "boot", time.Second, -5 * time.Minute, false, true},
		{"long ago, wall clock set back", "boot", time.Hour, time.Second, false, false},
		{"long ago, wall clock set back to before", "boot", time.Hour, -time.Hour, false, false},
		{"a reboot", "next", -time.Hour, time.Minute, false, true},
		{"a reboot long ago", "next", time.Hour, time.Hour, false, false},
		{"a reboot to a wrong clock", "next", -time.Hour, -time.Hour, false, true},
		{"no sign but the file's time", "boot", time.Second, time.Second, true, true},
		{"no sign but the file's old time", "boot", time.Hour, time.Hour, true, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			begin := time.Now()
			w := newWorld(t, dir)
			w.store.SetClock(func() (string, time.Duration) { return "boot", 2 * time.Hour })
			w.start()
			w.verdict(policy.Up)
			w.pass(time.Second)
			if err := w.c.Leave(t.Context(), w, "signal"); err != nil {
				t.Fatal(err)
			}
			w.stop()
			w.store.Touch(begin.Add(-c.wall)) // the same as a clock that goes on from there
			if c.lost {
				if err := os.WriteFile(filepath.Join(dir, "alive.json"), []byte("{"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			store := pop.NewStore(dir, slog.New(slog.DiscardHandler))
			store.SetClock(func() (string, time.Duration) { return c.boot, 2*time.Hour + c.since })
			f := store.Load()
			restarting, err := store.Restarting()
			st := pop.Restored(f, begin)
			if f.Fresh(begin) != c.fresh || restarting != c.fresh || err != nil || st.Slices[web].Stance.Announced() != c.fresh {
				t.Errorf("%s: alive %v (now %v), restarting %v, %v, stance %v; want fresh: %v", c.name, f.Alive, begin, restarting, err, st.Slices[web].Stance, c.fresh)
			}
			if since := st.Slices[web].Since; since.After(begin) {
				t.Errorf("%s: announced since %v, which is to come", c.name, since)
			}
		})
	}
}

// The state is damaged and routers may hold our routes: the first set, and
// with it the End-of-RIB, waits for the checks, and the addresses stay. The
// file is kept and somebody is told.
func TestDamagedState(t *testing.T) {
	for _, c := range []struct {
		name string
		away time.Duration
		then func(w *world) // in the next life
		want string         // happens
	}{
		{"checks say up", time.Second, func(w *world) { w.verdict(policy.Up) }, vipOn + "; " + setWeb},
		{"checks say down", time.Second, func(w *world) { w.verdict(policy.Down) }, vipOn + "; " + vipOff + "; " + setNone},
		{"checks say nothing", time.Second, func(w *world) { w.pass(29 * time.Second) }, vipOn},
		{"checks say nothing for long", time.Second, func(w *world) { w.pass(31 * time.Second) }, vipOn + "; " + vipOff + "; " + setNone},
		{"long ago", time.Hour, func(*world) {}, vipOff + "; " + setNone},
	} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			w := newWorld(t, dir)
			w.start()
			w.verdict(policy.Up)
			w.pass(time.Second)
			if err := w.c.Leave(t.Context(), w, "signal"); err != nil {
				t.Fatal(err)
			}
			w.stop()
			path := filepath.Join(dir, "state.json")
			whole, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, whole[:len(whole)-3], 0o600); err != nil {
				t.Fatal(err)
			}
			time.Sleep(c.away)
			w = newWorld(t, dir)
			if r, err := w.store.Restarting(); r != (c.away < time.Minute) || err == nil {
				t.Errorf("%s: restarting %v, %v", c.name, r, err)
			}
			w.start()
			defer w.stop()
			c.then(w)
			if got := w.lines(); got != c.want {
				t.Errorf("%s: happened %s; want %s", c.name, got, c.want)
			}
			w.mentions("drains too, are lost")
			if bad, err := os.ReadFile(path + ".bad"); err != nil || string(bad) != string(whole[:len(whole)-3]) {
				t.Errorf("%s: kept aside: %q, %v", c.name, bad, err)
			}
		})
	}
}

// A restart gives the blast guard no new allowance.
func TestReductionsOutliveARestart(t *testing.T) {
	now := time.Now()
	f := pop.Former{Alive: now, Saved: pop.Saved{State: policy.State{Reductions: []time.Time{now.Add(-time.Second), now.Add(time.Hour)}}}}
	if got := pop.Restored(f, now).Reductions; len(got) != 2 || !got[0].Equal(now.Add(-time.Second)) || !got[1].Equal(now) {
		t.Error(fmt.Sprint(got))
	}
}
