package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/lab/demo"
	"github.com/catchment/catchment/lab/netlab"
	"github.com/catchment/catchment/lab/serve"
	"github.com/catchment/catchment/lab/story"
)

// initLab is the first call of main: nodes of a lab, and what runs in them,
// are this binary again. In those processes it does not return.
func initLab() { netlab.Init(serve.Tools()...) }

// labFlags say where a lab finds things.
type labFlags struct {
	bin, images string
	vars        []string
	verbose     bool
}

func (f *labFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.bin, "bin", "", "`folder` that comes first in the PATH of all nodes (default: the folder of this program)")
	cmd.Flags().StringVar(&f.images, "images", "", "`folder` of image folders (default: images beside the topology)")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "say what the lab does")
}

func (f *labFlags) options(log io.Writer) (netlab.Options, error) {
	o := netlab.Options{Bin: f.bin, Images: f.images}
	if o.Bin == "" {
		self, err := os.Executable()
		if err != nil {
			return o, err
		}
		o.Bin = filepath.Dir(self)
	}
	if f.verbose {
		o.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	return o, nil
}

// values reads --var NAME=VALUE.
func (f *labFlags) values() (map[string]string, error) {
	out := map[string]string{}
	for _, v := range f.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return nil, usagef("--var %q: want NAME=VALUE", v)
		}
		out[name] = value
	}
	return out, nil
}

// newLabCommand is `catchment lab`. It needs no daemon.
func (a *app) newLabCommand() *cobra.Command {
	lab := &cobra.Command{
		Use:   "lab",
		Short: "Run topologies in network namespaces, without root and without Docker",
		Example: `  catchment lab demo
  catchment lab up lab/two-pops.clab.yml
  catchment lab exec two-pops t1 vtysh -c "show bgp summary"
  catchment lab signal two-pops lon lab-serve STOP
  catchment lab down two-pops`,
	}
	lab.AddCommand(
		a.labDemo(), a.labStory(), a.labUp(), a.labDown(), a.labList(), a.labInspect(), a.labExec(), a.labSignal(),
		tool("serve", "The labs' HTTP service: answers with the name of its POP", "--listen 192.0.2.1:80 --name LON", serve.ServeMain),
		tool("fetch", "The labs' client: asks again and again, and notes who answered", "--url http://192.0.2.1/ --count 10", serve.FetchMain),
	)
	lab.AddCommand(a.labActions()...)
	return lab
}

func (a *app) labDemo() *cobra.Command {
	var f labFlags
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Three POPs, two transit routers, a client, and a story in about a minute",
		Long: `Three POPs, two transit routers, a client, and a story in about a minute.

Exit status 0 only if every step of the story was observed.`,
		Example: "  catchment lab demo\n  catchment lab demo --keep",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := demo.Options{Out: a.out, Keep: keep, Bin: f.bin}
			if f.verbose {
				o.Log = slog.New(slog.NewTextHandler(a.err, nil))
			}
			return demo.Run(cmd.Context(), o)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "leave the world up at the end, and print what to try")
	cmd.Flags().StringVar(&f.bin, "bin", "", "`folder` of catchmentd and catchment (default: that of this program)")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "say what the lab does")
	return cmd
}

func (a *app) labStory() *cobra.Command {
	var f labFlags
	var containerlab string
	cmd := &cobra.Command{
		Use:     "story FILE",
		Short:   "Run a story script in each of its variants",
		Example: "  catchment lab story lab/testdata/failover.txt\n  catchment lab story lab/testdata/failover.txt --var ROUTER=bird",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			want, err := f.values()
			if err != nil {
				return err
			}
			s, err := story.Load(args[0])
			if err != nil {
				return err
			}
			maker, err := f.maker(a.err, containerlab)
			if err != nil {
				return err
			}
			say := func(format string, args ...any) { fmt.Fprintf(a.out, format+"\n", args...) }
			ran := 0
			for _, v := range s.Variants {
				if !matches(v, want) {
					continue
				}
				ran++
				say("== %s %v", s.File, v)
				if err := s.Run(cmd.Context(), v, story.Options{Make: maker, Say: say}); err != nil {
					return fmt.Errorf("%s %v: %w", s.File, v, err)
				}
			}
			if ran == 0 {
				return fmt.Errorf("%s has no variant %v; it has %v", s.File, want, s.Variants)
			}
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().StringArrayVar(&f.vars, "var", nil, "only variants with this `NAME=VALUE`; may be given again")
	cmd.Flags().StringVar(&containerlab, "containerlab", "", "use this containerlab `program` and Docker, with images built before")
	return cmd
}

// maker says where a story happens; the namespaces of netlab are entered here.
func (f *labFlags) maker(log io.Writer, containerlab string) (story.Maker, error) {
	if containerlab != "" {
		return story.InContainerlab(story.Containerlab{Program: containerlab}), nil
	}
	opt, err := f.options(log)
	if err != nil {
		return nil, err
	}
	return story.InNetlab(opt), netlab.Enter()
}

func matches(v story.Variant, want map[string]string) bool {
	for name, value := range want {
		if v[name] != value {
			return false
		}
	}
	return true
}

// tool is a program of lab nodes, with flags of its own.
func tool(name, short, example string, main serveMain) *cobra.Command {
	return &cobra.Command{
		Use: name, Short: short, Example: "  catchment lab " + name + " " + example, DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error { return main(cmd.Context(), args) },
	}
}

// exitStatus is the status of a command in a node, which becomes our own.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// notUp explains how to get a lab up.
func notUp(err error) error {
	names, listErr := netlab.Labs()
	if listErr != nil || len(names) == 0 {
		return errors.Join(err, errors.New("no lab is up: catchment lab up FILE"))
	}
	return errors.Join(err, fmt.Errorf("up: %s", strings.Join(names, ", ")))
}
