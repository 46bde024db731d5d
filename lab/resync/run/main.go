// Command run plays the lab of package resync: its stories, or its bench.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/resync"
)

func main() {
	netlab.Init(resync.Tools()...)
	opt := resync.Options{Out: os.Stdout, Progress: os.Stderr}
	flag.StringVar(&opt.Topology, "topology", "lab/resync.clab.yml", "the topology")
	flag.StringVar(&opt.Bin, "bin", "bin", "folder with catchmentd and catchment")
	flag.StringVar(&opt.Only, "only", "", "names of stories, with commas; without it all")
	bench := flag.Bool("bench", false, "a thousand downloads, instead of the stories")
	stages := flag.Bool("stages", false, "a death under a thousand downloads, step by step")
	flag.Parse()
	play := resync.Tell
	switch {
	case *bench:
		play = resync.Bench
	case *stages:
		play = resync.Stages
	}
	if err := run(opt, play); err != nil {
		fmt.Fprintln(os.Stderr, "lab-resync:", err)
		os.Exit(1)
	}
}

func run(opt resync.Options, play func(context.Context, resync.Options) error) error {
	if err := netlab.Enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return play(ctx, opt)
}
