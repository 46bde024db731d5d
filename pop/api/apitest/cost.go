package apitest

import (
	"context"
	"time"

	"github.com/catchment/catchment/pop/api"
)

// Cost answers with what it holds.
type Cost struct{ State api.CostStatus }

// CostWorld is a dear POP whose slow clients a cheap one serves, and the month
// of them so far.
func CostWorld() *Cost {
	month := time.Date(Now.Year(), Now.Month(), 1, 0, 0, 0, 0, time.UTC)
	period := func(from, to time.Time, slots int64, part float64) api.CostPeriod {
		lon := api.CostPOP{POP: "LON", Sent: 812400 * part, Moved: 181200 * part, Bill: 9120 * part, Without: 12400 * part, Saved: 3280 * part, Known: slots, Harm: api.CostHarm{Latency: 1.21}}
		chp := api.CostPOP{POP: "CHP", Sent: 391200 * part, Moved: -181200 * part, Bill: 640 * part, Without: 410 * part, Saved: -230 * part, Known: slots - 2, Harm: api.CostHarm{Moved: 5210, Left: 8100, MovedStalls: 4, LeftStalls: 9, ExtraStalls: 4.0/5210 - 9.0/8100}}
		all := api.CostPOP{Sent: 1203600 * part, Moved: 181200 * part, Bill: 9760 * part, Without: 12810 * part, Saved: 3050 * part, Known: slots - 2, Harm: chp.Harm}
		all.Harm.Latency = 0.8
		return api.CostPeriod{From: from, To: to, Slots: slots, POPs: []api.CostPOP{chp, lon}, All: all}
	}
	c := &Cost{State: api.CostStatus{
		POP: "LON", Now: Now, Currency: "EUR", Slot: api.Duration(5 * time.Minute),
		Month: period(month, month.AddDate(0, 1, 0), 6000, 1),
		Steering: api.CostSteering{
			Means: []string{"dns", "redirects"}, Window: api.CostHarm{Latency: 0.74, Moved: 310, Left: 420, LeftStalls: 1, ExtraStalls: -1.0 / 420}, Latency: 3,
		},
		Measured: []string{"what links carried", "answers of DNS"}, Estimated: []string{"what was moved by DNS", "latency: by cost.pops[].distance"},
		Notes: []string{"no distance is given between 1 pairs of POPs (cost.pops[].distance): what moved between them counts with no delay"},
	}}
	day := Now.UTC().Truncate(24 * time.Hour)
	for n := range 2 {
		from := day.AddDate(0, 0, -n)
		c.State.Days = append(c.State.Days, period(from, from.AddDate(0, 0, 1), 288, 0.034))
	}
	return c
}

// CostStatus implements api.Cost.
func (c *Cost) CostStatus(_ context.Context, days int) (api.CostStatus, error) {
	s := c.State
	s.Days = s.Days[:min(days, len(s.Days))]
	return s, nil
}
