package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

func (a *app) reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "reload",
		Short:   "Have the daemon read its configuration again",
		Long:    "Have the daemon read its configuration again, and say what changed. A\nconfiguration with a mistake in it changes nothing.",
		Example: "  catchmentd --config /etc/catchment/catchment.yaml --check-config && catchment reload",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *api.Client) error {
				changes, err := c.Reload(cmd.Context())
				if err != nil {
					return err
				}
				return a.print(api.Reloaded{Changes: changes}, func(w io.Writer) {
					if len(changes) == 0 {
						fmt.Fprintln(w, "reloaded, nothing changed")
						return
					}
					fmt.Fprintln(w, "reloaded:")
					for _, l := range changes {
						fmt.Fprintln(w, "  "+oneLine(l))
					}
				})
			})
		},
	}
}
