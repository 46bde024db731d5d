package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/catchment/catchment/policy/cost"
	"github.com/catchment/catchment/pop/account"
	"github.com/catchment/catchment/pop/api"
)

// CostStatus implements api.Cost.
func (c *costs) CostStatus(_ context.Context, days int) (api.CostStatus, error) {
	cfg := c.d.inForce.Load()
	if !cfg.Cost.On() {
		return api.CostStatus{}, api.Errorf(api.NotFound, "no books are kept here of what traffic costs: cost.pops is not set in its configuration")
	}
	now := time.Now()
	r := c.keeper.Report(now, days)
	out := api.CostStatus{
		POP: c.d.cfg.POP, Now: now, Currency: r.Currency, Slot: api.Duration(r.Slot), Month: costPeriod(&r.Month),
		Steering: api.CostSteering{
			Means: c.means(), Window: costHarm(r.Window), Stalls: r.Ceiling.Stalls, Latency: r.Ceiling.Latency.Seconds() * 1000,
		},
		Measured: []string{"what links carried", "answers of DNS, by the POP nearest to the client and the one given", "what redirects asked of other POPs"},
		Estimated: []string{
			"what was moved by DNS: each answer counts for as much as any other to the same POP", "the bill without steering, and so what was saved",
			"latency: by cost.pops[].distance",
		},
	}
	if r.Before != nil {
		p := costPeriod(r.Before)
		out.Before = &p
	}
	for i := range r.Days {
		out.Days = append(out.Days, costPeriod(&r.Days[i]))
	}
	if s := r.Stopped; s != nil {
		out.Steering.Stopped, out.Steering.Since, out.Steering.Why, out.Steering.Detail = true, s.Since, s.Why, s.Text
	}
	out.Notes = costNotes(&r)
	if r.Stalls {
		out.Measured = append(out.Measured, "stalls that players told of (CMCD)")
	}
	return out, nil
}

// costNotes are what is wrong or missing.
func costNotes(r *account.Report) (out []string) {
	if !r.Stalls {
		out = append(out, "stalls are not measured: no player tells of any here or at another POP, so the ceiling judges latency alone")
	}
	if r.NoDistance > 0 {
		out = append(out, fmt.Sprintf("no distance is given between %d pairs of POPs (cost.pops[].distance): what moved between them counts with no delay", r.NoDistance))
	}
	for i := range r.Month.Rows {
		if x := &r.Month.Rows[i]; r.Month.Slots > 0 && x.Slots < r.Month.Slots*9/10 {
			out = append(out, fmt.Sprintf("%s: %d of %d slots of the month are known; the bill is of those, as if all were like them", x.POP, x.Slots, r.Month.Slots))
		}
	}
	for _, pop := range slices.Sorted(maps.Keys(r.Bad)) {
		out = append(out, fmt.Sprintf("what %s says is not used: %s", pop, r.Bad[pop]))
	}
	return out
}

func costPeriod(p *account.Period) api.CostPeriod {
	out := api.CostPeriod{From: p.From, To: p.To, Slots: int64(p.Slots), POPs: []api.CostPOP{}}
	for i := range p.Rows {
		x := costPOP(p.Rows[i].Saving)
		x.POP = p.Rows[i].POP
		out.POPs = append(out.POPs, x)
	}
	slices.SortFunc(out.POPs, func(a, b api.CostPOP) int { return cmp.Compare(a.POP, b.POP) })
	out.All = costPOP(p.Sum())
	return out
}

func costPOP(s cost.Saving) api.CostPOP {
	return api.CostPOP{Sent: s.Sent, Moved: s.Moved, Bill: s.Cost, Without: s.Would, Saved: s.Saved(), Known: int64(s.Slots), Harm: costHarm(s.Quality)}
}

func costHarm(q cost.Quality) api.CostHarm {
	return api.CostHarm{
		Latency: q.Later(), Moved: q.Moved, Left: q.Left, MovedStalls: q.MovedStalls, LeftStalls: q.LeftStalls, ExtraStalls: q.ExtraStalls(),
	}
}

// Describe implements prometheus.Collector: what there is shows when it is
// asked.
func (c *costs) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *costs) Collect(ch chan<- prometheus.Metric) {
	cfg := c.d.inForce.Load()
	if !cfg.Cost.On() {
		return
	}
	r := c.keeper.Report(time.Now(), 0)
	gauge := func(name, help string, v float64, labels ...string) {
		var names []string
		if len(labels) > 0 {
			names = []string{"pop"}
		}
		d := prometheus.NewDesc("catchment_cost_"+name, help, names, nil)
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for i := range r.Month.Rows {
		x := &r.Month.Rows[i]
		pop := string(x.POP)
		gauge("bill", "Of the month so far, in the currency of the configuration.", x.Cost, pop)
		gauge("bill_without", "What it would be without steering (estimated).", x.Would, pop)
		gauge("moved_bytes", "Of the month so far, sent by others for the POP's clients (estimated); below 0: by it for others.", 1e9*x.Moved, pop)
		gauge("known_slots", "Slots of the month in which the POP was heard of.", float64(x.Slots), pop)
	}
	stopped := 0.0
	if r.Stopped != nil {
		stopped = 1
	}
	gauge("steering_stopped", "Whether the ceiling on harm has stopped steering by cost and slowness.", stopped)
	gauge("later_seconds", "By how much later answers come in the mean of all traffic of the window that the ceiling judges (estimated).", r.Window.Later()/1000)
	gauge("extra_stalls", "More stalls a request of players that were moved than of others, in the same window.", r.Window.ExtraStalls())
}
