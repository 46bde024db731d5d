package pop_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/matrix"
)

// burdened is a world in which LON, FRA and AMS say what they carry of a
// service of four slices.
type burdened struct {
	*world
	measured load.Snapshot
	book     *matrix.Book
	slices   []policy.SliceID
}

func (b *burdened) Snapshot() load.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.measured
}

const gbit = 1e9

func newBurdened(t *testing.T) *burdened {
	b := &burdened{world: newWorld(t, t.TempDir())}
	svc := &b.cfg.Services[0]
	svc.Slices = nil
	for i := range 4 {
		svc.Slices = append(svc.Slices, prefix(fmt.Sprintf("192.0.%d.0/24", i)))
	}
	b.slices = svc.Slices
	spec := svc.Checks[0].Spec(svc.ID, nil)
	b.states = []health.State{{Spec: &spec, Verdict: policy.Up, Last: health.Result{Outcome: health.Pass}}}
	b.cfg.Matrix.Receivers = []config.Receiver{{Of: "LON", POP: "FRA", Share: 0.75}, {Of: "LON", POP: "AMS", Share: 0.25}}
	b.cfg.Fleet.Peers = []config.StatusPeer{{POP: "FRA", Capacity: 1}, {POP: "AMS", Capacity: 1}}
	b.fleet.Configured = true
	b.book = matrix.NewBook(filepath.Join(t.TempDir(), "matrix.json"), slog.New(slog.DiscardHandler))
	at := time.Now()
	b.measured.POP.Load[load.Out] = load.Value{Value: 8 * gbit, Known: true, At: at}
	b.measured.POP.Capacity[load.Out] = 10 * gbit
	b.peer("FRA", 6*gbit, 10*gbit)
	b.peer("AMS", 2*gbit, 10*gbit)
	return b
}

// peer has another POP announce every slice and carry the load.
func (b *burdened) peer(id policy.POPID, carries, capacity float64) {
	p := policy.Peer{POP: id, Capacity: 1, Source: "status", Heard: time.Now(), Asked: time.Now(), Slices: map[policy.SliceID]policy.PeerSlice{}}
	r := fleet.PeerReport{Load: &fleet.Load{Unit: "out", Capacity: capacity}, LoadAt: time.Now()}
	for _, s := range b.slices {
		p.Slices[s] = policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}
		level := 0
		r.Load.Slices = append(r.Load.Slices, fleet.SliceLoad{Slice: s, Load: carries / float64(len(b.slices)), Level: &level})
	}
	r.Peer = p
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fleet.Peers = append(slices.DeleteFunc(slices.Clone(b.fleet.Peers), func(o policy.Peer) bool { return o.POP == id }), p)
	b.reports = append(slices.DeleteFunc(slices.Clone(b.reports), func(o fleet.PeerReport) bool { return o.POP == id }), r)
}

func (b *burdened) begin() {
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.book.Set(pop.Seeds(b.cfg, nil))
	b.c = pop.New(pop.Options{
		Config: b.cfg, Announcer: b, Checks: checks{b.world}, Fleet: peers{b.world}, Journal: b, Addresses: b, Loads: b, RPKI: b, Measured: b, Matrices: b.book,
		Store: b.store, Logger: slog.New(slog.DiscardHandler), Version: "test",
	})
	b.finished.Go(func() {
		if err := b.store.Run(ctx); err != nil {
			b.t.Error(err)
		}
	})
	b.finished.Go(func() {
		if err := b.c.Run(ctx); err != nil {
			b.t.Error(err)
		}
	})
	synctest.Wait()
	time.Sleep(30 * time.Second) // what is announced is announced
	synctest.Wait()
}

// plan asks, with everybody heard and measured just now.
func (b *burdened) plan(what ...api.Supposition) api.Plan {
	b.t.Helper()
	b.mu.Lock()
	now := time.Now()
	for i := range b.fleet.Peers {
		if !b.fleet.Peers[i].Heard.IsZero() {
			b.fleet.Peers[i].Heard, b.fleet.Peers[i].Asked = now, now
			b.reports[i].Heard, b.reports[i].LoadAt = now, now
		}
	}
	b.measured.POP.Load[load.Out].At = now
	b.mu.Unlock()
	select {
	case b.changed <- struct{}{}:
	default:
	}
	synctest.Wait()
	p, err := b.c.Plan(context.Background(), api.PlanRequest{Suppose: what})
	if err != nil {
		b.t.Fatal(err)
	}
	return p
}

func of(l *api.PlanLoads, id policy.POPID) api.PlanLoad {
	if l == nil {
		return api.PlanLoad{}
	}
	for _, p := range l.POPs {
		if p.POP == id {
			return p
		}
	}
	return api.PlanLoad{}
}

// near reports whether a range has that mean, in Gbit/s, and an interval
// around it.
func near(r *api.PlanRange, mean float64) bool {
	return r != nil && math.Abs(r.Mean-mean*gbit) <= 0.02*gbit && r.Low <= r.Mean && r.Mean <= r.High && (r.High > r.Low)
}

func burden(t *testing.T, change func(*burdened), ask func(*burdened)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBurdened(t)
		if change != nil {
			change(b)
		}
		b.begin()
		ask(b)
		b.stop()
	})
}

var withdrawAll = api.Supposition{Kind: api.SupposeWithdraw}

// TestPlanLoads: where the load goes when this POP, or another, steps back.
func TestPlanLoads(t *testing.T) {
	burden(t, nil, func(b *burdened) {
		p := b.plan(withdrawAll)
		l := p.Loads
		// A tenth of what receivers get goes by size: 0.75*0.9+0.05 of 8.
		if l == nil || l.Unit != "out" || !near(of(l, "LON").After, 0) || !near(of(l, "FRA").After, 6+5.8) || !near(of(l, "AMS").After, 2+2.2) || !near(l.Moved, 8) {
			t.Fatalf("withdraw: %+v", l)
		}
		if lon := of(l, "LON"); *lon.Before != 8*gbit || lon.Capacity != 10*gbit || lon.At.IsZero() {
			t.Errorf("LON %+v", lon)
		}
		if !slices.Equal(l.Over, []policy.POPID{"FRA"}) {
			t.Errorf("over: %v", l.Over)
		}
		if notes := strings.Join(l.Notes, "\n"); !strings.Contains(notes, "matrix.receivers says") || !strings.Contains(notes, "same part of the load (LON)") {
			t.Errorf("notes: %s", notes)
		}
		if one := b.plan(api.Supposition{Kind: api.SupposeDrain, Slice: b.slices[1]}); !near(of(one.Loads, "LON").After, 6) || !near(of(one.Loads, "FRA").After, 7.45) {
			t.Errorf("one slice: %+v", one.Loads)
		}
		// FRA has no row: where its load goes is not known, and no number is given.
		fra := b.plan(api.Supposition{Kind: api.SupposeWithdraw, Service: "FRA"}).Loads
		if fra == nil || of(fra, "LON").After != nil || !strings.Contains(strings.Join(fra.Notes, "\n"), "Where the load of FRA goes is not known") {
			t.Errorf("FRA withdraws: %+v", fra)
		}
		if none := b.plan(api.Supposition{Kind: api.SupposeHold}); none.Loads != nil {
			t.Errorf("a hold moves %+v", none.Loads)
		}
		less := b.plan(api.Supposition{Kind: api.SupposeCapacity, Service: "LON", Capacity: 0.7})
		if lon := of(less.Loads, "LON"); lon.Supposed != 7*gbit || !near(lon.After, 8) || !slices.Equal(less.Loads.Over, []policy.POPID{"LON"}) || less.Suppose[0] != "LON can carry 0.7 of what it can" {
			t.Errorf("less capacity: %+v %v", less.Loads, less.Suppose)
		}
	})
}

// TestPlanLoadsUnknown: what is not known is said, and has no number.
func TestPlanLoadsUnknown(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*burdened)
		what   api.Supposition
		says   string
		check  func(*api.PlanLoads) bool
	}{
		"not measured": {func(b *burdened) { b.measured = load.Snapshot{} }, withdrawAll, "not measured",
			func(l *api.PlanLoads) bool {
				fra := of(l, "FRA")
				return l.Unit == "percent" && fra.Before == nil && fra.After == nil && math.Abs(fra.Change.Mean-72.5) < 0.1 && fra.Change.Low < 72 && fra.Change.High > 73
			}},
		"another does not tell": {func(b *burdened) { b.reports[0].Load = nil }, withdrawAll, "",
			func(l *api.PlanLoads) bool {
				fra := of(l, "FRA")
				return fra.Note == "does not tell its load" && fra.Before == nil && fra.After == nil && near(fra.Change, 5.8) && near(of(l, "AMS").After, 4.2)
			}},
		"another unit": {func(b *burdened) { b.reports[0].Load.Unit = "requests" }, withdrawAll, "",
			func(l *api.PlanLoads) bool {
				return of(l, "FRA").Note == "tells its load in requests, not in out" && of(l, "FRA").After == nil
			}},
		"no capacity": {func(b *burdened) { b.measured.POP.Capacity, b.reports[0].Load.Capacity = load.Capacity{}, 0 }, withdrawAll, "What LON, FRA can carry is not told",
			func(l *api.PlanLoads) bool { return len(l.Over) == 0 && of(l, "FRA").After != nil }},
		"nothing known of receivers": {func(b *burdened) { b.cfg.Matrix.Receivers = nil }, withdrawAll, "Where the load of LON goes is not known",
			func(l *api.PlanLoads) bool {
				return *of(l, "FRA").Before == 6*gbit && of(l, "FRA").After == nil && l.Moved == nil
			}},
		"one other POP only": {func(b *burdened) {
			b.cfg.Matrix.Receivers = nil
			b.fleet.Peers, b.reports = b.fleet.Peers[:1], b.reports[:1]
		}, withdrawAll, "", func(l *api.PlanLoads) bool { return near(of(l, "FRA").After, 14) }},
		"nobody else": {func(b *burdened) { b.fleet.Peers, b.reports = nil, nil }, api.Supposition{Kind: api.SupposeWithdraw, Force: true}, "its load has nowhere to go",
			func(l *api.PlanLoads) bool { return of(l, "LON").After == nil }},
		"a rung never seen": {nil, api.Supposition{Kind: api.SupposePrepend, Rung: "3"}, "How much leaves LON at rung backup was never seen",
			func(l *api.PlanLoads) bool {
				lon := of(l, "LON").After
				return lon.Low < 0.2*gbit && lon.High > 7*gbit
			}},
	} {
		burden(t, tc.change, func(b *burdened) {
			p := b.plan(tc.what)
			if p.Loads == nil {
				t.Fatalf("%s: no loads", name)
			}
			if notes := strings.Join(p.Loads.Notes, "\n"); !strings.Contains(notes, tc.says) || !tc.check(p.Loads) {
				t.Errorf("%s: %+v, notes %s", name, p.Loads.POPs, notes)
			}
		})
	}
}

// backup has more rungs than the world's ladder.
func moreRungs(b *burdened) {
	svc := &b.cfg.Services[0]
	one, three := svc.Ladder[1], svc.Ladder[1]
	one.Name, one.Prepend = "one", 1
	svc.Ladder, svc.Rungs = []config.Rung{svc.Ladder[0], one, three}, 3
}

// TestPlanRungs: rungs by name and by how often they prepend, here and at
// other POPs.
func TestPlanRungs(t *testing.T) {
	burden(t, moreRungs, func(b *burdened) {
		for what, want := range map[api.Supposition]string{
			{Kind: api.SupposePin, Service: "web", Rung: "backup"}: "backup",
			{Kind: api.SupposePrepend, Rung: "1"}:                  "one",
			{Kind: api.SupposePrepend, Service: "LON", Rung: "3"}:  "backup",
			{Kind: api.SupposePrepend, POP: "LON", Rung: "one"}:    "one",
		} {
			p := b.plan(what)
			for _, s := range p.Slices {
				if s.After.Rung != want {
					t.Errorf("%+v: %v goes to %s, want %s (%v)", what, s.Slice, s.After.Rung, want, p.Suppose)
				}
			}
		}
		one := b.plan(api.Supposition{Kind: api.SupposePrepend, Slice: b.slices[2], Rung: "1"})
		for _, s := range one.Slices {
			if moved := s.After.Rung == "one"; moved != (s.Slice == b.slices[2]) {
				t.Errorf("%v goes to %s", s.Slice, s.After.Rung)
			}
		}
		if there := b.plan(api.Supposition{Kind: api.SupposePrepend, POP: "FRA", Rung: "1"}); there.Slices[0].Changes() || !strings.Contains(strings.Join(there.Notes, "\n"), "What the guards of FRA would say is not asked") || there.Suppose[0] != "prepend 1 more times of all services at FRA" {
			t.Errorf("at another POP: %v %v", there.Suppose, there.Notes)
		}
		for what, says := range map[api.Supposition]string{
			{Kind: api.SupposePrepend, Rung: "2"}:                                    "no rung of web prepends 2 more than normal; there are: normal, one (prepends 1 more), backup (prepends 3 more)",
			{Kind: api.SupposePin, Rung: "backp"}:                                    `web has no rung "backp"`,
			{Kind: api.SupposePrepend, POP: "ZRH", Rung: "1"}:                        `no other POP "ZRH"; there are: FRA, AMS`,
			{Kind: api.SupposeHold, POP: "FRA"}:                                      "of this POP only",
			{Kind: api.SupposeDrain, Service: "wbe"}:                                 `no service "wbe"`,
			{Kind: api.SupposeCapacity, Service: "ZRH", Capacity: 2}:                 `no other POP "ZRH"`,
			{Kind: api.SupposeCapacity, POP: "LON", Slice: b.slices[0], Capacity: 2}: "of a POP, not of a slice",
			{Kind: api.SupposeDrain, POP: "FRA", Slice: prefix("10.0.0.0/8")}:        "no slice 10.0.0.0/8",
			{Kind: api.SupposeCapacity, POP: "LON"}:                                  "a capacity is needed with capacity",
			{Kind: api.SupposePrepend, POP: "LON"}:                                   "want a rung",
			{Kind: api.SupposePin, Rung: "one", Stance: &policy.Stance{}}:            "a stance is needed",
			{Kind: api.SupposeDrain, Rung: "one"}:                                    "only with pin and prepend",
			{Kind: api.SupposeDrain, Capacity: 0.5}:                                  "a capacity is needed with capacity",
			{Kind: api.SupposePrepend, Slice: prefix("10.0.0.0/8"), Rung: "one"}:     "no slice 10.0.0.0/8",
		} {
			if _, err := b.c.Plan(context.Background(), api.PlanRequest{Suppose: []api.Supposition{what}}); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%+v: %v, want %s", what, err, says)
			}
		}
	})
}

// TestPlanAlternative: what would be too much is compared with what could be
// done instead.
func TestPlanAlternative(t *testing.T) {
	burden(t, nil, func(b *burdened) {
		// All four slices would bring FRA to 118 %; two to 89 %, and at the upper
		// end of the interval above 100 %; one is safe.
		p := b.plan(withdrawAll)
		a := p.Alternative
		if a == nil || p.Compared < 5 {
			t.Fatalf("no alternative among %d", p.Compared)
		}
		if len(a.Loads.Over) > 0 || a.Part == nil || *a.Part < 0.24 || *a.Part > 0.26 || !strings.Contains(a.Text, "1 of 4 slices of web") || len(a.Commands) != 1 || a.Commands[0] != "catchment drain --slice 192.0.0.0/24" {
			t.Errorf("alternative %+v, loads %+v", a, a.Loads)
		}
		if !strings.Contains(a.Why, "nobody carries more than they can") {
			t.Errorf("why: %s", a.Why)
		}
		// One slice is safe as it is: nothing moves less and does as much.
		if one := b.plan(api.Supposition{Kind: api.SupposeWithdraw, Slice: b.slices[0]}); one.Alternative != nil || one.Compared == 0 {
			t.Errorf("one slice: %+v of %d", one.Alternative, one.Compared)
		}
		// With less capacity LON has too much: it lets go of what is needed.
		less := b.plan(api.Supposition{Kind: api.SupposeCapacity, POP: "LON", Capacity: 0.7})
		if a := less.Alternative; a == nil || !strings.HasPrefix(a.Text, "LON: withdraw 1 of 4 slices") || len(a.Loads.Over) > 0 || a.Part != nil {
			t.Errorf("less capacity: %+v", a)
		}
		// Of another POP nothing is known: nothing is proposed.
		if gone := b.plan(api.Supposition{Kind: api.SupposePOP, POP: "FRA", Is: api.IsGone}); gone.Alternative != nil {
			t.Errorf("FRA gone: %+v", gone.Alternative)
		}
	})
	// FRA can hand on to AMS: all of LON leaves, and FRA lets go of a slice or two.
	burden(t, func(b *burdened) {
		b.cfg.Matrix.Receivers = append(b.cfg.Matrix.Receivers, config.Receiver{Of: "FRA", POP: "AMS", Share: 1})
		b.cfg.Matrix.Receivers[0].Share, b.cfg.Matrix.Receivers[1].Share = 0.9, 0.1
	}, func(b *burdened) {
		p := b.plan(api.Supposition{Kind: api.SupposeWithdraw, Service: "web"})
		a := p.Alternative
		if a == nil || len(a.Loads.Over) > 0 {
			t.Fatalf("%+v", a)
		}
		for _, over := range a.Loads.POPs {
			if over.After != nil && over.After.High > over.Capacity {
				t.Errorf("%s: %+v", over.POP, over.After)
			}
		}
	})
	// What a guard of this POP would keep is not proposed.
	burden(t, func(b *burdened) { b.cfg.Services[0].MinPOPs = 3 }, func(b *burdened) {
		if p := b.plan(withdrawAll); p.Alternative != nil && strings.Contains(p.Alternative.Text, "withdraw") {
			t.Errorf("the guard last-pop would object: %+v", p.Alternative)
		}
	})
}

// TestPlanComesBack: the end of a drain brings back what the POP's size, or a
// measurement, says, with an interval that holds what it had before.
func TestPlanComesBack(t *testing.T) {
	burden(t, nil, func(b *burdened) {
		if _, err := b.c.Intent(context.Background(), policy.Intent{Kind: policy.IntentPin, By: "test", At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		b.mu.Lock()
		b.measured.POP.Load[load.Out].Value = 0
		b.mu.Unlock()
		b.peer("FRA", 11.8*gbit, 20*gbit)
		b.peer("AMS", 4.2*gbit, 20*gbit)
		p := b.plan(api.Supposition{Kind: api.SupposeRelease})
		lon, fra := of(p.Loads, "LON").After, of(p.Loads, "FRA").After
		if lon == nil || lon.Low > 8*gbit || lon.High < 8*gbit || fra == nil || fra.Mean >= 11.8*gbit || fra.Low > 6*gbit {
			t.Errorf("LON %+v, FRA %+v of %+v", lon, fra, p.Loads)
		}
	})
}

// TestPlanBothGone: two POPs that leave together keep nothing.
func TestPlanBothGone(t *testing.T) {
	burden(t, func(b *burdened) {
		b.cfg.Matrix.Receivers = append(b.cfg.Matrix.Receivers, config.Receiver{Of: "FRA", POP: "LON", Share: 0.5}, config.Receiver{Of: "FRA", POP: "AMS", Share: 0.5})
	}, func(b *burdened) {
		l := b.plan(withdrawAll, api.Supposition{Kind: api.SupposePOP, POP: "FRA", Is: api.IsGone}).Loads
		lon, fra, ams := of(l, "LON").After, of(l, "FRA").After, of(l, "AMS").After
		if lon == nil || lon.Mean > 0.02*gbit || fra.Mean > 0.02*gbit || math.Abs(ams.Mean-16*gbit) > 0.05*gbit {
			t.Errorf("LON %+v, FRA %+v, AMS %+v", lon, fra, ams)
		}
	})
}

// TestPlanOfManySlices: a service of a thousand slices is answered, too.
func TestPlanOfManySlices(t *testing.T) {
	burden(t, func(b *burdened) {
		svc := &b.cfg.Services[0]
		svc.Slices = nil
		for i := range 1000 {
			svc.Slices = append(svc.Slices, prefix(fmt.Sprintf("10.%d.%d.0/24", i/250, i%250)))
		}
		b.slices = svc.Slices
		b.peer("FRA", 6*gbit, 10*gbit)
		b.peer("AMS", 2*gbit, 10*gbit)
	}, func(b *burdened) {
		p := b.plan(withdrawAll)
		if fra := of(p.Loads, "FRA").After; !near(fra, 11.8) || p.Alternative == nil {
			t.Errorf("FRA %+v, alternative %+v", fra, p.Alternative)
		}
	})
}
