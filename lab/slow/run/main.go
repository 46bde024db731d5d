// Command run plays the lab of package slow: flows whose limit is known against
// the classifier, and then clients of two POPs.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/catchment/catchment/lab/cmdline"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/slow"
)

// options of the two parts.
type options struct {
	flows slow.Options
	all   bool // say what was seen of each flow
	tell  slow.TellOptions
}

func main() {
	o := options{
		flows: slow.Options{Out: os.Stdout, Progress: os.Stderr},
		tell:  slow.TellOptions{Out: os.Stdout, Progress: os.Stderr},
	}
	netlab.Main(cmdline.Program{Name: "lab-slow", Flags: o.flags,
		Do: func(ctx context.Context, _ []string) error { return o.run(ctx) }}, slow.Tools()...)
}

func (o *options) flags(f *flag.FlagSet) {
	f.IntVar(&o.flows.Each, "flows", 60, "flows of each class; 0: none")
	f.IntVar(&o.flows.Parallel, "parallel", 50, "flows at once")
	f.Uint64Var(&o.flows.Seed, "seed", 1, "of what flows there are")
	f.BoolVar(&o.flows.Short, "short", false, "flows of some seconds")
	f.BoolVar(&o.all, "v", false, "say what was seen of each flow")
	f.StringVar(&o.tell.Topology, "topology", "lab/slow.clab.yml", "the two POPs")
	f.StringVar(&o.tell.Bin, "bin", "bin", "folder with catchmentd and catchment")
	f.StringVar(&o.tell.Only, "only", "", "names of stories, with commas, or none; without it all")
}

func (o *options) run(ctx context.Context) error {
	if o.flows.Each > 0 {
		t, err := slow.Classify(ctx, o.flows)
		if err != nil {
			return err
		}
		t.Print(o.flows.Out, o.all)
		for _, g := range t.Goals() {
			fmt.Fprintln(o.flows.Out, g)
		}
	}
	return slow.Tell(ctx, o.tell)
}
