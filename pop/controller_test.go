package pop_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
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

var web = policy.SliceID(netip.MustParsePrefix("192.0.2.0/24"))

// world is everything around a controller, in memory. Each call is a line in
// its log, so that order can be judged.
type world struct {
	t  *testing.T
	mu sync.Mutex

	log      []string
	set      []bgp.Announcement
	failSet  error
	deaf     map[netip.Prefix]bool // prefixes that no session carries
	states   []health.State
	fleet    policy.Fleet
	changed  chan struct{}
	poked    int
	reports  []fleet.PeerReport
	entries  []journal.Entry
	missing  []pop.VIP
	unnoted  error // of addresses that are in place
	load     map[netip.Addr]int
	reload   func(*config.Config) (*config.Config, []string, error)
	midway   func()          // called in the midst of each round
	asked    context.Context // of the last reload
	invalid  map[netip.Prefix]string
	session  bgp.SessionState
	cfg      *config.Config
	c        *pop.Controller
	store    *pop.Store
	core     pop.Core
	differs  []fleet.Difference
	cancel   context.CancelFunc
	finished sync.WaitGroup
}

func newWorld(t *testing.T, dir string) *world {
	w := &world{t: t, changed: make(chan struct{}, 1), load: map[netip.Addr]int{}, session: bgp.Established}
	svc := config.Service{
		Service: policy.Service{
			ID: "web", Slices: []policy.SliceID{web}, Rungs: 2, DegradedRung: 1, SharedRung: 1, LastRung: 1, WithdrawOnDown: true,
			HoldDown: 10 * time.Second, DrainWait: 20 * time.Second, MinPOPs: 1,
		},
		VIPs:    config.VIPs{Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Device: "lo"},
		Ladder:  []config.Rung{{Name: "normal"}, {Name: "backup", Attributes: bgp.Attributes{Prepend: 3}}},
		Drain:   config.Rung{Name: "drain", Attributes: bgp.Attributes{Communities: []bgp.Community{bgp.GracefulShutdown}}},
		Combine: health.Rule{Mode: "all"},
		Checks:  []config.Check{{ID: "http"}},
	}
	w.cfg = &config.Config{POP: "LON", Services: []config.Service{svc}, Limits: policy.Limits{StaleAfter: 5 * time.Second, BlastInterval: time.Second}}
	w.store = pop.NewStore(dir, slog.New(slog.DiscardHandler))
	w.store.SetClock(func() (string, time.Duration) { return "boot", time.Since(time.Unix(0, 0)) })
	return w
}

func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	w.cancel = cancel
	w.c = pop.New(pop.Options{
		Config: w.cfg, Announcer: w, Checks: checks{w}, Fleet: peers{w}, Journal: w, Addresses: w, Doors: w, Loads: w, RPKI: w, Core: w.core,
		Store: w.store, Logger: slog.New(slog.DiscardHandler), Version: "test",
		Reload: func(ctx context.Context, old *config.Config) (*config.Config, []string, error) {
			w.asked = ctx
			return w.reload(old)
		},
	})
	w.finished.Go(func() {
		if err := w.store.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.finished.Go(func() {
		if err := w.c.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	synctest.Wait()
}

func (w *world) stop() {
	w.cancel()
	w.finished.Wait()
}

func (w *world) say(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

// lines returns and forgets what has happened.
func (w *world) lines() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := strings.Join(w.log, "; ")
	w.log = nil
	return s
}

func (w *world) Set(ctx context.Context, set []bgp.Announcement) error {
	if err := ctx.Err(); err != nil {
		w.say("set under a context that has ended")
		return err
	}
	var parts []string
	for _, a := range set {
		s := a.Prefix.String()
		if a.Prepend > 0 {
			s += fmt.Sprintf(" prepend %d", a.Prepend)
		}
		for _, c := range a.Communities {
			s += " " + c.String()
		}
		parts = append(parts, s)
	}
	w.say("set [%s]", strings.Join(parts, ", "))
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failSet == nil {
		w.set = set
	}
	return w.failSet
}

func (w *world) Announced() []bgp.Announcement {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.set
}

func (w *world) OnWire(p netip.Prefix) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.session == bgp.Established && !w.deaf[p] && slices.ContainsFunc(w.set, func(a bgp.Announcement) bool { return a.Prefix == p })
}

func (w *world) Peers() []bgp.PeerState {
	w.mu.Lock()
	defer w.mu.Unlock()
	return []bgp.PeerState{{Address: netip.MustParseAddr("10.0.0.2"), State: w.session}}
}

func (w *world) Ensure(_ context.Context, vips []pop.VIP) ([]pop.VIP, error) {
	var names []string
	for _, v := range vips {
		names = append(names, v.Address.String()+" on "+v.Device)
	}
	w.say("addresses %v", names)
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.missing) > 0 && len(vips) > 0 {
		return w.missing, errors.New("no such device")
	}
	return nil, w.unnoted
}

// Refuse implements pop.Doors.
func (w *world) Refuse(addrs []netip.Addr) { w.say("refuse %v", addrs) }

func (w *world) Connections(context.Context, []netip.Addr) (map[netip.Addr]int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.load, nil
}

func (w *world) Append(e journal.Entry) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.Seq = uint64(len(w.entries) + 1)
	e.Time = time.Now()
	w.entries = append(w.entries, e)
}

func (w *world) Recent(f journal.Filter) []journal.Entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []journal.Entry
	for _, e := range w.entries {
		if !e.Time.Before(f.Since) {
			out = append(out, e)
		}
	}
	return out
}

func (w *world) Read(f journal.Filter) ([]journal.Entry, error) { return w.Recent(f), nil }

func (w *world) Each(f journal.Filter, yield func(journal.Entry) error) error {
	for _, e := range w.Recent(f) {
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}
func (w *world) Err() error { return nil }

func (w *world) Stop(context.Context) error  { w.say("bgp stop"); return nil }
func (w *world) Leave(context.Context) error { w.say("bgp leave"); return nil }

type checks struct{ w *world }

func (c checks) Set([]health.Spec) error { return nil }
func (c checks) States() []health.State {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	return slices.Clone(c.w.states) // as the runner does
}

func (c checks) ServiceStates(policy.ServiceID) []health.State { return c.States() }

type peers struct{ w *world }

func (p peers) View(now time.Time) policy.Fleet {
	if p.w.midway != nil {
		p.w.midway()
	}
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	f := p.w.fleet
	f.Peers = slices.Clone(f.Peers)
	for i := range f.Peers {
		f.Peers[i].Heard, f.Peers[i].Asked = now, now
	}
	return f
}

func (p peers) Poke(time.Time) {
	p.w.mu.Lock()
	p.w.poked++
	p.w.mu.Unlock()
}
func (p peers) Changed() <-chan struct{} { return p.w.changed }
func (p peers) Peers(time.Time) []fleet.PeerReport {
	p.w.mu.Lock()
	defer p.w.mu.Unlock()
	return slices.Clone(p.w.reports)
}

func (p peers) Differences(time.Time) []fleet.Difference { return p.w.differs }
func (p peers) Disagreements() []fleet.Disagreement      { return nil }

func (w *world) verdict(v policy.Verdict) {
	w.mu.Lock()
	now := time.Now()
	w.states = []health.State{{
		Spec:    &health.Spec{ID: "http", Service: "web", Interval: time.Second, Timeout: time.Second, Weight: 1},
		Verdict: v, Since: now, LastAlive: now, DetectedAt: now, Last: health.Result{Detail: "refused"},
	}}
	s := w.states[0]
	w.mu.Unlock()
	w.c.OnVerdict(s)
}

// alive keeps the deadman quiet.
func (w *world) alive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.states {
		w.states[i].LastAlive = time.Now()
	}
}

func (w *world) pass(d time.Duration) {
	for ; d > 0; d -= time.Second {
		time.Sleep(min(d, time.Second))
		w.alive()
	}
	synctest.Wait()
}

func (w *world) expect(want string) {
	w.t.Helper()
	if got := w.lines(); got != want {
		w.t.Fatalf("happened: %s\nwant:     %s", got, want)
	}
}

const (
	vipOn   = "addresses [192.0.2.1 on lo]"
	vipOff  = "addresses []"
	setWeb  = "set [192.0.2.0/24]"
	setNone = "set []"
)

func TestAnnounceAndWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.expect(vipOff + "; " + setNone)
		w.verdict(policy.Up)
		w.expect(vipOn + "; " + setWeb)
		w.pass(time.Minute)
		w.expect("") // nothing is sent twice
		w.verdict(policy.Degraded)
		w.expect("set [192.0.2.0/24 prepend 3]")
		w.verdict(policy.Down)
		w.expect(setNone + "; " + vipOff)
		w.verdict(policy.Up)
		w.pass(9 * time.Second)
		w.expect("")
		w.pass(2 * time.Second)
		w.expect(vipOn + "; " + setWeb)
		var texts []string
		for _, e := range w.entries {
			texts = append(texts, string(e.Kind)+" "+e.Text)
		}
		all := strings.Join(texts, "\n")
		for _, want := range []string{
			"start catchmentd test started",
			"decision 192.0.2.0/24: withdraw -> announce because healthy",
			"decision 192.0.2.0/24: announce rung 1 -> withdraw because check-down: http: refused",
			"decision 192.0.2.0/24: withdraw because hold-down",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("the journal lacks %q:\n%s", want, all)
			}
		}
	})
}

func TestKeptAddressesComeFirstAndStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.cfg.Services[0].VIPs.Keep = true
		w.start()
		defer w.stop()
		w.expect(vipOn + "; " + setNone)
		w.verdict(policy.Up)
		w.expect(setWeb)
		w.verdict(policy.Down)
		w.expect(setNone)
	})
}

func TestNoAnnouncementWithoutItsAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.missing = []pop.VIP{{Address: netip.MustParseAddr("192.0.2.1"), Device: "lo"}}
		w.start()
		defer w.stop()
		w.lines()
		w.verdict(policy.Up)
		if got := w.lines(); !strings.Contains(got, setNone) || strings.Contains(got, setWeb) {
			t.Fatal(got)
		}
		st, err := w.c.Status(t.Context())
		if err != nil || len(st.Alarms) != 1 || st.Alarms[0].Name != "address" {
			t.Fatalf("alarms %v, %v", st.Alarms, err)
		}
		w.mu.Lock()
		w.missing = nil
		w.mu.Unlock()
		w.pass(2 * time.Second)
		if got := w.lines(); !strings.HasSuffix(got, setWeb) {
			t.Fatal(got)
		}
	})
}

func TestSetThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.lines()
		w.mu.Lock()
		w.failSet = errors.New("busy")
		w.mu.Unlock()
		w.verdict(policy.Up)
		w.expect(vipOn + "; " + setWeb)
		w.mu.Lock()
		w.failSet = nil
		w.mu.Unlock()
		w.pass(1100 * time.Millisecond)
		w.expect(setWeb)
		w.pass(time.Minute)
		w.expect("")
	})
}

func TestDrainUndrainAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.cfg.Services[0].DrainIdle = 1
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		res, err := w.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentDrain, Service: "web", By: "eng"})
		if err != nil || len(res.Slices) != 1 || res.Slices[0].Stance.Action != policy.Drain || res.Slices[0].Rung != "drain" {
			t.Fatalf("%+v, %v", res, err)
		}
		w.expect("set [192.0.2.0/24 graceful-shutdown]")
		if _, err := w.c.Release(t.Context(), api.Released{Kinds: []policy.IntentKind{policy.IntentDrain}, Service: "web", By: "eng"}); err != nil {
			t.Fatal(err)
		}
		w.expect(setWeb)
		var e *api.Error
		if _, err := w.c.Release(t.Context(), api.Released{Service: "web"}); !errors.As(err, &e) || e.Code != api.NotFound {
			t.Errorf("released what is not there: %v", err)
		}
		if _, err := w.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentDrain, By: "eng"}); err != nil {
			t.Fatal(err)
		}
		w.lines()
		undrain := func(r api.Released) error {
			r.Kinds, r.By = []policy.IntentKind{policy.IntentDrain}, "eng"
			_, err := w.c.Release(t.Context(), r)
			return err
		}
		for _, r := range []api.Released{{Service: "web"}, {Slice: policy.SliceID(netip.MustParsePrefix("192.0.2.0/24"))}} {
			if err := undrain(r); err == nil || !strings.HasSuffix(err.Error(), "; there is a drain of all services") {
				t.Errorf("undrain of a part: %v", err)
			}
		}
		if _, err := w.c.Release(t.Context(), api.Released{Kinds: []policy.IntentKind{policy.IntentHold}, Service: "web"}); err == nil || strings.Contains(err.Error(), "there is a") {
			t.Errorf("release of holds: %v", err)
		}
		if err := undrain(api.Released{}); err != nil {
			t.Fatal(err)
		}
		w.lines()
		if _, err := w.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentDrain, Service: "wbe"}); !errors.As(err, &e) || !strings.Contains(e.Message, `no service "wbe" here; there are: web`) {
			t.Errorf("took an unknown service: %v", err)
		}
		w.load[netip.MustParseAddr("192.0.2.1")] = 5
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w.finished.Go(func() {
			time.Sleep(7 * time.Second)
			w.mu.Lock()
			w.load[netip.MustParseAddr("192.0.2.1")] = 0
			w.mu.Unlock()
		})
		if err := w.c.Stop(ctx, w, "signal"); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took < 7*time.Second || took > 10*time.Second {
			t.Errorf("stopping took %v; the last connection ended after 7s", took)
		}
		w.expect("set [192.0.2.0/24 graceful-shutdown]; " + setNone + "; " + vipOff + "; bgp stop")
	})
}

func TestStopOfTheLastPOPLeavesItsRoutes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA", Source: "status"}}}
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := w.c.Stop(ctx, w, "signal"); err != nil {
			t.Fatal(err)
		}
		w.expect("set [192.0.2.0/24 graceful-shutdown]; bgp leave")
	})
}

func TestStopIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		ctx, cancel := context.WithCancel(t.Context())
		w.finished.Go(func() { time.Sleep(time.Second); cancel() })
		if err := w.c.Stop(ctx, w, "signal"); err != nil {
			t.Fatal(err)
		}
		w.expect("set [192.0.2.0/24 graceful-shutdown]; bgp stop")
	})
}

func TestRestart(t *testing.T) {
	for _, away := range []time.Duration{time.Second, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			dir := t.TempDir()
			w := newWorld(t, dir)
			w.start()
			w.verdict(policy.Up)
			if _, err := w.c.Intent(t.Context(), policy.Intent{Kind: policy.IntentHold, Slice: web, By: "eng", Until: time.Now().Add(30 * time.Minute)}); err != nil {
				t.Fatal(err)
			}
			w.pass(2 * time.Second)
			if err := w.c.Leave(t.Context(), w, "signal"); err != nil {
				t.Fatal(err)
			}
			w.stop()
			w.store.Touch(time.Now())
			w = newWorld(t, dir)
			time.Sleep(away)
			w.start()
			defer w.stop()
			want := vipOn + "; " + setWeb // before any check has said anything
			if away > pop.RestoreWithin {
				want = vipOff + "; " + setNone
			}
			w.expect(want)
			st, err := w.c.Status(t.Context())
			if err != nil || (len(st.Intents) == 1) != (away < 30*time.Minute) {
				t.Errorf("after %v: intents %v, %v", away, st.Intents, err)
			}
		})
	}
}

func TestStoppedInOrderStartsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		w := newWorld(t, dir)
		w.cfg.Services[0].DrainWait = time.Second
		w.start()
		w.verdict(policy.Up)
		w.pass(2 * time.Second)
		if err := w.c.Stop(t.Context(), w, "signal"); err != nil {
			t.Fatal(err)
		}
		w.stop()
		w = newWorld(t, dir)
		w.start()
		defer w.stop()
		w.expect(vipOff + "; " + setNone)
		w.verdict(policy.Up)
		w.expect(vipOn + "; " + setWeb) // no hold-down: it was never down
	})
}

func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		w.reload = func(*config.Config) (*config.Config, []string, error) { return nil, nil, errors.New("line 3: no") }
		if _, err := w.c.Reload(t.Context(), "eng"); err == nil || err.Error() != "line 3: no" {
			t.Fatalf("got %v", err)
		}
		w.pass(time.Second)
		w.expect("")
		w.reload = func(old *config.Config) (*config.Config, []string, error) {
			next := *old
			next.Services = []config.Service{old.Services[0]}
			next.Services[0].Ladder = []config.Rung{{Name: "normal", Attributes: bgp.Attributes{Prepend: 1}}, old.Services[0].Ladder[1]}
			return &next, []string{"prepend"}, nil
		}
		if changes, err := w.c.Reload(t.Context(), "eng"); err != nil || len(changes) != 1 {
			t.Fatal(changes, err)
		}
		w.expect("set [192.0.2.0/24 prepend 1]")
	})
}

func TestDeadman(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		time.Sleep(time.Minute) // nobody keeps it alive
		w.expect("")
		e, err := w.c.Explain(t.Context(), web)
		if err != nil || !e.Health.Stalled {
			t.Fatalf("%+v, %v", e.Health, err)
		}
		w.mu.Lock()
		w.states[0].Verdict = policy.Down
		w.mu.Unlock()
		w.c.Look()
		w.expect("")
		st, err := w.c.Status(t.Context())
		if err != nil || len(st.Alarms) != 1 || st.Alarms[0].Name != "deadman" {
			t.Fatalf("alarms %+v, %v", st.Alarms, err)
		}
	})
}

func TestLastPOPAsksAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA", Source: "status", Slices: map[policy.SliceID]policy.PeerSlice{
			web: {Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Down},
		}}}}
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		w.verdict(policy.Down)
		w.expect("set [192.0.2.0/24 prepend 3]")
		e, err := w.c.Explain(t.Context(), web)
		if err != nil {
			t.Fatal(err)
		}
		if e.Slice.Reason.Guard != "last-pop" || len(e.Fleet) != 1 || e.Fleet[0].Because != "is down itself" || e.Fleet[0].Counts {
			t.Errorf("%+v", e)
		}
		if len(e.WouldChange) == 0 || !strings.Contains(e.WouldChange[0], "last-pop no longer objects") {
			t.Errorf("would change: %q", e.WouldChange)
		}
		claims, err := w.c.Claims(t.Context())
		if err != nil || len(claims) != 1 || !claims[0].Leaving || claims[0].Verdict != policy.Down || claims[0].Failing[0] != "http" {
			t.Errorf("claims %+v, %v", claims, err)
		}
	})
}

func TestClaimsNothingThatNoRouterHears(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		for _, c := range []struct {
			session bgp.SessionState
			want    policy.Action
		}{{bgp.Established, policy.Announce}, {bgp.Active, policy.Withdraw}} {
			w.mu.Lock()
			w.session = c.session
			w.mu.Unlock()
			claims, err := w.c.Claims(t.Context())
			if err != nil || len(claims) != 1 || claims[0].Stance.Action != c.want || claims[0].Verdict != policy.Up {
				t.Errorf("%s: %+v, %v", c.session, claims, err)
			}
		}
	})
}

func TestTheOthersHearAtOnceThatWeAreWeaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		before := w.poked
		w.verdict(policy.Degraded)
		w.lines()
		if w.poked != before+1 {
			t.Errorf("poked %d times", w.poked-before)
		}
	})
}
