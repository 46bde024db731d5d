// Command run plays the lab of package fleet: POPs that share load, with FRR,
// real requests, and a control core that is hurt meanwhile.
package main

import (
	"context"
	"flag"
	"os"

	"github.com/catchment/catchment/lab/cmdline"
	"github.com/catchment/catchment/lab/fleet"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
)

func main() {
	opt := fleet.Options{Out: os.Stdout, Progress: os.Stderr}
	netlab.Main(cmdline.Program{
		Name: "lab-fleet",
		Flags: func(f *flag.FlagSet) {
			f.StringVar(&opt.Topology, "topology", "lab/fleet.clab.yml", "the topology")
			f.StringVar(&opt.Bin, "bin", "bin", "folder with catchmentd and catchment")
		},
		Do: func(ctx context.Context, _ []string) error { return fleet.Play(ctx, opt) },
	}, serve.Tools()...)
}
