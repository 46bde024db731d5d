package guard_test

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

// TestOwnPrefixRPKI: an invalid slice is not newly announced; what is
// announced, or would be missing everywhere, or is forced, is not held back.
func TestOwnPrefixRPKI(t *testing.T) {
	const why = "its ROA is not for AS 64500: 192.0.2.0/24 AS 64999"
	for _, c := range []struct {
		name   string
		peers  []policy.Peer
		spoil  func(*scene)
		stance string
		guard  string // that decides; empty: none
		alarms string
	}{
		{"never announced here", nil, func(s *scene) { s.state.Served = false }, "withdraw", "own-prefix", "own-prefix"},
		{"announced elsewhere", []policy.Peer{peer("FRA", 0)}, nil, "withdraw", "own-prefix", "own-prefix"},
		{"valid or not known", nil, func(s *scene) { s.state.Served, s.in.Invalid = false, nil }, "announce", "", ""},
		{"another slice", nil, func(s *scene) {
			s.state.Served, s.in.Invalid = false, map[policy.SliceID]string{sliceN(9): why}
		}, "announce", "", ""},
		{"announced nowhere else", nil, nil, "announce", "", "rpki-invalid"},
		{"elsewhere down", []policy.Peer{down(peer("FRA", 0), "http", time.Second)}, nil, "announce", "", "rpki-invalid"},
		{"elsewhere not heard", []policy.Peer{peer("FRA", time.Minute)}, nil, "announce", "", "rpki-invalid"},
		{"announced already", []policy.Peer{peer("FRA", 0)}, func(s *scene) { s.state.Stance.Action = policy.Announce }, "announce", "", "rpki-invalid"},
		{"drained, and back", []policy.Peer{peer("FRA", 0)}, func(s *scene) { s.state.Stance.Action = policy.Drain }, "announce", "", "rpki-invalid"},
		{"pinned", []policy.Peer{peer("FRA", 0)}, func(s *scene) {
			s.in.Intents = []policy.Intent{{Kind: policy.IntentPin, By: "eng", Stance: policy.Stance{Action: policy.Announce}}}
		}, "withdraw", "own-prefix", "own-prefix"},
		{"forced", []policy.Peer{peer("FRA", 0)}, func(s *scene) {
			s.in.Intents = []policy.Intent{{Kind: policy.IntentPin, By: "eng", Force: true, Stance: policy.Stance{Action: policy.Announce}}}
		}, "announce", "", "rpki-invalid"},
		{"down", []policy.Peer{peer("FRA", 0)}, func(s *scene) {
			s.state.Stance.Action, s.in.Health = policy.Announce, newScene("LON").in.Health
		}, "withdraw", "", ""},
		{"down, the last one", nil, func(s *scene) {
			s.state.Stance.Action, s.in.Health = policy.Announce, newScene("LON").in.Health
			s.in.Fleet.Configured = true
		}, "announce rung 2", "last-pop", "last-pop rpki-invalid"},
		{"always", []policy.Peer{peer("FRA", 0)}, func(s *scene) { s.in.Services[0].Always = true }, "withdraw", "own-prefix", "own-prefix"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene("LON", c.peers...)
			s.in.Health = map[policy.ServiceID]policy.Health{"web": {Verdict: policy.Up}}
			s.in.Invalid = map[policy.SliceID]string{web: why}
			s.state.Stance, s.state.Leaving = policy.Stance{}, time.Time{}
			s.state.Judged = false // no hold-down
			if c.spoil != nil {
				c.spoil(s)
			}
			_, all := policy.Decider{Guards: guard.Standard()}.Decide(policy.State{Slices: map[policy.SliceID]policy.SliceState{web: s.state}}, s.in, s.at)
			d := all.Slices[0]
			var alarms []string
			for _, a := range all.Alarms {
				alarms = append(alarms, a.Name)
				if strings.Contains(a.Name, "rpki") && !strings.Contains(a.Detail, why) {
					t.Errorf("alarm without its reason: %+v", a)
				}
			}
			if d.Stance.String() != c.stance || d.Reason.Guard != c.guard || strings.Join(alarms, " ") != c.alarms {
				t.Errorf("%v because %v, alarms %q", d.Stance, d.Reason, alarms)
			}
			if c.guard == "own-prefix" && !strings.HasPrefix(d.Reason.Detail, "RPKI-invalid: "+why) {
				t.Errorf("because %v", d.Reason)
			}
		})
	}
}
