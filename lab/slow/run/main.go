// Command run plays the lab of package slow: flows whose limit is known against
// the classifier, and then clients of two POPs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/slow"
)

func main() {
	netlab.Init(slow.Tools()...)
	o := slow.Options{Out: os.Stdout, Progress: os.Stderr}
	tell := slow.TellOptions{Out: os.Stdout, Progress: os.Stderr}
	flag.IntVar(&o.Each, "flows", 60, "flows of each class; 0: none")
	flag.IntVar(&o.Parallel, "parallel", 50, "flows at once")
	flag.Uint64Var(&o.Seed, "seed", 1, "of what flows there are")
	flag.BoolVar(&o.Short, "short", false, "flows of some seconds")
	all := flag.Bool("v", false, "say what was seen of each flow")
	flag.StringVar(&tell.Topology, "topology", "lab/slow.clab.yml", "the two POPs")
	flag.StringVar(&tell.Bin, "bin", "bin", "folder with catchmentd and catchment")
	flag.StringVar(&tell.Only, "only", "", "names of stories, with commas, or none; without it all")
	flag.Parse()
	if err := run(o, *all, tell); err != nil {
		fmt.Fprintln(os.Stderr, "lab-slow:", err)
		os.Exit(1)
	}
}

func run(o slow.Options, all bool, tell slow.TellOptions) error {
	if err := netlab.Enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if o.Each > 0 {
		t, err := slow.Classify(ctx, o)
		if err != nil {
			return err
		}
		t.Print(o.Out, all)
		for _, g := range t.Goals() {
			fmt.Fprintln(o.Out, g)
		}
	}
	return slow.Tell(ctx, tell)
}
