package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) costCommand() *cobra.Command {
	days := 7
	cmd := a.showing(&cobra.Command{
		Use:   "cost [POP]",
		Short: "What traffic costs, what steering saved, and what it did to clients",
		Long: `What the traffic of each POP costs this month (cost in the configuration), what
it would cost had nobody been steered to another POP, by how much later clients
were answered and how much more they stalled, and whether the ceiling on harm
has stopped steering; then the same by day. Bills are of the month so far. A
day counts as the part of a month in which all days are like it: with prices by
percentile days do not add up to the month. What has a ~ is estimated; the end
says how.`,
		Args:    cobra.MaximumNArgs(1),
		Example: "  catchment cost\n  catchment cost LON --days 31\n  catchment cost --days 0 -j | jq '.month.all.saved'",
	}, func(ctx context.Context, c *api.Client, _ api.Status, args []string) (view, error) {
		s, err := c.CostStatus(ctx, days)
		if err == nil && len(args) > 0 {
			err = onlyPOP(&s, policy.POPID(args[0]))
		}
		return view{s, func(w io.Writer) { writeCost(w, s) }}, err
	})
	cmd.Flags().IntVar(&days, "days", days, "so many days, the newest first")
	return cmd
}

// onlyPOP leaves one POP.
func onlyPOP(s *api.CostStatus, pop policy.POPID) error {
	periods := []*api.CostPeriod{&s.Month}
	if s.Before != nil {
		periods = append(periods, s.Before)
	}
	for i := range s.Days {
		periods = append(periods, &s.Days[i])
	}
	for _, p := range periods {
		found := false
		for _, x := range p.POPs {
			if x.POP == pop {
				p.POPs, p.All, found = []api.CostPOP{x}, x, true
				break
			}
		}
		if !found {
			return fmt.Errorf("%s has no price (cost.pops)", pop)
		}
	}
	return nil
}

func writeCost(w io.Writer, s api.CostStatus) {
	writeSteering(w, &s.Steering)
	for _, p := range []*api.CostPeriod{&s.Month, s.Before} {
		if p == nil {
			continue
		}
		fmt.Fprintln(w)
		say(w, "", costHead(p, &s))
		t := costTable("POP", s.Currency)
		for i := range p.POPs {
			costRow(t, string(p.POPs[i].POP), &p.POPs[i], p.Slots)
		}
		if len(p.POPs) > 1 {
			costRow(t, "all", &p.All, p.Slots)
		}
		t.write(w)
	}
	if len(s.Days) > 0 {
		fmt.Fprintln(w)
		say(w, "", "by day, each as a month's part in which all days are like it")
		t := costTable("DAY", s.Currency)
		for i := range s.Days {
			costRow(t, s.Days[i].From.UTC().Format(time.DateOnly), &s.Days[i].All, s.Days[i].Slots)
		}
		t.write(w)
	}
	fmt.Fprintln(w)
	say(w, "measured: ", strings.Join(s.Measured, "; "))
	say(w, "~ estimated: ", strings.Join(s.Estimated, "; "))
	for _, n := range s.Notes {
		say(w, "note: ", n)
	}
}

func writeSteering(w io.Writer, s *api.CostSteering) {
	state := "nothing is configured that steers clients for cost or slowness"
	switch {
	case s.Stopped:
		state = paint(w, bad, "stopped by the ceiling on harm") + " since " + s.Since.UTC().Format(time.RFC3339) + " (" + s.Why + ")"
	case len(s.Means) > 0:
		state = paint(w, good, "on") + " by " + strings.Join(s.Means, " and ")
	}
	say(w, "steering: ", state)
	if s.Detail != "" {
		say(w, "", s.Detail)
	}
	h := &s.Window
	text := fmt.Sprintf("%+.2f ms in the mean (ceiling %s)", h.Latency, ceilingText(s.Latency))
	if h.Moved+h.Left > 0 {
		text += fmt.Sprintf(", %+.4f stalls a request of moved players beside others (ceiling %g), %.0f requests of moved ones and %.0f of others", h.ExtraStalls, s.Stalls, h.Moved, h.Left)
	}
	say(w, "harm now: ", text)
}

func ceilingText(ms float64) string {
	if ms == 0 {
		return "none"
	}
	return fmt.Sprintf("%g ms", ms)
}

func costHead(p *api.CostPeriod, s *api.CostStatus) string {
	head := fmt.Sprintf("%s to %s", p.From.UTC().Format(time.DateOnly), p.To.UTC().Add(-time.Second).Format(time.DateOnly))
	if days := s.Now.Sub(p.From).Hours() / 24; s.Now.Before(p.To) {
		head += fmt.Sprintf(", %.1f of %.0f days so far", days, p.To.Sub(p.From).Hours()/24)
	}
	return head + fmt.Sprintf("; slots of %v", time.Duration(s.Slot))
}

func costTable(first, currency string) *table {
	bill := "BILL"
	if currency != "" {
		bill += " " + currency
	}
	return newTable(first, "SENT", "~MOVED", bill, "~WITHOUT", "~SAVED", "", "~LATER", "STALLS", "KNOWN")
}

// costRow is a line of a table of which slots could be known.
func costRow(t *table, name string, x *api.CostPOP, slots int64) {
	share, stalls, known := "-", "-", "-"
	if x.Without > 0 {
		share = fmt.Sprintf("%.1f %%", 100*x.Saved/x.Without)
	}
	if x.Harm.Moved+x.Harm.Left > 0 {
		stalls = fmt.Sprintf("%+.4f", x.Harm.ExtraStalls)
	}
	if slots > 0 {
		known = fmt.Sprintf("%.1f %%", 100*float64(x.Known)/float64(slots))
	}
	t.row(name, gigabytes(x.Sent), gigabytes(x.Moved), money(x.Bill), money(x.Without), money(x.Saved), share, fmt.Sprintf("%+.2f ms", x.Harm.Latency), stalls, known)
}

// gigabytes writes an amount in decimal units, as bills do.
func gigabytes(gb float64) string {
	for _, u := range []struct {
		name string
		gb   float64
	}{{"PB", 1e6}, {"TB", 1e3}, {"GB", 1}} {
		if math.Abs(gb) >= u.gb {
			return fmt.Sprintf("%.1f %s", gb/u.gb, u.name)
		}
	}
	if gb == 0 {
		return "0"
	}
	return fmt.Sprintf("%.1f MB", gb*1e3)
}

// money writes an amount with as many digits as it has worth.
func money(x float64) string {
	switch {
	case math.Abs(x) < 0.005:
		return "0.00"
	case math.Abs(x) < 1000:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.0f", x)
}
