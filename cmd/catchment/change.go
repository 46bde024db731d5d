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

// changeFlags are the flags of the commands that change something.
type changeFlags struct {
	slice, why string
	pop        string
	wait       time.Duration
	span       time.Duration
	force      bool
}

// common adds --slice and --why.
func (f *changeFlags) common(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.slice, "slice", "", "only this `prefix`, not the whole service")
	cmd.Flags().StringVar(&f.pop, "pop", "", "at another `POP`, through the control core; needs --why")
	cmd.Flags().StringVar(&f.why, "why", "", "reason, for the journal and for colleagues")
}

// strong adds --for and --force.
func (f *changeFlags) strong(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.span, "for", 0, "ends by itself after this time; 0: when it is released")
	cmd.Flags().BoolVar(&f.force, "force", false, "over the guards; the journal keeps who did it")
}

func (f *changeFlags) change(args []string) (api.Change, error) {
	c := api.Change{Why: f.why, Wait: api.Duration(f.wait), For: api.Duration(f.span), Force: f.force, POP: policy.POPID(f.pop)}
	if len(args) > 0 {
		c.Service = policy.ServiceID(args[0])
	}
	if f.wait < 0 || f.span < 0 {
		return c, usagef("a duration is not negative")
	}
	if f.pop != "" && f.why == "" {
		return c, usagef("--pop %s: say why, for those there: --why \"...\"", f.pop)
	}
	var err error
	c.Slice, err = parseSlice(f.slice)
	return c, err
}

// parseSlice reads the value of --slice; empty is none.
func parseSlice(s string) (policy.SliceID, error) {
	if s == "" {
		return policy.SliceID{}, nil
	}
	p, err := prefixOf("--slice", s)
	return policy.SliceID(p), err
}

// changing makes the service and --slice of cmd complete.
func (a *app) changing(cmd *cobra.Command) *cobra.Command {
	a.completeFlag(cmd, "slice", sliceNames)
	a.completeFlag(cmd, "pop", otherPOPNames)
	return a.completed(cmd, serviceNames)
}

// changeCall is one of the client's calls that change something.
type changeCall func(*api.Client, context.Context, api.Change) (api.Result, error)

// do makes the call and prints what became of it.
func (a *app) do(ctx context.Context, c *api.Client, call changeCall, ch api.Change) (api.Result, error) {
	r, err := call(c, ctx, ch)
	if err != nil {
		return r, err
	}
	return r, a.print(r, func(w io.Writer) {
		fmt.Fprintln(w, oneLine(r.Text))
		writeProgress(w, r.Slices, r.Slices)
	})
}

// does is the RunE of a command that makes the call its flags and its service
// name, and nothing beside.
func (a *app) does(f *changeFlags, call changeCall) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ch, err := f.change(args)
		if err != nil {
			return err
		}
		return a.withClient(func(c *api.Client) error {
			_, err := a.do(cmd.Context(), c, call, ch)
			return err
		})
	}
}

// writeProgress prints some of all slices, a line each, aligned for all.
func writeProgress(w io.Writer, all, some []api.SliceStatus) {
	width := 0
	for _, s := range all {
		width = max(width, len(s.Slice.String()))
	}
	for _, s := range some {
		fmt.Fprintf(w, "  %-*s  %-8s  %s\n", width, s.Slice, s.Stance.Action, oneLine(s.Reason.String()))
	}
}
