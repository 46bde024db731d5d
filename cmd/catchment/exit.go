package main

import "github.com/spf13/cobra"

// Exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1 // or refused
	exitUsage       = 2
	exitUnreachable = 3
)

// exitStatusHelp is a topic of its own, and a manual page.
func exitStatusHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-status",
		Short: "What the exit statuses mean",
		Long: `What the exit statuses mean.

  0  It is done. A drain is asked for, not over, unless --wait is given. A
     --watch that was interrupted ends with 0 too.
  1  It failed or was refused: by a guard, by the daemon, for want of the right
     to change things, or because there is no such service, slice, POP, check or
     guard. ` + "`plan config`" + ` of a file that a reload would refuse, ` + "`plan --strict`" + `
     where a guard would object to the end, ` + "`drain --wait`" + ` where one did, and
     ` + "`doctor`" + ` with a finding end with 1 as well.
  2  The command line is wrong, and nothing was asked of the daemon. Of ` + "`doctor`" + `:
     it could not look at everything.
  3  No daemon answers. The message says which address was tried.

The commands of gobgp have gobgp's: 0 or 1.`,
	}
}
