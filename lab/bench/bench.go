package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// Options of a run. The zero value runs everything with 20 kills a row and
// writes to standard output.
type Options struct {
	Out      io.Writer // the report; default standard output
	Progress io.Writer // what is going on; default nowhere
	Bin      string    // folder with catchmentd; default "bin"
	Kills    int       // for each row; default 20
	Only     []string  // names of rows, "cost"; default all
	Quick    bool      // 3 kills and short looks at the cost: for tests of the harness
}

func (o Options) withDefaults() Options {
	if o.Out == nil {
		o.Out = os.Stdout
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	if o.Bin == "" {
		o.Bin = "bin"
	}
	if o.Quick {
		o.Kills = 3
	}
	if o.Kills <= 0 {
		o.Kills = 20
	}
	return o
}

func (o Options) wants(name string) bool { return len(o.Only) == 0 || slices.Contains(o.Only, name) }

func (o Options) progress(format string, args ...any) {
	fmt.Fprintf(o.Progress, "bench: "+format+"\n", args...)
}

// Names returns the names of all rows, as Options.Only takes them.
func Names() []string {
	var out []string
	for _, s := range subjects() {
		out = append(out, s.name)
	}
	return append(out, "cost")
}

// Failover measures and writes the report. The error says what could not be
// measured; a missed goal is none. The caller has called netlab.Init with
// serve.Tools and netlab.Enter.
func Failover(ctx context.Context, opt Options) error {
	opt = opt.withDefaults()
	for _, name := range opt.Only {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("no row is named %q (rows: %v)", name, Names())
		}
	}
	if err := opt.checkPrograms(); err != nil {
		return err
	}
	var errs []error
	results := map[string]*result{}
	for _, s := range subjects() {
		if !opt.wants(s.name) || ctx.Err() != nil {
			continue
		}
		res, err := measure(ctx, s, opt.Kills, opt)
		if ctx.Err() != nil {
			continue // what was measured so far is still reported
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s could not be measured: %w", s.name, err))
			continue
		}
		results[s.name] = res
	}
	var costs []cost
	if opt.wants("cost") && ctx.Err() == nil {
		var err error
		if costs, err = measureCosts(ctx, opt); err != nil {
			errs = append(errs, err)
		}
	}
	if err := writeReport(opt.Out, opt, results, costs); err != nil {
		return err
	}
	return errors.Join(append(errs, ctx.Err())...)
}

// checkPrograms says at the start, not after minutes, what is missing.
func (o Options) checkPrograms() error {
	var errs []error
	need := func(pkg, path string) {
		if _, err := exec.LookPath(path); err != nil {
			errs = append(errs, fmt.Errorf("%s is missing (Debian package %s)", path, pkg))
		}
	}
	need("frr", "/usr/lib/frr/bgpd")
	need("bird2", "bird")
	need("curl", "curl")
	for _, s := range subjects() {
		if s.tool == exabgp && o.wants(s.name) || o.wants("cost") {
			need("exabgp", "exabgp")
			break
		}
	}
	for _, s := range subjects() {
		if s.tool == catchmentd && o.wants(s.name) || o.wants("cost") {
			if _, err := os.Stat(filepath.Join(o.Bin, "catchmentd")); err != nil {
				errs = append(errs, fmt.Errorf("catchmentd is not in %s: build it first", o.Bin))
			}
			break
		}
	}
	return errors.Join(errs...)
}
