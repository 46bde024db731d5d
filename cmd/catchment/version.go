package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/cmd/internal/buildinfo"
	"github.com/catchment/catchment/pop/api"
)

var version = buildinfo.Version()

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Versions of this command and of the daemon",
		Example: "  catchment version",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Command string `json:"command"`
				Daemon  string `json:"daemon,omitempty"` // empty: none answers
			}{Command: version}
			err := a.withClient(func(c *api.Client) error {
				st, err := c.Status(cmd.Context())
				v.Daemon = st.Version
				return err
			})
			var gone *api.Unreachable
			if err != nil && !errors.As(err, &gone) {
				return err
			}
			return a.print(v, func(w io.Writer) {
				fmt.Fprintln(w, "catchment", v.Command)
				if v.Daemon != "" {
					fmt.Fprintln(w, "catchmentd", v.Daemon)
				}
			})
		},
	}
}
