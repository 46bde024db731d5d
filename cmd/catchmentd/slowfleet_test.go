package main

import (
	"strings"
	"testing"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/fleet"
)

// TestUnasked: POPs that are known by the relay tree alone are named as such.
func TestUnasked(t *testing.T) {
	var all []fleet.PeerReport
	for _, pop := range []policy.POPID{"AMS", "FRA", "PAR"} {
		x := fleet.PeerReport{}
		x.POP = pop
		all = append(all, x)
	}
	got := unasked(all, []api.SlownessPOP{{POP: "FRA"}, {POP: "NYC"}})
	if len(got) != 2 || got[0].POP != "AMS" || got[1].POP != "PAR" || !strings.Contains(got[0].Error, "fleet.peers") || !got[0].At.IsZero() {
		t.Errorf("%+v", got)
	}
	if got := unasked(all[1:2], []api.SlownessPOP{{POP: "FRA"}}); got != nil {
		t.Errorf("%+v", got)
	}
}
