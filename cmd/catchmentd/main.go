// Command catchmentd is the controller of one POP: it announces, drains and
// withdraws anycast prefixes by health and by what the operator and the rest
// of the fleet say. This package reads flags, builds the parts, ties them
// together and turns signals into orders; it decides nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/catchment/catchment/cmd/internal/buildinfo"
	"github.com/catchment/catchment/pop/config"
)

var version = buildinfo.Version()

const usage = `usage: catchmentd --config FILE [--check-config | --dry-run]

signals: TERM, INT  drain, withdraw, close the sessions, exit (stop.deadline bounds it; a second one cuts it short)
         USR2       leave for a restart: sessions end without a Cease, graceful restart keeps the routes
         HUP        read the configuration again; a mistake in it changes nothing
exit:    0 stopped in order, 1 failed, 2 wrong command line or configuration

`

func main() { os.Exit(unhurried(time.Now(), run(os.Args[1:], os.Stdout, os.Stderr))) }

func run(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("catchmentd", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.Usage = func() { fmt.Fprint(stderr, usage); fs.PrintDefaults() }
	path := fs.String("config", "/etc/catchment/catchment.yaml", "the configuration, YAML or TOML by its ending")
	check := fs.Bool("check-config", false, "read the configuration, say what is wrong with it, and exit")
	dry := fs.Bool("dry-run", false, "decide and journal, but announce nothing and change no address or route")
	show := fs.Bool("version", false, "print the version and exit")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	switch {
	case *show:
		fmt.Fprintln(stdout, "catchmentd", version)
		return 0
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "catchmentd: unexpected argument %q\n", fs.Arg(0))
		return 2
	}
	src := &origin{path: *path, stderr: stderr}
	cfg, err := src.boot()
	if errors.Is(err, errNothingFetched) {
		if *check {
			fmt.Fprintf(stdout, "%s is right: POP %s; %v\n", *path, cfg.POP, err)
			return 0
		}
		if cfg, err = src.first(cfg); err == nil && cfg == nil {
			return 0
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		if !*check {
			tell("configuration refused: " + err.Error())
		}
		return 2
	}
	for _, w := range cfg.Warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if *check {
		fmt.Fprintf(stdout, "%s is right: POP %s, %s\n", *path, cfg.POP, summary(cfg))
		return 0
	}
	d, err := build(cfg, src, *dry, stderr)
	if err == nil {
		err = d.serve(context.Background())
	}
	if err != nil {
		fmt.Fprintln(stderr, "catchmentd:", err)
		return 1
	}
	return 0
}

func summary(cfg *config.Config) string {
	slices, checks := 0, 0
	for _, s := range cfg.Services {
		slices += len(s.Slices)
		checks += len(s.Checks)
	}
	text := number(len(cfg.Services), "service") + ", " + number(slices, "slice") + ", " + number(checks, "check")
	if cfg.Cache.On() {
		text += ", a cache server of " + number(len(cfg.Cache.Sites), "site")
	}
	return text
}

func number(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprint(n, " ", what)
}
