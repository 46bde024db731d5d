// Command catchment is the operator's side of a POP: it asks and tells the
// daemon of this host (catchmentd) through its control socket.
//
// Exit statuses: 0 done; 1 it failed or was refused; 2 the command line is
// wrong; 3 no daemon answers. The commands of gobgp (package bgp/gobgp/cli)
// have gobgp's: 0 or 1. Under the name gobgp it is that client.
package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/catchment/catchment/bgp/gobgp/cli"
)

func main() {
	initLab()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := newApp(os.Stdout, os.Stderr)
	a.gobgpSocket = os.Getenv("CATCHMENT_GOBGP_SOCKET")
	if filepath.Base(os.Args[0]) == cli.StockName {
		os.Exit(cli.Run(ctx, cli.Options{Name: cli.StockName, Out: a.out, Err: a.err, Socket: a.gobgpSocket}, os.Args[1:]))
	}
	status := a.run(ctx, os.Args[1:], os.Getenv("CATCHMENT_SOCKET"))
	stop()
	os.Exit(status)
}
