package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/catchment/catchment/lab/cmdline"
	"github.com/catchment/catchment/lab/sandbox"
)

// world is what a run has.
type world struct {
	self, coredns, dir, only string
	rounds                   int
	each                     time.Duration
	server, client           int // cores
	large                    bool
	nets                     []network
	servers                  []*server
}

func main() {
	if len(os.Args) > 4 && os.Args[1] == serveWord {
		if err := serve(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, "serve:", err)
			os.Exit(1)
		}
		return
	}
	var w world
	sandbox.Main(cmdline.Program{Name: "bench dns", Cores: 2, Flags: w.flags,
		Do: func(ctx context.Context, _ []string) error { return w.run(ctx) }})
}

func (w *world) flags(f *flag.FlagSet) {
	f.StringVar(&w.coredns, "coredns", "", "the program coredns; without it is left out")
	f.StringVar(&w.only, "only", "", "servers, with commas; ratios are to gdnsd")
	f.IntVar(&w.rounds, "rounds", 5, "rounds")
	f.DurationVar(&w.each, "each", 4*time.Second, "time of a set on one server")
	f.IntVar(&w.server, "server", 0, "core of the servers")
	f.IntVar(&w.client, "client", 1, "core of the client")
	f.BoolVar(&w.large, "large", true, "the parts with large maps too")
}

func (w *world) wants(name string) bool {
	if name == "coredns" && w.coredns == "" {
		return false
	}
	return w.only == "" || strings.Contains(","+w.only+",", ","+name+",")
}

func (w *world) run(ctx context.Context) (err error) {
	if w.self, err = os.Executable(); err != nil {
		return err
	}
	if w.coredns != "" {
		if w.coredns, err = exec.LookPath(w.coredns); err == nil {
			w.coredns, err = filepath.Abs(w.coredns)
		}
		if err != nil {
			return err
		}
	}
	if w.dir, err = os.MkdirTemp("", "bench-dns-"); err != nil {
		return err
	}
	defer os.RemoveAll(w.dir)
	if err := os.Chmod(w.dir, 0o755); err != nil {
		return err
	}
	if err := w.data(); err != nil {
		return err
	}
	defer func() {
		for _, s := range w.servers {
			s.stop()
		}
	}()
	for i, name := range subjects {
		if !w.wants(name) {
			continue
		}
		s, err := w.start(ctx, name, w.dir+"/nets", 5301+i)
		if s != nil {
			w.servers = append(w.servers, s)
		}
		if err != nil {
			return err
		}
	}
	t := table{}
	if err := w.play(ctx, t); err != nil {
		return err
	}
	if err := t.write(os.Stdout, w); err != nil || !w.large {
		return err
	}
	return w.more(ctx, os.Stdout)
}

// data writes zones, map and questions.
func (w *world) data() error {
	w.nets = networks(20_000, 1)
	queries, err := mapQueries(w.nets)
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{staticZone + "zone": zoneText(), mapZone + "zone": []byte(mapText),
		"static.queries": staticQueries(), "map.queries": queries} {
		if err := write(filepath.Join(w.dir, name), func(f *bufio.Writer) { _, _ = f.Write(b) }); err != nil {
			return err
		}
	}
	return gdnsdNets(w.dir+"/nets", w.nets)
}

// play measures all rounds.
func (w *world) play(ctx context.Context, t table) error {
	for round := range w.rounds {
		for _, set := range []string{"static", "map"} {
			for _, s := range w.servers {
				if !answers(s.name, set) {
					continue
				}
				got, err := w.measure(ctx, s, set)
				if err != nil {
					return fmt.Errorf("%s on %s: %w", set, s.name, err)
				}
				t[set+" "+s.name] = append(t[set+" "+s.name], got)
			}
		}
		fmt.Fprintf(os.Stderr, "bench dns: round %d of %d\n", round+1, w.rounds)
	}
	return nil
}
