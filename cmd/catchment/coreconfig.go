package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
)

func (a *app) coreConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "The fleet's configuration: what there is, and which POP has which",
		Long: `The fleet's configuration: what there is, who made the last change and why, and
which POP has it in force.

A POP with core.config: true takes its configuration from here: the objects
"fleet" and "fleet/..." first, over them "pop/NAME" and "pop/NAME/...", over
them its own file. Sections are merged key by key, lists of named entries
(services, checks) entry by entry; null takes a key out. It is taken over by the
same way as a reload, all or nothing; what a POP refuses it reports back.`,
		Example: `  catchment core config
  catchment core config put fleet fleet.yaml --why "ticket 4711"
  catchment core config put pop/FRA fra.yaml --why "a second transit"
  catchment core config show fleet --version 3
  catchment core rollback fleet 3 --why "4711 was wrong"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withClient(func(c *api.Client) error {
				f, err := c.CoreConfig(cmd.Context())
				if err != nil {
					return err
				}
				return a.print(f, func(w io.Writer) { writeConfig(w, f) })
			})
		},
	}
	cmd.AddCommand(a.coreShowCommand(), a.corePutCommand(), a.coreDeleteCommand())
	return cmd
}

func writeConfig(w io.Writer, f api.CoreConfig) {
	if f.Number == 0 {
		fmt.Fprintln(w, "The fleet has no configuration in the core.")
		return
	}
	fmt.Fprintf(w, "Configuration %d, last changed by %s: %s\n\n", f.Number, oneLine(f.Who), oneLine(f.Why))
	t := newTable("OBJECT", "VERSION", "WHEN", "WHO", "WHY")
	for _, o := range f.Objects {
		t.row(strings.TrimPrefix(o.Key, "config/"), strconv.FormatInt(o.Version, 10), o.At.UTC().Format("2006-01-02 15:04:05"), oneLine(o.Who), oneLine(o.Why))
	}
	t.write(w)
	if len(f.POPs) == 0 {
		fmt.Fprintln(w, "\nNo POP takes its configuration from here (core.config).")
		return
	}
	fmt.Fprintln(w)
	p := newTable("POP", "IN FORCE", "NOTE")
	for _, r := range f.POPs {
		note := ""
		switch {
		case r.Restart:
			note = fmt.Sprintf("%d after a restart: %s", r.Newest, oneLine(r.Refused))
		case r.Refused != "":
			note = fmt.Sprintf("refuses %d: %s", r.Newest, oneLine(r.Refused))
		}
		number := strconv.FormatInt(r.Number, 10)
		if r.Number == 0 {
			number = "none"
		}
		p.row(r.POP, number, note)
	}
	p.write(w)
}

func (a *app) coreShowCommand() *cobra.Command {
	var q api.CoreQuery
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Print a config object as it was put",
		Example: "  catchment core config show fleet > fleet.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Key = strings.TrimPrefix(args[0], "config/")
			return a.withClient(func(c *api.Client) error {
				o, err := c.CoreShow(cmd.Context(), q)
				if err != nil {
					return err
				}
				return a.print(o, func(io.Writer) { fmt.Fprint(a.out, o.Text) })
			})
		},
	}
	cmd.Flags().Int32Var(&q.Version, "version", 0, "a former `VERSION` (catchment core history NAME)")
	return cmd
}

func (a *app) corePutCommand() *cobra.Command {
	var ch api.CoreChange
	cmd := &cobra.Command{
		Use:   "put NAME FILE",
		Short: "Write a config object",
		Long: `Write a config object from a file (YAML or TOML by its ending; "-": YAML from
standard input). It is judged with the rest for every POP that is known, and
what is wrong for one is refused, unless --force.

With --stage it goes to some POPs first. It goes on when those have it and have
been well for --wait, and is rolled back by itself when one refuses it, raises
an alarm that it did not have, or takes a slice off the air for its checks:
catchment core rollout.`,
		Example: `  catchment core config put fleet fleet.yaml --why "ticket 4711"
  catchment core config put fleet fleet.yaml --stage PAR --stage 25% --wait 10m --why "ticket 4711"`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ch.Name, ch.Format = strings.TrimPrefix(args[0], "config/"), "yaml"
			var text []byte
			var err error
			if args[1] == "-" {
				text, err = io.ReadAll(cmd.InOrStdin())
			} else {
				text, err = os.ReadFile(args[1])
				if filepath.Ext(args[1]) == ".toml" {
					ch.Format = "toml"
				}
			}
			if err != nil {
				return err
			}
			ch.Text = string(text)
			return a.coreDo(cmd.Context(), "put", ch)
		},
	}
	cmd.Flags().BoolVar(&ch.Force, "force", false, "although it is wrong for some POP")
	stageFlags(cmd, &ch)
	return whyFlag(cmd, &ch.Why)
}

// stageFlags let a change go to some POPs first.
func stageFlags(cmd *cobra.Command, ch *api.CoreChange) {
	cmd.Flags().StringArrayVar(&ch.Stages, "stage", nil, "let it go first to these `POPs` (names with commas, or a share so far such as 25%); again for the next stage; the others come last")
	var wait time.Duration
	cmd.Flags().DurationVar(&wait, "wait", 5*time.Minute, "with --stage: how long each stage has to be well")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(ch.Stages) > 0 {
			ch.Wait = api.Duration(wait)
		}
		return run(cmd, args)
	}
}

func (a *app) coreDeleteCommand() *cobra.Command {
	var ch api.CoreChange
	cmd := &cobra.Command{
		Use:     "delete NAME",
		Short:   "Remove a config object",
		Example: `  catchment core config delete pop/FRA/trial --why "the trial is over"`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ch.Name = strings.TrimPrefix(args[0], "config/")
			return a.coreDo(cmd.Context(), "delete", ch)
		},
	}
	cmd.Flags().BoolVar(&ch.Force, "force", false, "although it is wrong for some POP")
	stageFlags(cmd, &ch)
	return whyFlag(cmd, &ch.Why)
}

func (a *app) coreRollbackCommand() *cobra.Command {
	var ch api.CoreChange
	cmd := &cobra.Command{
		Use:   "rollback [NAME VERSION]",
		Short: "Make a config object, or all of them, what they were",
		Long: `Make a config object what it was in a version (catchment core history NAME), or
with --to the whole configuration what it was at a number. That is a new change
with a history of its own.`,
		Example: `  catchment core rollback fleet 3 --why "4711 was wrong"
  catchment core rollback --to 12 --why "4711 was wrong"`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case ch.Number > 0 && len(args) == 0:
			case ch.Number == 0 && len(args) == 2:
				n, err := strconv.ParseInt(args[1], 10, 32)
				if err != nil || n < 1 {
					return usagef("VERSION %q: want a number", args[1])
				}
				ch.Name, ch.Version = strings.TrimPrefix(args[0], "config/"), int32(n)
			default:
				return usagef("want NAME and VERSION, or --to NUMBER")
			}
			return a.coreDo(cmd.Context(), "rollback", ch)
		},
	}
	cmd.Flags().Int32Var(&ch.Number, "to", 0, "the whole configuration, as it was at this `NUMBER`")
	return whyFlag(cmd, &ch.Why)
}

func (a *app) coreRolloutCommand() *cobra.Command {
	cmd := a.showing(&cobra.Command{
		Use:   "rollout",
		Short: "The last change of the configuration that went to some POPs first",
		Long: `The last change of the configuration that went to some POPs first (--stage of
"catchment core config put"): which stage it has come to, what it waits for, or
why it was rolled back. Any member moves it on, so it goes on when one dies.`,
		Example: `  catchment core rollout --watch
  catchment core rollout abort --why "PAR is slow with it"
  catchment core rollout finish --why "it is urgent"`,
		Args: cobra.NoArgs,
	}, whole((*api.Client).CoreRollout, writeRollout))
	for verb, short := range map[string]string{"abort": "Roll back the change that is on its way", "finish": "Let the change that is on its way go to all POPs at once"} {
		var ch api.CoreChange
		cmd.AddCommand(whyFlag(&cobra.Command{
			Use: verb, Short: short, Example: "  catchment core rollout " + verb + ` --why "it is urgent"`, Args: cobra.NoArgs,
			RunE: func(cmd *cobra.Command, _ []string) error { return a.coreDo(cmd.Context(), verb, ch) },
		}, &ch.Why))
	}
	return cmd
}

func writeRollout(w io.Writer, r api.CoreRollout) {
	fmt.Fprintf(w, "Configuration %d to %d, by %s: %s\n", r.From, r.To, oneLine(r.Who), oneLine(r.Why))
	say(w, "", paint(w, map[string]style{"done": good, "rolled-back": bad}[r.State], strings.ReplaceAll(r.State, "-", " "))+": "+oneLine(r.Because))
	fmt.Fprintln(w)
	t := newTable("STAGE", "STATE", "POPS")
	for i, s := range r.Stages {
		pops := strings.Join(s.POPs, ", ")
		if pops == "" {
			pops = "all others"
		}
		t.row(strconv.Itoa(i+1), s.State, pops)
	}
	t.write(w)
}
