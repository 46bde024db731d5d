package main

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/bgp/gobgp/cli"
)

// Headings in the help: our commands, and those that are the stock gobgp
// client's.
const (
	ourGroup   = "ours"
	gobgpGroup = "gobgp"
)

// addGobgp shows them in our help and completions, after root's commands.
func addGobgp(root *cobra.Command) {
	root.AddGroup(&cobra.Group{ID: ourGroup, Title: "Commands:"},
		&cobra.Group{ID: gobgpGroup, Title: "In the words of gobgp (see `catchment help gobgp-differences`):"})
	for _, c := range root.Commands() {
		c.GroupID = ourGroup
	}
	for _, c := range cli.Commands(root.Name()) {
		c.GroupID = gobgpGroup
		root.AddCommand(c)
	}
	root.AddCommand(cli.DifferencesHelp())
}

// gobgp carries out a command line that is in gobgp's words; false: it is in
// ours.
func (a *app) gobgp(ctx context.Context, root *cobra.Command, args []string) (status int, ok bool) {
	ours := func(word string) bool {
		return slices.ContainsFunc(root.Commands(), func(c *cobra.Command) bool { return c.Name() == word && c.GroupID != gobgpGroup })
	}
	if !cli.Takes(args, ours, root.PersistentFlags()) {
		return 0, false
	}
	return cli.Run(ctx, cli.Options{Name: root.Name(), Out: a.out, Err: a.err, Socket: a.gobgpSocket}, args), true
}
