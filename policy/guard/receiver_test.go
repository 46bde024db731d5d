package guard_test

import (
	"strings"
	"testing"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

// TestHeadroomOfADrain: what begins, by the forecast of the others.
func TestHeadroomOfADrain(t *testing.T) {
	room := policy.Receiver{POP: "AMS", Now: 0.4, Mean: 0.5, Low: 0.4, High: 0.6}
	over := policy.Receiver{POP: "FRA", Now: 0.8, Mean: 1.18, Low: 1.09, High: 1.27}
	full := policy.Receiver{POP: "MAD", Now: 1.2, Mean: 1.2, Low: 1.1, High: 1.3}
	for _, c := range []struct {
		name  string
		all   []policy.Receiver
		limit float64
		force bool
		want  string // empty: the drain begins
	}{
		{"room everywhere", []policy.Receiver{room}, 1, false, ""},
		{"one too many", []policy.Receiver{room, over}, 1, false, "would put FRA at 1.18 [1.09-1.27] of capacity"},
		{"at the upper end", []policy.Receiver{{POP: "FRA", Now: 0.5, Mean: 0.9, Low: 0.7, High: 1.1}}, 1, false, "FRA at 0.90 [0.70-1.10]"},
		{"a lower limit", []policy.Receiver{room}, 0.55, false, "would put AMS at 0.50"},
		{"full already, and gets nothing", []policy.Receiver{full}, 1, false, ""},
		{"forced", []policy.Receiver{over}, 1, true, ""},
		{"switched off", []policy.Receiver{over}, 0, false, ""},
		{"nothing is known", nil, 1, false, ""},
	} {
		s := newScene("LON", peer("FRA", 0), peer("AMS", 0))
		s.in.Health["web"] = policy.Health{Verdict: policy.Up}
		s.in.Receivers, s.in.Limits.DrainHeadroom, s.in.Limits.DrainPOPs = c.all, c.limit, 1
		s.in.Services[0].DrainWait = 10 * 1e9
		s.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, By: "ann", At: t0, Force: c.force}}
		state := policy.State{Slices: map[policy.SliceID]policy.SliceState{web: s.state}}
		state, out := policy.Decider{Guards: guard.Standard()}.Decide(state, s.in, t0)
		for range 3 { // FRA and AMS have answered
			s.at = s.at.Add(1e9)
			for i := range s.in.Fleet.Peers {
				s.in.Fleet.Peers[i].Heard, s.in.Fleet.Peers[i].Asked = s.at, s.at
			}
			state, out = policy.Decider{Guards: guard.Standard()}.Decide(state, s.in, s.at)
		}
		d := out.Slices[0]
		begun := d.Stance.Action == policy.Drain
		if begun != (c.want == "") || !begun && (d.Reason.Guard != guard.NameHeadroom || !strings.Contains(d.Reason.Detail, c.want)) {
			t.Errorf("%s: %v because %v", c.name, d.Stance, d.Reason)
		}
		if !begun && out.Turn.Ticket != 0 {
			t.Errorf("%s: keeps others waiting: %+v", c.name, out.Turn)
		}
		if _, out = (policy.Decider{Guards: without(guard.NameHeadroom)}).Decide(state, s.in, s.at); !begun && out.Turn.Held {
			t.Errorf("%s: has its turn", c.name)
		}
	}
}
