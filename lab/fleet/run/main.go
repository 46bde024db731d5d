// Command run plays the lab of package fleet: POPs that share load, with FRR,
// real requests, and a control core that is hurt meanwhile.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/fleet"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
)

func main() {
	netlab.Init(serve.Tools()...)
	opt := fleet.Options{Out: os.Stdout, Progress: os.Stderr}
	flag.StringVar(&opt.Topology, "topology", "lab/fleet.clab.yml", "the topology")
	flag.StringVar(&opt.Bin, "bin", "bin", "folder with catchmentd and catchment")
	flag.Parse()
	if err := run(opt); err != nil {
		fmt.Fprintln(os.Stderr, "lab-fleet:", err)
		os.Exit(1)
	}
}

func run(opt fleet.Options) error {
	if err := netlab.Enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return fleet.Play(ctx, opt)
}
