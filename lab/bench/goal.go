package bench

import (
	"slices"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

// goals compares what was measured with what was promised. What was not asked
// for has no line.
func goals(results map[string]*result) []goal.Goal {
	pick := func(names []string, of func(*result) series) (all series) {
		for _, n := range names {
			if r := results[n]; r != nil {
				all = append(all, of(r)...)
			}
		}
		return all
	}
	assisted := []string{"assist-10s", "assist-1s", "assist-1s-v6"}
	polling := []string{"poll-exabgp-default", "poll-exabgp-fast", "poll-checker"}
	frr := pick(assisted, func(r *result) series { return r.down["frr"] })
	bird := pick(assisted, func(r *result) series { return r.down["bird"] })
	react := pick(slices.Concat(assisted, polling), func(r *result) series { return r.react })
	hung := pick([]string{"hang"}, func(r *result) series { return r.detect })
	frozen := pick([]string{"frozen-bfd"}, func(r *result) series { return slices.Concat(r.down["frr"], r.down["bird"]) })
	var out []goal.Goal
	add := func(name string, s series, value func(series) time.Duration, unit time.Duration, limit float64) {
		if len(s) > 0 {
			out = append(out, goal.AtMost(name, float64(value(s))/float64(unit), limit))
		}
	}
	add("kill-frr-p99-ms", frr, series.p99, time.Millisecond, 75)
	add("kill-bird-p99-ms", bird, series.p99, time.Millisecond, 15)
	add("verdict-to-update-median-ms", react, series.median, time.Millisecond, 1)
	add("verdict-to-update-p99-ms", react, series.p99, time.Millisecond, 5)
	if r, ok := worstRatio(results, polling); ok {
		out = append(out, goal.AtMost("polling-vs-fastest-peer", r, 1))
	}
	add("hang-timeouts", hung, series.median, time.Second, 1.5)
	add("frozen-bfd-ms", frozen, series.max, time.Millisecond, 1000)
	return out
}

// worstRatio is the largest of Catchment's median over that of the peer with
// the same settings, over all such pairs and both routers.
func worstRatio(results map[string]*result, names []string) (worst float64, ok bool) {
	for _, n := range names {
		r := results[n]
		if r == nil || results[r.subject.peer] == nil {
			continue
		}
		for _, router := range routers {
			peer := results[r.subject.peer].down[router].median()
			if peer > 0 {
				worst, ok = max(worst, float64(r.down[router].median())/float64(peer)), true
			}
		}
	}
	return worst, ok
}
