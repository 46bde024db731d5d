package main

import (
	"context"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

// view is what a command shows: to machines, and to people.
type view struct {
	doc  any
	text func(io.Writer)
}

// look finds out what to show. It is given the status, and may ask for more.
type look func(ctx context.Context, c *api.Client, st api.Status, args []string) (view, error)

// whole asks the daemon one thing and shows all of the answer.
func whole[T any](ask func(*api.Client, context.Context) (T, error), write func(io.Writer, T)) look {
	return func(ctx context.Context, c *api.Client, _ api.Status, _ []string) (view, error) {
		x, err := ask(c, ctx)
		return view{x, func(w io.Writer) { write(w, x) }}, err
	}
}

// showing makes cmd one that shows what look finds, once or with --watch.
func (a *app) showing(cmd *cobra.Command, l look) *cobra.Command {
	watch := false
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again whenever it changes, until interrupted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		return a.withClient(func(c *api.Client) error {
			if watch {
				return a.watch(ctx, c, cmd.CommandPath(), args, l)
			}
			st, err := c.Status(ctx)
			if err != nil {
				return err
			}
			v, err := l(ctx, c, st, args)
			if err != nil {
				return err
			}
			return a.print(v.doc, v.text)
		})
	}
	return cmd
}

// print writes v as JSON if asked to, and what text writes otherwise.
func (a *app) print(v any, text func(io.Writer)) error {
	if !a.json {
		text(a.screen())
		return nil
	}
	e := json.NewEncoder(a.out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
