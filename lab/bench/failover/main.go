// Command failover runs package bench: how long a dead service keeps its
// route, with Catchment and with other tools.
package main

import (
	"context"
	"flag"
	"os"
	"strings"

	"github.com/catchment/catchment/lab/bench"
	"github.com/catchment/catchment/lab/cmdline"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
)

func main() {
	opt := bench.Options{Out: os.Stdout, Progress: os.Stderr}
	netlab.Main(cmdline.Program{
		Name: "failover",
		Flags: func(f *flag.FlagSet) {
			f.StringVar(&opt.Bin, "bin", "bin", "folder with catchmentd")
			f.IntVar(&opt.Kills, "kills", 20, "kills for each row")
			f.BoolVar(&opt.Quick, "quick", false, "3 kills a row and short looks at the cost: to try the harness")
			f.Func("only", "rows, with commas between: "+strings.Join(bench.Names(), ","), func(s string) error {
				opt.Only = strings.Split(s, ",")
				return nil
			})
		},
		Do: func(ctx context.Context, _ []string) error { return bench.Failover(ctx, opt) },
	}, serve.Tools()...)
}
