package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// Exit statuses.
const (
	exitOK          = 0
	exitFailed      = 1 // or refused
	exitUsage       = 2
	exitUnreachable = 3
)

// exits says what each status means.
var exits = [...]string{
	exitOK: `It is done. A drain is asked for, not over, unless --wait is given. A --watch
that was interrupted ends with 0 too.`,
	exitFailed: `It failed or was refused: by a guard, by the daemon, for want of the right to
change things, or because there is no such service, slice, POP, check or guard.
"plan config" of a file that a reload would refuse, "plan --strict" where a
guard would object to the end, "drain --wait" where one did, and "doctor" with
a finding end with 1 as well.`,
	exitUsage: `The command line is wrong, and nothing was asked of the daemon. Of "doctor": it
could not look at everything.`,
	exitUnreachable: `No daemon answers. The message says which address was tried.`,
}

// exitsOfGobgp is what else there is to say.
const exitsOfGobgp = "The commands of gobgp have gobgp's: 0 or 1."

// exitStatusHelp is a topic of the help.
func exitStatusHelp() *cobra.Command {
	long := "What the exit statuses mean.\n\n"
	for n, text := range exits {
		long += fmt.Sprintf("  %d  %s\n", n, strings.ReplaceAll(text, "\n", "\n     "))
	}
	return &cobra.Command{Use: "exit-status", Short: "What the exit statuses mean", Long: long + "\n" + exitsOfGobgp}
}

// exitStatusMan is the section of a manual page.
func exitStatusMan() string {
	out := ".SH EXIT STATUS\n"
	for n, text := range exits {
		out += fmt.Sprintf(".TP\n\\fB%d\\fP\n%s\n", n, strings.ReplaceAll(text, "-", "\\-"))
	}
	return out + ".PP\n" + exitsOfGobgp + "\n"
}
