package main

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

// version is set by the linker (-X main.version=v1.2.3); empty: what the build
// information says.
var version string

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
			}{Command: ownVersion()}
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

func ownVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return info.Main.Version + " " + s.Value[:12]
		}
	}
	return info.Main.Version
}
