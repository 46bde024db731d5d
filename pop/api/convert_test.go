package api

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

func TestAttributesOf(t *testing.T) {
	med := uint32(5)
	a := AttributesOf(bgp.Announcement{
		Attributes: bgp.Attributes{MED: &med, Prepend: 2, Communities: []bgp.Community{bgp.GracefulShutdown}, LargeCommunities: []bgp.LargeCommunity{{Global: 1, Local1: 2, Local2: 3}}},
		Neighbors: map[netip.Addr]bgp.Override{
			netip.MustParseAddr("2001:db8::2"): {Withhold: true},
			netip.MustParseAddr("10.0.0.2"):    {Attributes: bgp.Attributes{Prepend: 1}},
		},
	})
	if *a.MED != 5 || a.Prepend != 2 || a.NextHop != "self" || !slices.Equal(a.Communities, []string{"graceful-shutdown"}) || !slices.Equal(a.LargeCommunities, []string{"1:2:3"}) {
		t.Errorf("%+v", a)
	}
	if len(a.Neighbors) != 2 || a.Neighbors[0].Neighbor != "10.0.0.2" || a.Neighbors[0].Prepend != 1 || a.Neighbors[0].NextHop != "" || !a.Neighbors[1].Withhold {
		t.Errorf("%+v", a.Neighbors)
	}
}

func TestGuardOf(t *testing.T) {
	wake := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		v    policy.GuardVerdict
		want string
	}{
		{policy.GuardVerdict{}, Allow},
		{policy.GuardVerdict{Answer: policy.Veto}, Veto},
		{policy.GuardVerdict{Answer: policy.Weaken, Ask: true}, Weaken},
		{policy.GuardVerdict{Answer: policy.Veto, Ask: true}, Wait},
		{policy.GuardVerdict{Answer: policy.Veto, Wake: wake}, Wait},
	} {
		if got := GuardOf(tc.v).Says; got != tc.want {
			t.Errorf("%+v: %s, want %s", tc.v, got, tc.want)
		}
	}
}
