package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/cmd/catchment/top"
	"github.com/catchment/catchment/pop/api"
)

// defaultSocket is where the daemon listens unless its config says otherwise.
const defaultSocket = "/run/catchment/catchment.sock"

// app is what commands share: where they write, and what the global flags say.
type app struct {
	out, err io.Writer
	socket   string
	remote   remote
	json     bool
	colour   string // auto, always or never

	env  func(string) string
	size func() (width, height int) // of the terminal, in tests

	gobgpSocket string // where GoBGP's API is; empty: the usual place

	poll     time.Duration // between looks of drain --wait
	patience time.Duration // how long a guard must object until drain --wait gives up
	retry    time.Duration // between attempts of --watch to reach a daemon that is gone
}

func newApp(out, err io.Writer) *app {
	return &app{out: out, err: err, env: os.Getenv, poll: 200 * time.Millisecond, patience: 3 * time.Second, retry: time.Second}
}

// run carries out one command line and returns the exit status.
func (a *app) run(ctx context.Context, args []string, socket string) int {
	started := false
	root := a.root(cmp.Or(socket, defaultSocket))
	if status, ok := a.gobgp(ctx, root, args); ok {
		return status
	}
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if all := []string{colourAuto, colourAlways, colourNever}; !slices.Contains(all, a.colour) {
			return usagef("--color %q: want one of %s", a.colour, strings.Join(all, ", "))
		}
		started = true
		return nil
	}
	root.SetArgs(args)
	root.SetOut(a.out)
	root.SetErr(a.err)
	cmd, err := root.ExecuteContextC(ctx)
	var gone *api.Unreachable
	switch {
	case err == nil:
		return exitOK
	case !started:
		return a.usage(err, cmd)
	case errors.As(err, &gone):
		fmt.Fprintf(a.err, "catchment: no daemon answers on %s: %v\n%s\n", gone.Where, gone.Err, a.hint(gone.Err))
		return exitUnreachable
	}
	var status exitStatus
	if errors.As(err, &status) {
		return int(status) // of a command in a lab node, which has said what it had to say
	}
	var wrong usageError
	if errors.As(err, &wrong) {
		return a.usage(err, cmd)
	}
	fmt.Fprintf(a.err, "catchment: %v\n", err)
	return exitFailed
}

// usage says what is wrong with the command line, and where help is.
func (a *app) usage(err error, cmd *cobra.Command) int {
	fmt.Fprintf(a.err, "catchment: %s\nTry `%s --help`.\n", strings.TrimSpace(err.Error()), cmd.CommandPath())
	return exitUsage
}

// hint says what to do about a daemon that cannot be reached.
func (a *app) hint(err error) string {
	if a.remote.address != "" {
		return "Is catchmentd running there, with api.listen on that address and port in its config?"
	}
	if errors.Is(err, fs.ErrPermission) {
		return "You may not open the socket: be root, or in the group that owns it."
	}
	return "Start it with `systemctl start catchmentd`, or by hand with\n" +
		"`catchmentd --config FILE`. If it listens elsewhere (api.socket in its config),\n" +
		"say so with --socket or CATCHMENT_SOCKET."
}

// usageError is a command line that parses and makes no sense.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

func (a *app) root(socket string) *cobra.Command {
	root := &cobra.Command{
		Use:   "catchment",
		Short: "See and steer what this POP announces, and why",
		Long: `See and steer what this POP announces, and why.

Exit statuses: 0 done; 1 it failed or was refused; 2 the command line is
wrong; 3 no daemon answers ("catchment help exit-status" says more). The
commands of gobgp have gobgp's: 0 or 1.`,
		Example: `  catchment status
  catchment explain 192.0.2.0/24
  catchment slice --watch
  catchment plan drain web
  catchment drain web --wait --why "new disks"
  catchment journal -f`,
		SilenceUsage: true, SilenceErrors: true,
		SuggestionsMinimumDistance: 2,
		Version:                    version,
	}
	root.SetVersionTemplate("catchment {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVar(&a.socket, "socket", socket, "control socket of the daemon (or CATCHMENT_SOCKET)")
	a.remote.addFlags(flags, a.env)
	flags.BoolVarP(&a.json, "json", "j", false, "print JSON, for machines")
	flags.StringVar(&a.colour, "color", colourAuto, "`when` to use colours: auto (on a terminal, and unless NO_COLOR is set), always or never")
	root.AddCommand(
		top.Command(a.client),
		a.statusCommand(), a.popCommand(), a.fleetCommand(), a.serviceCommand(), a.sliceCommand(), a.checkCommand(), a.guardCommand(), a.ingressCommand(), a.cacheCommand(), a.dnsCommand(), a.resyncCommand(), a.slownessCommand(), a.costCommand(),
		a.explainCommand(), a.journalCommand(), a.planCommand(),
		a.drainCommand(), a.undrainCommand(), a.maintenanceCommand(), a.holdCommand(), a.pinCommand(), a.releaseCommand(),
		a.getCommand(), a.coreCommand(), a.reloadCommand(), a.versionCommand(), a.newLabCommand(), a.doctorCommand(), a.docsCommand(),
	)
	addGobgp(root)
	root.AddCommand(exitStatusHelp())
	return root
}
