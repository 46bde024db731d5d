package cli

import (
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/spf13/cobra"
)

func (c *client) logLevelCommand() *cobra.Command {
	cmd := c.command("log-level", nil)
	for name, level := range api.SetLogLevelRequest_Level_value {
		cmd.AddCommand(c.command(strings.ToLower(name), func([]string) error {
			_, err := c.api.SetLogLevel(c.ctx, &api.SetLogLevelRequest{Level: api.SetLogLevelRequest_Level(level)})
			return err
		}))
	}
	return cmd
}
