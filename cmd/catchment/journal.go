package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) journalCommand() *cobra.Command {
	var service, slice, since string
	var f api.JournalFilter
	cmd := &cobra.Command{
		Use:   "journal",
		Short: "What was decided, and by whom",
		Example: `  catchment journal -n 20
  catchment journal -f --service web
  catchment journal --since 2h -j | jq .data`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			f.Service = policy.ServiceID(service)
			if f.Slice, err = parseSlice(slice); err != nil {
				return err
			}
			if f.Since, err = parseSince(since, time.Now()); err != nil {
				return err
			}
			if f.Limit < 0 {
				return usagef("-n %d: want a number of entries, or 0 for all", f.Limit)
			}
			return a.withClient(func(c *api.Client) error { return a.journal(cmd.Context(), c, f) })
		},
	}
	cmd.Flags().BoolVarP(&f.Follow, "follow", "f", false, "go on with what is written from now on")
	cmd.Flags().IntVarP(&f.Limit, "lines", "n", 50, "only the last `N` entries that match; 0: all")
	cmd.Flags().StringVar(&service, "service", "", "only entries of this service")
	cmd.Flags().StringVar(&slice, "slice", "", "only entries of this slice")
	cmd.Flags().StringVar(&since, "since", "", "only later ones: a `time` such as 2030-01-31T13:00:00Z, or a duration such as 2h")
	a.completeFlag(cmd, "service", serviceNames)
	a.completeFlag(cmd, "slice", sliceNames)
	return cmd
}

func (a *app) journal(ctx context.Context, c *api.Client, f api.JournalFilter) error {
	lines := json.NewEncoder(a.out)
	err := c.Journal(ctx, f, func(e api.JournalEntry) error {
		if a.json {
			return lines.Encode(e)
		}
		about := string(e.Service)
		if e.Slice.Prefix().IsValid() && !strings.HasPrefix(e.Text, e.Slice.String()) {
			about = strings.TrimSpace(about + " " + e.Slice.String())
		}
		if about != "" {
			about += ": "
		}
		_, err := fmt.Fprintf(a.out, "%s  %-8s  %s%s\n", journalTime(e), e.Kind, about, oneLine(e.Text))
		return err
	})
	if f.Follow && errors.Is(err, context.Canceled) {
		return nil // the reader had enough
	}
	return err
}

// journalTime is the daemon's own clock, to the millisecond.
func journalTime(e api.JournalEntry) string { return e.Time.Format("2006-01-02T15:04:05.000Z07:00") }

func parseSince(v string, now time.Time) (time.Time, error) {
	if v == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(v); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339, v)
	if err != nil {
		return time.Time{}, usagef("--since %q: want a time such as 2030-01-31T13:00:00Z, or a duration such as 2h", v)
	}
	return t, nil
}
