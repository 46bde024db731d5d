// Command failover runs package bench: how long a dead service keeps its
// route, with Catchment and with other tools.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/catchment/catchment/lab/bench"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
	"golang.org/x/sys/unix"
)

func main() {
	netlab.Init(serve.Tools()...)
	opt := bench.Options{Out: os.Stdout, Progress: os.Stderr}
	flag.StringVar(&opt.Bin, "bin", "bin", "folder with catchmentd")
	flag.IntVar(&opt.Kills, "kills", 20, "kills for each row")
	flag.BoolVar(&opt.Quick, "quick", false, "3 kills a row and short looks at the cost: to try the harness")
	only := flag.String("only", "", "rows, with commas between: "+strings.Join(bench.Names(), ","))
	flag.Parse()
	if *only != "" {
		opt.Only = strings.Split(*only, ",")
	}
	if err := run(opt); err != nil {
		fmt.Fprintln(os.Stderr, "failover:", err)
		os.Exit(1)
	}
}

func run(opt bench.Options) error {
	if err := netlab.Enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	return bench.Failover(ctx, opt)
}
