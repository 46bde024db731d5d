// Command catchment is the operator's side of a POP: it asks and tells the
// daemon of this host (catchmentd) through its control socket.
//
// Exit statuses: 0 done; 1 it failed or was refused; 2 the command line is
// wrong; 3 no daemon answers.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	initLab()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	a := newApp(os.Stdout, os.Stderr)
	status := a.run(ctx, os.Args[1:], os.Getenv("CATCHMENT_SOCKET"))
	stop()
	os.Exit(status)
}
