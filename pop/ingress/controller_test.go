package ingress

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/assign"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/journal"
)

func TestAssigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, file)
		defer s.run()()
		s.settle()
		for _, c := range []struct {
			addr string
			id   policy.SliceID
			want string
		}{
			{"10.0.1.2", v4, "10.255.0.1"}, {"10.0.1.2", v6, "2001:db8:ff::1"}, // one session, both families
			{"10.0.2.2", v4, "10.255.0.2"}, {"10.0.2.2", v6, ""}, {"2001:db8:2::2", v6, "2001:db8:ff::2"}, {"2001:db8:2::2", v4, ""},
		} {
			if got := s.hears(c.addr, c.id); got != c.want {
				t.Errorf("%s hears %q for %v, want %q", c.addr, got, c.id, c.want)
			}
		}
		r, _ := s.c.Report()
		if d := r.Assignments[0].Demand; d != 60 {
			t.Errorf("measured of the slice: %v", d)
		}
		if d := r.Assignments[1].Demand; d != 20 { // half of what is measured of the router
			t.Errorf("measured of the router: %v", d)
		}
		if r.Targets[0].Load != 80 || r.Targets[0].Assigned != 2 || r.Targets[0].State != "open" {
			t.Errorf("LON: %+v", r.Targets[0])
		}
		// Load: pe1 sends more than LON is to carry; FRA takes one slice.
		s.change(func() { s.web.Value = 80 })
		s.is(append([]string{"pe1 v4 LON cheapest", "pe1 v6 LON waiting"}, calm[2:]...)...)
		s.round()
		s.is("pe1 v4 LON cheapest", "pe1 v6 FRA overload", "pe2 v4 FRA cheapest", "pe2 v6 FRA cheapest")
		if s.hears("10.0.1.2", v6) != "2001:db8:ff::2" {
			t.Error("pe1 was not told")
		}
		s.round()
		s.is("pe1 v4 LON cheapest", "pe1 v6 FRA full", "pe2 v4 FRA cheapest", "pe2 v6 FRA cheapest")
		s.change(func() { s.web.Value = 50 })
		s.round()
		s.is(calm...)
		i := slices.IndexFunc(s.entries, func(e journal.Entry) bool { return strings.Contains(e.Text, "LON -> FRA because overload") })
		if i < 0 || s.entries[i].Kind != journal.Ingress || s.entries[i].Slice != v6 || s.entries[i].Service != "web" ||
			!strings.Contains(s.entries[i].Text, "pe1 2001:db8:100::/48: LON -> FRA because overload: LON carries 100 of 100") ||
			!strings.Contains(string(s.entries[i].Inputs), `"demand":20`) {
			t.Errorf("journal: %+v", s.entries)
		}
		if m := s.c.Sums(); m.Moves[assign.Overload] != 1 || m.Assigned != 4 || m.Plain != 0 {
			t.Errorf("sums: %+v", m)
		}
	})
}

func TestStates(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		at     []string // at once
		round  []string // after a round
		alarms []string
	}{
		"FRA withdraws": {func(s *scene) { s.fra.Stance = policy.Stance{} },
			[]string{settled4, settled6, "pe2 v4 LON gone", "pe2 v6 LON gone"}, nil, nil},
		"FRA's checks are down, a guard keeps it": {func(s *scene) { s.fra.Verdict = policy.Down },
			[]string{settled4, settled6, "pe2 v4 LON gone", "pe2 v6 LON gone"}, nil, nil},
		"FRA drains": {func(s *scene) { s.fra.Stance.Action = policy.Drain },
			[]string{settled4, settled6, "pe2 v4 FRA waiting", "pe2 v6 FRA waiting"},
			[]string{settled4, settled6, "pe2 v4 LON drained", "pe2 v6 LON drained"}, nil},
		"FRA wants to leave": {func(s *scene) { s.fra.Leaving = true }, nil,
			[]string{settled4, settled6, "pe2 v4 LON drained", "pe2 v6 LON drained"}, nil},
		"FRA on a rung": {func(s *scene) { s.fra.Stance.Rung = 1 }, nil, calm, nil},
		"FRA is not heard": {func(s *scene) { s.heard = time.Now().Add(-time.Minute) },
			[]string{settled4, settled6, "pe2 v4 FRA target-unknown", "pe2 v6 FRA target-unknown"}, nil, nil},
		"we drain": {func(s *scene) { s.own.Action = policy.Drain }, nil,
			[]string{"pe1 v4 LON waiting", "pe1 v6 FRA drained", "pe2 v4 FRA cheapest", "pe2 v6 FRA cheapest"}, nil},
		"both are gone: the last target stays": {func(s *scene) { s.own, s.fra.Stance, s.ams = policy.Stance{}, policy.Stance{}, policy.Unknown },
			[]string{"pe1 v4 LON last-target", "pe1 v6 LON last-target", "pe2 v4 FRA last-target", "pe2 v6 FRA last-target"}, nil,
			[]string{"ingress-last-target", "ingress-last-target"}},
		"AMS alone is left, for one slice of one router": {func(s *scene) { s.own, s.fra.Stance = policy.Stance{}, policy.Stance{} },
			[]string{"pe1 v4 AMS gone", "pe1 v6 LON last-target", "pe2 v4 FRA last-target", "pe2 v6 FRA last-target"}, nil,
			[]string{"ingress-last-target", "ingress-last-target"}},
		"our check of the last one stands still": {func(s *scene) {
			s.own, s.fra.Stance, s.alive = policy.Stance{}, policy.Stance{}, time.Now().Add(-time.Hour)
		},
			[]string{"pe1 v4 LON last-target", "pe1 v6 LON last-target", "pe2 v4 FRA last-target", "pe2 v6 FRA last-target"}, nil,
			[]string{"ingress-last-target", "ingress-last-target"}},
		"held by an operator": {func(s *scene) {
			s.intents = []policy.Intent{{Kind: policy.IntentHold, Service: "web", Slice: v4}}
			s.fra.Stance = policy.Stance{}
		}, []string{"pe1 v4 LON held", settled6, "pe2 v4 FRA held", "pe2 v6 LON gone"}, nil, nil},
		"demand is not known": {func(s *scene) { s.web = load.Value{} },
			[]string{"pe1 v4 LON demand-unknown", settled6, "pe2 v4 FRA cheapest", "pe2 v6 FRA cheapest"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t, file)
				defer s.run()()
				s.settle()
				s.change(func() { c.change(s) })
				if c.at != nil {
					s.is(c.at...)
				}
				if c.round != nil {
					s.round()
					s.is(c.round...)
				}
				s.alarmed(c.alarms...)
			})
		})
	}
}

// TestFlapping: a POP that comes and goes gets less and less of what left it.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, file)
		defer s.run()()
		s.settle()
		moved := func() (n uint64) {
			for _, m := range s.c.Sums().Moves {
				n += m
			}
			return n
		}
		before := moved()
		s.change(func() { s.fra.Stance = policy.Stance{} })
		s.change(func() { s.fra.Stance = announced })
		s.round()
		s.round()
		s.is(settled4, settled6, "pe2 v4 LON cheapest", "pe2 v6 LON cheapest")
		if r, _ := s.c.Report(); r.Targets[1].State != "closed" || !strings.HasPrefix(r.Targets[1].Detail, "was gone: takes nothing for ") {
			t.Errorf("%+v", r.Targets[1])
		}
		s.round()
		s.round()
		s.is(calm...)
		if n := moved() - before; n != 4 {
			t.Errorf("%d moves of two slices there and back", n)
		}
		before = moved()
		for range 3600 { // an hour, a toggle each second
			s.change(func() { s.fra.Stance = policy.Stance{} })
			time.Sleep(time.Second)
			s.change(func() { s.fra.Stance, s.heard = announced, time.Now().Add(time.Hour) })
			time.Sleep(time.Second)
		}
		if n := moved() - before; n > 4 {
			t.Errorf("%d moves of two slices in two hours", n)
		}
	})
}

// TestUnknownIsAnAlarm: what is not known for longer than a moment.
func TestUnknownIsAnAlarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, file)
		defer s.run()()
		s.settle()
		s.change(func() { s.heard, s.all, s.web = time.Now().Add(-time.Minute), load.Value{}, load.Value{} })
		s.alarmed()
		time.Sleep(amissFor + s.opt.Config.Ingress.Interval)
		synctest.Wait()
		s.alarmed("ingress-demand-unknown", "ingress-target-unknown")
		s.change(func() {
			s.heard, s.all, s.web = time.Now(), load.Value{Value: 1, Known: true}, load.Value{Value: 1, Known: true}
		})
		s.alarmed()
	})
}

// TestRestart: a life that follows at once tells routers what they hold, and
// stays with it as long as nothing is known; one that does not begins anew.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, file)
		stop := s.run()
		s.settle()
		stop()
		kept, err := Remembered(s.opt.Path, &s.opt.Config.Ingress)
		if err != nil || len(kept) != 2 || len(kept[web4]) != 2 || kept[web6][pe1].NextHop.String() != "2001:db8:ff::1" {
			t.Fatalf("remembered %+v, %v", kept, err)
		}
		again := newScene(t, file)
		again.opt.Path, again.opt.Restore = s.opt.Path, true
		again.heard, again.own = time.Time{}, policy.Stance{Action: policy.Announce, Rung: 1}
		stop = again.run()
		again.is("pe1 v4 LON cheapest", "pe1 v6 LON cheapest", "pe2 v4 FRA target-unknown", "pe2 v6 FRA target-unknown")
		if again.hears("2001:db8:2::2", v6) != "2001:db8:ff::2" {
			t.Error("not told what it holds")
		}
		stop()
		anew := newScene(t, file)
		anew.opt.Path = s.opt.Path
		anew.heard = time.Time{}
		defer anew.run()()
		anew.is("pe1 v4 LON cheapest", "pe1 v6  waiting", "pe2 v4  target-unknown", "pe2 v6  target-unknown")
	})
}

// TestRestoreDamaged: a damaged file is an error, and no assignment.
func TestRestoreDamaged(t *testing.T) {
	s := newScene(t, file)
	if err := os.WriteFile(s.opt.Path, []byte(`[{"router":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if r, err := Remembered(s.opt.Path, &s.opt.Config.Ingress); err == nil || len(r) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	s.opt.Restore = true
	if _, err := New(s.opt); err == nil {
		t.Error("no error")
	}
}

// TestAdopt: another configuration; what it lacks is assigned no longer.
func TestAdopt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, file)
		defer s.run()()
		s.settle()
		next, err := config.Parse(strings.NewReader(strings.Replace(strings.Replace(file, "cost: 10}, {pop: FRA, cost: 20}", "cost: 30}, {pop: FRA, cost: 20}", 1),
			`    - name: pe2
      neighbors: [10.0.2.2, "2001:db8:2::2"]
      costs: [{pop: FRA, cost: 10}, {pop: LON, cost: 20}]
      demand: 5
`, "", 1)), "yaml", config.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.c.Adopt(t.Context(), next); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if s.hears("10.0.2.2", v4) != "" || s.hears("10.0.1.2", v4) != "10.255.0.1" {
			t.Error("the routers hear something else")
		}
		for range 3 {
			s.round()
		}
		s.is("pe1 v4 FRA cheapest", "pe1 v6 FRA cheapest")
	})
}

// TestSpeakerFails: what could not be told is told later, and is an alarm.
func TestSpeakerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, file)
		defer s.run()()
		s.settle()
		s.speaker.Fail(context.DeadlineExceeded)
		s.change(func() { s.fra.Stance = policy.Stance{} })
		s.alarmed("ingress-announce-failed")
		s.speaker.Fail(nil)
		s.round()
		s.alarmed()
		if s.hears("10.0.2.2", v4) != "10.255.0.1" {
			t.Error("not told")
		}
	})
}

// TestDryRun tells nobody and keeps nothing.
func TestDryRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, file)
		s.opt.DryRun = true
		defer s.run()()
		s.settle()
		if _, err := os.Stat(s.opt.Path); err == nil || len(s.speaker.Announced()) > 0 {
			t.Errorf("told %+v, %v", s.speaker.Announced(), err)
		}
	})
}
