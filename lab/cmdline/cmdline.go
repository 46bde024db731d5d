// Package cmdline is what the mains of labs and benches have in common: flags,
// a context that ends with SIGINT and SIGTERM, the line of an error and the exit
// status. A Program is what lab/sandbox and lab/netlab run in their namespaces:
//
//	func main() {
//		var rounds int
//		sandbox.Main(cmdline.Program{Name: "bench x", Cores: 2,
//			Flags: func(f *flag.FlagSet) { f.IntVar(&rounds, "rounds", 5, "rounds") },
//			Do:    func(ctx context.Context, _ []string) error { return bench(ctx, rounds) }})
//	}
//
// It decides nothing else, and never reads the environment.
package cmdline

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"

	"golang.org/x/sys/unix"
)

// Program is a program of a lab.
type Program struct {
	// Name stands before its errors and its usage.
	Name string
	// Flags names its flags; nil: it has none.
	Flags func(*flag.FlagSet)
	// Args names what may follow the flags, for the usage; "": nothing may.
	Args string
	// Cores is how many CPUs it needs at least, so that what it measures does
	// not measure it; 0: any.
	Cores int
	// Do does it. args are what follows the flags; ctx ends with SIGINT and
	// SIGTERM.
	Do func(ctx context.Context, args []string) error
}

// Exit statuses of Run.
const (
	ok     = 0
	failed = 1
	misled = 2 // flags that there are not
)

// Run runs it with the arguments of this process and returns the exit status:
// 0, 1 after an error, 2 where the arguments are wrong.
func (p Program) Run() int { return p.run(os.Args[1:], os.Stderr, runtime.NumCPU()) }

func (p Program) run(args []string, errs io.Writer, cores int) int {
	f := flag.NewFlagSet(p.Name, flag.ContinueOnError)
	f.SetOutput(errs)
	f.Usage = func() {
		fmt.Fprintf(errs, "usage: %s [flags] %s\n", p.Name, p.Args)
		f.PrintDefaults()
	}
	if p.Flags != nil {
		p.Flags(f)
	}
	switch err := f.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return ok
	case err != nil:
		return misled // it has said so
	case p.Args == "" && f.NArg() > 0:
		fmt.Fprintf(errs, "%s: %q is no flag\n", p.Name, f.Arg(0))
		return misled
	case cores < p.Cores:
		fmt.Fprintf(errs, "%s: %d CPUs are needed, there is %d\n", p.Name, p.Cores, cores)
		return failed
	}
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := p.Do(ctx, f.Args()); err != nil {
		fmt.Fprintf(errs, "%s: %v\n", p.Name, err)
		return failed
	}
	return ok
}
