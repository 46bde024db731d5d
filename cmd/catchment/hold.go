package main

import (
	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

func (a *app) holdCommand() *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:   "hold [SERVICE]",
		Short: "Freeze what is announced: health changes nothing until it is released",
		Example: `  catchment hold web --why "checks are being rebuilt" --for 1h
  catchment hold                          # the whole POP`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.does(&f, (*api.Client).Hold),
	}
	f.common(cmd)
	a.changing(cmd)
	cmd.Flags().DurationVar(&f.span, "for", 0, "ends by itself after this time; 0: when it is released")
	return cmd
}

func (a *app) pinCommand() *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:   "pin [SERVICE] STANCE",
		Short: "Announce or withdraw whatever health says, until it is released",
		Long: `Announce or withdraw whatever health says, until it is released. STANCE is
announce, withdraw, or a rung: its name, or its number, where 0 is normal and 1
the first of the ladder. The guards are asked as always; ` + "`catchment plan pin`" + ` says what they
would say.`,
		Example: `  catchment pin web backup --why "the other transit is full"
  catchment pin withdraw --slice 192.0.2.0/24 --for 10m`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ch, err := f.change(args[:len(args)-1])
			if err != nil {
				return err
			}
			ch.Stance, ch.Rung = stanceOrRung(args[len(args)-1])
			return a.withClient(func(c *api.Client) error {
				_, err := a.do(cmd.Context(), c, (*api.Client).Pin, ch)
				return err
			})
		},
	}
	f.common(cmd)
	f.strong(cmd)
	return a.changing(cmd)
}

func (a *app) releaseCommand() *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:     "release [SERVICE]",
		Short:   "End holds and pins (undrain ends drains)",
		Example: "  catchment release web\n  catchment release --slice 192.0.2.0/24",
		Args:    cobra.MaximumNArgs(1),
		RunE:    a.does(&f, (*api.Client).Release),
	}
	f.common(cmd)
	return a.changing(cmd)
}
