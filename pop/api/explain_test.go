package api

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/fleet"
)

func TestWouldChange(t *testing.T) {
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	announce := policy.Stance{Action: policy.Announce}
	fails := []policy.Failure{{Check: "http"}, {Check: "tcp"}}
	for _, tc := range []struct {
		name string
		e    Explanation
		want []string
	}{
		{"healthy", Explanation{Slice: SliceStatus{Service: "web", Stance: announce}, Health: policy.Health{Verdict: policy.Up}},
			[]string{"going down withdraws it"}},
		{"shared", Explanation{Slice: SliceStatus{Stance: announce}, Health: policy.Health{Verdict: policy.Up, Shared: fails}},
			[]string{"going down withdraws it", "Shared checks passing again (http, tcp)"}},
		{"degraded", Explanation{Slice: SliceStatus{Stance: announce}, Health: policy.Health{Verdict: policy.Degraded, Failing: fails}},
			[]string{"Recovery of http, tcp"}},
		{"down and withdrawn", Explanation{Health: policy.Health{Verdict: policy.Down, Failing: fails}}, []string{"the hold-down after it"}},
		{"hold-down", Explanation{Now: now, Slice: SliceStatus{Next: "the hold-down ends", NextAt: now.Add(7 * time.Second)}, Health: policy.Health{Verdict: policy.Up}},
			[]string{"By itself in 7s: the hold-down ends."}},
		{"drained", Explanation{Slice: SliceStatus{Intent: policy.Intent{Kind: policy.IntentDrain, Service: "web", By: "uid 0 (root)"}}},
			[]string{"`catchment undrain web` ends the drain of uid 0 (root)."}},
		{"held slice", Explanation{Slice: SliceStatus{Intent: policy.Intent{Kind: policy.IntentHold, Slice: policy.SliceID(netip.MustParsePrefix("::/0"))}}},
			[]string{"`catchment release --slice ::/0`", "health changes nothing"}},
		{"cover", Explanation{Slice: SliceStatus{Cover: true}}, []string{"Health never changes it"}},
		{"no checks", Explanation{Slice: SliceStatus{Service: "web"}, Health: policy.Health{Empty: true}}, []string{"A check of web"}},
		{"unknown", Explanation{}, []string{"now nobody knows"}},
		{"guarded", Explanation{Slice: SliceStatus{Stance: announce, Wanted: &policy.Stance{}, Reason: policy.Reason{Code: policy.Guarded, Guard: "last-pop"}},
			Health: policy.Health{Verdict: policy.Down}}, []string{"let `withdraw` happen"}},
	} {
		got := WouldChange(tc.e)
		for _, w := range tc.want {
			if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, w) }) {
				t.Errorf("%s: %q, want %q", tc.name, got, w)
			}
		}
	}
}

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

func TestFleetOf(t *testing.T) {
	a, b := policy.SliceID(netip.MustParsePrefix("192.0.2.0/24")), policy.SliceID(netip.MustParsePrefix("2001:db8::/48"))
	got := FleetOf([]fleet.PeerReport{{
		Peer: policy.Peer{POP: "FRA", Source: "status", Slices: map[policy.SliceID]policy.PeerSlice{
			b: {Stance: policy.Stance{Action: policy.Drain}, Verdict: policy.Down, Failing: []policy.CheckID{"http"}}, a: {},
		}},
		URL: "http://x/", Stale: true, Error: "refused", Claims: []fleet.Claim{{Slice: b, Leaving: true}}, Disagrees: []policy.SliceID{a},
	}})
	p := got[0]
	if len(got) != 1 || p.POP != "FRA" || !p.Stale || p.Error != "refused" || p.URL != "http://x/" || len(p.Slices) != 2 {
		t.Fatalf("%+v", got)
	}
	if p.Slices[0].Slice != a || p.Slices[0].Note == "" || !p.Slices[1].Leaving || p.Slices[1].Verdict != policy.Down || len(p.Slices[1].Failing) != 1 {
		t.Errorf("%+v", p.Slices)
	}
}
