package pop_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/metrics"
)

// crowd is a POP with many services, everything around its controller in
// memory. Every service has ten checks; nine other POPs announce everything.
type crowd struct {
	mu     sync.Mutex
	cfg    *config.Config
	states []health.State
	first  map[policy.ServiceID]int // in states
	fleet  policy.Fleet
	sets   chan []bgp.Announcement
	set    []bgp.Announcement
	c      *pop.Controller
	bytes  int // of the journal's inputs
	lines  int
}

func newCrowd(b *testing.B, services int) *crowd {
	w := &crowd{cfg: &config.Config{POP: "ZRH"}, first: map[policy.ServiceID]int{}, sets: make(chan []bgp.Announcement, 2048)}
	w.cfg.Limits = policy.Limits{StaleAfter: time.Hour, BlastInterval: time.Second, CorrelatedShare: 0.5, CorrelatedWindow: time.Minute}
	others := map[policy.SliceID]policy.PeerSlice{}
	now := time.Now()
	for i := range services {
		id := policy.SliceID(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24))
		svc := config.Service{
			Service: policy.Service{
				ID: policy.ServiceID(fmt.Sprintf("service-%d", i)), Slices: []policy.SliceID{id}, Rungs: 2, DegradedRung: 1, SharedRung: 1,
				LastRung: 1, WithdrawOnDown: true, MinPOPs: 1,
			},
			VIPs:    config.VIPs{Addresses: []netip.Addr{id.Prefix().Addr().Next()}, Device: "lo", Keep: true},
			Ladder:  []config.Rung{{Name: "normal"}, {Name: "backup", Attributes: bgp.Attributes{Prepend: 3}}},
			Combine: health.Rule{Mode: "all"},
		}
		w.first[svc.ID] = len(w.states)
		for j := range 10 {
			check := policy.CheckID(fmt.Sprintf("check-%d", j))
			svc.Checks = append(svc.Checks, config.Check{ID: check})
			w.states = append(w.states, health.State{
				Spec:    &health.Spec{ID: check, Service: svc.ID, Interval: time.Hour, Timeout: time.Hour, Weight: 1},
				Verdict: policy.Up, Since: now, LastAlive: now, DetectedAt: now,
			})
		}
		w.cfg.Services = append(w.cfg.Services, svc)
		others[id] = policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}
	}
	w.fleet.Configured = true
	for i := range 9 {
		w.fleet.Peers = append(w.fleet.Peers, policy.Peer{
			POP: policy.POPID(fmt.Sprintf("P%02d", i)), Capacity: 1, Heard: now, Asked: now, Slices: others, Source: "status",
		})
	}
	log := slog.New(slog.DiscardHandler)
	w.c = pop.New(pop.Options{
		Config: w.cfg, Announcer: w, Checks: crowdChecks{w}, Fleet: crowdFleet{w}, Journal: w, Addresses: w, Metrics: metrics.New(metrics.Build{}),
		Store: pop.NewStore(b.TempDir(), log), Logger: log, Version: "bench",
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); w.c.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	<-w.sets
	b.ReportAllocs()
	b.ResetTimer()
	return w
}

func (w *crowd) Set(_ context.Context, set []bgp.Announcement) error {
	w.mu.Lock()
	w.set = set
	w.mu.Unlock()
	w.sets <- set
	return nil
}
func (w *crowd) Announced() []bgp.Announcement { return w.set }
func (w *crowd) OnWire(netip.Prefix) bool      { return true }
func (w *crowd) Peers() []bgp.PeerState {
	return []bgp.PeerState{{Address: netip.MustParseAddr("10.0.0.2"), State: bgp.Established}}
}
func (w *crowd) Ensure(context.Context, []pop.VIP) ([]pop.VIP, error) { return nil, nil }
func (w *crowd) Append(e journal.Entry)                               { w.lines, w.bytes = w.lines+1, w.bytes+len(e.Inputs) }
func (w *crowd) Read(journal.Filter) ([]journal.Entry, error)         { return nil, nil }
func (w *crowd) Each(journal.Filter, func(journal.Entry) error) error { return nil }
func (w *crowd) Recent(journal.Filter) []journal.Entry                { return nil }
func (w *crowd) Err() error                                           { return nil }

type crowdChecks struct{ *crowd }

func (c crowdChecks) Set([]health.Spec) error { return nil }

// States copies, as the runner does.
func (c crowdChecks) States() []health.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.states)
}

func (c crowdChecks) ServiceStates(id policy.ServiceID) []health.State {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := c.first[id]
	return slices.Clone(c.states[i : i+10])
}

// verdict makes the checks of a service say v.
func (w *crowd) verdict(service int, v policy.Verdict) {
	w.mu.Lock()
	s := &w.states[service*10]
	s.Verdict, s.Since, s.DetectedAt, s.Last.Detail = v, time.Now(), time.Now(), "connection refused"
	state := *s
	w.mu.Unlock()
	w.c.OnVerdict(state)
}

type crowdFleet struct{ *crowd }

func (c crowdFleet) View(time.Time) policy.Fleet              { return c.fleet }
func (c crowdFleet) Poke(time.Time)                           {}
func (c crowdFleet) Changed() <-chan struct{}                 { return nil }
func (c crowdFleet) Peers(time.Time) []fleet.PeerReport       { return nil }
func (c crowdFleet) Disagreements() []fleet.Disagreement      { return nil }
func (c crowdFleet) Differences(time.Time) []fleet.Difference { return nil }

// BenchmarkRound is a round in which nothing changes, with everything that
// follows the announcements.
func BenchmarkRound(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			w := newCrowd(b, n)
			for b.Loop() {
				w.c.Decide(b.Context())
			}
		})
	}
}

// BenchmarkVerdict is the time from a verdict to the speaker's Set, of a
// controller that has nothing else to do just then (median, "verdict-to-set-ns"); the
// operation is the whole round, with all that follows the announcements.
func BenchmarkVerdict(b *testing.B) {
	for _, n := range []int{1, 10, 1000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			w := newCrowd(b, n)
			v := policy.Up
			var waited []time.Duration
			for b.Loop() {
				v = policy.Up + policy.Down - v
				begin := time.Now()
				w.verdict(0, v)
				<-w.sets
				waited = append(waited, time.Since(begin))
				w.settle(b)
			}
			w.report(b, waited)
		})
	}
}

// BenchmarkEverythingFails is a round in which every slice changes.
func BenchmarkEverythingFails(b *testing.B) {
	w := newCrowd(b, 1000)
	v := policy.Up
	var waited []time.Duration
	for b.Loop() {
		v = policy.Up + policy.Down - v
		w.mu.Lock()
		now := time.Now()
		for i := range w.states {
			w.states[i].Verdict, w.states[i].Since, w.states[i].DetectedAt = v, now, now
		}
		states := slices.Clone(w.states)
		w.mu.Unlock()
		begin := time.Now()
		for i := 0; i < len(states); i += 10 {
			w.c.OnVerdict(states[i])
		}
		for changed := 0; changed < 1000; changed = w.announced(v) {
			<-w.sets
		}
		waited = append(waited, time.Since(begin))
		w.settle(b)
	}
	w.report(b, waited)
}

// announced counts the services that the last set shows as v says.
func (w *crowd) announced(v policy.Verdict) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v == policy.Up {
		return len(w.set)
	}
	return len(w.cfg.Services) - len(w.set)
}

// settle waits until the controller has nothing to do.
func (w *crowd) settle(b *testing.B) {
	if !w.c.Alive(b.Context(), time.Minute) {
		b.Fatal("the controller does not answer")
	}
	for len(w.sets) > 0 {
		<-w.sets
	}
}

func (w *crowd) report(b *testing.B, waited []time.Duration) {
	slices.Sort(waited)
	b.ReportMetric(float64(waited[len(waited)/2]), "verdict-to-set-ns")
	b.ReportMetric(float64(w.bytes)/float64(max(1, w.lines)), "journal-B/decision")
}
