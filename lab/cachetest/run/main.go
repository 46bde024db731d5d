// Command run puts caches to the test in a network namespace of its own: the
// public suite, h2spec, the probe of ranges and coalescing, and faults. See
// package cachetest.
//
// It decides nothing; it reads flags and prints what cachetest finds. A missed
// goal is a line, not a failure; a failure of ours without a known reason is.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/catchment/catchment/lab/cachetest"
	"github.com/catchment/catchment/lab/cmdline"
	"github.com/catchment/catchment/lab/sandbox"
)

const what = "suite | h2spec | probe | faults"

type options struct {
	bin, suite, caches, one, failures, h2spec string
	repeat                                    int
	quick, keep, memory                       bool
}

func main() {
	cachetest.ServeIfAsked()
	var o options
	sandbox.Main(cmdline.Program{Name: "cachetest", Args: what, Flags: o.flags,
		Do: func(ctx context.Context, args []string) error { return o.do(ctx, strings.Join(args, " ")) }})
}

func (o *options) flags(f *flag.FlagSet) {
	f.StringVar(&o.bin, "bin", "bin", "folder with catchmentd")
	f.StringVar(&o.suite, "suite", "", "checkout of http-tests/cache-tests")
	f.StringVar(&o.caches, "caches", "", "names of caches, with commas; default ours and those it is compared with")
	f.StringVar(&o.one, "id", "", "only this test of the suite, or checks of the probe whose name has this in it")
	f.StringVar(&o.failures, "failures", "", "write our failures of the suite to this file")
	f.StringVar(&o.h2spec, "h2spec", "bin/tools/h2spec", "the program h2spec")
	f.IntVar(&o.repeat, "repeat", 2, "runs of the suite; the last counts")
	f.BoolVar(&o.quick, "quick", false, "a short look")
	f.BoolVar(&o.memory, "memory", false, "ours without a disk")
	f.BoolVar(&o.keep, "keep", false, "keep the folder of the run and say where it is")
}

func (o options) do(ctx context.Context, part string) error {
	work, err := os.MkdirTemp("", "cachetest-")
	if err != nil {
		return err
	}
	if o.keep {
		fmt.Println("folder:", work)
	} else {
		defer os.RemoveAll(work)
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	switch part {
	case "suite":
		subjects, err := o.subjects("catchment", "nginx")
		if err != nil {
			return err
		}
		return cachetest.RunSuite(ctx, cachetest.SuiteOptions{Out: os.Stdout, Dir: o.suite, Work: work, Bin: o.bin,
			Subjects: subjects, Repeat: o.repeat, One: o.one, Failures: o.failures})
	case "h2spec":
		subjects, err := o.subjects("catchment", "nginx", "nginx-h2c")
		if err != nil {
			return err
		}
		return cachetest.H2Spec(ctx, cachetest.H2SpecOptions{Out: os.Stdout, Work: work, Bin: o.bin, Program: o.h2spec, Subjects: subjects})
	case "probe":
		subjects, err := o.subjects("catchment", "nginx", "nginx-slice", "varnish")
		if err != nil {
			return err
		}
		return cachetest.Probe(ctx, cachetest.ProbeOptions{Out: os.Stdout, Work: work, Bin: o.bin, Subjects: subjects, Only: o.one})
	case "faults":
		subjects, err := o.subjects("catchment", "nginx")
		if err != nil {
			return err
		}
		return cachetest.Faults(ctx, cachetest.FaultOptions{Out: os.Stdout, Work: work, Bin: o.bin, Subjects: subjects, Only: o.one, Quick: o.quick})
	}
	return fmt.Errorf("%q is nothing it can do; want %s", part, what)
}

// subjects are ours and the peers, or those that were asked for.
func (o options) subjects(peers ...string) ([]cachetest.Subject, error) {
	names := append([]string{}, peers...)
	if o.caches != "" {
		names = strings.Split(o.caches, ",")
	}
	found, missing, err := cachetest.Named(names...)
	for _, m := range missing {
		fmt.Println(m, "is not installed: left out")
	}
	if o.memory {
		for i := range found {
			found[i] = found[i].InMemory()
		}
	}
	return found, err
}
