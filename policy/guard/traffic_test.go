package guard_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/guard"
)

// TestBlastByTraffic: how many of four slices a drain moves in one interval, by
// what is on them.
func TestBlastByTraffic(t *testing.T) {
	for _, c := range []struct {
		name    string
		limit   float64
		traffic []float64 // -1: not known
		force   bool
		moved   int
		detail  string
	}{
		{"no limit", 0, []float64{0.3, 0.3, 0.3, 0.1}, false, 4, ""},
		{"little on each", 0.2, []float64{0.05, 0.05, 0.05, 0.05}, false, 4, ""},
		{"two fit", 0.2, []float64{0.1, 0.1, 0.1, 0.1}, false, 2, "20.0 of at most 20.0 % of the fleet's traffic changed within 10s, 10.0 % are on it"},
		{"one alone is too much, and may go", 0.2, []float64{0.5, 0.1, 0.1, 0.1}, false, 1, "50.0 of at most 20.0 %"},
		{"nothing is on it", 0.2, []float64{0.15, 0.1, 0, 0.05}, false, 3, "15.0 of at most 20.0 % of the fleet's traffic changed within 10s, 10.0 % are on it"},
		{"nothing is known", 0.2, []float64{-1, -1, -1, -1}, false, 1, "what is on it is not known"},
		{"not all is known", 0.2, []float64{0.05, -1, 0.05, -1}, false, 2, "5.0 of at most 20.0 % of the fleet's traffic changed within 10s, what is on it is not known"},
		{"forced", 0.2, []float64{0.5, 0.5, 0.5, 0.5}, true, 4, ""},
	} {
		s := newScene("LON", peer("FRA", 0))
		s.in.Limits.BlastTraffic = c.limit
		s.in.Health["web"] = policy.Health{Verdict: policy.Up}
		s.in.Services[0].Slices, s.in.Services[0].DrainWait = nil, time.Minute
		s.in.Traffic = map[policy.SliceID]float64{}
		state := policy.State{Slices: map[policy.SliceID]policy.SliceState{}}
		for i, share := range c.traffic {
			id := policy.SliceID(netip.MustParsePrefix(fmt.Sprintf("192.0.%d.0/24", i)))
			s.in.Services[0].Slices = append(s.in.Services[0].Slices, id)
			state.Slices[id] = s.state
			if share >= 0 {
				s.in.Traffic[id] = share
			}
		}
		s.in.Intents = []policy.Intent{{Kind: policy.IntentDrain, By: "ann", At: t0, Force: c.force}}
		state, out := policy.Decider{Guards: guard.Standard()}.Decide(state, s.in, t0)
		moved, said := 0, ""
		for _, d := range out.Slices {
			if d.Stance.Action == policy.Drain {
				moved++
			} else if said == "" {
				said = d.Reason.Detail
			}
		}
		if moved != c.moved || !strings.Contains(said, c.detail) {
			t.Errorf("%s: %d moved, %q; want %d, %q", c.name, moved, said, c.moved, c.detail)
		}
		if _, out = (policy.Decider{Guards: guard.Standard()}).Decide(state, s.in, t0.Add(11*time.Second)); c.moved < 4 {
			more := 0
			for _, d := range out.Slices {
				if d.Stance.Action == policy.Drain {
					more++
				}
			}
			if more <= moved {
				t.Errorf("%s: nothing moves in the next interval", c.name)
			}
		}
	}
}
