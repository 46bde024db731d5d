// Command run plays the simulations of package sim, prints their tables and
// one line a goal, and writes CSV and SVG files.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/lab/sim"
)

// options are the flags.
type options struct {
	data, small, out string
	only, policies   string
	log              bool
	runs, draws      int
	seed             uint64
	quick            bool
}

func main() {
	var o options
	flag.StringVar(&o.data, "data", "../shared/data/tangled/catchments.csv", "measured catchments; without them the small fleet is used")
	flag.StringVar(&o.small, "small", "lab/testdata/sim/six-sites.csv", "the small fleet")
	flag.StringVar(&o.out, "out", "bin/sim", "folder for CSV and SVG files")
	flag.StringVar(&o.only, "only", "", "experiments, with commas between: partial,predict,draws,collide,storm,cut,attack,scale")
	flag.IntVar(&o.runs, "runs", 24, "runs of collide, an hour of virtual time each")
	flag.Uint64Var(&o.seed, "seed", 1, "of the first run of collide and storm")
	flag.StringVar(&o.policies, "policies", "", "policies of collide, storm, cut, attack, with commas between; empty: all")
	flag.BoolVar(&o.log, "log", false, "tell what POPs decide, to standard error")
	flag.IntVar(&o.draws, "draws", 10000, "random draws")
	flag.BoolVar(&o.quick, "quick", false, "a few runs and draws of each, to try it")
	flag.Parse()
	if o.quick {
		o.runs, o.draws = 2, 500
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	m, err := measured(o)
	if err != nil {
		return err
	}
	x := sim.Fleets{Seed: o.seed, Runs: o.runs, Clients: 100_000, Networks: 1000, POPs: 50, Slices: 8}
	if o.policies != "" {
		x.Policies = strings.Split(o.policies, ",")
	}
	if o.log {
		x.Log = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	}
	few := x
	few.Runs = max(1, o.runs/3)
	hit := few // what cannot be solved takes the solver long
	hit.Runs = max(1, o.runs/24)
	experiments := []struct {
		name string
		play func() (*sim.Report, error)
	}{
		{"partial", func() (*sim.Report, error) { return sim.Partial(m, 8) }},
		{"predict", func() (*sim.Report, error) { return sim.Predict(m) }},
		{"draws", func() (*sim.Report, error) { return sim.Draws(m, o.draws, 1.3, 2), nil }},
		{"collide", func() (*sim.Report, error) { return sim.Collide(x), nil }},
		{"storm", func() (*sim.Report, error) { return sim.Storm(few), nil }},
		{"cut", func() (*sim.Report, error) { return sim.CableCut(few), nil }},
		{"attack", func() (*sim.Report, error) { return sim.UnderAttack(hit), nil }},
		{"scale", func() (*sim.Report, error) { return sim.Scale(sim.Size{POPs: 500, Slices: 8, Networks: 100_000}, 3) }},
	}
	for _, e := range experiments {
		if o.only != "" && !slices.Contains(strings.Split(o.only, ","), e.name) {
			continue
		}
		start := time.Now()
		r, err := e.play()
		if err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
		r.Print(os.Stdout)
		fmt.Fprintf(os.Stderr, "(%s took %v)\n", e.name, time.Since(start).Round(time.Second/10))
		if err := r.Save(o.out); err != nil {
			return err
		}
	}
	return nil
}

// measured opens the measured catchments, or the small fleet where they are
// absent, and says which.
func measured(o options) (*sim.Measured, error) {
	f, err := os.Open(o.data)
	name := "measured catchments of the Tangled testbed"
	if errors.Is(err, fs.ErrNotExist) {
		fmt.Printf("measured catchments: skipped, there is no %s; goals are those of the small fleet, made from published summary figures\n", o.data)
		name = "small fleet from summary figures"
		f, err = os.Open(o.small)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return sim.ReadMeasured(f, name)
}
