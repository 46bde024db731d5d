package pop_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/fleet"
)

// TestFleet: what is told of each POP, and what this one says of itself.
func TestFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.core, w.cfg.Core.Mode = &farCore{ok: true}, "embedded"
		w.cfg.Limits.DrainPOPs = 1
		now := time.Now()
		claims := map[policy.SliceID]policy.PeerSlice{web: {Stance: policy.Stance{Action: policy.Announce, Rung: 1}, Verdict: policy.Down, Leaving: true}}
		w.fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{
			POP: "FRA", Slices: map[policy.SliceID]policy.PeerSlice{web: {Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}},
			Turn: policy.PeerTurn{Known: true, Ticket: 3, Held: true, Asked: now.Add(24 * time.Hour)},
		}}}
		w.reports = []fleet.PeerReport{
			{
				Peer: policy.Peer{POP: "FRA", Source: "status", Heard: now, Slices: claims, Capacity: 2}, URL: "http://10.9.0.2:9799/",
				Load: &fleet.Load{Unit: "out", Capacity: 100, Other: 5, Slices: []fleet.SliceLoad{{Slice: web, Load: 40}}}, LoadAt: now,
				About: &fleet.About{
					Version: "2", Sessions: 3, SessionsUp: 2, Core: "follow", CoreLost: true,
					Drains:  []fleet.Drain{{Of: "web", By: "bob", Why: "card", AgeMS: 60_000, LeftMS: 120_000}},
					Windows: []fleet.Window{{Name: "power", Of: "web", InMS: -60_000, LastsMS: 3_600_000}},
				}, AboutAt: now,
			},
			{Peer: policy.Peer{POP: "AMS", Source: "status"}, Stale: true, Error: "refused"},
		}
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.differs = []fleet.Difference{
			{POP: "FRA", Slice: web, Shown: true, Since: now.Add(-time.Minute), Follows: "counted as absent"},
			{POP: "FRA", Slice: web, Since: now.Add(time.Hour), Follows: "too young to mean anything"},
		}
		if _, err := w.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentDrain, Service: "web", By: "ann", Why: "disks"}); err != nil {
			t.Fatal(err)
		}
		w.pass(time.Second)
		f, err := w.c.Fleet(t.Context())
		if err != nil || len(f.All) != 3 {
			t.Fatalf("%+v, %v", f, err)
		}
		lon, fra, ams := f.All[0], f.All[1], f.All[2]
		if !lon.Here || lon.Version != "test" || lon.Core != "embedded" || lon.Sessions.Up != 1 || lon.Slices.Announced != 1 ||
			len(lon.Drains) != 1 || !lon.Drains[0].Waits || !strings.HasPrefix(lon.Drains[0].Detail, "drains: waiting: FRA drains") {
			t.Errorf("here: %+v", lon)
		}
		if fra.Weight != 2 || fra.Version != "2" || !fra.CoreLost || fra.Slices.Announced != 1 || fra.Slices.Rungs != 1 || fra.Slices.Down != 1 || fra.Level != 1 ||
			fra.Load == nil || *fra.Load.Value != 45 || fra.Load.Capacity != 100 || len(fra.Differs) != 1 {
			t.Errorf("FRA: %+v", fra)
		}
		if d := fra.Drains[0]; d.By != "bob" || d.Until.Sub(now).Round(time.Second) != 2*time.Minute || now.Sub(d.Since).Round(time.Second) != time.Minute {
			t.Errorf("FRA drains %+v", d)
		}
		if x := fra.Windows[0]; x.End.Sub(x.Start) != time.Hour || now.Sub(x.Start).Round(time.Second) != time.Minute {
			t.Errorf("FRA's window %+v", x)
		}
		if s := strings.Join(fra.Follows, "; "); !strings.Contains(s, "traffic may still go to it") || !strings.Contains(s, "wants to leave 1 of its slices") {
			t.Errorf("of FRA follows %s", s)
		}
		if s := strings.Join(ams.Follows, "; "); s != "never heard: counted as absent by last-pop, as draining by drains" {
			t.Errorf("of AMS follows %s", s)
		}
		var a fleet.About
		if err := json.Unmarshal(w.c.About(), &a); err != nil || a.Turn == nil || a.Turn.Ticket != 4 || a.Turn.Held || !a.Drains[0].Waits {
			t.Errorf("said of ourselves: %+v, %v", a, err)
		}
	})
}

// TestQueuedDrain: a drain that waits is told so, begins by itself when the
// others are done, and is cancelled by an undrain. A restart keeps its place.
func TestQueuedDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t, dir)
		w.cfg.Limits.DrainPOPs = 1
		fra := policy.Peer{
			POP: "FRA", Slices: map[policy.SliceID]policy.PeerSlice{web: {Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}},
			Turn: policy.PeerTurn{Known: true, Ticket: 3, Held: true, Asked: time.Now().Add(24 * time.Hour)},
		}
		w.fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{fra}}
		w.start()
		w.verdict(policy.Up)
		w.expect(vipOff + "; " + setNone + "; " + vipOn + "; " + setWeb)
		res, err := w.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentDrain, By: "ann"})
		if err != nil || !strings.Contains(res.Slices[0].Reason.Detail, "waiting: FRA drains") || res.Slices[0].Guards[0].Says != "wait" {
			t.Fatalf("%+v, %v", res, err)
		}
		w.pass(time.Hour)
		w.expect("")
		w.stop()
		before := w.fleet
		w = newWorld(t, dir)
		w.cfg.Limits.DrainPOPs, w.fleet = 1, before
		w.start()
		defer func() { w.stop() }()
		w.verdict(policy.Up)
		w.pass(time.Minute)
		w.lines()
		if turn := w.turn(); turn.Ticket != 4 || turn.Held {
			t.Errorf("after a restart: %+v", turn)
		}
		if _, err := w.c.Release(t.Context(), undrain); err != nil {
			t.Fatal(err)
		}
		w.expect("")
		if turn := w.turn(); turn.Ticket != 0 {
			t.Errorf("cancelled: %+v", turn)
		}
		if _, err := w.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentDrain, By: "ann"}); err != nil {
			t.Fatal(err)
		}
		w.expect("")
		w.mu.Lock()
		fra.Turn.Ticket, fra.Turn.Held = 0, false
		w.fleet.Peers = []policy.Peer{fra}
		w.mu.Unlock()
		w.pass(2 * time.Second)
		w.expect("set [192.0.2.0/24 graceful-shutdown]")
		w.pass(21 * time.Second)
		w.expect(setNone + "; " + vipOff)
	})
}

// turn is what the POP says of its place in the queue.
func (w *world) turn() fleet.Turn {
	w.t.Helper()
	a, err := fleet.DecodeAbout(w.c.About())
	if err != nil || a.Turn == nil {
		w.t.Fatalf("%+v, %v", a, err)
	}
	return *a.Turn
}

var undrain = api.Released{Kinds: []policy.IntentKind{policy.IntentDrain}, By: "ann"}
