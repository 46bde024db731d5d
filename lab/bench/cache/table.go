package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

// table is all samples by load and cache.
type table map[[2]string][]sample

func (t table) add(load, cache string, s sample) {
	t[[2]string{load, cache}] = append(t[[2]string{load, cache}], s)
}

// median of a figure; NaN without samples. least and most are the ends.
func (t table) median(load, cache string, of func(sample) float64) (mid, least, most float64) {
	var v []float64
	for _, s := range t[[2]string{load, cache}] {
		v = append(v, of(s))
	}
	if len(v) == 0 {
		return math.NaN(), 0, 0
	}
	slices.Sort(v)
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2, v[0], v[n-1]
}

// ratio is the median over the rounds of a cache's CPU a request to that of
// the peer in the same round, so that what else the machine does at the time
// counts for both. It is NaN if a round is missing.
func (t table) ratio(load, cache string) float64 {
	a, b := t[[2]string{load, cache}], t[[2]string{load, peer}]
	if len(a) == 0 || len(a) != len(b) {
		return math.NaN()
	}
	rounds := table{}
	for i := range a {
		rounds.add(load, cache, sample{rate: float64(a[i].cpu) / float64(b[i].cpu)})
	}
	mid, _, _ := rounds.median(load, cache, rate)
	return mid
}

func cpu(s sample) float64  { return float64(s.cpu) / float64(time.Microsecond) }
func rate(s sample) float64 { return s.rate }

// peer is what ratios are to.
const peer = "nginx"

func (t table) write(out io.Writer, w *world) {
	var names []string
	ours := ""
	for _, c := range w.caches {
		if l := w.label(c); !slices.Contains(names, l) {
			names = append(names, l)
		}
		if c.Ours {
			ours = w.label(c)
		}
	}
	fmt.Fprintf(out, "CPU a request, us (user and system of the server's processes); median of %d, least to most; median of the rounds' ratios to %s; requests/s\n", w.rounds, peer)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprint(tw, "load")
	for _, n := range names {
		fmt.Fprintf(tw, "\t%s\t\tratio\trequests/s", n)
	}
	fmt.Fprintln(tw)
	for _, l := range loads() {
		if !w.wants(l.name) {
			continue
		}
		fmt.Fprint(tw, l.name)
		for _, n := range names {
			mid, least, most := t.median(l.name, n, cpu)
			if math.IsNaN(mid) {
				fmt.Fprint(tw, "\t-\t\t\t")
				continue
			}
			r, _, _ := t.median(l.name, n, rate)
			fmt.Fprintf(tw, "\t%.1f\t(%.1f-%.1f)\t%.2f\t%.0f", mid, least, most, t.ratio(l.name, n), r)
		}
		fmt.Fprintln(tw)
	}
	fmt.Fprint(tw, "memory at the end, MiB")
	for _, c := range w.caches {
		fmt.Fprintf(tw, "\t%s %.0f\t\t\t", c.Name, float64(c.Usage().RSS)/(1<<20))
	}
	fmt.Fprintln(tw)
	tw.Flush()
	if ours == "" {
		return
	}
	fmt.Fprintln(out)
	for _, l := range loads() {
		if w.wants(l.name) && l.goal > 0 {
			fmt.Fprintln(out, goal.AtMost("cache-"+l.name+"-cpu-vs-nginx", t.ratio(l.name, ours), l.goal))
		}
	}
}
