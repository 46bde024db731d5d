package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) maintenanceCommand() *cobra.Command {
	cmd := a.showing(&cobra.Command{
		Use:   "maintenance",
		Short: "Maintenance windows: drains by the calendar",
		Long: `Maintenance windows: what a window is of is drained before it starts, and comes
back when it is over, after its hold-down. Without a word, those there are.

A window that is due while a guard objects (others drain, or would be
overloaded) waits, and raises an alarm when it has begun. ` + "`catchment undrain`" + `
ends one that is under way.`,
		Example: `  catchment maintenance add disks "2026-12-01 02:00 Europe/London" --for 2h --why "new disks"
  catchment maintenance add nightly "daily 03:30 UTC" --for 10m --service web
  catchment maintenance
  catchment maintenance remove disks`,
		Args: cobra.NoArgs,
	}, func(_ context.Context, _ *api.Client, st api.Status, _ []string) (view, error) {
		all := st.Maintenance
		if all == nil {
			all = []api.MaintenanceWindow{}
		}
		return view{all, func(w io.Writer) {
			if len(all) == 0 {
				fmt.Fprintln(w, "No maintenance window is planned.")
				return
			}
			writeMaintenance(w, st.Now, all)
		}}, nil
	})
	list := a.showing(&cobra.Command{Use: "list", Short: "The windows there are", Example: "  catchment maintenance list --watch", Args: cobra.NoArgs},
		func(_ context.Context, _ *api.Client, st api.Status, _ []string) (view, error) {
			return view{st.Maintenance, func(w io.Writer) { writeMaintenance(w, st.Now, st.Maintenance) }}, nil
		})
	cmd.AddCommand(a.addWindowCommand(), list, a.removeWindowCommand())
	return cmd
}

func (a *app) addWindowCommand() *cobra.Command {
	var n api.NewWindow
	var slice, service string
	var span, lead time.Duration
	cmd := &cobra.Command{
		Use:   "add NAME WHEN",
		Short: "Plan a window",
		Long: `Plan a window. WHEN is a day and a time with a time zone of the IANA database:
"2026-12-01 02:00 Europe/London" once, "Sun 02:00 Europe/London" each week,
"daily 02:00 UTC" each day. A time that the clocks skip is taken by the offset
before they do; of one that they show twice the first counts.`,
		Example: `  catchment maintenance add disks "2026-12-01 02:00 Europe/London" --for 2h`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if span <= 0 {
				return usagef("--for: how long does it last? Such as 2h")
			}
			n.Name, n.At, n.For, n.Lead, n.Service = args[0], args[1], api.Duration(span), api.Duration(lead), policy.ServiceID(service)
			var err error
			if n.Slice, err = parseSlice(slice); err != nil {
				return err
			}
			return a.withClient(func(c *api.Client) error {
				r, err := c.AddMaintenance(cmd.Context(), n)
				if err != nil {
					return err
				}
				return a.print(r, func(w io.Writer) { fmt.Fprintln(w, oneLine(r.Text)) })
			})
		},
	}
	cmd.Flags().DurationVar(&span, "for", 0, "how long the window lasts")
	cmd.Flags().DurationVar(&lead, "lead", 0, "begin the drain so long before; 0: as long as the drain takes")
	cmd.Flags().StringVar(&service, "service", "", "only this `service`")
	cmd.Flags().StringVar(&slice, "slice", "", "only this `prefix`")
	cmd.Flags().StringVar(&n.Why, "why", "", "reason, for the journal and for colleagues")
	a.completeFlag(cmd, "service", serviceNames)
	a.completeFlag(cmd, "slice", sliceNames)
	return cmd
}

func (a *app) removeWindowCommand() *cobra.Command {
	var n api.WindowName
	cmd := &cobra.Command{
		Use:     "remove NAME",
		Short:   "Forget a window; what it has drained comes back",
		Example: "  catchment maintenance remove disks",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			n.Name = args[0]
			return a.withClient(func(c *api.Client) error {
				_, err := a.do(cmd.Context(), c, func(c *api.Client, ctx context.Context, _ api.Change) (api.Result, error) {
					return c.RemoveMaintenance(ctx, n)
				}, api.Change{})
				return err
			})
		},
	}
	cmd.Flags().StringVar(&n.Why, "why", "", "reason, for the journal and for colleagues")
	return a.completed(cmd, windowNames)
}

func windowNames(st api.Status) []string {
	var out []string
	for _, w := range st.Maintenance {
		if !w.Config {
			out = append(out, w.Name)
		}
	}
	return out
}

func writeMaintenance(w io.Writer, now time.Time, all []api.MaintenanceWindow) {
	t := newTable("MAINTENANCE", "OF", "STARTS", "ENDS", "STATE", "AT", "BY", "WHY")
	t.spare = []int{5}
	for _, m := range all {
		state := m.State
		if state == "" {
			state = "planned"
			if !m.Drains.IsZero() {
				state = "drains in " + age(m.Drains, now)
			}
		}
		f := api.Fleet{Now: now}
		t.row(m.Name, scope(m.Service, m.Slice), clock(f, m.Start), clock(f, m.End), state, m.At, oneLine(m.By), oneLine(m.Why))
	}
	t.write(w)
}
