// Command run plays the lab of package slow.
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
	netlab.Init()
	o := slow.Options{Out: os.Stdout, Progress: os.Stderr}
	flag.IntVar(&o.Each, "flows", 60, "flows of each class")
	flag.IntVar(&o.Parallel, "parallel", 50, "flows at once")
	flag.Uint64Var(&o.Seed, "seed", 1, "of what flows there are")
	flag.BoolVar(&o.Short, "short", false, "flows of some seconds")
	all := flag.Bool("v", false, "say what was seen of each flow")
	flag.Parse()
	if err := run(o, *all); err != nil {
		fmt.Fprintln(os.Stderr, "lab-slow:", err)
		os.Exit(1)
	}
}

func run(o slow.Options, all bool) error {
	if err := netlab.Enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	t, err := slow.Classify(ctx, o)
	if err != nil {
		return err
	}
	t.Print(o.Out, all)
	for _, g := range t.Goals() {
		fmt.Fprintln(o.Out, g)
	}
	return nil
}
