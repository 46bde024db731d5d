package policy_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

var t0 = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func slice(s string) policy.SliceID { return policy.SliceID(netip.MustParsePrefix(s)) }

var (
	web  = slice("192.0.2.0/24")
	web6 = slice("2001:db8:100::/48")
)

func service() policy.Service {
	return policy.Service{
		ID: "web", Slices: []policy.SliceID{web}, Rungs: 2, DegradedRung: 1, SharedRung: 1, LastRung: 1,
		HoldDown: 10 * time.Second, Dwell: 30 * time.Second, WithdrawOnDown: true, MinPOPs: 1,
		DrainWait: 20 * time.Second,
		Damping:   policy.Damping{Penalty: 1000, Suppress: 2500, Reuse: 1000, HalfLife: 15 * time.Minute, Max: time.Hour},
	}
}

// bench drives Decide like the controller does: one service, time by hand.
type bench struct {
	t     *testing.T
	d     policy.Decider
	state policy.State
	in    policy.Input
	now   time.Time
	last  policy.Decision
}

func newBench(t *testing.T) *bench {
	return &bench{
		t: t, d: policy.Decider{Guards: guard.Standard()}, now: t0,
		in: policy.Input{
			POP: "LON", Services: []policy.Service{service()}, Health: map[policy.ServiceID]policy.Health{},
			Limits: policy.Limits{
				BlastSlices: 50, BlastShare: 1, BlastInterval: 10 * time.Second,
				CorrelatedShare: 0.5, CorrelatedWindow: time.Minute, StaleAfter: 5 * time.Second,
			},
		},
	}
}

func (b *bench) verdict(v policy.Verdict, failing ...string) {
	h := policy.Health{Verdict: v, Fraction: 1, Since: b.now}
	for _, f := range failing {
		h.Failing = append(h.Failing, policy.Failure{Check: policy.CheckID(f), Detail: "refused"})
	}
	b.in.Health["web"] = h
}

func (b *bench) decide() policy.SliceDecision {
	b.t.Helper()
	b.state, b.last = b.d.Decide(b.state, b.in, b.now)
	if len(b.last.Slices) == 0 {
		b.t.Fatal("no slice was decided")
	}
	return b.last.Slices[0]
}

func (b *bench) after(d time.Duration) policy.SliceDecision {
	b.t.Helper()
	b.now = b.now.Add(d)
	return b.decide()
}

// want checks stance and reason code (or guard name) of the last decision.
func (b *bench) want(d policy.SliceDecision, stance, why string) {
	b.t.Helper()
	got := string(d.Reason.Code)
	if d.Reason.Guard != "" {
		got = d.Reason.Guard
	}
	if d.Stance.String() != stance || got != why {
		b.t.Fatalf("at +%v: %v because %v; want %s because %s", b.now.Sub(t0), d.Stance, d.Reason, stance, why)
	}
}

func (b *bench) up() {
	b.t.Helper()
	b.verdict(policy.Up)
	b.want(b.decide(), "announce", "healthy")
}

func TestReflex(t *testing.T) {
	b := newBench(t)
	b.want(b.decide(), "withdraw", "starting")
	b.up() // the first up waits for nothing
	b.verdict(policy.Down, "http")
	d := b.after(time.Minute)
	b.want(d, "withdraw", "check-down")
	if !strings.Contains(d.Reason.String(), "http: refused") || !d.Changed || d.Before.Action != policy.Announce {
		t.Errorf("decision does not say what happened: %+v", d)
	}
	b.verdict(policy.Up)
	d = b.after(time.Second)
	b.want(d, "withdraw", "hold-down")
	if got := d.Wake.Sub(b.now); got != 10*time.Second || !b.last.Wake.Equal(d.Wake) {
		t.Errorf("wake in %v, want the hold-down of 10s", got)
	}
	b.want(b.after(9*time.Second), "withdraw", "hold-down")
	b.want(b.after(time.Second), "announce", "healthy")
}

func TestHoldDownRestartsOnEachFailure(t *testing.T) {
	b := newBench(t)
	b.up()
	for range 5 {
		b.verdict(policy.Down, "http")
		b.want(b.after(time.Second), "withdraw", "check-down")
		b.verdict(policy.Up)
		b.want(b.after(9*time.Second), "withdraw", "hold-down")
	}
}

func TestVerdictsThatKeepTheStance(t *testing.T) {
	b := newBench(t)
	b.up()
	b.verdict(policy.Unknown)
	b.want(b.after(time.Hour), "announce", "no-verdict")
	b.in.Health = nil
	b.want(b.after(time.Hour), "announce", "no-verdict")
	b.in.Health = map[policy.ServiceID]policy.Health{"web": {Empty: true}}
	b.want(b.after(time.Hour), "announce", "blast")
	h := policy.Health{Verdict: policy.Down, Stalled: true}
	b.in.Health["web"] = h
	b.want(b.after(time.Hour), "announce", "deadman")
}

// TestKeptByAGuardWhileItComesBack: all POPs fail, last-pop keeps us; the other
// POP is up first, and we must not be withdrawn for a check that passes.
func TestKeptByAGuardWhileItComesBack(t *testing.T) {
	b := newBench(t)
	b.up()
	other := func(v policy.Verdict) {
		p := policy.Peer{POP: "FRA", Heard: b.now, Asked: b.now, Slices: map[policy.SliceID]policy.PeerSlice{
			web: {Stance: policy.Stance{Action: policy.Announce}, Verdict: v},
		}}
		b.in.Fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{p}}
	}
	other(policy.Down)
	b.verdict(policy.Down, "http")
	b.want(b.after(time.Minute), "announce rung 1", "last-pop")
	h := b.in.Health["web"]
	h.Rising = true
	b.in.Health["web"] = h
	b.now = b.now.Add(2 * time.Minute)
	other(policy.Up)
	b.want(b.decide(), "announce rung 1", "recovering")
	if b.last.Wake.IsZero() {
		t.Error("nobody looks again: a later failure changes no verdict")
	}
	h.Rising = false // it failed again
	b.in.Health["web"] = h
	b.want(b.decide(), "withdraw", "check-down")
	h.Rising = true // what is withdrawn waits for rise
	b.in.Health["web"] = h
	b.want(b.decide(), "withdraw", "check-down")
}

func TestRungs(t *testing.T) {
	b := newBench(t)
	b.up()
	b.verdict(policy.Degraded, "a")
	b.want(b.after(time.Minute), "announce rung 1", "degraded")
	b.verdict(policy.Up)
	b.want(b.after(time.Second), "announce rung 1", "dwell")
	b.want(b.after(29*time.Second), "announce", "healthy")
	h := b.in.Health["web"]
	h.Shared = []policy.Failure{{Check: "origin", Detail: "timeout"}}
	b.in.Health["web"] = h
	b.want(b.after(time.Minute), "announce rung 1", "shared-down")
	b.in.Services[0].WithdrawOnDown = false
	b.verdict(policy.Down, "http")
	b.want(b.after(time.Minute), "announce rung 1", "check-down")
}

func TestCoverAndAlways(t *testing.T) {
	b := newBench(t)
	b.in.Services[0].Cover = []policy.SliceID{slice("192.0.2.0/23")}
	b.in.Services = append(b.in.Services, policy.Service{ID: "static", Always: true, Rungs: 1, Slices: []policy.SliceID{web6}})
	b.verdict(policy.Down, "http")
	b.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, By: "eng", At: t0}}
	b.after(time.Hour)
	b.after(time.Hour)
	want := "192.0.2.0/23 announce always; 192.0.2.0/24 withdraw operator; 2001:db8:100::/48 announce always"
	if got := b.summary(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	b.in.Intents = []policy.Intent{{Kind: policy.IntentStop, By: "signal", At: t0}}
	b.after(time.Hour)
	b.after(time.Hour)
	want = "192.0.2.0/23 withdraw stopping; 192.0.2.0/24 withdraw stopping; 2001:db8:100::/48 withdraw stopping"
	if got := b.summary(); got != want {
		t.Errorf("after stop\ngot  %s\nwant %s", got, want)
	}
}

func (b *bench) summary() string {
	var parts []string
	for _, d := range b.last.Slices {
		parts = append(parts, fmt.Sprintf("%v %v %s", d.Slice, d.Stance, d.Reason.Code))
	}
	return strings.Join(parts, "; ")
}

func TestDrain(t *testing.T) {
	b := newBench(t)
	b.in.Services[0].DrainIdle = 1
	b.up()
	b.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, Service: "web", By: "eng", Why: "kernel", At: t0}}
	b.in.Load = map[policy.ServiceID]float64{"web": 7}
	d := b.after(time.Minute)
	b.want(d, "drain", "operator")
	if !strings.Contains(d.Reason.Detail, "eng: kernel") {
		t.Errorf("the reason does not say whose drain it is: %v", d.Reason)
	}
	b.want(b.after(time.Second), "drain", "operator")
	b.in.Load["web"] = 0
	b.want(b.decide(), "drain", "operator") // routers need a moment
	b.want(b.after(time.Second), "withdraw", "operator")
	b.want(b.after(time.Hour), "withdraw", "operator")
	b.verdict(policy.Down, "http")
	b.want(b.after(time.Hour), "withdraw", "operator")
	b.verdict(policy.Up)
	b.in.Intents = nil
	b.want(b.decide(), "withdraw", "hold-down")
	b.want(b.after(10*time.Second), "announce", "healthy")
}

func TestDrainEndsByTimeAndCanBeUndone(t *testing.T) {
	b := newBench(t)
	b.in.Load = map[policy.ServiceID]float64{"web": 0} // no limit of idleness is set: the time counts
	b.up()
	drain := []policy.Intent{{Kind: policy.IntentDrain, By: "eng", At: t0}}
	b.in.Intents = drain
	b.want(b.after(time.Minute), "drain", "operator")
	b.in.Intents = nil
	b.want(b.after(5*time.Second), "announce", "healthy") // no dwell, no hold-down
	b.in.Intents = drain
	d := b.after(time.Minute)
	b.want(d, "drain", "operator")
	if got := d.Wake.Sub(b.now); got != 20*time.Second {
		t.Errorf("the drain ends in %v, want 20s", got)
	}
	b.want(b.after(19*time.Second), "drain", "operator")
	b.want(b.after(time.Second), "withdraw", "operator")
	b.in.Intents = nil
	b.want(b.after(time.Second), "announce", "healthy") // up all the time: nothing to wait for
	b.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, By: "eng", At: t0, Wait: time.Second}}
	b.want(b.after(time.Minute), "drain", "operator")
	b.verdict(policy.Down, "http")
	b.want(b.after(time.Millisecond), "withdraw", "operator") // nothing to wait for
}

// TestNoGuardAgainstWrongChecksStopsAnOperator: a service that is stopped along
// with its POP, or drained while a check fails everywhere, goes. (A machine
// that shuts down stops the service and the daemon at the same moment.)
func TestNoGuardAgainstWrongChecksStopsAnOperator(t *testing.T) {
	for _, kind := range []policy.IntentKind{policy.IntentStop, policy.IntentDrain} {
		b := newBench(t)
		b.in.Services[0].Slices = []policy.SliceID{slice("10.0.0.0/24"), slice("10.0.1.0/24"), slice("10.0.2.0/24")}
		b.in.Limits.BlastSlices = 1
		other := policy.Peer{POP: "AAA", Heard: t0.Add(time.Hour), Asked: t0.Add(time.Hour), Source: "status", Slices: map[policy.SliceID]policy.PeerSlice{}}
		well := other
		well.Slices = map[policy.SliceID]policy.PeerSlice{}
		for _, id := range b.in.Services[0].Slices {
			other.Slices[id] = policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Down, DownSince: t0.Add(time.Second), Failing: []policy.CheckID{"http"}}
			well.Slices[id] = policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}
		}
		b.in.Fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{other, other, well, well}}
		for i, pop := range []policy.POPID{"AAA", "BBB", "CCC", "DDD"} {
			b.in.Fleet.Peers[i].POP = pop
		}
		b.up()
		b.verdict(policy.Down, "http")
		b.want(b.after(time.Second), "announce", "correlated")
		b.in.Intents = []policy.Intent{{Kind: kind, By: "eng", At: t0}}
		d := b.after(time.Second)
		b.want(d, "withdraw", map[policy.IntentKind]string{policy.IntentStop: "stopping", policy.IntentDrain: "operator"}[kind])
		if !strings.Contains(d.Reason.Detail, "it is down: http: refused") {
			t.Errorf("%s: %q does not say why nothing was waited for", kind, d.Reason.Detail)
		}
		left := 0
		for _, d := range b.last.Slices {
			if d.Stance.Announced() {
				left++
			}
		}
		if want := map[policy.IntentKind]int{policy.IntentStop: 0, policy.IntentDrain: 2}[kind]; left != want { // blast holds a drain back, not a stop
			t.Errorf("%s: %d slices are left announced, want %d", kind, left, want)
		}
	}
}

// TestStalledChecksAreHeardOf: a runner that is dead changes no verdict.
func TestStalledChecksAreHeardOf(t *testing.T) {
	b := newBench(t)
	b.up()
	h := b.in.Health["web"]
	h.Stalled = true
	b.in.Health["web"] = h
	b.want(b.after(time.Second), "announce", "deadman")
	if len(b.last.Alarms) != 1 || b.last.Alarms[0].Name != "deadman" {
		t.Errorf("alarms %+v", b.last.Alarms)
	}
	b.up()
	if len(b.last.Alarms) != 0 {
		t.Errorf("alarms %+v", b.last.Alarms)
	}
}

func TestTogglingRungsStayOnTheLower(t *testing.T) {
	b := newBench(t)
	b.up()
	changes := 0
	for i := range 3600 {
		b.verdict([]policy.Verdict{policy.Degraded, policy.Up}[i%2], "http")
		if b.after(time.Second).Changed {
			changes++
		}
	}
	if changes != 1 {
		t.Errorf("%d changes in an hour", changes)
	}
	b.verdict(policy.Up)
	b.want(b.after(time.Second), "announce rung 1", "hold-down")
	b.want(b.after(10*time.Second), "announce", "healthy")
}

func TestMaintenanceFile(t *testing.T) {
	b := newBench(t)
	b.up()
	b.verdict(policy.Up, "file")
	h := b.in.Health["web"]
	h.Maintenance = true
	b.in.Health["web"] = h
	b.want(b.after(time.Minute), "drain", "maintenance")
	b.want(b.after(20*time.Second), "withdraw", "maintenance")
	b.verdict(policy.Up)
	b.want(b.after(time.Second), "announce", "healthy")
}

func TestHoldAndPin(t *testing.T) {
	b := newBench(t)
	b.up()
	b.in.Intents = []policy.Intent{{Kind: policy.IntentHold, By: "eng", At: t0, Until: t0.Add(time.Hour)}}
	b.verdict(policy.Down, "http")
	d := b.after(time.Minute)
	b.want(d, "announce", "operator")
	if !d.Wake.Equal(t0.Add(time.Hour)) {
		t.Errorf("wake %v, want the end of the hold", d.Wake)
	}
	b.want(b.after(time.Hour), "withdraw", "check-down")
	b.in.Intents = []policy.Intent{
		{Kind: policy.IntentPin, By: "eng", At: t0, Slice: web, Stance: policy.Stance{Action: policy.Announce, Rung: 9}},
		{Kind: policy.IntentPin, By: "old", At: t0.Add(-time.Hour), Slice: web},
		{Kind: policy.IntentPin, By: "other", At: t0.Add(time.Hour), Slice: web6},
	}
	b.want(b.after(time.Second), "announce rung 1", "operator")
}

func TestTogglingEachSecondIsAtMostFourChangesAnHour(t *testing.T) {
	for _, hold := range []time.Duration{0, 10 * time.Second} {
		b := newBench(t)
		b.in.Services[0].HoldDown = hold
		if hold == 0 { // then only the penalty is left to slow it down
			b.in.Services[0].Damping.Suppress, b.in.Services[0].Damping.Reuse = 1500, 750
			b.in.Services[0].Damping.HalfLife = 45 * time.Minute
		}
		b.up()
		var changes []time.Time
		for i := range 4 * 3600 {
			b.verdict([]policy.Verdict{policy.Down, policy.Up}[i%2], "http")
			if b.after(time.Second).Changed {
				changes = append(changes, b.now)
			}
		}
		for i := 4; i < len(changes); i++ {
			if d := changes[i].Sub(changes[i-4]); d < time.Hour {
				t.Errorf("hold-down %v: five changes within %v", hold, d)
			}
		}
		if len(changes) == 0 {
			t.Error("nothing ever changed")
		}
	}
}

func TestDampingSuppressesAndReuses(t *testing.T) {
	b := newBench(t)
	b.in.Services[0].HoldDown = time.Second
	b.up()
	for range 3 {
		b.verdict(policy.Down, "http")
		b.want(b.after(time.Second), "withdraw", "check-down")
		b.verdict(policy.Up)
		b.after(time.Second)
		b.after(time.Second)
	}
	d := b.after(time.Second)
	b.want(d, "withdraw", "damped")
	wait := d.Wake.Sub(b.now) // 3000 -> 1000 takes log2(3) half-lives
	if wait < 23*time.Minute || wait > 24*time.Minute {
		t.Errorf("suppressed for %v, want about 23m47s", wait)
	}
	b.want(b.after(wait-time.Second), "withdraw", "damped")
	b.want(b.after(time.Second), "announce", "healthy")
}

func TestPenaltyNeverWaitsLongerThanMax(t *testing.T) {
	b := newBench(t)
	b.in.Services[0].HoldDown = 0
	b.in.Services[0].Damping.Max = time.Minute
	b.in.Services[0].Damping.Penalty = 1e6
	b.up()
	b.verdict(policy.Down, "http")
	b.after(time.Second)
	b.verdict(policy.Up)
	b.want(b.after(59*time.Second), "withdraw", "damped")
	b.want(b.after(time.Second), "announce", "healthy")
}

func TestRemovedSlicesLeaveWithinTheBlastLimit(t *testing.T) {
	b := newBench(t)
	b.in.Limits.BlastSlices = 1
	b.in.Services[0].Slices = []policy.SliceID{web, web6}
	b.up()
	b.in.Services = nil
	b.decide()
	if got := b.summary(); got != "192.0.2.0/24 withdraw removed; 2001:db8:100::/48 announce guarded" {
		t.Fatal(got)
	}
	b.after(10 * time.Second)
	if got := b.summary(); got != "2001:db8:100::/48 withdraw removed" {
		t.Fatal(got)
	}
	if len(b.state.Slices) != 0 {
		t.Errorf("the state still holds %v", b.state.Slices)
	}
}

func TestDecideChangesNeitherArgument(t *testing.T) {
	b := newBench(t)
	b.up()
	before := fmt.Sprintf("%+v", b.state)
	b.verdict(policy.Down, "http")
	in := fmt.Sprintf("%+v", b.in)
	b.d.Decide(b.state, b.in, b.now.Add(time.Hour))
	if got := fmt.Sprintf("%+v", b.state); got != before {
		t.Errorf("state changed\nfrom %s\nto   %s", before, got)
	}
	if got := fmt.Sprintf("%+v", b.in); got != in {
		t.Errorf("input changed\nfrom %s\nto   %s", in, got)
	}
}

func TestStopTakesNoLongerThanItsDeadline(t *testing.T) {
	b := newBench(t)
	b.up()
	b.in.Intents = []policy.Intent{{Kind: policy.IntentStop, By: "signal", At: t0, Wait: 5 * time.Second}}
	b.want(b.after(time.Second), "drain", "stopping")
	b.want(b.after(5*time.Second), "withdraw", "stopping")
	b = newBench(t)
	b.up()
	b.in.Intents = []policy.Intent{{Kind: policy.IntentStop, By: "signal", At: t0, Wait: time.Hour}}
	b.want(b.after(time.Second), "drain", "stopping")
	b.want(b.after(20*time.Second), "withdraw", "stopping")
}

func TestNobodyElseAnnouncesSoNothingWaits(t *testing.T) {
	peer := policy.Peer{POP: "FRA", Heard: t0.Add(time.Minute), Asked: t0, Slices: map[policy.SliceID]policy.PeerSlice{}}
	for name, c := range map[string]struct {
		peer policy.Peer
		want string
	}{
		"gone there too": {peer, "announce"},
		"announced elsewhere": {func() policy.Peer {
			p := peer
			p.Slices = map[policy.SliceID]policy.PeerSlice{web: {Stance: policy.Stance{Action: policy.Drain}}}
			return p
		}(), "withdraw"},
		"not heard": {policy.Peer{POP: "FRA"}, "withdraw"}, // for the hold-down
	} {
		b := newBench(t)
		b.up()
		b.verdict(policy.Down, "http")
		b.want(b.after(time.Minute), "withdraw", "check-down")
		b.in.Fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{c.peer}}
		b.verdict(policy.Up)
		if d := b.decide(); d.Stance.String() != c.want {
			t.Errorf("%s: %v because %v", name, d.Stance, d.Reason)
		}
	}
}

// TestDampedOnlyWhileSomebodyElseIsSeen: a penalty of half an hour is for a
// slice that others serve, not for one whose other POP has lost power.
func TestDampedOnlyWhileSomebodyElseIsSeen(t *testing.T) {
	fra := policy.Peer{POP: "FRA", Heard: t0.Add(time.Hour), Slices: map[policy.SliceID]policy.PeerSlice{web: {Stance: policy.Stance{Action: policy.Announce}}}}
	for name, c := range map[string]struct {
		fleet policy.Fleet
		want  string
	}{
		"no fleet":  {policy.Fleet{}, "damped"},
		"serves":    {policy.Fleet{Configured: true, Peers: []policy.Peer{fra}}, "damped"},
		"not heard": {policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA"}}}, "healthy"},
	} {
		b := newBench(t)
		b.now = t0.Add(time.Hour)
		b.state = policy.State{Slices: map[policy.SliceID]policy.SliceState{web: {
			Service: "web", Judged: true, Served: true, Reason: policy.Reason{Code: policy.CheckDown},
			Penalty: policy.Penalty{Value: 3500, At: b.now, Suppressed: b.now},
		}}}
		b.in.Fleet = c.fleet
		b.verdict(policy.Up)
		b.decide()
		b.in.Limits.StaleAfter = time.Minute
		if d := b.after(10 * time.Second); string(d.Reason.Code) != c.want {
			t.Errorf("%s: %v because %v, want %s", name, d.Stance, d.Reason, c.want)
		}
	}
}

// TestUnknownIsNoBetterThanDown: a withdrawn slice whose check cannot tell any
// more comes back when nobody else is left, as it would if it were down.
func TestUnknownIsNoBetterThanDown(t *testing.T) {
	fra := policy.Peer{POP: "FRA", Heard: t0.Add(time.Minute), Asked: t0.Add(time.Minute), Slices: map[policy.SliceID]policy.PeerSlice{
		web: {Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}}}
	b := newBench(t)
	b.up()
	b.in.Fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{fra}}
	b.verdict(policy.Down, "http")
	b.want(b.after(time.Minute), "withdraw", "check-down")
	b.verdict(policy.Unknown)
	b.want(b.after(time.Second), "withdraw", "no-verdict")
	b.in.Fleet.Peers[0].Slices = nil
	b.want(b.after(time.Second), "announce rung 1", "last-pop")
	b.want(b.after(time.Second), "announce rung 1", "no-verdict")
}

// TestMaintenanceOfWhatIsDown: a service that is being worked on is not put
// back on the air by last-pop.
func TestMaintenanceOfWhatIsDown(t *testing.T) {
	b := newBench(t)
	b.up()
	b.verdict(policy.Down, "http")
	h := b.in.Health["web"]
	h.Maintenance = true
	b.in.Health["web"] = h
	b.want(b.after(time.Minute), "withdraw", "maintenance")
	b.in.Fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA", Heard: b.now}}}
	b.want(b.after(time.Second), "withdraw", "maintenance")
}

// TestHoldIsOfTheStanceWhenItWasAsked: neither a drain meanwhile nor a restart
// makes a held announcement a held withdraw.
func TestHoldIsOfTheStanceWhenItWasAsked(t *testing.T) {
	b := newBench(t)
	b.up()
	hold := policy.Intent{Kind: policy.IntentHold, By: "eng", At: t0}
	drain := policy.Intent{Kind: policy.IntentDrain, By: "eng", At: t0.Add(time.Second)}
	b.in.Intents = []policy.Intent{hold}
	b.want(b.after(time.Second), "announce", "operator")
	b.in.Intents = []policy.Intent{hold, drain}
	b.want(b.after(time.Second), "drain", "operator")
	b.want(b.after(time.Minute), "withdraw", "operator")
	b.in.Intents = []policy.Intent{hold}
	b.want(b.after(time.Second), "announce", "operator")

	restarted := b.state.Slices[web] // as pop.Restored leaves it after a stop
	restarted.Stance, restarted.Judged, restarted.Served, restarted.Reason = policy.Stance{}, false, false, policy.Reason{Code: policy.Starting}
	b.state = policy.State{Slices: map[policy.SliceID]policy.SliceState{web: restarted}}
	b.verdict(policy.Unknown)
	b.want(b.after(time.Second), "withdraw", "operator") // the service may not be there yet
	b.verdict(policy.Up)
	b.want(b.after(time.Second), "announce", "operator")
	b.verdict(policy.Down, "http")
	b.want(b.after(time.Second), "announce", "operator")

	b.in.Intents = nil
	b.want(b.after(time.Second), "withdraw", "check-down")
	hold.At = b.now.Add(time.Second)
	b.in.Intents = []policy.Intent{hold}
	b.verdict(policy.Up)
	b.want(b.after(time.Minute), "withdraw", "operator") // held as it was
	drain.At = hold.At
	b.in.Intents = nil
	b.want(b.after(time.Minute), "announce", "healthy")
	b.in.Intents = []policy.Intent{drain}
	b.want(b.after(time.Second), "drain", "operator")
	hold.At = b.now
	b.in.Intents = []policy.Intent{drain, hold}
	b.want(b.after(time.Second), "drain", "operator")
	b.in.Intents = []policy.Intent{hold}
	b.want(b.after(time.Second), "announce", "operator") // a drain is nothing to hold
}

func TestText(t *testing.T) {
	var st policy.State
	s := policy.State{Slices: map[policy.SliceID]policy.SliceState{web: {
		Service: "web", Stance: policy.Stance{Action: policy.Announce, Rung: 1}, Since: t0, Leaving: t0,
		Reason:  policy.Reason{Code: policy.Guarded, Guard: "blast", Detail: "d"},
		Penalty: policy.Penalty{Value: 3, At: t0},
	}}, Reductions: []time.Time{t0}}
	roundTrip(t, s, &st)
	if fmt.Sprint(s) != fmt.Sprint(st) {
		t.Errorf("got %v, want %v", st, s)
	}
	p := policy.PeerSlice{Stance: policy.Stance{Action: policy.Drain}, Verdict: policy.Degraded}
	var q policy.PeerSlice
	roundTrip(t, p, &q)
	if q.Verdict != p.Verdict || q.Stance != p.Stance {
		t.Errorf("got %v, want %v", q, p)
	}
	g := policy.GuardVerdict{Guard: "x", Answer: policy.Weaken}
	var h policy.GuardVerdict
	roundTrip(t, g, &h)
	if h != g {
		t.Errorf("got %v, want %v", h, g)
	}
	if err := json.Unmarshal([]byte(`{"verdict":"broken"}`), &q); err == nil || err.Error() != `verdict "broken": want one of [unknown up degraded down]` {
		t.Errorf("a wrong verdict was taken: %v", err)
	}
	if got := policy.Verdict(9).String(); got != "invalid(9)" {
		t.Error(got)
	}
	if got := (policy.Reason{Code: policy.Guarded, Guard: "blast", Detail: "d"}).String(); got != "guarded (blast): d" {
		t.Error(got)
	}
}

func roundTrip(t *testing.T, in, out any) {
	t.Helper()
	b, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}
