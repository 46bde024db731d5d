package top

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

// leastInterval between two looks at the daemon.
const leastInterval = 200 * time.Millisecond

// Command is `catchment top`. It asks for the connection when it runs.
func Command(client func() (*api.Client, error)) *cobra.Command {
	interval := time.Second
	noColor := false
	cmd := &cobra.Command{
		Use:   "top",
		Short: "The POP on a full screen, live, with keys to drain, hold and explain",
		Long: `The POP on a full screen, live: alarms, operators' intents, services and their
slices, measured rates, checks, neighbors, other POPs, and the journal. Keys: ?
for help.

It works at 80x24 and smaller, sends only what changes, and needs no colour
(--no-color or NO_COLOR): "!" needs a look, "*" is an operator's doing. It
changes nothing before a reason is typed and confirmed, and never over the
guards. If the daemon goes away it says since when, and waits for it.`,
		Example: "  catchment top\n  catchment top --interval 5s --no-color     # a slow link, a plain terminal",
		Args: func(cmd *cobra.Command, args []string) error {
			if json := cmd.Flags().Lookup("json"); json != nil && json.Changed {
				return errors.New("top is for people; for machines there is `catchment status -j`")
			}
			if interval < leastInterval {
				return fmt.Errorf("--interval %v: want %v at least", interval, leastInterval)
			}
			return cobra.NoArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := client()
			if err != nil {
				return err
			}
			defer c.Close()
			return Run(cmd.Context(), Options{
				Daemon: c, In: os.Stdin, Out: os.Stdout, Env: os.Environ(), Mono: noColor || plainFlag(cmd, mono(os.Environ())), Interval: interval,
			})
		},
	}
	cmd.Flags().DurationVar(&interval, "interval", interval, "time between two looks at the daemon")
	cmd.Flags().BoolVar(&noColor, "no-color", false, "no colours")
	return cmd
}

// plainFlag is what the command's own --color says about colours, where it has
// one and it is not left to the environment.
func plainFlag(cmd *cobra.Command, otherwise bool) bool {
	flag := cmd.Flags().Lookup("color")
	if flag == nil || flag.Value.String() == "auto" {
		return otherwise
	}
	return flag.Value.String() == "never"
}
