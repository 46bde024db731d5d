package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/server/resync/jump"
)

// defaultPin is resync.jump.pin where it is not set.
const defaultPin = "/sys/fs/bpf/catchment"

func (a *app) resyncJumpCommand() *cobra.Command {
	pin := defaultPin
	cmd := &cobra.Command{
		Use:   "jump",
		Short: "The congestion control by which flows from other POPs skip slow start",
		Long: `The congestion control by which flows from other POPs skip slow start
(resync.jump). The daemon loads it by itself where it has CAP_BPF, CAP_PERFMON
and CAP_NET_ADMIN. Where it shall not have them, root loads it once, such as in
ExecStartPre=+ of the unit, and the daemon opens the pin. It stays until it is
unloaded or the host is booted, also while the daemon is started again.`,
		Example: "  catchment resync jump load --group catchment\n  catchment resync jump unload",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().StringVar(&pin, "pin", pin, "directory in a BPF file system, as resync.jump.pin names it")
	group := ""
	load := &cobra.Command{
		Use: "load", Short: "Load it into the kernel and pin it; nothing where it is pinned already", Args: cobra.NoArgs,
		Example: "  catchment resync jump load --pin /sys/fs/bpf/catchment --group catchment",
		RunE: func(*cobra.Command, []string) error {
			name, err := loadJump(pin, group)
			if err != nil {
				return err
			}
			return a.print(map[string]string{"pin": pin, "name": name}, func(w io.Writer) {
				fmt.Fprintf(w, "congestion control %s is pinned in %s\n", name, pin)
			})
		},
	}
	load.Flags().StringVar(&group, "group", group, "`group` of the daemon, which may use it; without it root alone")
	unload := &cobra.Command{
		Use: "unload", Short: "Take the pin away: it ends with the last process that uses it", Args: cobra.NoArgs,
		Example: "  catchment resync jump unload",
		RunE: func(*cobra.Command, []string) error {
			if err := jump.Unpin(pin); err != nil {
				return fmt.Errorf("%s: %w", pin, err)
			}
			return nil
		},
	}
	cmd.AddCommand(load, unload)
	return cmd
}

// loadJump loads and pins the congestion control, unless it is there, and
// returns its name.
func loadJump(pin, group string) (name string, err error) {
	gid := -1
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return "", usageError{err}
		}
		if gid, err = strconv.Atoi(g.Gid); err != nil {
			return "", err
		}
	}
	j, err := jump.Open(pin)
	if errors.Is(err, os.ErrNotExist) {
		if j, err = jump.Load(); err == nil {
			err = j.Pin(pin, gid)
		}
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return "", fmt.Errorf("%w: it takes CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN", err)
	case err != nil:
		return "", err
	}
	return j.Name(), j.Close()
}
