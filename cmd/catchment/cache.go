package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/cmd/internal/amount"
	"github.com/catchment/catchment/pop/api"
)

func (a *app) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cache",
		Short: "The cache server of this POP: what it serves, stores and has purged",
		Long: `The cache server of this POP (cache in the configuration): what it serves and
stores, what is stored for a URL and why it would hit or miss, and purges.
Without a word, its status.`,
		Example: `  catchment cache status --watch
  catchment cache show http://www.example.com/a.css
  catchment cache trace http://www.example.com/a.css --header "Accept-Encoding: br"
  catchment cache purge http://www.example.com/a.css --why "ticket 4711"
  catchment cache purge --prefix http://www.example.com/img/ --soft`,
	}
	status := a.cacheStatusCommand()
	cmd.Args, cmd.RunE = cobra.NoArgs, status.RunE
	cmd.AddCommand(status, a.cacheShowCommand(), a.cacheTraceCommand(), a.cachePurgeCommand(), a.cachePurgesCommand())
	return cmd
}

func (a *app) cacheStatusCommand() *cobra.Command {
	return a.showing(&cobra.Command{
		Use:     "status",
		Short:   "Requests by what they got, sites, origins, fills and the store",
		Example: "  catchment cache status\n  catchment cache status --watch\n  catchment cache status -j | jq .store",
		Args:    cobra.NoArgs,
	}, whole((*api.Client).CacheStatus, writeCache))
}

func writeCache(w io.Writer, s api.CacheStatus) {
	head := "The cache server " + cacheState(w, s.State)
	if !s.Started.IsZero() {
		head += ", started " + age(s.Now, s.Started) + " ago"
	}
	if s.Detail != "" {
		head += ": " + oneLine(s.Detail)
	}
	say(w, "", head)
	t := facts()
	var where []string
	for _, l := range s.Listeners {
		at := l.Address + " " + l.Protocol
		if l.Error != "" {
			at += " " + paint(w, bad, "("+oneLine(l.Error)+")")
		}
		where = append(where, at)
	}
	t.row("clients", strings.Join(append([]string{fmt.Sprintf("%d connected", s.Connections)}, where...), ", "))
	if len(s.Leaving) > 0 {
		t.row("leaving", strings.Join(s.Leaving, ", "))
	}
	if len(s.Refused) > 0 {
		row := "new connections to " + strings.Join(s.Refused, ", ")
		if s.TurnedAway > 0 {
			row += fmt.Sprintf("; %d were reset after they had been accepted", s.TurnedAway)
		}
		t.row("refused", row)
	}
	t.row("requests", cacheRequests(s.Total))
	if len(s.Reasons) > 0 {
		t.row("not hit because", cacheReasons(s.Reasons))
	}
	t.row("bytes", storedBytes(s.Total.Sent)+" sent, "+storedBytes(s.Fills.Fetched)+" fetched")
	t.row("fills", fmt.Sprintf("%d running, %d requests waiting; %d done, %d failed, %d joined by others", s.Fills.Running, s.Fills.Waiting, s.Fills.Done, s.Fills.Failed, s.Fills.Joined))
	t.row("store", cacheStore(w, s.Store))
	if s.Purges > 0 {
		t.row("purges", strconv.FormatUint(s.Purges, 10)+" (catchment cache purges)")
	}
	if s.Shed > 0 {
		t.row("turned away", paint(w, bad, fmt.Sprintf("%d requests: too many were at work (cache.limits.requests)", s.Shed)))
	}
	if s.Panics > 0 {
		t.row("mistakes of ours", paint(w, bad, fmt.Sprintf("%d requests ended by one: see the log", s.Panics)))
	}
	t.write(w)
	writeCacheSites(w, s)
	writeCacheOrigins(w, s)
}

func cacheState(w io.Writer, state string) string {
	switch state {
	case api.CacheServing:
		return paint(w, good, "serves")
	case api.CacheLeaving:
		return "serves, and lets clients go"
	case api.CacheDraining:
		return "ends what is under way and takes no more"
	}
	return paint(w, bad, "does not serve")
}

func cacheRequests(c api.CacheCounts) string {
	out := amount.Short("requests", float64(c.Requests))
	if share, ok := c.FromStore(); ok {
		out += ", " + percent(share) + " from the store"
	}
	var parts []string
	for _, p := range []struct {
		n    uint64
		word string
	}{
		{c.Hits, "hit"}, {c.Stale, "stale"}, {c.Revalidated, "revalidated"}, {c.Partial, "partly"}, {c.Misses, "missed"},
		{c.Passed, "passed"}, {c.Refused, "refused"}, {c.Failed, "failed"}, {c.Aborted, "aborted"},
	} {
		if p.n > 0 {
			parts = append(parts, amount.Short("requests", float64(p.n))+" "+p.word)
		}
	}
	if len(parts) > 0 {
		out += ": " + strings.Join(parts, ", ")
	}
	return out
}

// cacheReasons are the most frequent reasons why requests were no plain hits.
func cacheReasons(all []api.CacheReason) string {
	var parts []string
	for _, r := range all[:min(len(all), 5)] {
		parts = append(parts, amount.Short("requests", float64(r.Requests))+" "+oneLine(r.Reason))
	}
	return strings.Join(parts, ", ")
}

func cacheStore(w io.Writer, s api.CacheStore) string {
	out := fmt.Sprintf("%d objects; RAM %s of %s", s.Objects, storedBytes(s.RAM), storedBytes(s.RAMLimit))
	if s.Disk == "" {
		return out + "; no disk"
	}
	out += fmt.Sprintf("; %s %s of %s", s.Disk, storedBytes(s.Used), storedBytes(s.Limit))
	if s.State != "ok" {
		out += ", " + paint(w, bad, strings.TrimSpace("disk "+s.State+": "+oneLine(s.Error)))
	}
	return out
}

// storedBytes writes a number of bytes in three digits.
func storedBytes[T int64 | uint64](n T) string {
	x, unit := float64(n), "B"
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if x < 1023.5 {
			break
		}
		x, unit = x/1024, u
	}
	if x >= 999.5 {
		return fmt.Sprintf("%.0f %s", x, unit)
	}
	return fmt.Sprintf("%.3g %s", x, unit)
}

func writeCacheSites(w io.Writer, s api.CacheStatus) {
	if len(s.Sites) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("SITE", "REQUESTS", "FROM STORE", "SENT", "REFUSED", "FAILED", "HOSTS")
	for _, x := range s.Sites {
		share := ""
		if f, ok := x.Counts.FromStore(); ok {
			share = percent(f)
		}
		c := x.Counts
		t.row(x.Name, strconv.FormatUint(c.Requests, 10), share, storedBytes(c.Sent),
			strconv.FormatUint(c.Refused, 10), strconv.FormatUint(c.Failed, 10), oneLine(strings.Join(x.Hosts, " ")))
	}
	t.write(w)
}

func writeCacheOrigins(w io.Writer, s api.CacheStatus) {
	if len(s.Origins) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable("UPSTREAM", "OF", "KIND", "STATE", "SINCE", "ADDRESS", "ACTIVE", "ASKED", "FAILED", "NOTE")
	t.spare = []int{5}
	for _, o := range s.Origins {
		of := cmp.Or(o.Site, "all")
		t.row(o.Name, of, o.Kind, o.State, age(s.Now, o.Since), o.Address, strconv.FormatInt(o.Active, 10), strconv.FormatUint(o.Asked, 10), strconv.FormatUint(o.Failed, 10), oneLine(o.Detail))
	}
	t.write(w)
}

// writeCacheLine is the cache server in the status, in a line.
func writeCacheLine(w io.Writer, c *api.CacheSummary) {
	line := fmt.Sprintf("Cache server: %s; %d connections, %s requests", cacheState(w, c.State), c.Connections, amount.Short("requests", float64(c.Requests)))
	if c.FromStore != nil {
		line += ", " + percent(*c.FromStore) + " from the store"
	}
	line += fmt.Sprintf("; %d objects of %d sites", c.Objects, c.Sites)
	if c.Detail != "" {
		line += "; " + oneLine(c.Detail)
	}
	say(w, "", line)
}

// cacheQueryFlags adds --header.
func cacheQueryFlags(cmd *cobra.Command, q *api.CacheQuery) {
	cmd.Flags().StringArrayVar(&q.Headers, "header", nil, "a `\"NAME: VALUE\"` of the request; may be repeated")
}

func (a *app) cacheShowCommand() *cobra.Command {
	var q api.CacheQuery
	cmd := a.showing(&cobra.Command{
		Use:   "show URL",
		Short: "What is stored for a URL, and whether a request would hit",
		Long: `What is stored for a URL: its variants, how fresh they are, what of them is
there, by what they are validated and purged; and what a GET would get now, and
why. The URL has the scheme, host and port that clients use.`,
		Example: `  catchment cache show http://www.example.com/a.css
  catchment cache show http://www.example.com/ --header "Accept-Language: de"`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *api.Client, _ api.Status, args []string) (view, error) {
		q := q
		q.URL = args[0]
		o, err := c.CacheShow(ctx, q)
		return view{o, func(w io.Writer) { writeCacheObject(w, o) }}, err
	})
	cacheQueryFlags(cmd, &q)
	return cmd
}

func writeCacheObject(w io.Writer, o api.CacheObject) {
	site := "no site serves it"
	if o.Site != "" {
		site = "site " + o.Site
	}
	say(w, "", fmt.Sprintf("%s, %s", oneLine(o.URL), site))
	would := "A GET would " + o.Would
	if o.Why != "" {
		would += ": " + oneLine(o.Why)
	}
	say(w, "", would)
	if o.Key != "" {
		say(w, "", "Key: "+oneLine(o.Key))
	}
	if len(o.Variants) == 0 {
		fmt.Fprintln(w, "Nothing is stored.")
		return
	}
	for _, v := range o.Variants {
		fmt.Fprintln(w)
		writeCacheVariant(w, o.Now, v)
	}
}

func writeCacheVariant(w io.Writer, now time.Time, v api.CacheVariant) {
	fmt.Fprintf(w, "%d %s\n", v.Status, cmp.Or(oneLine(v.Type), "(no type)"))
	t := facts()
	if len(v.Vary) > 0 {
		t.row("for", oneLine(strings.Join(v.Vary, ", ")))
	}
	size := storedBytes(v.Present)
	switch {
	case v.Size < 0:
		size += " of a body whose length is not known yet"
	case v.Present < v.Size:
		size += fmt.Sprintf(" of %s (%d of %d chunks)", storedBytes(v.Size), v.Have, v.Chunks)
	}
	t.row("body", size+", "+v.Where)
	t.row("stored", age(now, v.Stored)+" ago, age "+span(time.Duration(v.Age)))
	t.row("fresh", cacheFresh(w, v))
	for _, f := range []struct{ name, text string }{
		{"etag", v.ETag}, {"last modified", v.Modified}, {"digest", v.Digest}, {"tags", strings.Join(v.Tags, ", ")}, {"stored because", v.Reason},
	} {
		if f.text != "" {
			t.row(f.name, oneLine(f.text))
		}
	}
	if v.Purged != "" {
		t.row("purged", fmt.Sprintf("%s, by purge %d", v.Purged, v.PurgeID))
	}
	if v.Hits > 0 {
		t.row("hits", strconv.FormatUint(v.Hits, 10))
	}
	t.write(w)
}

func cacheFresh(w io.Writer, v api.CacheVariant) string {
	out := "for " + span(time.Duration(v.Fresh)) + " more"
	if v.Fresh < 0 {
		out = paint(w, bad, "no") + ", for " + span(-time.Duration(v.Fresh))
	}
	out += " (lifetime " + span(time.Duration(v.Lifetime))
	if v.WhileRevalid > 0 {
		out += ", stale while revalidated " + span(time.Duration(v.WhileRevalid))
	}
	if v.IfError > 0 {
		out += ", if the origin fails " + span(time.Duration(v.IfError))
	}
	return out + ")"
}

func (a *app) cacheTraceCommand() *cobra.Command {
	var q api.CacheQuery
	cmd := a.showing(&cobra.Command{
		Use:   "trace URL",
		Short: "How a request would be decided, step by step",
		Long: `How a request would be decided, step by step: whose site it is, by which key it
is looked up, which variant, whether that is fresh, and what it would get. No
origin is asked and nothing is stored.`,
		Example: `  catchment cache trace http://www.example.com/a.css
  catchment cache trace http://www.example.com/a.mp4 --header "Range: bytes=0-99"
  catchment cache trace http://www.example.com/api --method POST`,
		Args: cobra.ExactArgs(1),
	}, func(ctx context.Context, c *api.Client, _ api.Status, args []string) (view, error) {
		q := q
		q.URL = args[0]
		t, err := c.CacheTrace(ctx, q)
		return view{t, func(w io.Writer) { writeCacheTrace(w, t) }}, err
	})
	cacheQueryFlags(cmd, &q)
	cmd.Flags().StringVar(&q.Method, "method", "", "of the request; default: GET")
	return cmd
}

func writeCacheTrace(w io.Writer, tr api.CacheTrace) {
	say(w, "", tr.Method+" "+oneLine(tr.URL))
	t := facts()
	for _, s := range tr.Steps {
		t.row(s.Step, oneLine(s.Detail))
	}
	would := tr.Would
	if tr.Why != "" {
		would += ": " + oneLine(tr.Why)
	}
	t.row("would", would)
	if tr.Header != "" {
		t.row("Cache-Status", oneLine(tr.Header))
	}
	t.write(w)
}
