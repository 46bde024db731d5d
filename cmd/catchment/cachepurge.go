package main

import (
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

func (a *app) cachePurgeCommand() *cobra.Command {
	var p api.CachePurge
	cmd := &cobra.Command{
		Use:   "purge [URL]",
		Short: "Use what is stored no more: a URL, a prefix, a host, a tag or all",
		Long: `Use what is stored no more: a URL with all its variants, a prefix of URLs, a host,
a tag (of Cache-Groups, Cache-Tag or Surrogate-Key), or all. It is in force in
this POP when the command returns, however much is stored, and outlives a
restart. With --soft what is there becomes stale instead: it is asked for anew,
and still serves while or if the origin cannot answer, as its response allows.

It is of this POP: of all its caches (cache.peers), and of the parents in other
POPs that its sites ask, or what they store would come back. One that cannot be
told is named, and told when it answers. At POPs that are no parents ask there
(--address). Who purged what is kept in the journal.`,
		Example: `  catchment cache purge http://www.example.com/a.css --why "ticket 4711"
  catchment cache purge --prefix http://www.example.com/img/ --soft
  catchment cache purge --host www.example.com
  catchment cache purge --tag article-17 --site example
  catchment cache purge --all --why "wrong headers since noon"`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				p.URL = args[0]
			}
			n := 0
			for _, set := range []bool{p.URL != "", p.Prefix != "", p.Host != "", p.Tag != "", p.All} {
				if set {
					n++
				}
			}
			if n != 1 {
				return usagef("purge what? One of URL, --prefix, --host, --tag and --all")
			}
			return a.withClient(func(c *api.Client) error {
				done, err := c.CachePurge(cmd.Context(), p)
				if err != nil {
					return err
				}
				return a.print(done, func(w io.Writer) {
					fmt.Fprintf(w, "Purge %d is in force: %s\n", done.ID, oneLine(cachePurged(done)))
				})
			})
		},
	}
	cmd.Flags().StringVar(&p.Prefix, "prefix", "", "all URLs that begin with this `URL`")
	cmd.Flags().StringVar(&p.Host, "host", "", "all of this `host`")
	cmd.Flags().StringVar(&p.Tag, "tag", "", "all with this `tag`")
	cmd.Flags().BoolVar(&p.All, "all", false, "all that is stored")
	cmd.Flags().StringVar(&p.Site, "site", "", "with --tag or --all: of this `site` alone")
	cmd.Flags().BoolVar(&p.Soft, "soft", false, "it becomes stale, and is not forgotten")
	cmd.Flags().StringVar(&p.Why, "why", "", "reason, for the journal and for colleagues")
	a.completeCacheSites(cmd)
	return cmd
}

// completeCacheSites makes --site complete from the running daemon.
func (a *app) completeCacheSites(cmd *cobra.Command) {
	// The flag is there: only a second registration is an error.
	_ = cmd.RegisterFlagCompletionFunc("site", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		var names []string
		_ = a.withClient(func(c *api.Client) error {
			s, err := c.CacheStatus(ctx)
			for _, x := range s.Sites {
				names = append(names, x.Name)
			}
			return err
		})
		return names, cobra.ShellCompDirectiveNoFileComp
	})
}

// cachePurged says what a purge is of.
func cachePurged(p api.CachePurged) string {
	out := p.Kind
	if p.Target != "" {
		out += " " + p.Target
	}
	if p.Site != "" && p.Site != p.Target {
		out += " of site " + p.Site
	}
	if p.Soft {
		out += ", soft"
	}
	return out
}

func (a *app) cachePurgesCommand() *cobra.Command {
	limit := 0
	cmd := a.showing(&cobra.Command{
		Use:     "purges",
		Short:   "The purges that are kept, the newest first: what, who, why",
		Example: "  catchment cache purges\n  catchment cache purges -n 5",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, c *api.Client, st api.Status, _ []string) (view, error) {
		list, err := c.CachePurges(ctx, limit)
		return view{list, func(w io.Writer) {
			if len(list) == 0 {
				fmt.Fprintln(w, "Nothing was purged.")
				return
			}
			t := newTable("PURGE", "AGO", "WHAT", "BY", "WHY")
			for _, p := range list {
				t.row(strconv.FormatUint(p.ID, 10), age(st.Now, p.At), oneLine(cachePurged(p)), oneLine(p.By), oneLine(p.Why))
			}
			t.write(w)
		}}, err
	})
	cmd.Flags().IntVarP(&limit, "lines", "n", 50, "at most `N`; 0: all")
	return cmd
}
