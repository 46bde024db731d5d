package pop_test

import (
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// TestStatusGroupsSlices: each service has its own slices and covers, by
// prefix, and each is what explain says of it.
func TestStatusGroupsSlices(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			s := newStage(t, rand.New(rand.NewPCG(seed, 3)))
			s.begin()
			defer s.stop()
			st, err := s.c.Status(t.Context())
			if err != nil || len(st.Services) != len(s.cfg.Services) {
				t.Fatalf("%d services, %v", len(st.Services), err)
			}
			for i, svc := range s.cfg.Services {
				want := slices.SortedFunc(slices.Values(slices.Concat(svc.Slices, svc.Cover)), func(a, b policy.SliceID) int {
					return a.Prefix().Compare(b.Prefix())
				})
				got := st.Services[i]
				if got.ID != svc.ID || len(got.Slices) != len(want) {
					t.Fatalf("%s: %+v, want %v", svc.ID, got, want)
				}
				for k, id := range want {
					e, err := s.c.Explain(t.Context(), id)
					if err != nil || got.Slices[k].Slice != id || !reflect.DeepEqual(got.Slices[k], e.Slice) {
						t.Errorf("%v: %+v, want %+v (%v)", id, got.Slices[k], e.Slice, err)
					}
				}
			}
		})
	}
}

// TestGuardsAreListed: which there are, their limits, and why one is off.
func TestGuardsAreListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, t.TempDir())
		second := w.cfg.Services[0]
		second.ID, second.Slices, second.MinPOPs, second.MinCapacity = "dns", []policy.SliceID{prefix("2001:db8::/32")}, 2, 0.5
		third := w.cfg.Services[0]
		third.ID, third.Slices = "api", []policy.SliceID{prefix("198.51.100.0/24")}
		w.cfg.Services = append(w.cfg.Services, second, third)
		w.cfg.Limits.BlastSlices, w.cfg.Limits.BlastShare = 50, 0.5
		w.start()
		defer w.stop()
		st, err := w.c.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const none = "no fleet source is configured (fleet.peers or fleet.rib)"
		for i, want := range []api.GuardStatus{
			{Guard: "own-prefix", Says: api.On, Limits: []string{"RPKI: 1 of 2 caches synchronized"}},
			{Guard: "deadman", Says: api.On},
			{Guard: "last-pop", Says: api.Off, Detail: none, Limits: []string{"min-pops 1", "dns: min-pops 2, min-capacity 50 %"}},
			{Guard: "stale", Says: api.Off, Detail: none, Limits: []string{"guards.stale 5s"}},
			{Guard: "correlated", Says: api.Off, Detail: none, Limits: []string{"guards.correlated share 0 % of the POPs, window 0s"}},
			{Guard: "isolated", Says: api.Off, Detail: "no control core is shared with other POPs"},
			{Guard: "headroom", Says: api.Off, Detail: "load moves nothing here (balance.mode)"},
			{Guard: "drains", Says: api.Off, Detail: "guards.drains sets no limit"},
			{Guard: "blast", Says: api.On, Limits: []string{"guards.blast 50 slices in 1s", "guards.blast 50 % of what is announced in 1s"}},
		} {
			got := st.Guards[i]
			if got.Rule == "" {
				t.Errorf("%s: no rule", want.Guard)
			}
			if got.Rule = ""; !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		if len(st.Guards) != 9 {
			t.Errorf("%d guards", len(st.Guards))
		}
	})
}
