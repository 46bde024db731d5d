package apitest

import (
	"net/netip"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

// withdrawn is a withdraw of the whole POP where it would be too much for FRA,
// what AMS carries is not known, and half of it would do no harm.
func withdrawn() api.Plan {
	announce := policy.Stance{Action: policy.Announce}
	heard := []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	pinned := policy.Reason{Code: policy.Operator, Detail: "pinned by the plan"}
	p := api.Plan{
		POP: "LON", Now: Now, Suppose: []string{"withdraw of all services"}, Until: api.Duration(api.PlanHorizon), Settled: true,
		Loads: &api.PlanLoads{
			Unit: "out", POPs: carried(0, 0, 0.1, 11.63, 10.94, 12.41), Moved: &api.PlanRange{Mean: 8.2e9, Low: 8.04e9, High: 8.36e9}, Over: []policy.POPID{"FRA"},
			Notes: []string{
				"Where the load of LON goes was measured 12 days ago (/etc/catchment/catchments.csv).",
				"Slices are not measured one by one: each is taken to carry the same part of the load (LON).",
				"Loads are those of now: at another hour of the day they are others.",
			},
		},
		Alternative: &api.PlanAlternative{
			Text: "LON: withdraw 1 of 2 slices of web", Commands: []string{"catchment drain --slice 192.0.2.0/24"},
			Part: new(float64), Why: "nobody of whom it is known carries more than they can, at the upper end of the intervals",
			Loads: &api.PlanLoads{Unit: "out", POPs: carried(4.1, 4.0, 4.21, 8.82, 8.42, 9.21), Moved: &api.PlanRange{Mean: 4.1e9, Low: 4.02e9, High: 4.18e9}},
		},
		Compared: 7,
	}
	*p.Alternative.Part = 0.5
	for _, id := range []string{"192.0.2.0/24", "2001:db8:100::/48"} {
		before := api.PlanStance{Stance: announce, Rung: "normal", Reason: policy.Reason{Code: policy.Healthy}, HeardBy: heard}
		gone := api.PlanStance{Reason: pinned}
		p.Slices = append(p.Slices, api.PlanSlice{Slice: slice(id), Service: "web", Before: before, After: gone, Steps: []api.PlanStep{{When: "at once", PlanStance: gone}}})
	}
	return p
}

// carried is what LON and FRA would carry of 10 Gbit/s, in Gbit/s: mean, low
// and high of each.
func carried(lon, lonLow, lonHigh, fra, fraLow, fraHigh float64) []api.PlanLoad {
	const g = 1e9
	of := func(x float64) *float64 { return &x }
	at := Now.Add(-2 * time.Second)
	span := func(mean, low, high float64) *api.PlanRange {
		return &api.PlanRange{Mean: mean * g, Low: low * g, High: high * g}
	}
	return []api.PlanLoad{
		{POP: "LON", Capacity: 10 * g, Before: of(8.2 * g), After: span(lon, lonLow, lonHigh), Change: span(lon-8.2, lonLow-8.2, lonHigh-8.2), At: at},
		{POP: "AMS", Change: span((8.2-lon)*0.3, (8.2-lon)*0.2, (8.2-lon)*0.4), Note: "does not tell its load"},
		{POP: "FRA", Capacity: 10 * g, Before: of(6 * g), After: span(fra, fraLow, fraHigh), Change: span(fra-6, fraLow-6, fraHigh-6), At: at},
	}
}
