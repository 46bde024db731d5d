package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/catchment/catchment/lab/cachetest"
	"github.com/catchment/catchment/lab/cmdline"
	"github.com/catchment/catchment/lab/sandbox"
)

type options struct {
	bin, caches, only string
	rounds            int
	each              time.Duration
	server, client    int // cores
}

func main() {
	cachetest.ServeIfAsked()
	var o options
	sandbox.Main(cmdline.Program{Name: "bench cache", Cores: 2, Flags: o.flags,
		Do: func(ctx context.Context, _ []string) error { return o.run(ctx) }})
}

func (o *options) flags(f *flag.FlagSet) {
	f.StringVar(&o.bin, "bin", "bin", "folder with catchmentd")
	f.StringVar(&o.caches, "caches", "catchment,nginx,nginx-h2c,varnish", "names of caches, with commas; ratios are to nginx")
	f.StringVar(&o.only, "only", "", "loads whose name has one of these in it, with commas")
	f.IntVar(&o.rounds, "rounds", 5, "rounds")
	f.DurationVar(&o.each, "each", 2*time.Second, "time of a load on one cache, whole seconds")
	f.IntVar(&o.server, "server", 0, "core of the caches")
	f.IntVar(&o.client, "client", 1, "core of the client")
}

func (o options) wants(name string) bool {
	for part := range strings.SplitSeq(o.only, ",") {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}

func (o options) run(ctx context.Context) (err error) {
	if o.each < time.Second || o.each%time.Second != 0 {
		return fmt.Errorf("-each %v: want whole seconds, which is what wrk takes", o.each)
	}
	work, err := os.MkdirTemp("", "bench-cache-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	w, err := newWorld(ctx, o, work)
	if err != nil {
		return err
	}
	defer w.close()
	t := table{}
	var errs []error
	for round := range o.rounds {
		for _, l := range loads() {
			if !o.wants(l.name) {
				continue
			}
			for _, c := range w.caches {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if l.addr(c) == "" {
					continue
				}
				s, err := w.measure(ctx, c, l)
				if err != nil {
					errs = append(errs, fmt.Errorf("%s on %s: %w", l.name, c.Name, err))
					continue
				}
				t.add(l.name, w.label(c), s)
			}
		}
		fmt.Fprintf(os.Stderr, "bench cache: round %d of %d\n", round+1, o.rounds)
	}
	t.write(os.Stdout, w)
	return errors.Join(errs...)
}
