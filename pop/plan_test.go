package pop_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
)

// stage is a world of several services and other POPs in which what a plan
// supposes can really happen.
type stage struct {
	*world
	quiet map[policy.POPID]time.Time // not heard since
	asked bool
}

func (s *stage) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.c = pop.New(pop.Options{
		Config: s.cfg, Announcer: s, Checks: ownChecks{s}, Fleet: answering{s}, Journal: s, Addresses: s, Loads: s,
		Store: s.store, Logger: slog.New(slog.DiscardHandler), Version: "test",
		Reload: func(_ context.Context, old *config.Config) (*config.Config, []string, error) { return s.reload(old) },
		Try:    func(old *config.Config, _, _ string) (*config.Config, []string, error) { return s.reload(old) },
	})
	s.finished.Go(func() {
		if err := s.store.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	s.finished.Go(func() {
		if err := s.c.Run(ctx); err != nil {
			s.t.Error(err)
		}
	})
	synctest.Wait()
}

type ownChecks struct{ s *stage }

func (ownChecks) Set([]health.Spec) error { return nil }
func (c ownChecks) States() []health.State {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return slices.Clone(c.s.states)
}

func (c ownChecks) ServiceStates(id policy.ServiceID) []health.State {
	return slices.DeleteFunc(c.States(), func(h health.State) bool { return h.Spec.Service != id })
}

// answering is a fleet that answers 100 ms after it was asked.
type answering struct{ s *stage }

func (a answering) View(now time.Time) policy.Fleet {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	f := a.s.fleet
	f.Peers = slices.Clone(f.Peers)
	for i := range f.Peers {
		p := &f.Peers[i]
		p.Heard = now
		if since, ok := a.s.quiet[p.POP]; ok {
			p.Heard = since
		}
		if p.Source == "status" {
			p.Asked = p.Heard
		}
	}
	return f
}

func (a answering) Poke(time.Time) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	a.s.poked++
	if a.s.asked {
		return
	}
	a.s.asked = true
	a.s.finished.Go(func() {
		time.Sleep(100 * time.Millisecond)
		a.s.mu.Lock()
		a.s.asked = false
		a.s.mu.Unlock()
		select {
		case a.s.changed <- struct{}{}:
		default:
		}
	})
}
func (a answering) Changed() <-chan struct{}                 { return a.s.changed }
func (a answering) Peers(time.Time) []fleet.PeerReport       { return nil }
func (a answering) Disagreements() []fleet.Disagreement      { return nil }
func (a answering) Differences(time.Time) []fleet.Difference { return nil }
func prefix(s string) policy.SliceID                         { return policy.SliceID(netip.MustParsePrefix(s)) }
func (s *stage) Set(_ context.Context, set []bgp.Announcement) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set = set
	s.log = append(s.log, "set")
	return nil
}

// check makes a check say something.
func (s *stage) check(svc policy.ServiceID, id policy.CheckID, v policy.Verdict) {
	s.mu.Lock()
	var st health.State
	for i := range s.states {
		if h := &s.states[i]; h.Spec.Service == svc && (id == "" || h.Spec.ID == id) {
			h.Verdict, h.Since, h.DetectedAt = v, time.Now(), time.Now()
			h.Last = health.Result{Outcome: map[policy.Verdict]health.Outcome{policy.Up: health.Pass, policy.Degraded: health.Warn, policy.Down: health.Fail}[v]}
			st = *h
		}
	}
	s.mu.Unlock()
	s.c.OnVerdict(st)
	synctest.Wait()
}

func newStage(t *testing.T, r *rand.Rand) *stage {
	s := &stage{world: newWorld(t, t.TempDir()), quiet: map[policy.POPID]time.Time{}}
	base := s.cfg.Services[0]
	s.cfg.Services = nil
	secs := func(all ...int) time.Duration { return time.Duration(all[r.IntN(len(all))]) * time.Second }
	for i := range 1 + r.IntN(3) {
		svc := base
		svc.ID = policy.ServiceID(fmt.Sprintf("s%d", i))
		svc.Slices = []policy.SliceID{prefix(fmt.Sprintf("192.0.%d.0/24", i)), prefix(fmt.Sprintf("2001:db8:%d::/48", i+1))}
		if r.IntN(3) == 0 {
			svc.Cover = []policy.SliceID{prefix(fmt.Sprintf("2001:db8:%d::/47", 2*i+20))}
		}
		svc.HoldDown, svc.Dwell, svc.DrainWait = secs(0, 3, 10), secs(0, 5, 30), secs(0, 1, 20)
		svc.WithdrawOnDown = r.IntN(4) > 0
		svc.MinPOPs = r.IntN(3)
		svc.Damping = policy.Damping{Penalty: 1000, Suppress: 2000, Reuse: 750, HalfLife: time.Minute, Max: 5 * time.Minute}
		svc.Checks = []config.Check{{ID: "a", Weight: 1}, {ID: "b", Weight: 1, Shared: r.IntN(3) == 0}}
		if r.IntN(2) == 0 {
			svc.Combine = health.Rule{Mode: "any", DegradedBelow: 1}
		}
		for _, c := range svc.Checks {
			spec := c.Spec(svc.ID, nil)
			s.states = append(s.states, health.State{Spec: &spec, Verdict: policy.Up, Last: health.Result{Outcome: health.Pass}})
		}
		s.cfg.Services = append(s.cfg.Services, svc)
	}
	s.cfg.Limits = policy.Limits{
		BlastSlices: r.IntN(4), BlastInterval: secs(1, 10), StaleAfter: secs(2, 5), CorrelatedShare: []float64{0, 0.5}[r.IntN(2)], CorrelatedWindow: secs(5, 60),
	}
	s.fleet.Configured = r.IntN(5) > 0
	for i := range r.IntN(4) {
		p := policy.Peer{POP: policy.POPID([]string{"AMS", "FRA", "ZRH"}[i]), Capacity: 1, Source: []string{"status", "rib"}[r.IntN(2)], Slices: map[policy.SliceID]policy.PeerSlice{}}
		for _, svc := range s.cfg.Services {
			for _, id := range svc.Slices {
				if r.IntN(3) > 0 {
					p.Slices[id] = policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}
				}
			}
		}
		if s.fleet.Configured {
			s.fleet.Peers = append(s.fleet.Peers, p)
		}
		if r.IntN(5) == 0 {
			s.quiet[p.POP] = time.Time{} // never heard
		}
	}
	return s
}

// random is something that may happen, as a supposition and as an act.
func (s *stage) random(r *rand.Rand) (api.Supposition, func()) {
	svc := s.cfg.Services[r.IntN(len(s.cfg.Services))]
	of := api.Supposition{Service: svc.ID}
	switch r.IntN(4) {
	case 0:
		of.Service = ""
	case 1:
		of = api.Supposition{Slice: svc.Slices[r.IntN(len(svc.Slices))]}
	}
	intent := func(in policy.Intent) func() {
		return func() {
			in.Service, in.Slice, in.By, in.Force, in.At = of.Service, of.Slice, "eng", of.Force, time.Now()
			if of.For > 0 {
				in.Until = in.At.Add(time.Duration(of.For))
			}
			if _, err := s.c.Intent(s.t.Context(), in); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	of.Force = r.IntN(4) == 0
	if r.IntN(4) == 0 {
		of.For = api.Duration(time.Duration(1+r.IntN(40)) * time.Second)
	}
	switch k := r.IntN(14); {
	case k == 13:
		return s.another(r)
	case k == 12:
		st, err := s.c.Status(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if len(st.Intents) > 0 {
			in := st.Intents[r.IntN(len(st.Intents))]
			kinds := []policy.IntentKind{in.Kind}
			of = api.Supposition{Kind: api.SupposeUndrain, Service: in.Service, Slice: in.Slice}
			if in.Kind != policy.IntentDrain {
				of.Kind, kinds = api.SupposeRelease, []policy.IntentKind{policy.IntentHold, policy.IntentPin}
			}
			return of, func() {
				if _, err := s.c.Release(s.t.Context(), api.Released{Kinds: kinds, Service: of.Service, Slice: of.Slice, By: "eng"}); err != nil {
					s.t.Fatal(err)
				}
			}
		}
		return s.random(r)
	case k == 0:
		of.Kind, of.Wait = api.SupposeDrain, api.Duration(time.Duration(r.IntN(8))*time.Second)
		return of, intent(policy.Intent{Kind: policy.IntentDrain, Wait: time.Duration(of.Wait)})
	case k == 1:
		of.Kind = api.SupposeHold
		return of, intent(policy.Intent{Kind: policy.IntentHold})
	case k == 2:
		of.Kind, of.Stance = api.SupposePin, &policy.Stance{Action: policy.Announce, Rung: r.IntN(2)}
		return of, intent(policy.Intent{Kind: policy.IntentPin, Stance: *of.Stance})
	case k == 3:
		of.Kind = api.SupposeWithdraw
		return of, intent(policy.Intent{Kind: policy.IntentPin})
	case k == 4:
		of = api.Supposition{Kind: api.SupposeStop}
		return of, intent(policy.Intent{Kind: policy.IntentStop})
	case k < 9 || len(s.fleet.Peers) == 0:
		of = api.Supposition{Kind: api.SupposeCheck, Service: svc.ID, Check: []policy.CheckID{"a", "b"}[r.IntN(2)], Verdict: policy.Verdict(r.IntN(4))}
		return of, func() { s.check(of.Service, of.Check, of.Verdict) }
	}
	p := &s.fleet.Peers[r.IntN(len(s.fleet.Peers))]
	of = api.Supposition{Kind: api.SupposePOP, POP: p.POP, Is: []string{api.IsGone, api.IsSilent, api.IsDown, api.IsUp}[r.IntN(4)]}
	return of, func() {
		s.mu.Lock()
		delete(s.quiet, p.POP)
		was := p.Slices
		p.Slices = map[policy.SliceID]policy.PeerSlice{}
		for id, c := range was {
			switch of.Is {
			case api.IsGone:
				c.Stance, c.Leaving = policy.Stance{}, false
			case api.IsDown:
				if c.Verdict != policy.Down {
					c.Verdict, c.DownSince = policy.Down, time.Now()
				}
				c.Leaving = true
			}
			p.Slices[id] = c
		}
		for _, svc := range s.cfg.Services {
			for _, id := range slices.Concat(svc.Slices, svc.Cover) {
				if of.Is == api.IsUp {
					p.Slices[id] = policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}
				}
			}
		}
		if of.Is == api.IsSilent {
			s.quiet[p.POP] = time.Now()
		}
		s.mu.Unlock()
		s.changed <- struct{}{}
		synctest.Wait()
	}
}

// another is a reload that changes services, and adds and removes some.
func (s *stage) another(r *rand.Rand) (api.Supposition, func()) {
	cfg := *s.cfg
	cfg.Services = slices.Clone(s.cfg.Services)
	for i := range cfg.Services {
		if svc := &cfg.Services[i]; r.IntN(2) == 0 {
			svc.HoldDown, svc.WithdrawOnDown = time.Duration(r.IntN(9))*time.Second, r.IntN(2) == 0
		}
	}
	if len(cfg.Services) > 1 && r.IntN(2) == 0 {
		cfg.Services = cfg.Services[1:]
	}
	var states []health.State
	if r.IntN(2) == 0 {
		svc := cfg.Services[0]
		svc.ID, svc.Cover = policy.ServiceID(fmt.Sprintf("new%d", len(s.states))), nil
		svc.Slices = []policy.SliceID{prefix(fmt.Sprintf("198.51.%d.0/24", len(s.states)))}
		svc.Checks = []config.Check{{ID: "a", Weight: 1}, {ID: "b", Weight: 1}}
		cfg.Services = append(cfg.Services, svc)
		for _, c := range svc.Checks {
			spec := c.Spec(svc.ID, nil)
			states = append(states, health.State{Spec: &spec})
		}
	}
	s.reload = func(*config.Config) (*config.Config, []string, error) { return &cfg, []string{"other"}, nil }
	return api.Supposition{Kind: api.SupposeConfig, Config: "other"}, func() {
		s.mu.Lock()
		s.states = slices.DeleteFunc(append(s.states, states...), func(h health.State) bool {
			return !slices.ContainsFunc(cfg.Services, func(svc config.Service) bool { return svc.ID == h.Spec.Service })
		})
		s.mu.Unlock()
		if _, err := s.c.Reload(s.t.Context(), "eng"); err != nil {
			s.t.Fatal(err)
		}
		s.cfg = &cfg
		time.Sleep(50 * time.Millisecond)
		for _, st := range states {
			s.check(st.Spec.Service, st.Spec.ID, policy.Up)
		}
	}
}

// all is everything that a plan must leave alone.
func (s *stage) all() string {
	synctest.Wait()
	saved := s.c.Saved(s.t.Context())
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := json.Marshal([]any{saved, s.entries, s.log, s.poked, s.fleet, s.set, len(s.cfg.Services), s.cfg.Limits, len(s.states)})
	if err != nil {
		s.t.Fatal(err)
	}
	return string(text)
}

// TestPlanIsWhatHappens: whatever the POP has been through, a plan changes
// nothing, and when what it supposes really happens, each slice does what it
// foretold, when it foretold it.
func TestPlanIsWhatHappens(t *testing.T) {
	kinds, moves := map[api.SupposeKind]int{}, 0
	seeds := 200
	if testing.Short() {
		seeds = 40
	}
	if n, err := strconv.Atoi(os.Getenv("CATCHMENT_PLANS")); err == nil {
		seeds = n
	}
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 7))
			s := newStage(t, r)
			s.begin()
			defer s.stop()
			var happened []string
			for range r.IntN(6) {
				what, act := s.random(r)
				if what.Kind == api.SupposeStop {
					continue
				}
				happened = append(happened, fmt.Sprintf("%+v", what))
				act()
				time.Sleep(time.Duration(r.IntN(20000)) * time.Millisecond)
				synctest.Wait()
			}
			if len(s.quiet) > 0 { // who is heard now is taken to be heard on
				time.Sleep(s.cfg.Limits.StaleAfter + time.Second)
			}
			what, act := s.random(r)
			before := s.all()
			p, err := s.c.Plan(t.Context(), api.PlanRequest{Suppose: []api.Supposition{what}, For: api.Duration(10 * time.Minute)})
			if err != nil {
				t.Fatalf("seed %d: %+v: %v", seed, what, err)
			}
			if after := s.all(); after != before {
				t.Fatalf("seed %d: the plan of %+v changed\n%s\nto\n%s", seed, what, before, after)
			}
			begin := time.Now()
			n := len(s.entries)
			act()
			time.Sleep(10*time.Minute + 2*time.Second)
			synctest.Wait()
			kinds[what.Kind]++
			for _, sl := range p.Slices {
				var want, got []string
				for _, st := range sl.Steps {
					want = append(want, fmt.Sprintf("%v at %v", st.Stance, st.At))
				}
				late := time.Duration(0)
				for _, e := range s.entries[n:] {
					if e.Kind != journal.Decision || e.Slice != sl.Slice || *e.Before == *e.After || e.Time.Sub(begin) > 10*time.Minute {
						continue
					}
					got = append(got, fmt.Sprintf("%v at %v", *e.After, e.Time.Sub(begin)))
					if i := len(got) - 1; i < len(sl.Steps) && sl.Steps[i].Stance == *e.After {
						late = max(late, (e.Time.Sub(begin) - time.Duration(sl.Steps[i].At)).Abs())
					} else {
						late = time.Hour
					}
				}
				moves += len(got)
				if len(got) != len(want) || late > 1200*time.Millisecond {
					t.Fatalf("seed %d: after %s\n%+v\n%v planned %v\nhappened %v\n%s", seed, strings.Join(happened, "\n"), what, sl.Slice, want, got, s.journaled(n, sl.Slice))
				}
			}
		})
		if t.Failed() {
			return
		}
	}
	if len(kinds) < 9 || moves < seeds {
		t.Errorf("%v and %d moves: too little was tried", kinds, moves)
	}
}

func (s *stage) journaled(from int, id policy.SliceID) string {
	var out []string
	for _, e := range s.entries[from:] {
		if e.Slice == id {
			out = append(out, e.Time.Format("15:04:05.000 ")+e.Text)
		}
	}
	return strings.Join(out, "\n")
}

// TestPlanWords: the times, the guards and what can be done about them, as a
// person reads them.
func TestPlanWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.cfg.Services[0].Dwell = 30 * time.Second
		w.cfg.Services[0].DrainIdle = 3
		w.cfg.BGP = map[string]any{"neighbors": []any{map[string]any{"config": map[string]any{"neighbor-address": "10.0.0.2"}}}}
		w.fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA", Source: "status", Slices: map[policy.SliceID]policy.PeerSlice{
			web: {Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up},
		}}}}
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.pass(time.Second)
		drain := api.Supposition{Kind: api.SupposeDrain, Service: "web"}
		for _, tc := range []struct {
			suppose []api.Supposition
			want    string
		}{
			{[]api.Supposition{drain},
				"drain of web | at once drain, heard by [10.0.0.2]; 20s after the drain wait withdraw, heard by [] |  | "},
			{[]api.Supposition{drain, {Kind: api.SupposePOP, POP: "FRA", Is: api.IsGone}},
				"drain of web, POP FRA is gone | at once drain, heard by [10.0.0.2] | last-pop weaken 20s to 0s | Have another POP announce 192.0.2.0/24 first, or lower min-pops or min-capacity of web. catchment drain --slice 192.0.2.0/24 --force does it over the guards; the journal keeps who did."},
			{[]api.Supposition{{Kind: api.SupposePOP, POP: "FRA", Is: api.IsSilent}, {Kind: api.SupposeCheck, Service: "web", Check: "http", Verdict: policy.Down}},
				"POP FRA is silent, check web/http says down | at once withdraw, heard by []; 5s once FRA is stale announce rung 1, heard by [10.0.0.2] | stale weaken 5s to 0s; last-pop wait 5.1s to 0s | Mend the way to the POPs that are not heard (catchment pop says why). Have another POP announce 192.0.2.0/24 first, or lower min-pops or min-capacity of web. catchment drain --slice 192.0.2.0/24 --force does it over the guards; the journal keeps who did."},
			{[]api.Supposition{{Kind: api.SupposeNeighbor, Neighbor: netip.MustParseAddr("10.0.0.2"), Is: api.IsDown}},
				"neighbor 10.0.0.2 is down | at once announce, heard by [] |  | "},
			{[]api.Supposition{{Kind: api.SupposePin, Service: "web", Stance: &policy.Stance{Action: policy.Announce, Rung: 1}, For: api.Duration(time.Minute)}},
				"pin of web to announce rung 1 for 1m0s | at once announce rung 1, heard by [10.0.0.2]; 1m10s after the hold-down announce, heard by [10.0.0.2] |  | "},
			{[]api.Supposition{{Kind: api.SupposeHold}}, "hold of all services |  |  | "},
		} {
			p, err := w.c.Plan(t.Context(), api.PlanRequest{Suppose: tc.suppose})
			if err != nil {
				t.Errorf("%s: %v", tc.want, err)
				continue
			}
			lacking := slices.ContainsFunc(p.Notes, func(n string) bool {
				return strings.HasPrefix(n, "Without FRA too few other POPs announce 192.0.2.0/24: ")
			})
			if lacking != strings.Contains(tc.want, "POP FRA") {
				t.Errorf("%s: notes %q", tc.want, p.Notes)
			}
			if got := inWords(p); got != tc.want || !p.Settled {
				t.Errorf("planned (settled %v)\n%s\nwant\n%s", p.Settled, got, tc.want)
			}
		}
	})
}

// TestPlanOfAStop: a stop has less time than the service's drain, and what a
// guard keeps is announced when the daemon is gone: as it happens then.
func TestPlanOfAStop(t *testing.T) {
	for _, tc := range []struct {
		alone bool
		want  string
	}{
		{false, "drain at 0s; withdraw at 17s"},
		{true, "drain at 0s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t, t.TempDir())
			w.cfg.Services[0].DrainWait = 2 * time.Minute
			w.cfg.Stop.Deadline = 20 * time.Second
			if tc.alone {
				w.fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA", Source: "status"}}}
			}
			w.start()
			defer w.stop()
			w.verdict(policy.Up)
			w.pass(time.Second)
			p, err := w.c.Plan(t.Context(), api.PlanRequest{Suppose: []api.Supposition{{Kind: api.SupposeStop}}})
			if err != nil || len(p.Slices) != 1 {
				t.Fatalf("%+v, %v", p, err)
			}
			var foretold, happened []string
			for _, st := range p.Slices[0].Steps {
				foretold = append(foretold, fmt.Sprintf("%v at %v", st.Stance, time.Duration(st.At)))
			}
			notes := strings.Join(p.Notes, " ")
			if p.Until != api.Duration(20*time.Second) || !strings.Contains(notes, "after 20s at the latest (stop.deadline)") {
				t.Errorf("looked %v ahead; notes %s", p.Until, notes)
			}
			n, begin := len(w.entries), time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), w.cfg.Stop.Deadline)
			defer cancel()
			if err := w.c.Stop(ctx, w, "signal"); err != nil {
				t.Fatal(err)
			}
			for _, e := range w.entries[n:] {
				if e.Kind == journal.Decision && *e.Before != *e.After {
					happened = append(happened, fmt.Sprintf("%v at %v", *e.After, e.Time.Sub(begin)))
				}
			}
			if a, b := strings.Join(foretold, "; "), strings.Join(happened, "; "); a != tc.want || b != tc.want {
				t.Errorf("alone %v: foretold %s; happened %s; want %s", tc.alone, a, b, tc.want)
			}
		})
	}
}

func inWords(p api.Plan) string {
	var steps, objections, advice []string
	for _, s := range p.Slices {
		for _, st := range s.Steps {
			at := ""
			if st.At > 0 {
				at = st.At.String() + " "
			}
			steps = append(steps, fmt.Sprintf("%s%s %v, heard by %v", at, st.When, st.Stance, st.HeardBy))
		}
		for _, o := range s.Objections {
			objections = append(objections, fmt.Sprintf("%s %s %v to %v", o.Guard, o.Says, o.At, o.Ends))
		}
		advice = append(advice, s.Advice...)
	}
	return strings.Join(p.Suppose, ", ") + " | " + strings.Join(steps, "; ") + " | " + strings.Join(objections, "; ") + " | " + strings.Join(advice, " ")
}

// TestPlanRefuses what makes no sense, naming what there is.
func TestPlanRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA"}}}
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		for _, tc := range []struct {
			s    api.Supposition
			code api.Code
			want string
		}{
			{api.Supposition{Kind: "drian"}, api.Invalid, `no kind "drian"`},
			{api.Supposition{Kind: api.SupposeDrain, Service: "wbe"}, api.NotFound, `no service "wbe" here; there are: web`},
			{api.Supposition{Kind: api.SupposeDrain, Slice: prefix("10.0.0.0/8")}, api.NotFound, "no slice 10.0.0.0/8 here"},
			{api.Supposition{Kind: api.SupposeDrain, Slice: policy.SliceID(netip.MustParsePrefix("192.0.2.1/24"))}, api.Invalid, "meant is 192.0.2.0/24"},
			{api.Supposition{Kind: api.SupposeUndrain, Service: "web"}, api.NotFound, "nothing to release for web"},
			{api.Supposition{Kind: api.SupposePin, Service: "web"}, api.Invalid, "a stance is needed"},
			{api.Supposition{Kind: api.SupposeCheck, Service: "web", Check: "htpt"}, api.NotFound, `web has no check "htpt"; there are: http`},
			{api.Supposition{Kind: api.SupposeCheck}, api.Invalid, "no service"},
			{api.Supposition{Kind: api.SupposePOP, POP: "AMS", Is: api.IsGone}, api.NotFound, `no other POP "AMS"; there are: FRA`},
			{api.Supposition{Kind: api.SupposePOP, POP: "FRA", Is: "ill"}, api.Invalid, "want one of [gone silent down up]"},
			{api.Supposition{Kind: api.SupposeNeighbor, Neighbor: netip.MustParseAddr("10.9.9.9"), Is: api.IsDown}, api.NotFound, "no neighbor 10.9.9.9; there are: 10.0.0.2"},
			{api.Supposition{Kind: api.SupposeConfig}, api.Refused, "cannot reload"},
		} {
			_, err := w.c.Plan(t.Context(), api.PlanRequest{Suppose: []api.Supposition{tc.s}})
			var e *api.Error
			if !errors.As(err, &e) || e.Code != tc.code || !strings.Contains(e.Message, tc.want) {
				t.Errorf("%+v: %v, want %s %q", tc.s, err, tc.code, tc.want)
			}
		}
		if _, err := w.c.Plan(t.Context(), api.PlanRequest{}); err == nil {
			t.Error("a plan of nothing")
		}
	})
}
