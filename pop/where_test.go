package pop_test

import (
	"testing"
	"testing/synctest"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
)

// TestOtherPOPs: where they are, and why they do what they do.
func TestOtherPOPs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		does := policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}, Verdict: policy.Up}
		w.fleet = policy.Fleet{Configured: true, Peers: []policy.Peer{{POP: "FRA", Capacity: 1, Slices: map[policy.SliceID]policy.PeerSlice{web: does}}}}
		w.reports = []fleet.PeerReport{
			{Peer: policy.Peer{POP: "FRA"}, URL: "http://10.9.0.2:9799/", Claims: []fleet.Claim{{Slice: web, Stance: does.Stance, Verdict: policy.Up, Reason: "healthy"}}},
			{Peer: policy.Peer{POP: "AMS"}, Stale: true},
		}
		w.cfg.Fleet.Peers = []config.StatusPeer{{POP: "FRA", Location: &config.Location{Latitude: 50, Longitude: 8.5}}}
		w.cfg.Fleet.RIB = []config.RIBPeer{{POP: "AMS"}}
		w.start()
		defer w.stop()
		w.verdict(policy.Up)
		w.lines()
		st, err := w.c.Status(t.Context())
		if err != nil || len(st.Fleet) != 2 {
			t.Fatalf("%+v, %v", st.Fleet, err)
		}
		if f := st.Fleet[0]; f.Location == nil || f.Location.Latitude != 50 || f.Location.Longitude != 8.5 || f.Slices[0].Reason != "healthy" {
			t.Errorf("FRA: %+v", f)
		}
		if st.Fleet[1].Location != nil || st.Location != nil {
			t.Errorf("AMS at %v, LON at %v: nobody says", st.Fleet[1].Location, st.Location)
		}
		e, err := w.c.Explain(t.Context(), web)
		if err != nil || len(e.Fleet) != 1 || e.Fleet[0].Slice.Reason != "healthy" {
			t.Errorf("explained with %+v, %v", e.Fleet, err)
		}
	})
}
