package apitest

import (
	"context"
	"time"

	"github.com/catchment/catchment/pop/api"
)

// Resync answers with what it holds.
type Resync struct {
	State api.ResyncStatus
	Flows map[string][]api.ResyncFlow // by POP; "": our own
}

// ResyncWorld is one at work: a POP that drains, one that has died, one that
// is not told.
func ResyncWorld() *Resync {
	left := int64(610 << 20)
	return &Resync{
		State: api.ResyncStatus{
			POP: "LON", Now: Now, Listen: "[::]:9792", Advertise: "10.9.0.1:9792", Flows: 1203, Own: 1200, Announced: []string{"192.0.2.1"},
			POPs: []api.ResyncPOP{
				{POP: "AMS", Address: "10.9.0.3:9792", Since: Now.Add(-14 * time.Second), Error: "dial tcp 10.9.0.3:9792: i/o timeout", Known: 410, Heard: Now.Add(-12 * time.Second), Gone: true},
				{POP: "FRA", Address: "10.9.0.2:9792", Up: true, Since: Now.Add(-time.Hour), Told: 1203, Sent: 3 << 20, Known: 4000, Heard: Now.Add(-80 * time.Millisecond), Talking: true, Moving: []string{"192.0.2.1"}, Foreign: 2},
				{POP: "NYC", Known: 3, Heard: Now.Add(-50 * time.Millisecond), Talking: true},
			},
			Takeovers: []api.ResyncTakeover{{POP: "AMS", At: Now.Add(-12 * time.Second), Flows: 410, Woken: 410, Resumed: 37, Silent: api.Duration(350 * time.Millisecond)}},
			Resumed:   55, Jumps: api.ResyncJumps{Means: "bpf", Validated: 31, Retreated: 2, Ended: 1, Refused: []api.ResyncReason{{Reason: "no-gain", Flows: 21}},
				Learned: []api.ResyncLearned{
					{From: "FRA", Network: "203.0.113.0/24", Part: 0.78125, At: Now.Add(-12 * time.Second)},
					{From: "AMS", Network: "2001:db8:9::/48", Part: 0.0625, At: Now.Add(-10 * time.Minute), Rest: Now.Add(50 * time.Minute)},
				},
				Pairs: []api.ResyncPair{{From: "FRA", Part: 0.625, Networks: 14, Right: 14}}},
			Warmed: api.ResyncWarmed{Wanted: 122, Done: 120, Failed: 2, Bytes: 480 << 20}, Probes: api.ResyncProbes{Sent: 900, Waiting: 12, Foreign: 1}, Vacated: api.ResyncVacated{Looked: 4410, Ended: 6}, Reset: 4,
			Table: api.ResyncTable{Sockets: 9000, Flows: 1203, Cost: api.Duration(12 * time.Millisecond), Every: api.Duration(time.Second)},
			Lacks: []string{"flows from other POPs begin with slow start: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, or a pin: operation not permitted"},
		},
		Flows: map[string][]api.ResyncFlow{
			"": {
				{POP: "LON", Client: "203.0.113.9:40112", VIP: "192.0.2.1:443", URL: "https://www.example.com/film.mp4", ETag: `"v1"`, Offset: 90 << 20, Left: &left, Rate: 12 << 20, RTT: api.Duration(23400 * time.Microsecond)},
				{POP: "LON", Client: "[2001:db8:9::7]:5555", VIP: "[2001:db8:100::1]:8080", Offset: 1 << 20, Rate: 100 << 10, RTT: api.Duration(180 * time.Millisecond), ClientLimited: true},
			},
			"FRA": {{POP: "FRA", Client: "203.0.113.10:40113", VIP: "192.0.2.1:80", URL: "http://www.example.com/iso", ETag: `"v2"`, Offset: 7 << 30, Rate: 1 << 20, RTT: api.Duration(40 * time.Millisecond), At: Now.Add(-time.Second)}},
		},
	}
}

// ResyncStatus implements api.Resync.
func (r *Resync) ResyncStatus(context.Context) (api.ResyncStatus, error) { return r.State, nil }

// ResyncFlows implements api.Resync.
func (r *Resync) ResyncFlows(_ context.Context, q api.ResyncQuery) ([]api.ResyncFlow, error) {
	l, ok := r.Flows[string(q.From)]
	if !ok {
		return nil, api.Errorf(api.NotFound, "%s has told of no flows", q.From)
	}
	if n := int(q.Limit); n > 0 && len(l) > n {
		l = l[:n]
	}
	return l, nil
}
