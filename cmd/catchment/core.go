package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

func (a *app) coreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "core",
		Short: "What the POPs of a fleet share: members, configuration, backups",
		Long: `What the POPs of a fleet share, in its control core: its members, the fleet's
configuration, intents from elsewhere, backups. Every change says who made it
(whose connection it was) and why (--why), and both are kept.

Where the core is out of reach nothing of this works, and announcing goes on.`,
		Example: `  catchment core status
  catchment core token FRA --member fra.example.net:9795 --why "a third member"
  catchment core config put fleet fleet.yaml --why "ticket 4711"
  catchment core history config/fleet`,
	}
	status := a.coreStatusCommand()
	cmd.Args, cmd.RunE = cobra.NoArgs, status.RunE
	cmd.AddCommand(status,
		a.coreTokenCommand(), a.coreJoinCommand(), a.coreAdmitCommand(), a.coreRemoveCommand(), a.coreForgetCommand(), a.coreRevokeCommand(), a.coreLeaveCommand(),
		a.coreBackupCommand(), a.coreRestoreCommand(),
		a.coreHistoryCommand(), a.coreRollbackCommand(), a.coreListCommand(), a.coreWatchCommand(), a.coreConfigCommand(), a.coreRolloutCommand(),
	)
	return cmd
}

// whyFlag adds --why, which changes of the core need.
func whyFlag(cmd *cobra.Command, why *string) *cobra.Command {
	cmd.Flags().StringVar(why, "why", "", "reason, kept in the core beside who did it (required)")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if strings.TrimSpace(*why) == "" {
			return usagef("say why it is done: --why \"...\"")
		}
		return run(cmd, args)
	}
	return cmd
}

// coreDo makes a change of the core and prints what became of it.
func (a *app) coreDo(ctx context.Context, verb string, ch api.CoreChange) error {
	return a.withClient(func(c *api.Client) error {
		r, err := c.CoreChange(ctx, verb, ch)
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) {
			fmt.Fprintln(w, oneLine(r.Text))
			if r.Token != "" {
				fmt.Fprintln(w, r.Token)
			}
			if len(r.First) > 0 {
				fmt.Fprintln(w, "core.first of the new member has to be:")
				for _, m := range r.First {
					fmt.Fprintf(w, "  - {name: %s, address: \"%s\"}\n", m.Name, m.Address)
				}
			}
		})
	})
}

func (a *app) coreStatusCommand() *cobra.Command {
	return a.showing(&cobra.Command{
		Use:     "status",
		Short:   "Whether the core answers, its members and its database",
		Example: "  catchment core status\n  catchment core status --watch",
		Args:    cobra.NoArgs,
	}, func(ctx context.Context, c *api.Client, st api.Status, _ []string) (view, error) {
		core, err := c.Core(ctx)
		return view{core, func(w io.Writer) { writeCore(w, st.Now, core) }}, err
	})
}

func writeCore(w io.Writer, now time.Time, c api.CoreStatus) {
	answers := paint(w, good, "answers")
	if !c.Reachable {
		answers = paint(w, bad, "does not answer") + "; announcing goes on"
	}
	mode := c.Mode
	if c.Alone {
		mode += ", of this POP alone"
	}
	fmt.Fprintf(w, "The core %s for %s (%s)\n", answers, age(now, c.Since), mode)
	if c.Trouble != "" {
		say(w, "", paint(w, bad, "TROUBLE")+" "+oneLine(c.Trouble))
	}
	t := facts()
	t.row("revision", strconv.FormatInt(c.Revision, 10))
	if c.Database > 0 {
		size := fmt.Sprintf("%s, %s in use", mebibytes(c.Database), mebibytes(c.InUse))
		if c.Quota > 0 {
			size += ", at most " + mebibytes(c.Quota)
		}
		if c.Free > 0 {
			size += ", " + mebibytes(c.Free) + " left on the disk"
		}
		t.row("database", size)
	}
	t.row("writes from here", fmt.Sprintf("%d taken, %d refused", c.Written, c.Refused))
	if c.Authority {
		t.row("authority", "the fleet's certificates are made here: back its directory up")
	}
	if f := c.Config; f != nil {
		t.row("configuration", applied(*f))
	}
	relayRows(w, t, now, c.Relay)
	t.write(w)
	if len(c.Members) > 0 {
		fmt.Fprintln(w)
		m := newTable("MEMBER", "ADDRESS", "ROLE", "NOTE")
		for _, v := range c.Members {
			role, note, addr := "voter", "", v.Address
			switch {
			case v.Name == "":
				role, note = "admitted", "has not come yet"
			case v.Learner:
				role, note = "learner", "catching up, no vote yet"
			case v.Leader:
				role = "leader"
			}
			if v.Name == c.Name && v.Name != "" {
				note = strings.TrimSpace("this one " + note)
			}
			if addr == "" {
				addr = "none: alone"
			}
			m.row(v.Name, addr, role, note)
		}
		m.write(w)
	}
}

func applied(f api.CoreApplied) string {
	switch {
	case f.Refused == "":
		return strconv.FormatInt(f.Number, 10)
	case f.Restart:
		return fmt.Sprintf("%d; %d after a restart: %s", f.Number, f.Newest, oneLine(f.Refused))
	}
	return fmt.Sprintf("%d; %d is refused: %s", f.Number, f.Newest, oneLine(f.Refused))
}

func mebibytes(n int64) string {
	if n < 1<<20 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	if n >= 10<<30 {
		return fmt.Sprintf("%d GiB", n>>30)
	}
	return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
}

func (a *app) coreTokenCommand() *cobra.Command {
	var ch api.CoreChange
	var span time.Duration
	cmd := &cobra.Command{
		Use:   "token POP",
		Short: "Make a token with which a POP joins, once",
		Long: `Make a token with which a POP joins, once: it gets a certificate of the fleet,
and learns where the members are. Put it into the file that core.token-file of
that POP names, or give it to "catchment core join" there. With --member it
becomes a member of the core, otherwise it follows. It is a secret until it is
used. Asked at the POP that keeps the fleet's authority (core.joins).`,
		Example: `  catchment core token FRA --member fra.example.net:9795 --why "a third member"
  catchment core token NYC --for 24h --why "new POP"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ch.Name, ch.For = args[0], api.Duration(span)
			return a.coreDo(cmd.Context(), "token", ch)
		},
	}
	cmd.Flags().StringVar(&ch.Address, "member", "", "it becomes a member, which others reach at `HOST:PORT` (its core.advertise)")
	cmd.Flags().StringArrayVar(&ch.Hosts, "host", nil, "another `name` or address for its certificate, where it answers clients by another than --member")
	cmd.Flags().DurationVar(&span, "for", time.Hour, "how long it can be used, a week at most")
	return whyFlag(cmd, &ch.Why)
}

func (a *app) coreAdmitCommand() *cobra.Command {
	var ch api.CoreChange
	return whyFlag(&cobra.Command{
		Use:   "admit NAME HOST:PORT",
		Short: "Add a member that has a certificate of its own",
		Long: `Add a member that has a certificate of its own (core.tls); one that joins with a
token is admitted by that. Start it then with core.first as this prints it.`,
		Example: `  catchment core admit FRA fra.example.net:9795 --why "a third member"`,
		Args:    cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ch.Name, ch.Address = args[0], args[1]
			return a.coreDo(cmd.Context(), "admit", ch)
		},
	}, &ch.Why)
}

func (a *app) coreRemoveCommand() *cobra.Command {
	var ch api.CoreChange
	return whyFlag(&cobra.Command{
		Use:   "remove NAME",
		Short: "Take a member out, also one that is dead",
		Long: `Take a member out, also one that is dead or has never come (by its HOST:PORT).
To replace one, remove it and let another join. What would cost the majority is
refused.`,
		Example: `  catchment core remove FRA --why "its disk died"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ch.Name = args[0]
			return a.coreDo(cmd.Context(), "remove", ch)
		},
	}, &ch.Why)
}

func (a *app) coreForgetCommand() *cobra.Command {
	var ch api.CoreChange
	cmd := &cobra.Command{
		Use:   "forget POP",
		Short: "Take away what a POP that is gone for good left",
		Long: `Take away what a POP that is gone for good left in the core: its place in the
queue of drains, the slices that it stood aside on, its reservations. Others would
wait for it and count with it for ever. A POP that is heard of is not forgotten,
unless --force. A member of the core is taken out by ` + "`remove`" + `.`,
		Example: `  catchment core forget NYC --why "NYC is closed"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ch.Name = args[0]
			return a.coreDo(cmd.Context(), "forget", ch)
		},
	}
	cmd.Flags().BoolVar(&ch.Force, "force", false, "although the POP is heard of")
	return whyFlag(cmd, &ch.Why)
}

func (a *app) coreLeaveCommand() *cobra.Command {
	var ch api.CoreChange
	return whyFlag(&cobra.Command{
		Use:     "leave",
		Short:   "Take the member of this POP out",
		Long:    "Take the member of this POP out. The daemon goes on without a core until its\ncore.mode is another, or it joins again after core.dir was removed.",
		Example: `  catchment core leave --why "LON is closed"`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.coreDo(cmd.Context(), "leave", ch)
		},
	}, &ch.Why)
}

func (a *app) coreHistoryCommand() *cobra.Command {
	var q api.CoreQuery
	cmd := &cobra.Command{
		Use:   "history KEY",
		Short: "The former states of an object: who, when, why",
		Long: `The former states of an object, the newest first: of a config object all
versions that are kept, of others what the core still knows (core.retention).
KEY is KIND/NAME; a name alone is a config object's.`,
		Example: "  catchment core history fleet\n  catchment core history report/FRA/config",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Key = keyOf(args[0])
			return a.withClient(func(c *api.Client) error {
				list, err := c.CoreHistory(cmd.Context(), q)
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) { writeObjects(w, list, false) })
			})
		},
	}
	cmd.Flags().Int32VarP(&q.Limit, "lines", "n", 50, "at most `N`")
	return cmd
}

// configRoots are how names of config objects begin.
var configRoots = []string{"fleet", "pop"}

// keyOf makes a key of what a person writes.
func keyOf(arg string) string {
	root, _, _ := strings.Cut(arg, "/")
	if slices.Contains(configRoots, root) {
		return "config/" + arg
	}
	return arg
}

func writeObjects(w io.Writer, list []api.CoreObject, keys bool) {
	head := []string{"REVISION", "VERSION", "WHEN", "WHO", "WHY"}
	if keys {
		head = append([]string{"KEY"}, head...)
	}
	t := newTable(head...)
	for _, o := range list {
		version := ""
		if o.Version > 0 {
			version = strconv.FormatInt(o.Version, 10)
		}
		if o.Deleted {
			version += " deleted"
		}
		row := []string{strconv.FormatInt(o.Revision, 10), version, o.At.UTC().Format("2006-01-02 15:04:05"), oneLine(o.Who), oneLine(o.Why)}
		if keys {
			row = append([]string{o.Key}, row...)
		}
		t.row(row...)
	}
	t.write(w)
}

func (a *app) coreListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list KIND",
		Short: "The objects of a kind, such as intent, report or member",
		Long: `The objects of a kind: config, intent, manifest, member, presence, report,
reservation, response, room, token or trust. With -j their values too, where
those hold no secrets.`,
		Example: "  catchment core list intent\n  catchment core list report -j | jq '.[].value'",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *api.Client) error {
				list, err := c.CoreObjects(cmd.Context(), api.CoreQuery{Kind: args[0]})
				if err != nil {
					return err
				}
				return a.print(list, func(w io.Writer) { writeObjects(w, list, true) })
			})
		},
	}
}

func (a *app) coreWatchCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "watch [KIND or KEY]",
		Short:   "What changes in the core from now on: who, and why",
		Example: "  catchment core watch               # the configuration\n  catchment core watch intent\n  catchment core watch intent/FRA/",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var q api.CoreQuery
			if len(args) > 0 {
				if q.Kind = args[0]; strings.Contains(args[0], "/") {
					q = api.CoreQuery{Key: keyOf(args[0])}
				}
			}
			return a.withClient(func(c *api.Client) error {
				lines := json.NewEncoder(a.out)
				err := c.CoreWatch(cmd.Context(), q, func(o api.CoreObject) error {
					if a.json {
						return lines.Encode(o)
					}
					what := "written"
					if o.Deleted {
						what = "deleted"
					}
					_, err := fmt.Fprintf(a.out, "%d  %s %s by %s: %s\n", o.Revision, o.Key, what, oneLine(o.Who), oneLine(o.Why))
					return err
				})
				if errors.Is(err, context.Canceled) {
					return nil // the reader had enough
				}
				return err
			})
		},
	}
}

// writeCoreLine is the core in the status, in a line.
func writeCoreLine(w io.Writer, st api.Status) {
	c := st.Core
	line := fmt.Sprintf("Control core: %s for %s", paint(w, good, "answers"), age(st.Now, c.Since))
	if !c.Reachable {
		line = fmt.Sprintf("Control core: %s for %s, announcing goes on", paint(w, bad, "does not answer"), age(st.Now, c.Since))
	}
	if c.Leader != "" {
		line += fmt.Sprintf("; led by %s, revision %d", c.Leader, c.Revision)
	}
	if c.Config != nil {
		line += "; configuration " + applied(*c.Config)
	}
	say(w, "", line)
}
