package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) servicesCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "services",
		Short:   "Services and their checks",
		Example: "  catchment services\n  catchment services -j",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *api.Client) error {
				st, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				return a.print(st.Services, func(w io.Writer) { writeServices(w, st) })
			})
		},
	}
}

func writeServices(w io.Writer, st api.Status) {
	t := newTable("SERVICE", "VERDICT", "CAPACITY", "SINCE", "ANNOUNCED", "LOAD", "NOTE")
	for _, s := range st.Services {
		n := 0
		for _, sl := range s.Slices {
			if sl.Stance.Announced() {
				n++
			}
		}
		load := ""
		if s.Load != nil {
			load = fmt.Sprintf("%.0f", *s.Load)
		}
		verdict, capacity := s.Health.Verdict.String(), fmt.Sprintf("%.0f %%", s.Health.Fraction*100)
		if s.Always {
			verdict, capacity = "always", ""
		}
		t.row(string(s.ID), verdict, capacity, age(st.Now, s.Health.Since), fmt.Sprintf("%d of %d", n, len(s.Slices)), load, serviceNote(s))
	}
	t.write(w)
	var checks []api.CheckStatus
	for _, s := range st.Services {
		checks = append(checks, s.Checks...)
	}
	if len(checks) > 0 {
		fmt.Fprintln(w)
		writeChecks(w, st.Now, checks, "")
	}
}

func serviceNote(s api.ServiceStatus) string {
	switch h := s.Health; {
	case h.Stalled:
		return "the checks have stopped running"
	case h.Empty:
		return "no checks configured"
	case h.Maintenance:
		return "maintenance"
	case len(h.Shared) > 0:
		return fmt.Sprintf("%d shared checks down", len(h.Shared))
	}
	return ""
}

func writeChecks(w io.Writer, now time.Time, checks []api.CheckStatus, indent string) {
	t := newTable("CHECK", "SERVICE", "VERDICT", "SINCE", "LAST", "TOOK", "DETAIL")
	t.indent = indent
	for _, c := range checks {
		last := fmt.Sprintf("%s x%d", c.Outcome, c.Streak)
		if c.InDoubt {
			last += ", in doubt"
		}
		if c.Hung > 0 {
			last += fmt.Sprintf(", %d hung", c.Hung)
		}
		id := string(c.ID)
		if c.Shared {
			id += " (shared)"
		}
		if c.Maintenance {
			id += " (maintenance)"
		}
		detail := oneLine(c.Detail)
		if c.DetectedBy != "" && c.DetectedBy != "probe" && c.Verdict == policy.Down {
			detail += " (seen by " + c.DetectedBy + ")"
		}
		t.row(id, string(c.Service), c.Verdict.String(), age(now, c.Since), last, time.Duration(c.Latency).Round(10*time.Microsecond).String(), detail)
	}
	t.write(w)
}
