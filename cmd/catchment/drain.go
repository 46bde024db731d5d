package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) drainCommand() *cobra.Command {
	var f changeFlags
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "drain [SERVICE]",
		Short: "Move traffic away: de-prefer, wait until it is gone, withdraw",
		Long: `Move traffic away: de-prefer, wait until it is gone, withdraw.

Without a service, all of them. The guards are asked as always: where no other
POP announces a slice it stays, unless --force. ` + "`catchment undrain`" + ` takes it
back at any point. With --wait the command follows the drain to its end; it
returns 1 and says why if a guard keeps a slice here.`,
		Example: `  catchment drain web --wait --why "new disks"
  catchment drain --slice 2001:db8:100::/48
  catchment drain                         # the whole POP
  catchment drain web --pop FRA --why "FRA's transit is full"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ch, err := f.change(args)
			if err != nil {
				return err
			}
			if wait && f.pop != "" {
				return usagef("--wait follows a drain of this POP only, not of %s", f.pop)
			}
			ctx := cmd.Context()
			return a.withClient(func(c *api.Client) error {
				if !wait {
					_, err := a.do(ctx, c, (*api.Client).Drain, ch)
					return err
				}
				if timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, timeout)
					defer cancel()
				}
				return a.drainAndWait(ctx, c, ch)
			})
		},
	}
	f.common(cmd)
	f.strong(cmd)
	cmd.Flags().DurationVar(&f.wait, "within", 0, "longest de-preferred stay, instead of the service's drain.wait")
	cmd.Flags().BoolVar(&wait, "wait", false, "return when the slices are withdrawn")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "with --wait: give up waiting (not the drain) after this time")
	return a.changing(cmd)
}

func (a *app) undrainCommand() *cobra.Command {
	var f changeFlags
	cmd := &cobra.Command{
		Use:     "undrain [SERVICE]",
		Short:   "End a drain: announce again as health says",
		Example: "  catchment undrain web\n  catchment undrain --slice 192.0.2.0/24",
		Args:    cobra.MaximumNArgs(1),
		RunE:    a.does(&f, (*api.Client).Undrain),
	}
	f.common(cmd)
	return a.changing(cmd)
}

// drainAndWait follows a drain until every slice is withdrawn.
func (a *app) drainAndWait(ctx context.Context, c *api.Client, ch api.Change) error {
	if _, err := c.Drain(ctx, ch); err != nil {
		return err
	}
	f := follower{ch: ch, patience: a.patience, seen: map[policy.SliceID]string{}, objected: map[policy.SliceID]time.Time{}}
	if !a.json {
		f.out = a.out
	}
	tick := time.NewTicker(a.poll)
	defer tick.Stop()
	for {
		all, err := c.Slices(ctx)
		if err == nil {
			var done bool
			if done, err = f.look(all, time.Now()); done && err == nil {
				return a.print(api.Result{Text: "drained", Slices: f.concerned(all)}, func(w io.Writer) { fmt.Fprintln(w, "drained") })
			}
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("stopped waiting; the drain goes on (%s)", reason(ctx.Err()))
		case <-tick.C:
		}
	}
}

func reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "--timeout is over"
	}
	return "interrupted"
}

// follower watches the slices of a drain.
type follower struct {
	ch       api.Change
	out      io.Writer // nil: silent
	patience time.Duration
	seen     map[policy.SliceID]string
	objected map[policy.SliceID]time.Time
}

// concerned are the slices that a drain moves: covers and static prefixes only
// where they are named.
func (f *follower) concerned(all []api.SliceStatus) []api.SliceStatus {
	var out []api.SliceStatus
	for _, s := range all {
		named := f.ch.Slice == s.Slice
		mine := f.ch.Service == "" || f.ch.Service == s.Service
		if named || !f.ch.Slice.Prefix().IsValid() && mine && !s.Cover && s.Reason.Code != policy.Always {
			out = append(out, s)
		}
	}
	return out
}

// look prints what changed, and reports whether all is withdrawn. Its error
// says which guard keeps what, or that the drain was ended.
func (f *follower) look(all []api.SliceStatus, now time.Time) (bool, error) {
	mine := f.concerned(all)
	if len(mine) == 0 {
		return false, errors.New("nothing to drain: only static prefixes and covers, which must be named")
	}
	left := 0
	var objections []string
	for _, s := range mine {
		if line := s.Stance.Action.String() + string(s.Reason.Code) + s.Reason.Guard; f.seen[s.Slice] != line {
			f.seen[s.Slice] = line
			if f.out != nil {
				writeProgress(f.out, mine, []api.SliceStatus{s})
			}
		}
		if !s.Stance.Announced() {
			delete(f.objected, s.Slice)
			continue
		}
		left++
		if why := objection(s); why == "" {
			delete(f.objected, s.Slice)
		} else if t, ok := f.objected[s.Slice]; !ok {
			f.objected[s.Slice] = now
		} else if now.Sub(t) >= f.patience {
			objections = append(objections, s.Slice.String()+" stays: "+why)
		}
	}
	if len(objections) > 0 {
		return false, errors.New(strings.Join(objections, "\n  "))
	}
	return left == 0, nil
}

// objection says why a slice will not go; empty: it may still.
func objection(s api.SliceStatus) string {
	switch {
	case s.Reason.Code == policy.Guarded:
		for _, g := range s.Guards {
			if g.Guard == s.Reason.Guard && g.Says == api.Wait {
				return ""
			}
		}
		return "guard " + s.Reason.Guard + ": " + oneLine(s.Reason.Detail)
	case s.Intent.Kind == "" && s.Stance.Action == policy.Announce:
		return "the drain was ended by somebody"
	case s.Intent.Kind == policy.IntentStop || s.Intent.Kind == policy.IntentDrain || s.Intent.Kind == "":
		return ""
	}
	return "another intent is stronger: " + string(s.Intent.Kind) + " by " + oneLine(s.Intent.By)
}
