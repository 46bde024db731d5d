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
		RunE: func(cmd *cobra.Command, args []string) error {
			ch, err := f.change(args)
			if err != nil {
				return err
			}
			return a.withClient(func(c *api.Client) error {
				_, err := a.do(cmd.Context(), c, (*api.Client).Hold, ch)
				return err
			})
		},
	}
	f.common(cmd)
	cmd.Flags().DurationVar(&f.span, "for", 0, "ends by itself after this time; 0: when it is released")
	return cmd
}

func (a *app) releaseCommand() *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:     "release [SERVICE]",
		Short:   "End holds and pins (undrain ends drains)",
		Example: "  catchment release web\n  catchment release --slice 192.0.2.0/24",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ch, err := f.change(args)
			if err != nil {
				return err
			}
			return a.withClient(func(c *api.Client) error {
				_, err := a.do(cmd.Context(), c, (*api.Client).Release, ch)
				return err
			})
		},
	}
	f.common(cmd)
	return cmd
}
