package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/cmd/internal/amount"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) ingressCommand() *cobra.Command {
	return a.showing(&cobra.Command{
		Use:   "ingress [ROUTER]",
		Short: "Which POP each ingress router is told for each slice, and why",
		Long: `Which POP's next hop each ingress router is told for each slice over iBGP
(ingress in the configuration), where it is to go in a later round, and why;
and what the POPs carry of that. A router that is told nothing follows what the
POPs announce themselves.`,
		Example: "  catchment ingress\n  catchment ingress pe1 --watch\n  catchment ingress -j | jq '.assignments[] | select(.pop != .planned)'",
		Args:    cobra.MaximumNArgs(1),
	}, func(ctx context.Context, c *api.Client, _ api.Status, args []string) (view, error) {
		r, err := c.Ingress(ctx)
		if err != nil {
			return view{}, err
		}
		if len(args) > 0 {
			names := map[string]bool{}
			for _, as := range r.Assignments {
				names[as.Router] = true
			}
			if !names[args[0]] {
				return view{}, fmt.Errorf("no ingress router %q%s", args[0], didYouMean(args[0], names))
			}
			r.Assignments = slices.DeleteFunc(r.Assignments, func(as api.IngressAssignment) bool { return as.Router != args[0] })
		}
		return view{r, func(w io.Writer) { writeIngress(w, r) }}, nil
	})
}

func writeIngress(w io.Writer, r api.IngressReport) {
	t := newTable("POP", "STATE", "ASSIGNED", "LOAD", "IN USE", "CAPACITY", "NEXT HOPS", "NOTE")
	t.spare = []int{6}
	for _, x := range r.Targets {
		load, use, capacity := amount.Of(r.Unit, x.Load), "", ""
		if x.Planned != x.Load {
			load += " -> " + amount.Of(r.Unit, x.Planned)
		}
		if x.Capacity > 0 {
			use, capacity = percent(x.Load/x.Capacity), amount.Of(r.Unit, x.Capacity)
		}
		t.row(string(x.POP), x.State, fmt.Sprint(x.Assigned), load, use, capacity, strings.Join(x.NextHops, " "), cmp.Or(x.Detail, x.Check))
	}
	t.write(w)
	fmt.Fprintln(w)
	t = newTable("ROUTER", "SLICE", "POP", "PLANNED", "SINCE", "DEMAND", "REASON")
	t.spare = []int{4}
	for _, as := range r.Assignments {
		pop, planned, since, demand := cmp.Or(string(as.POP), "anycast"), "", "", amount.Of(r.Unit, as.Demand)
		if as.Planned != as.POP {
			planned = string(as.Planned)
		}
		if !as.Since.IsZero() && as.POP != "" {
			since = age(r.Now, as.Since)
		}
		if !as.Known {
			demand = "(" + demand + ")"
		}
		why := as.Reason
		if as.Detail != "" {
			why += ": " + oneLine(as.Detail)
		}
		t.row(as.Router, as.Slice.String(), pop, planned, since, demand, why)
	}
	t.write(w)
	note := "Nobody is told: this is a dry run."
	if !r.DryRun {
		note = fmt.Sprintf("Told with local preference %d; a round each %v", r.LocalPref, time.Duration(r.Interval))
		if !r.Round.IsZero() {
			note += ", the last " + age(r.Now, r.Round) + " ago"
		}
		note += "."
	}
	fmt.Fprintln(w)
	say(w, "", note)
	for _, al := range r.Alarms {
		say(w, "", fmt.Sprintf("%s for %s: %s", paint(w, bad, "ALARM "+al.Name), age(r.Now, al.Since), oneLine(al.Detail)))
	}
}
