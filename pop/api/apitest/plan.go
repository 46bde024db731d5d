package apitest

import (
	"context"
	"net/netip"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// Plan remembers the question and returns Planned.
func (b *Backend) Plan(_ context.Context, r api.PlanRequest) (api.Plan, error) {
	b.Lock()
	defer b.Unlock()
	if b.Err != nil {
		return api.Plan{}, b.Err
	}
	b.Plans = append(b.Plans, r)
	if b.Planned != nil {
		return *b.Planned, nil
	}
	if len(r.Suppose) > 0 && r.Suppose[0].Kind == api.SupposeWithdraw {
		return withdrawn(), nil
	}
	return planned(), nil
}

// planned is a drain of World: of web it moves one slice, a guard keeps the
// other, the cover stays, and another service comes back meanwhile.
func planned() api.Plan {
	announce, drain, backup := policy.Stance{Action: policy.Announce}, policy.Stance{Action: policy.Drain}, policy.Stance{Action: policy.Announce, Rung: 2}
	heard := []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	med := uint32(10)
	as := func(communities ...string) *api.Attributes {
		return &api.Attributes{MED: &med, Communities: communities, NextHop: "self"}
	}
	healthy := api.PlanStance{Stance: announce, Rung: "normal", Reason: policy.Reason{Code: policy.Healthy}, Announced: as("64500:100"), HeardBy: heard}
	draining := api.PlanStance{
		Stance: drain, Rung: "drain", Announced: as("64500:100", "graceful-shutdown"), HeardBy: heard,
		Reason: policy.Reason{Code: policy.Operator, Detail: "draining for uid 0 (root), at most 30s more"},
	}
	gone := api.PlanStance{Reason: policy.Reason{Code: policy.Operator, Detail: "drained for uid 0 (root), its 30s are over"}}
	const alone = "0 other POPs announce it (FRA says nothing of it, AMS was never heard), 1 needed"
	kept := draining
	kept.Reason = policy.Reason{Code: policy.Guarded, Guard: "last-pop", Detail: alone}
	cover := healthy
	cover.Reason = policy.Reason{Code: policy.Always, Detail: "cover prefix: health never withdraws it"}
	guarded := api.PlanStance{
		Stance: backup, Rung: "backup", Announced: &api.Attributes{Prepend: 3, NextHop: "2001:db8::1"}, HeardBy: heard,
		Reason: policy.Reason{Code: policy.Guarded, Guard: "last-pop", Detail: "no other POP announces it, 1 needed"},
	}
	wait := api.Duration(30 * time.Second)
	return api.Plan{
		POP: "LON", Now: Now, Suppose: []string{"drain of web"}, Until: api.Duration(api.PlanHorizon), Settled: true,
		Slices: []api.PlanSlice{
			{Slice: slice("192.0.2.0/24"), Service: "web", Before: healthy, After: gone, Steps: []api.PlanStep{
				{When: "at once", PlanStance: draining}, {At: wait, When: "after the drain wait", PlanStance: gone},
			}},
			{Slice: slice("2001:db8:100::/48"), Service: "web", Before: healthy, After: kept, Steps: []api.PlanStep{
				{When: "at once", PlanStance: draining},
			}, Objections: []api.PlanObjection{{
				GuardStatus: api.GuardStatus{Guard: "last-pop", Says: api.Weaken, Detail: alone}, At: wait, Instead: drain, Rung: "drain",
			}}, Advice: []string{"Have another POP announce 2001:db8:100::/48 first.", "catchment drain --slice 2001:db8:100::/48 --force does it over the guard; the journal keeps who did."}},
			{Slice: slice("192.0.2.0/23"), Service: "web", Cover: true, Before: cover, After: cover},
			{Slice: slice("2001:db8:5353:5353::/64"), Service: "resolver-with-a-long-name", Before: guarded, After: guarded,
				Objections: []api.PlanObjection{{
					GuardStatus: api.GuardStatus{Guard: "last-pop", Says: api.Weaken, Detail: "no other POP announces it, 1 needed"},
					Instead:     backup, Rung: "backup", Anyway: true,
				}}},
		},
		Notes: []string{"The other POPs are taken to go on as they are now."},
	}
}

// guards are all of them, on.
func guards() []api.GuardStatus {
	g := func(name, rule string, limits ...string) api.GuardStatus {
		return api.GuardStatus{Guard: name, Says: api.On, Rule: rule, Limits: limits}
	}
	return []api.GuardStatus{
		g("own-prefix", "only prefixes of configured services are announced"),
		g("deadman", "checks that have stopped running change nothing"),
		g("last-pop", "never the last announcers of a slice: enough other POPs must announce it, and stay", "min-pops 1", "web: min-pops 2, min-capacity 50 %"),
		g("stale", "a POP that has not been heard lately does not count as announcing", "guards.stale 5s"),
		g("correlated", "what fails at many POPs at once, or everywhere, is a failure of the check", "guards.correlated share 50 % of the POPs, window 1m0s"),
		{Guard: "blast", Says: api.Off, Rule: "only so much loses preference or is withdrawn within an interval; no checks means hold", Detail: "guards.blast sets no limit"},
	}
}
