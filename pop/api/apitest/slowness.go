package apitest

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/catchment/catchment/pop/api"
)

// Slowness is a POP that has seen some client networks.
type Slowness struct{ Asked []api.SlownessQuery }

// SlownessStatus implements api.Slowness.
func (*Slowness) SlownessStatus(context.Context) (api.SlownessStatus, error) {
	return api.SlownessStatus{
		POP: "LON", Now: Now, Rate: 5e6, At: Now.Add(-40 * time.Second), Took: api.Duration(12 * time.Millisecond), Judge: api.Duration(time.Minute),
		Kept: 812, Networks: 640, Slow: 41, Unsure: 172, Own: 7, Steer: true, Moved: 40, Stale: 1,
		Samples: []api.SlownessSamples{{Class: "fast", Count: 120000}, {Class: "path-slow", Count: 4100}},
		Table:   &api.ResyncTable{Sockets: 900, Cost: api.Duration(time.Millisecond), Every: api.Duration(2 * time.Second)},
		POPs:    []api.SlownessPOP{{POP: "FRA", Networks: 3000, At: Now.Add(-time.Minute)}, {POP: "NYC", Error: "peer NYC: connection refused"}},
		Lists:   []api.SlownessList{{Name: "operator", Ranges: 12}}, Errors: []string{"slowness.export: /nowhere: no such directory"},
	}, nil
}

// SlownessNetworks implements api.Slowness.
func (s *Slowness) SlownessNetworks(_ context.Context, q api.SlownessQuery) (out []api.SlownessNetwork, err error) {
	s.Asked = append(s.Asked, q)
	all := []api.SlownessNetwork{
		{
			Network: netip.MustParsePrefix("203.0.113.0/24"), Class: "path-slow", Slow: true, Confidence: 0.9, Why: "40 of 41 transfers were limited by the path", Samples: 41, Clients: 3,
			P10: 66e3, P50: 106e3, P90: 170e3, Receiver: 0.02, RTT: api.Duration(184 * time.Millisecond), MinRTT: api.Duration(31 * time.Millisecond), Loss: 0.003,
			Seen: Now.Add(-2 * time.Minute), Verdict: "slow", By: "measured", Moved: true,
		},
		{
			Network: netip.MustParsePrefix("2001:db8:7::/48"), Class: "fast", Confidence: 0.97, Why: "200 of 200 transfers took what we could send", Samples: 203,
			P10: 2e6, P50: 9e6, P90: 40e6, RTT: api.Duration(12 * time.Millisecond), MinRTT: api.Duration(9 * time.Millisecond), Seen: Now.Add(-time.Minute),
			Verdict: "slow", By: "by hand",
		},
		{Network: netip.MustParsePrefix("198.51.100.0/24"), Class: "lossy", Confidence: 0.8, Why: "30 of 33 transfers were limited by losses", Samples: 33, P50: 3e5, Loss: 0.04, Seen: Now, Verdict: "fast"},
	}
	p, err := q.Prefix()
	for _, n := range all {
		if (!q.Slow || n.Verdict == "slow") && (!p.IsValid() || p.Overlaps(n.Network)) {
			out = append(out, n)
		}
	}
	return out, err
}

// SlownessExport implements api.Slowness.
func (*Slowness) SlownessExport(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, "network,location\n203.0.113.0/24,path-slow\n")
	return err
}
