package main

import (
	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

func (a *app) coreRevokeCommand() *cobra.Command {
	var ch api.CoreChange
	var serial string
	cmd := &cobra.Command{
		Use:   "revoke [POP]",
		Short: "End the certificates of a POP whose key somebody else may have",
		Long: `End the certificates of a POP for good, all that the fleet's authority has issued
to it, or one by its serial number. Every POP learns of it through the core and
refuses them at the next handshake; connections that are open last until they
end. A member is taken out by ` + "`remove`" + ` as well. The POP comes back with a new
key and a new token. Asked at the POP that keeps the authority (core.joins).`,
		Example: `  catchment core revoke PAR --why "its disk was stolen"
  catchment core revoke --serial 3F0A:91C2 --why "a copy of the old key"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1 && serial == "":
				ch.Name = args[0]
			case len(args) == 0 && serial != "":
				ch.Name = "serial:" + serial
			default:
				return usagef("want a POP, or --serial")
			}
			return a.coreDo(cmd.Context(), "revoke", ch)
		},
	}
	cmd.Flags().StringVar(&serial, "serial", "", "one certificate, by its serial number in `HEX`")
	return whyFlag(cmd, &ch.Why)
}
