package main

import (
	"maps"
	"testing"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/server/resync/checkpoint"
)

// TestLikely: those that a plan sees carry more are told; all where it does
// not know of one of them, or of anything.
func TestLikely(t *testing.T) {
	load := func(pop string, high float64) api.PlanLoad {
		return api.PlanLoad{POP: policy.POPID(pop), Change: &api.PlanRange{Mean: high / 2, High: high}}
	}
	moved := &api.PlanRange{Mean: 100}
	for name, tc := range map[string]struct {
		loads *api.PlanLoads
		want  map[string]bool
	}{
		"two of three":     {&api.PlanLoads{Moved: moved, POPs: []api.PlanLoad{load("LON", -100), load("FRA", 80), load("AMS", 0.5), load("PAR", 1)}}, map[string]bool{"FRA": true, "PAR": true}},
		"one is not known": {&api.PlanLoads{Moved: moved, POPs: []api.PlanLoad{load("LON", -100), load("FRA", 80), {POP: "AMS"}}}, nil},
		"nobody":           {&api.PlanLoads{Moved: moved, POPs: []api.PlanLoad{load("LON", -100), load("FRA", 0)}}, nil},
		"nothing moves":    {&api.PlanLoads{Moved: &api.PlanRange{}, POPs: []api.PlanLoad{load("FRA", 80)}}, nil},
		"nothing is known": {nil, nil},
	} {
		if got := likely(api.Plan{POP: "LON", Loads: tc.loads}); !maps.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
	peers := func() []checkpoint.Peer { return []checkpoint.Peer{{POP: "FRA"}, {POP: "AMS"}} }
	for _, tc := range []struct {
		set  map[string]bool
		want int
	}{{nil, 2}, {map[string]bool{"FRA": true}, 1}, {map[string]bool{"PAR": true}, 2}} {
		if got := wanted(peers(), tc.set); len(got) != tc.want {
			t.Errorf("of %v: told %v", tc.set, got)
		}
	}
}
