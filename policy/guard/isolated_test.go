package guard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

// TestIsolated: what goes on while the control core is out of reach.
func TestIsolated(t *testing.T) {
	normal, backup, none := policy.Stance{Action: policy.Announce}, policy.Stance{Action: policy.Announce, Rung: 1}, policy.Stance{}
	lost := policy.Core{Configured: true, Lost: t0.Add(-time.Minute)}
	for _, c := range []struct {
		name     string
		core     policy.Core
		limit    time.Duration
		from, to policy.Stance
		why      policy.Code
		forced   bool
		want     policy.GuardAnswer
	}{
		{"load goes down a rung", lost, 30 * time.Second, normal, backup, "overload", false, policy.Veto},
		{"load comes back", lost, 30 * time.Second, backup, normal, "overload", false, policy.Veto},
		{"part of it is down", lost, 30 * time.Second, normal, backup, policy.CheckPart, false, policy.Veto},
		{"a shared check", lost, 30 * time.Second, normal, backup, policy.SharedDown, false, policy.Veto},
		{"hard down", lost, 30 * time.Second, normal, none, policy.CheckDown, false, policy.Allow},
		{"up again", lost, 30 * time.Second, none, normal, policy.Healthy, false, policy.Allow},
		{"the operator", lost, 30 * time.Second, normal, policy.Stance{Action: policy.Drain}, policy.Operator, false, policy.Allow},
		{"a maintenance check", lost, 30 * time.Second, normal, policy.Stance{Action: policy.Drain}, policy.Maintenance, false, policy.Allow},
		{"a stop", lost, 30 * time.Second, normal, none, policy.Stopping, false, policy.Allow},
		{"forced", lost, 30 * time.Second, normal, backup, policy.CheckPart, true, policy.Allow},
		{"within the grace time", lost, 2 * time.Minute, normal, backup, policy.CheckPart, false, policy.Allow},
		{"switched off", lost, 0, normal, backup, policy.CheckPart, false, policy.Allow},
		{"in reach", policy.Core{Configured: true}, 30 * time.Second, normal, backup, policy.CheckPart, false, policy.Allow},
		{"no core", policy.Core{}, 30 * time.Second, normal, backup, policy.CheckPart, false, policy.Allow},
	} {
		in := policy.Input{Core: c.core, Limits: policy.Limits{IsolatedAfter: c.limit}}
		v := guard.Isolated{}.Ask(policy.Question{From: c.from, To: c.to, Why: policy.Reason{Code: c.why}, Forced: c.forced, Input: &in, Now: t0})
		if v.Answer != c.want || c.want == policy.Veto && !strings.Contains(v.Detail, "out of reach for 1m0s") {
			t.Errorf("%s: %v %q, want %v", c.name, v.Answer, v.Detail, c.want)
		}
	}
}

// TestIsolatedAlone: without the guard a degraded service steps back, with it
// the stance stays until the core is back, and a hard failure is judged on
// what is known of the fleet.
func TestIsolatedAlone(t *testing.T) {
	s := newScene("LON", peer("FRA", time.Second))
	s.in.Core = policy.Core{Configured: true, Lost: t0.Add(-time.Hour)}
	s.in.Limits.IsolatedAfter = 30 * time.Second
	s.in.Health["web"] = policy.Health{Verdict: policy.Degraded, Fraction: 0.5}
	if d := s.decide(guard.Standard()); d.Stance.String() != "announce" || d.Reason.Guard != guard.NameIsolated {
		t.Errorf("isolated: %v because %v", d.Stance, d.Reason)
	}
	if d := s.decide(without(guard.NameIsolated)); d.Stance.String() != "announce rung 1" {
		t.Errorf("without the guard: %v because %v", d.Stance, d.Reason)
	}
	s.in.Health["web"] = policy.Health{Verdict: policy.Down, Failing: []policy.Failure{{Check: "http", Detail: "refused"}}}
	if d := s.decide(guard.Standard()); d.Stance.Announced() {
		t.Errorf("hard down with another POP there: %v because %v", d.Stance, d.Reason)
	}
	s.in.Fleet.Peers[0].Heard = t0.Add(-time.Hour) // cut off from the others, too
	if d := s.decide(guard.Standard()); !d.Stance.Announced() || d.Reason.Guard == guard.NameIsolated {
		t.Errorf("hard down, cut off from everybody: %v because %v", d.Stance, d.Reason)
	}
}
