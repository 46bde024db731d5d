package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
)

// queued is a bench in a fleet where ZRH drains, and one POP may at a time.
func queued(t *testing.T) *bench {
	b := newBench(t)
	b.in.Limits.DrainPOPs, b.in.Limits.StaleAfter = 1, time.Hour
	p := heard(t0.Add(time.Minute))
	p.POP, p.Turn = "ZRH", policy.PeerTurn{Known: true, Ticket: 3, Held: true, Asked: t0.Add(time.Minute)}
	b.in.Fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{p}}
	b.up()
	return b
}

// TestWhileItWaitsItsTurn: what else is wanted of a slice goes on while its
// drain waits.
func TestWhileItWaitsItsTurn(t *testing.T) {
	drain := policy.Intent{Kind: policy.IntentDrain, Service: "web", By: "eng", At: t0}
	for name, c := range map[string]struct {
		change      func(*bench)
		stance, why string
	}{
		"nothing else": {func(*bench) {}, "announce", "drains"},
		"a pin stands": {func(b *bench) {
			b.in.Intents = append(b.in.Intents, policy.Intent{Kind: policy.IntentPin, Stance: backup, By: "eng", At: t0})
		}, "announce rung 1", "operator"},
		"it is down": {func(b *bench) {
			b.verdict(policy.Down, "http")
			b.in.Fleet.Peers[0].Asked = t0.Add(time.Hour) // it has confirmed that it stays
		}, "withdraw", "check-down"},
		"a static prefix":           {func(b *bench) { b.in.Services[0].Always = true }, "announce", "drains"},
		"a maintenance check wants": {func(b *bench) { b.in.Intents = nil; maintenance(b) }, "announce", "drains"},
		"a removed slice does not wait": {func(b *bench) {
			b.in.Services[0].Slices = []policy.SliceID{web6}
		}, "withdraw", "removed"},
	} {
		b := queued(t)
		b.in.Intents = []policy.Intent{drain}
		c.change(b)
		b.after(time.Minute)
		for _, d := range b.last.Slices {
			if d.Slice == web {
				t.Run(name, func(t *testing.T) { b.t = t; b.want(d, c.stance, c.why) })
			}
		}
	}
}

func maintenance(b *bench) {
	h := b.in.Health["web"]
	h.Maintenance = true
	b.in.Health["web"] = h
}

// TestStaticPrefixComesBackWhileADrainWaits: a prefix that needs no checks is
// announced although the drain that is asked for has not begun.
func TestStaticPrefixComesBackWhileADrainWaits(t *testing.T) {
	b := queued(t)
	b.in.Intents = []policy.Intent{{Kind: policy.IntentPin, Service: "web", By: "eng", At: t0}}
	b.in.Services[0].Always = true
	b.in.Fleet.Peers[0].Asked = t0.Add(time.Hour) // it has confirmed that it stays
	b.want(b.after(time.Minute), "withdraw", "operator")
	b.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, Service: "web", By: "eng", At: t0}}
	b.want(b.after(time.Minute), "announce", "always")
}

// TestCoreQueue: entries in the core's queue count once, whoever tells of them,
// with the capacity of the POP.
func TestCoreQueue(t *testing.T) {
	fra, ams := heard(t0), heard(t0)
	fra.Turn = policy.PeerTurn{Known: true, Ticket: 1, Asked: t0}
	ams.POP, ams.Capacity, ams.Turn = "AMS", 7, policy.PeerTurn{Known: true, Asked: t0}
	for _, c := range []struct {
		before []policy.POPID
		limits policy.Limits
		ready  bool
		detail string
	}{
		{[]policy.POPID{"FRA"}, policy.Limits{DrainPOPs: 2}, true, ""}, // told of by FRA itself too
		{[]policy.POPID{"LON"}, policy.Limits{DrainPOPs: 2}, true, ""}, // our own is not in our way
		{[]policy.POPID{"AMS"}, policy.Limits{DrainPOPs: 2}, false, "AMS is before us"},
		{[]policy.POPID{"AMS"}, policy.Limits{DrainShare: 0.5}, false, "AMS is before us"}, // 1 + 7 + 1 of 9
		{nil, policy.Limits{DrainShare: 0.5}, true, ""},
	} {
		c.limits.StaleAfter = time.Hour
		in := policy.Input{POP: "LON", Limits: c.limits, Fleet: policy.Fleet{Configured: true, Peers: []policy.Peer{fra, ams}},
			Queue: policy.Queue{Configured: true, Current: true, Before: c.before}}
		got := in.Turn(policy.Turn{Ticket: 5, Since: t0.Add(-time.Minute)}, t0)
		if got.Ready != c.ready || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("%v, %+v: %+v", c.before, c.limits, got)
		}
	}
}

// TestWindowOverAService: the hold-down of what was worked on begins when the
// maintenance window is over, although the checks passed meanwhile.
func TestWindowOverAService(t *testing.T) {
	b := newBench(t)
	b.up()
	b.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, By: "window", Window: "weekly", At: t0}}
	b.want(b.after(time.Minute), "drain", "maintenance")
	b.want(b.after(20*time.Second), "withdraw", "maintenance")
	b.want(b.after(time.Hour), "withdraw", "maintenance")
	b.in.Intents = nil
	b.want(b.decide(), "withdraw", "hold-down")
	b.want(b.after(9*time.Second), "withdraw", "hold-down")
	b.want(b.after(time.Second), "announce", "healthy")
}

// TestPenaltyBelowReuse: a limit of suppression below the one of reuse ends at
// once and does not damp for ever.
func TestPenaltyBelowReuse(t *testing.T) {
	b := newBench(t)
	b.in.Services[0].HoldDown = 0
	b.in.Services[0].Damping = policy.Damping{Penalty: 100, Suppress: 50, Reuse: 500, HalfLife: time.Hour}
	b.up()
	b.verdict(policy.Down, "http")
	b.want(b.after(time.Second), "withdraw", "check-down")
	b.verdict(policy.Up)
	b.want(b.after(time.Second), "announce", "healthy")
}
