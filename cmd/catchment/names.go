package main

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

// completionTime is how long a person who pressed tab waits for the daemon.
const completionTime = time.Second

// names lists words of one kind that the daemon knows.
type names func(api.Status) []string

func serviceNames(st api.Status) []string {
	var out []string
	for _, s := range st.Services {
		out = append(out, string(s.ID))
	}
	return out
}

func sliceNames(st api.Status) []string {
	var out []string
	for _, s := range st.Slices() {
		out = append(out, s.Slice.String())
	}
	return out
}

func popNames(st api.Status) []string {
	out := []string{string(st.POP)}
	for _, p := range st.Fleet {
		out = append(out, string(p.POP))
	}
	return out
}

func otherPOPNames(st api.Status) []string { return popNames(st)[1:] }

func checkNames(st api.Status) []string {
	var out []string
	for _, s := range st.Services {
		for _, c := range s.Checks {
			out = append(out, string(s.ID)+"/"+string(c.ID))
		}
	}
	return out
}

func guardNames(st api.Status) []string {
	var out []string
	for _, g := range st.Guards {
		out = append(out, g.Guard)
	}
	return out
}

func neighborNames(st api.Status) []string {
	var out []string
	for _, n := range st.Neighbors {
		out = append(out, n.Address.String())
	}
	return out
}

// either lists words of several kinds.
func either(all ...names) names {
	return func(st api.Status) []string {
		var out []string
		for _, f := range all {
			out = append(out, f(st)...)
		}
		return out
	}
}

// to appends what a name may be supposed to be: FRA -> FRA=gone, FRA=silent.
func to(f names, states ...string) names {
	return func(st api.Status) []string {
		var out []string
		for _, n := range f(st) {
			for _, s := range states {
				out = append(out, n+"="+s)
			}
		}
		return out
	}
}

// completed makes the arguments of cmd complete from the running daemon, one
// kind for each place.
func (a *app) completed(cmd *cobra.Command, kinds ...names) *cobra.Command {
	cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(kinds) || kinds[len(args)] == nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.complete(cmd.Context(), kinds[len(args)], begun)
	}
	return cmd
}

// completeFlag is the same for the value of a flag.
func (a *app) completeFlag(cmd *cobra.Command, flag string, kind names) {
	// The flag is there: only a second registration is an error.
	_ = cmd.RegisterFlagCompletionFunc(flag, func(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
		return a.complete(cmd.Context(), kind, begun)
	})
}

func (a *app) complete(ctx context.Context, kind names, begun string) ([]string, cobra.ShellCompDirective) {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTime)
	defer cancel()
	var st api.Status
	err := a.withClient(func(c *api.Client) (err error) {
		st, err = c.Status(ctx)
		return err
	})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	all := slices.DeleteFunc(kind(st), func(n string) bool { return !strings.HasPrefix(n, begun) })
	slices.Sort(all)
	return slices.Compact(all), cobra.ShellCompDirectiveNoFileComp
}

// among makes a set for didYouMean.
func among(list []string) map[string]bool {
	m := map[string]bool{}
	for _, n := range list {
		m[n] = true
	}
	return m
}

// prefixOf reads an argument as a prefix; what names the argument.
func prefixOf(what, arg string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(arg)
	if err != nil {
		return p, usagef("%s %q is no prefix; want one such as 192.0.2.0/24 or 2001:db8::/48", what, arg)
	}
	if p != p.Masked() {
		return p, usagef("%s %v has host bits; did you mean %v?", what, p, p.Masked())
	}
	return p, nil
}

// aSlice allows one argument at most that is no prefix gone wrong, before
// anything is asked of the daemon.
func aSlice(least int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.RangeArgs(least, 1)(cmd, args); err != nil || len(args) == 0 || !strings.Contains(args[0], "/") {
			return err
		}
		_, err := prefixOf("SLICE", args[0])
		return err
	}
}
