package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/cmd/catchment/doctor"
)

// exitBlind is doctor's status where it could not look: no finding does not
// mean that nothing is wrong.
const exitBlind = 2

func (a *app) doctorCommand() *cobra.Command {
	var path, rtr string
	var watch time.Duration
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what is wrong with this host before it hurts, and what mends it",
		Long: `Say what is wrong with this host before it hurts, and what mends it.

It looks at the configuration, the daemon (process, sockets, alarms, sessions),
the state directory, the service addresses, the kernel's settings, and what the
RPKI says of the prefixes: by the daemon's caches (bgp.rpki-servers), or by
--rtr. It changes nothing; a neighbor whose session is down sees one connection to its
port 179. Run it as root: what it may not look at, it lists.

Exit statuses: 0 nothing is wrong; 1 something is; 2 it could not look, at
some of it or at all.`,
		Example: `  catchment doctor
  catchment doctor --config /etc/catchment/catchment.yaml
  catchment doctor --rtr 10.0.0.9:3323
  catchment doctor -j | jq -r '.findings[].command // empty'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := doctor.Options{ConfigPath: path, Version: version, RTR: rtr, Watch: watch}
			if cmd.Flags().Changed("socket") || a.socket != defaultSocket {
				o.Socket = a.socket
			}
			h, err := doctor.Look(cmd.Context(), o)
			if err != nil {
				fmt.Fprintf(a.err, "catchment: cannot look: %v\n", err)
				return exitStatus(exitBlind)
			}
			return a.diagnose(doctor.Findings(h), h.Blind, h.Skipped)
		},
	}
	cmd.Flags().StringVar(&path, "config", "/etc/catchment/catchment.yaml", "the daemon's configuration")
	cmd.Flags().StringVar(&rtr, "rtr", "", "HOST:PORT of an RPKI cache (RTR) to ask about the prefixes, instead of the daemon's caches")
	cmd.Flags().DurationVar(&watch, "watch", 3*time.Second, "how long to count dropped segments where a session is down")
	return cmd
}

// diagnose prints what was found; the error is the exit status.
func (a *app) diagnose(all []doctor.Finding, blind, skipped []string) error {
	v := struct {
		Findings []doctor.Finding `json:"findings"`
		Blind    []string         `json:"not_looked_at,omitempty"`
		Skipped  []string         `json:"skipped,omitempty"`
	}{append([]doctor.Finding{}, all...), blind, skipped}
	err := a.print(v, func(w io.Writer) {
		writeFindings(w, all, blind, skipped)
	})
	switch {
	case err != nil:
		return err
	case len(all) > 0:
		return exitStatus(exitFailed)
	case len(blind) > 0:
		return exitStatus(exitBlind)
	}
	return nil
}

// columns of the text; commands are never broken.
const columns = 78

func writeFindings(w io.Writer, all []doctor.Finding, blind, skipped []string) {
	errors := 0
	for _, f := range all {
		if f.Severity == doctor.Bad {
			errors++
		}
		head := f.Name
		if f.About != "" {
			head += " " + f.About
		}
		fmt.Fprintf(w, "%-8s  %s\n", f.Severity, oneLine(head))
		writeIndented(w, "", f.What)
		writeIndented(w, "why", f.Why)
		if f.Change != "" {
			writeIndented(w, "change", f.Change)
		}
		if f.Command != "" {
			fmt.Fprintf(w, "%10s%-8s%s\n", "", "run", oneLine(f.Command))
		}
		fmt.Fprintln(w)
	}
	for _, s := range skipped {
		fmt.Fprintf(w, "skipped: %s\n", oneLine(s))
	}
	for _, b := range blind {
		fmt.Fprintf(w, "not looked at: %s\n", oneLine(b))
	}
	switch {
	case len(all) == 0 && len(blind) == 0:
		fmt.Fprintln(w, "nothing is wrong")
	case len(all) == 0:
		fmt.Fprintln(w, "nothing is wrong in what could be looked at")
	default:
		fmt.Fprintf(w, "%s, %s\n", count(errors, "error"), count(len(all)-errors, "warning"))
	}
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// writeIndented breaks text into lines under a finding's head.
func writeIndented(w io.Writer, label, text string) {
	indent := 10
	if label != "" {
		indent = 18
	}
	line := fmt.Sprintf("%10s%-*s", "", indent-10, label)
	empty := true
	for _, word := range strings.Fields(oneLine(text)) {
		if !empty && len(line)+1+len(word) > columns {
			fmt.Fprintln(w, line)
			line, empty = strings.Repeat(" ", indent), true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	fmt.Fprintln(w, line)
}
