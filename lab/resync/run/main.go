// Command run plays the lab of package resync: its stories, or its bench.
package main

import (
	"context"
	"flag"
	"os"

	"github.com/catchment/catchment/lab/cmdline"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/resync"
)

func main() {
	opt := resync.Options{Out: os.Stdout, Progress: os.Stderr}
	bench, stages := false, false
	netlab.Main(cmdline.Program{
		Name: "lab-resync",
		Flags: func(f *flag.FlagSet) {
			f.StringVar(&opt.Topology, "topology", "lab/resync.clab.yml", "the topology")
			f.StringVar(&opt.Bin, "bin", "bin", "folder with catchmentd and catchment")
			f.StringVar(&opt.Only, "only", "", "names of stories, or of parts of the bench, with commas; without it all")
			f.BoolVar(&bench, "bench", false, "a thousand downloads, instead of the stories")
			f.BoolVar(&stages, "stages", false, "a death under a thousand downloads, step by step")
		},
		Do: func(ctx context.Context, _ []string) error {
			switch {
			case bench:
				return resync.Bench(ctx, opt)
			case stages:
				return resync.Stages(ctx, opt)
			}
			return resync.Tell(ctx, opt)
		},
	}, resync.Tools()...)
}
