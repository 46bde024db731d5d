// Command cli times catchment's gobgp-compatible client beside the stock
// client, listing the same routes of the same daemon, and prints a table and
// a goal line.
//
// It decides the order of runs (the clients take turns, so that what else the
// machine does hits both), owns the daemon it starts in a namespace of its
// own, and judges the median of pairs; a missed goal is a line, not a failure.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/lab/sandbox"
)

type options struct {
	bin            string
	routes, rounds int
	limit          float64
}

func main() {
	var o options
	flag.StringVar(&o.bin, "bin", "bin", "directory with catchment")
	flag.IntVar(&o.routes, "routes", 10000, "routes in the table")
	flag.IntVar(&o.rounds, "rounds", 15, "runs of each client")
	flag.Float64Var(&o.limit, "limit", 1.2, "promised ratio of the medians")
	inside := flag.Bool("inside", false, "set by itself: in namespaces of its own")
	flag.Parse()
	if !*inside {
		os.Exit(enter())
	}
	if err := o.run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench cli:", err)
		os.Exit(1)
	}
}

// enter runs the program again in a network namespace.
func enter() int {
	cmd := exec.Command("/proc/self/exe", append([]string{"-inside"}, os.Args[1:]...)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = sandbox.Attr()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	fmt.Fprintln(os.Stderr, "bench cli:", err)
	return 1
}

const startTimeout = 20 * time.Second

func (o options) run(w io.Writer) error {
	dir, err := os.MkdirTemp("", "bench-cli-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	stock, daemon := filepath.Join(dir, "gobgp"), filepath.Join(dir, "gobgpd")
	for bin, pkg := range map[string]string{stock: "gobgp", daemon: "gobgpd"} {
		if out, err := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", bin, "github.com/osrg/gobgp/v3/cmd/"+pkg).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", pkg, err, out)
		}
	}
	socket := filepath.Join(dir, "gobgp.sock")
	stop, err := startDaemon(daemon, socket)
	if err != nil {
		return err
	}
	defer stop()
	target := "unix://" + socket
	ours := filepath.Join(o.bin, "catchment")
	if err := fill(ours, target, filepath.Join(dir, "routes.mrt"), o.routes); err != nil {
		return err
	}
	fmt.Fprintf(w, "%d routes, %d runs of each, in turns; the whole process, milliseconds\n\n", o.routes, o.rounds)
	fmt.Fprintf(w, "%-26s %9s %9s %9s %9s %7s\n", "command", "stock", "ours", "min", "min", "ratio")
	worst := 0.0
	for _, args := range [][]string{{"global", "rib"}, {"-j", "global", "rib"}, {"global", "rib", "summary"}} {
		theirs, mine, err := o.compare(stock, ours, append([]string{"--target", target}, args...))
		if err != nil {
			return err
		}
		ratio := float64(median(mine)) / float64(median(theirs))
		if args[len(args)-1] == "rib" {
			worst = max(worst, ratio)
		}
		fmt.Fprintf(w, "%-26s %9.1f %9.1f %9.1f %9.1f %7.2f\n", fmt.Sprint(args), ms(median(theirs)), ms(median(mine)), ms(slices.Min(theirs)), ms(slices.Min(mine)), ratio)
	}
	verdict := "met"
	if worst > o.limit {
		verdict = "missed"
	}
	fmt.Fprintf(w, "\ngoal cli-10000-routes-ratio %.3g %g %s\n", worst, o.limit, verdict)
	return nil
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func median(s []time.Duration) time.Duration {
	s = slices.Sorted(slices.Values(s))
	return s[len(s)/2]
}

// compare runs both clients in turns and checks that they print the same
// number of lines.
func (o options) compare(stock, ours string, args []string) (theirs, mine []time.Duration, err error) {
	for range o.rounds + 1 { // the first fills the caches
		a, n, err := timed(stock, args)
		if err != nil {
			return nil, nil, err
		}
		b, m, err := timed(ours, args)
		if err != nil {
			return nil, nil, err
		}
		if n != m {
			return nil, nil, fmt.Errorf("%v: %d lines and %d lines", args, n, m)
		}
		theirs, mine = append(theirs, a), append(mine, b)
	}
	return theirs[1:], mine[1:], nil
}

func timed(bin string, args []string) (took time.Duration, lines int, err error) {
	cmd := exec.Command(bin, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	err = cmd.Run()
	took = time.Since(start)
	if err != nil {
		return 0, 0, fmt.Errorf("%s %v: %w\n%s", filepath.Base(bin), args, err, &out)
	}
	return took, bytes.Count(out.Bytes(), []byte("\n")), nil
}

// startDaemon runs gobgpd on a socket until stop is called.
func startDaemon(bin, socket string) (stop func(), err error) {
	cmd := exec.Command(bin, "--api-hosts", "unix://"+socket, "--pprof-disable", "--log-level", "error")
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop = func() {
		_ = cmd.Process.Kill() // it may have gone
		_ = cmd.Wait()
	}
	deadline := time.After(startTimeout)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("unix", socket); err == nil {
			c.Close()
			return stop, nil
		}
		select {
		case <-deadline:
			stop()
			return nil, fmt.Errorf("gobgpd does not listen")
		case <-tick.C:
		}
	}
}

// fill gives the daemon its AS and n routes, by way of an MRT dump. It takes
// our client: the stock one leaves before the daemon has them all.
func fill(client, target, path string, n int) error {
	if err := os.WriteFile(path, dump(n), 0o600); err != nil {
		return err
	}
	do := func(args ...string) ([]byte, error) {
		out, err := exec.Command(client, append([]string{"--target", target}, args...)...).CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%v: %w\n%s", args, err, out)
		}
		return out, err
	}
	if _, err := do("global", "as", "64500", "router-id", "10.0.0.1", "listen-port", "1790", "listen-addresses", "127.0.0.1"); err != nil {
		return err
	}
	if _, err := do("mrt", "inject", "global", path); err != nil {
		return err
	}
	out, err := do("global", "rib", "summary")
	if err == nil && !strings.Contains(string(out), fmt.Sprintf("Destination: %d,", n)) {
		err = fmt.Errorf("after %d routes the daemon has: %s", n, out)
	}
	return err
}
