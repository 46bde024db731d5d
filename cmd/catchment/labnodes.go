package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/netlab"
)

type serveMain = func(context.Context, []string) error

func (a *app) labUp() *cobra.Command {
	var f labFlags
	cmd := &cobra.Command{
		Use:     "up FILE",
		Short:   "Bring up a topology (*.clab.yml) in the background",
		Example: "  catchment lab up lab/two-pops.clab.yml --var ROUTER=bird",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			vars, err := f.values()
			if err != nil {
				return err
			}
			opt, err := f.options(a.err)
			if err != nil {
				return err
			}
			name, err := netlab.Keep(cmd.Context(), args[0], vars, opt)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.out, "lab %s is up: catchment lab inspect %s, catchment lab down %s\n", name, name, name)
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().StringArrayVar(&f.vars, "var", nil, "`NAME=VALUE` for the topology; may be given again")
	return cmd
}

// withLab is a command about one lab; use is what follows the lab's name.
func withLab(cmd *cobra.Command, f func(*cobra.Command, *netlab.Client, []string) error) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := netlab.Connect(args[0])
		if err != nil {
			return notUp(err)
		}
		return f(cmd, c, args[1:])
	}
	return cmd
}

func (a *app) labDown() *cobra.Command {
	return withLab(&cobra.Command{Use: "down LAB", Short: "End a lab", Example: "  catchment lab down two-pops", Args: cobra.ExactArgs(1)},
		func(_ *cobra.Command, c *netlab.Client, _ []string) error { return c.Down() })
}

func (a *app) labList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "The labs that are up", Example: "  catchment lab list -j", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			names, err := netlab.Labs()
			if err != nil {
				return err
			}
			return a.print(append([]string{}, names...), func(w io.Writer) {
				for _, n := range names {
					fmt.Fprintln(w, n)
				}
			})
		},
	}
}

func (a *app) labInspect() *cobra.Command {
	return withLab(&cobra.Command{Use: "inspect LAB", Short: "Nodes, their addresses and processes",
		Example: "  catchment lab inspect two-pops", Args: cobra.ExactArgs(1)},
		func(_ *cobra.Command, c *netlab.Client, _ []string) error {
			nodes, err := c.Inspect()
			if err != nil {
				return err
			}
			return a.print(nodes, func(w io.Writer) {
				t := newTable("NODE", "KIND", "IMAGE", "STATE", "PID", "PROCESSES", "ADDRESSES")
				for _, n := range nodes {
					state := n.State
					if n.MainExited != "" {
						state += ", its program ended: " + n.MainExited
					}
					t.row(n.Name, n.Kind, n.Image, oneLine(state), strconv.Itoa(n.Pid), strconv.Itoa(len(n.Processes)), strings.Join(n.Addresses, " "))
				}
				t.write(w)
			})
		})
}

func (a *app) labExec() *cobra.Command {
	cmd := withLab(&cobra.Command{
		Use:     "exec LAB NODE COMMAND...",
		Short:   "Run a command in a node; its exit status becomes that of this command",
		Example: "  catchment lab exec two-pops client curl -s http://192.0.2.1/",
		Args:    cobra.MinimumNArgs(3),
	}, func(cmd *cobra.Command, c *netlab.Client, args []string) error {
		status, err := c.Exec(cmd.Context(), args[0], args[1:]...)
		if err == nil && status != 0 {
			return exitStatus(status)
		}
		return err
	})
	cmd.Flags().SetInterspersed(false) // flags after the lab's name are the command's
	return cmd
}

func (a *app) labSignal() *cobra.Command {
	return withLab(&cobra.Command{
		Use:   "signal LAB NODE PROCESS SIGNAL",
		Short: "Send a signal to processes of a node: by name, pid:N or pidfile:PATH",
		Example: "  catchment lab signal two-pops lon catchmentd KILL\n" +
			"  catchment lab signal two-pops lon pidfile:/run/nginx.pid TERM",
		Args: cobra.ExactArgs(4),
	}, func(_ *cobra.Command, c *netlab.Client, args []string) error {
		sig, err := parseSignal(args[2])
		if err != nil {
			return err
		}
		return c.Signal(args[0], args[1], sig)
	})
}

// parseSignal reads KILL, SIGKILL or 9.
func parseSignal(s string) (syscall.Signal, error) {
	if n, err := strconv.ParseUint(s, 10, 8); err == nil && n > 0 && n < 65 {
		return syscall.Signal(n), nil
	}
	if sig := unix.SignalNum("SIG" + strings.TrimPrefix(strings.ToUpper(s), "SIG")); sig != 0 {
		return sig, nil
	}
	return 0, usagef("%q is no signal; want one such as KILL, STOP, CONT or 9", s)
}

// labActions are what else can be done to a node.
func (a *app) labActions() []*cobra.Command {
	var all []*cobra.Command
	for _, op := range []struct {
		name, use, short, example string
		args                      int
	}{
		{"freeze", "freeze LAB NODE", "Stop every process of a node", "freeze two-pops lon", 2},
		{"thaw", "thaw LAB NODE", "Let them go on", "thaw two-pops lon", 2},
		{"crash", "crash LAB NODE", "Power off: links down, everything killed", "crash two-pops lon", 2},
		{"boot", "boot LAB NODE", "Power on again", "boot two-pops lon", 2},
		{"link", "link LAB NODE DEVICE up|down", "Cut or mend a cable", "link two-pops lon eth1 down", 4},
		{"log", "log LAB NODE", "The end of a node's log", "log two-pops lon", 2},
	} {
		example := "  catchment lab " + op.example
		all = append(all, withLab(&cobra.Command{Use: op.use, Short: op.short, Example: example, Args: cobra.ExactArgs(op.args)},
			func(_ *cobra.Command, c *netlab.Client, args []string) error {
				if op.name == "link" && args[2] != "up" && args[2] != "down" {
					return usagef("link: want up or down, not %q", args[2])
				}
				text, err := c.Do(op.name, args[0], args[1:]...)
				fmt.Fprint(a.out, text)
				return err
			}))
	}
	return all
}
