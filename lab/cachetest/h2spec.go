package cachetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/catchment/catchment/lab/goal"
)

// H2SpecOptions of a run of h2spec.
type H2SpecOptions struct {
	Out       io.Writer
	Work, Bin string
	Program   string // h2spec itself
	Subjects  []Subject
}

var (
	h2specTotal = regexp.MustCompile(`(?m)^(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`)
	h2specFail  = regexp.MustCompile(`(?m)^\s*× .*$`)
)

// h2specGoal is how many of 145 must pass over each transport; net/http
// passes 141 and 139, and what it misses is harmless.
const h2specGoal = 139

// H2Spec runs h2spec against each subject, in clear text and over TLS as far
// as it speaks both, and prints a table and goal lines.
func H2Spec(ctx context.Context, o H2SpecOptions) error {
	origin, end, err := Loopback(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		fmt.Fprintln(w, "hello")
	}))
	if err != nil {
		return err
	}
	defer end()
	pair, err := NewKeyPair(o.Work)
	if err != nil {
		return err
	}
	var errs []error
	var goals []goal.Goal
	var misses string
	tw := tabwriter.NewWriter(o.Out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "server\ttransport\tpassed\tof")
	for _, sub := range o.Subjects {
		r, err := sub.Start(ctx, Setup{Origin: origin, Dir: filepath.Join(o.Work, sub.Name), CPU: -1, TLS: pair, Bin: o.Bin})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, way := range []struct {
			name, addr string
			on         bool
		}{{"h2c", r.HTTP, sub.H2C}, {"tls", r.HTTPS, sub.TLS && (sub.Ours || !sub.H2C)}} {
			if !way.on {
				continue
			}
			passed, all, list, err := h2spec(ctx, o.Program, way.addr, way.name == "tls")
			if err != nil {
				errs = append(errs, fmt.Errorf("%s %s: %w", sub.Name, way.name, err))
				continue
			}
			fmt.Fprintf(tw, "%s\t%s\t%d\t%d\n", sub.Name, way.name, passed, all)
			if sub.Ours {
				goals = append(goals, goal.AtLeast("h2spec-"+way.name, float64(passed), h2specGoal))
				misses += fmt.Sprintf("\nOurs does not pass (%s):\n%s\n", way.name, list)
			}
		}
		r.Stop()
	}
	tw.Flush()
	fmt.Fprintln(o.Out, misses)
	for _, g := range goals {
		fmt.Fprintln(o.Out, g)
	}
	return errors.Join(errs...)
}

// h2spec runs the program once; its exit status tells only that something
// failed.
func h2spec(ctx context.Context, program, addr string, tls bool) (passed, all int, list string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return 0, 0, "", err
	}
	args := []string{"-h", host, "-p", port}
	if tls {
		args = append(args, "-t", "-k")
	}
	out, runErr := exec.CommandContext(ctx, program, args...).CombinedOutput()
	m := h2specTotal.FindSubmatch(out)
	if m == nil {
		return 0, 0, "", fmt.Errorf("h2spec gave no total (%v):\n%s", runErr, out)
	}
	all, _ = strconv.Atoi(string(m[1]))
	passed, _ = strconv.Atoi(string(m[2]))
	seen := map[string]bool{}
	for _, line := range h2specFail.FindAllString(string(out), -1) {
		if !seen[line] {
			seen[line] = true
			list += line + "\n"
		}
	}
	return passed, all, list, nil
}
