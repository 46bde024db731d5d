package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

// table is all samples by set and server.
type table map[string][]sample

// median of a figure over the rounds; NaN without samples.
func median(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

func (t table) figures(set, name string, of func(sample) float64) (v []float64) {
	for _, s := range t[set+" "+name] {
		v = append(v, of(s))
	}
	return v
}

func cpu(s sample) float64  { return float64(s.cpu) / float64(time.Microsecond) }
func rate(s sample) float64 { return s.rate }

// ratio is the median over the rounds of the ratio of one server's figure to
// that of another in the same round.
func (t table) ratio(set, a, b string, of func(sample) float64) float64 {
	x, y := t.figures(set, a, of), t.figures(set, b, of)
	if len(x) != len(y) {
		return math.NaN()
	}
	var v []float64
	for i := range x {
		v = append(v, x[i]/y[i])
	}
	return median(v)
}

func (t table) write(out io.Writer, w *world) error {
	fmt.Fprintf(out, "CPU a question, us (user and system); median of %d rounds, least to most; ratios to gdnsd of the same round\n", w.rounds)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "set\tserver\tus\t\tratio\tquestions/s\tratio\tlost\tMB")
	for _, set := range []string{"static", "map"} {
		for _, s := range w.servers {
			v := t.figures(set, s.name, cpu)
			if len(v) == 0 {
				continue
			}
			all := t[set+" "+s.name]
			lost := 0
			for _, x := range all {
				lost += x.lost
			}
			fmt.Fprintf(tw, "%s\t%s\t%.2f\t%.2f-%.2f\t%.2f\t%.0f\t%.2f\t%d\t%d\n", set, s.name, median(v), slices.Min(v), slices.Max(v),
				t.ratio(set, s.name, "gdnsd", cpu), median(t.figures(set, s.name, rate)), t.ratio(set, s.name, "gdnsd", rate), lost, all[len(all)-1].rss>>20)
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, g := range []goal.Goal{
		goal.AtMost("dns-cpu-static-vs-gdnsd", t.ratio("static", "catchment", "gdnsd", cpu), 1.25),
		goal.AtMost("dns-cpu-map-vs-gdnsd", t.ratio("map", "catchment", "gdnsd", cpu), 1.25),
		goal.AtMost("dns-cpu-static-vs-coredns", t.ratio("static", "catchment", "coredns", cpu), 0.5),
	} {
		fmt.Fprintln(out, g)
	}
	return nil
}

// more looks at memory with a million networks, at questions lost while half
// a million are loaded, and at the choices of gdnsd.
func (w *world) more(ctx context.Context, out io.Writer) error {
	ours, theirs := w.running("catchment"), w.running("gdnsd")
	if ours != nil && theirs != nil {
		const n = 10_000
		differ, err := w.compare(ctx, ours, theirs, subnets(w.nets, n))
		if err != nil {
			return err
		}
		fmt.Fprintln(out, goal.AtMost("dns-choices-unlike-gdnsd", float64(differ), 0), "of", n)
	}
	for _, s := range w.servers {
		s.stop()
	}
	w.servers = nil
	if err := w.million(ctx, out); err != nil {
		return err
	}
	return w.reload(ctx, out)
}

func (w *world) running(name string) *server {
	for _, s := range w.servers {
		if s.name == name {
			return s
		}
	}
	return nil
}

func (w *world) million(ctx context.Context, out io.Writer) error {
	file := w.dir + "/nets.large"
	if err := gdnsdNets(file, networks(1_000_000, 7)); err != nil {
		return err
	}
	s, err := w.start(ctx, "catchment", file, 5311)
	if s == nil {
		return err
	}
	defer s.stop()
	if err != nil {
		return err
	}
	got, err := w.measure(ctx, s, "map")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "1,000,000 networks: %.2f us a question\n", cpu(got))
	fmt.Fprintln(out, goal.AtMost("dns-rss-million-networks-mb", float64(got.rss)/(1<<20), 40))
	return nil
}

// reload swaps a map of 500,000 networks under a steady load.
func (w *world) reload(ctx context.Context, out io.Writer) error {
	file := w.dir + "/nets.half"
	if err := gdnsdNets(file, networks(500_000, 9)); err != nil {
		return err
	}
	s, err := w.start(ctx, "catchment", file, 5312)
	if s == nil {
		return err
	}
	defer s.stop()
	if err != nil {
		return err
	}
	time.AfterFunc(time.Second, func() { _ = s.cmd.Process.Signal(syscall.SIGHUP) })
	text, err := w.perf(ctx, s.port, "map", 10*time.Second, "-Q", "20000", "-q", "5000")
	if err != nil {
		return err
	}
	done, lost, _, err := count(text)
	if err != nil {
		return err
	}
	f, err := os.Open(s.log.Name())
	if err != nil {
		return err
	}
	defer f.Close()
	reloads := 0
	for l := bufio.NewScanner(f); l.Scan(); {
		if strings.HasPrefix(l.Text(), "reloaded <nil>") {
			reloads++
		}
	}
	if reloads == 0 {
		return fmt.Errorf("the map was not loaded in time")
	}
	fmt.Fprintln(out, goal.AtMost("dns-lost-while-loading", float64(lost), 0), "of", done)
	return nil
}
