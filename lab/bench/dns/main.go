package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/catchment/catchment/lab/sandbox"
)

type runner func() int

func (r runner) Run() int { return r() }

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
	sandbox.Main(runner(run))
}

func run() int {
	var w world
	flag.StringVar(&w.coredns, "coredns", "", "the program coredns; without it is left out")
	flag.StringVar(&w.only, "only", "", "servers, with commas; ratios are to gdnsd")
	flag.IntVar(&w.rounds, "rounds", 5, "rounds")
	flag.DurationVar(&w.each, "each", 4*time.Second, "time of a set on one server")
	flag.IntVar(&w.server, "server", 0, "core of the servers")
	flag.IntVar(&w.client, "client", 1, "core of the client")
	flag.BoolVar(&w.large, "large", true, "the parts with large maps too")
	flag.Parse()
	if runtime.NumCPU() < 2 {
		fmt.Fprintln(os.Stderr, "bench dns: one core for the server and one for the client are needed")
		return 1
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := w.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench dns:", err)
		return 1
	}
	return 0
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
