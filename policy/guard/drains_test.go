package guard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

// asked is a POP that has answered a question about drains.
func asked(name policy.POPID, ticket uint64, held bool) policy.Peer {
	p := peer(name, time.Second)
	p.Turn = policy.PeerTurn{Known: true, Ticket: ticket, Held: held, Asked: t0.Add(-time.Second)}
	return p
}

// TestTurn: who may drain, by what is known of the others.
func TestTurn(t *testing.T) {
	one, half := policy.Limits{DrainPOPs: 1, StaleAfter: 5 * time.Second}, policy.Limits{DrainShare: 0.5, StaleAfter: 5 * time.Second}
	until := func(p policy.Peer, at time.Time) policy.Peer { p.Turn.Until = at; return p }
	heard := func(p policy.Peer, age time.Duration) policy.Peer { p.Heard = t0.Add(-age); return p }
	old := peer("FRA", 0) // a version that knows of no queue
	for _, c := range []struct {
		name   string
		limits policy.Limits
		queue  policy.Queue
		core   policy.Core
		peers  []policy.Peer
		ready  bool
		detail string
	}{
		{"nobody else", one, policy.Queue{}, policy.Core{}, []policy.Peer{asked("FRA", 0, false)}, true, ""},
		{"one drains", one, policy.Queue{}, policy.Core{}, []policy.Peer{until(asked("FRA", 9, true), t0.Add(time.Hour)), asked("AMS", 1, false)}, false,
			"waiting: FRA drains until 2026-01-02 04:04 UTC, 1 before you"},
		{"a lower ticket", one, policy.Queue{}, policy.Core{}, []policy.Peer{asked("FRA", 4, false)}, false, "waiting: 1 before you"},
		{"a higher ticket", one, policy.Queue{}, policy.Core{}, []policy.Peer{asked("FRA", 6, false)}, true, ""},
		{"the same ticket, a name before ours", one, policy.Queue{}, policy.Core{}, []policy.Peer{asked("FRA", 5, false)}, false, "1 before you"},
		{"the same ticket, a name after ours", one, policy.Queue{}, policy.Core{}, []policy.Peer{asked("MAD", 5, false)}, true, ""},
		{"not answered since", one, policy.Queue{}, policy.Core{}, []policy.Peer{func() policy.Peer {
			p := asked("FRA", 0, false)
			p.Turn.Asked = t0.Add(-time.Hour)
			return p
		}()}, false, "waiting: FRA to answer"},
		{"not heard", one, policy.Queue{}, policy.Core{}, []policy.Peer{heard(asked("FRA", 0, false), time.Minute)}, false, "FRA is not heard and counts as draining"},
		{"an older version announces", one, policy.Queue{}, policy.Core{}, []policy.Peer{old}, true, ""},
		{"an older version drains", one, policy.Queue{}, policy.Core{},
			[]policy.Peer{with(old, func(s *policy.PeerSlice) { s.Stance.Action = policy.Drain })}, false, "FRA drains"},
		{"two of four may", policy.Limits{DrainPOPs: 2, StaleAfter: 5 * time.Second}, policy.Queue{}, policy.Core{},
			[]policy.Peer{asked("FRA", 1, true), asked("AMS", 0, false), asked("MAD", 0, false)}, true, ""},
		{"half of three", half, policy.Queue{}, policy.Core{}, []policy.Peer{asked("FRA", 1, true), asked("AMS", 0, false)}, false, "FRA drains"},
		{"half of four", half, policy.Queue{}, policy.Core{}, []policy.Peer{asked("FRA", 1, true), asked("AMS", 0, false), asked("MAD", 0, false)}, true, ""},
		{"one always may", policy.Limits{DrainShare: 0.1}, policy.Queue{}, policy.Core{}, []policy.Peer{asked("FRA", 0, false)}, true, ""},
		{"the core has our entry, nobody is before", one, policy.Queue{Configured: true, Current: true}, policy.Core{Configured: true}, []policy.Peer{asked("FRA", 0, false)}, true, ""},
		{"the core has another before", one, policy.Queue{Configured: true, Current: true, Before: []policy.POPID{"NYC"}}, policy.Core{Configured: true},
			[]policy.Peer{asked("FRA", 0, false)}, false, "NYC is before us in the control core's queue"},
		{"the core does not have it yet", one, policy.Queue{Configured: true}, policy.Core{Configured: true}, []policy.Peer{asked("FRA", 0, false)}, false, "the control core has not taken our place yet"},
		{"isolated: the others decide", one, policy.Queue{Configured: true}, policy.Core{Configured: true, Lost: t0.Add(-time.Hour)}, []policy.Peer{asked("FRA", 0, false)}, true, ""},
		{"isolated from everybody", one, policy.Queue{Configured: true}, policy.Core{Configured: true, Lost: t0.Add(-time.Hour)}, nil, false, "the control core has not taken"},
	} {
		c.limits.IsolatedAfter = time.Minute
		in := policy.Input{POP: "LON", Limits: c.limits, Queue: c.queue, Core: c.core, Fleet: policy.Fleet{Configured: true, Peers: c.peers}}
		got := in.Turn(policy.Turn{Ticket: 5, Since: t0.Add(-time.Minute)}, t0)
		if got.Ready != c.ready || !strings.Contains(got.Detail, c.detail) {
			t.Errorf("%s: %+v, want %v %q", c.name, got, c.ready, c.detail)
		}
	}
}

// TestQueuedDrain: a drain waits its turn while health goes on as without it,
// begins by itself, takes its whole time, and gives the turn back when what it
// took away is announced again.
func TestQueuedDrain(t *testing.T) {
	s := newScene("LON", asked("FRA", 3, true))
	s.in.Limits.DrainPOPs = 1
	s.in.Services[0].DrainWait, s.in.Services[0].HoldDown = 10*time.Second, 5*time.Second
	s.in.Health["web"] = policy.Health{Verdict: policy.Up}
	s.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, By: "ann", At: t0}}
	d := policy.Decider{Guards: guard.Standard()}
	state := policy.State{Slices: map[policy.SliceID]policy.SliceState{web: s.state}}
	now := t0
	step := func(after time.Duration, want, why string) policy.Decision {
		t.Helper()
		now = now.Add(after)
		s.in.Fleet.Peers[0].Heard, s.in.Fleet.Peers[0].Asked, s.in.Fleet.Peers[0].Turn.Asked = now, now, now
		var out policy.Decision
		state, out = d.Decide(state, s.in, now)
		if got := out.Slices[0]; got.Stance.String() != want || !strings.Contains(got.Reason.String(), why) {
			t.Fatalf("%v: %v because %v; want %s, %s", now.Sub(t0), got.Stance, got.Reason, want, why)
		}
		return out
	}
	out := step(0, "announce", "guarded (drains): waiting: FRA drains")
	if out.Turn.Ticket != 4 || out.Turn.Held {
		t.Errorf("turn %+v", out.Turn)
	}
	step(time.Minute, "announce", "waiting: FRA drains")
	s.in.Health["web"] = policy.Health{Verdict: policy.Degraded, Fraction: 0.5}
	step(time.Second, "announce rung 1", "degraded")
	s.in.Health["web"] = policy.Health{Verdict: policy.Up}
	step(time.Second, "announce rung 1", "waiting: FRA drains")
	step(10*time.Second, "announce", "healthy")
	s.in.Fleet.Peers[0].Turn = policy.PeerTurn{Known: true}
	if out = step(time.Second, "drain", "draining for ann"); !out.Turn.Held {
		t.Errorf("turn %+v", out.Turn)
	}
	step(9*time.Second, "drain", "at most 1s more")
	step(time.Second, "withdraw", "its 10s are over")
	s.in.Health["web"] = policy.Health{Verdict: policy.Down}
	step(time.Second, "withdraw", "withdrawn")
	s.in.Health["web"], s.in.Intents = policy.Health{Verdict: policy.Up}, nil
	if out = step(time.Second, "withdraw", "hold-down"); !out.Turn.Held {
		t.Error("the turn is given away before the slice is back")
	}
	step(5*time.Second, "announce", "healthy")
	if out = step(time.Second, "announce", "healthy"); out.Turn != (policy.Turn{}) {
		t.Errorf("turn %+v", out.Turn)
	}
}

// TestQueuedDrainOfWhatIsDown: waiting is no reason to keep a dead service.
func TestQueuedDrainOfWhatIsDown(t *testing.T) {
	s := newScene("LON", asked("FRA", 3, true), asked("AMS", 0, false))
	s.in.Limits.DrainPOPs = 1
	s.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, By: "ann", At: t0}}
	if d := s.decide(guard.Standard()); d.Stance.Announced() || d.Reason.Code != policy.CheckDown {
		t.Errorf("%v because %v", d.Stance, d.Reason)
	}
	s.in.Health["web"] = policy.Health{Verdict: policy.Up}
	s.in.Intents[0].Force = true
	if d := s.decide(guard.Standard()); d.Stance.Action != policy.Drain && d.Stance.Announced() {
		t.Errorf("forced: %v because %v", d.Stance, d.Reason)
	}
	s.in.Intents[0].Force = false
	if d := s.decide(without(guard.NameDrains)); d.Stance == (policy.Stance{Action: policy.Announce}) {
		t.Errorf("without the guard: %v because %v", d.Stance, d.Reason)
	}
}
