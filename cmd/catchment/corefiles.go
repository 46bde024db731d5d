package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core/host"
)

const defaultConfig = "/etc/catchment/catchment.yaml"

// coreSection reads the section core of the daemon's configuration.
func coreSection(path string) (config.Core, error) {
	cfg, err := config.Load(path, config.Options{Env: os.Environ(), Partial: true})
	if err != nil {
		return config.Core{}, err
	}
	if cfg.Core.Mode == "" {
		return config.Core{}, fmt.Errorf("%s: it has no core: core.mode is none, or not set where there are no services", path)
	}
	return cfg.Core, nil
}

func (a *app) coreJoinCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "join TOKEN",
		Short: "Join a fleet with a token, before the daemon is started",
		Long: `Join a fleet with a token (catchment core token), before the daemon of this POP
is started: its key and certificate are put into core.dir. "-" reads the token
from standard input. A daemon whose core.token-file holds the token does the
same by itself.`,
		Example: `  catchment core join - < token
  catchment core join --config /etc/catchment/catchment.yaml cj1.4f...@lon.example.net:9793`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			section, err := coreSection(path)
			if err != nil {
				return err
			}
			token := args[0]
			if token == "-" {
				text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 4096))
				if err != nil {
					return err
				}
				token = string(text)
			}
			w, err := host.JoinHere(cmd.Context(), section, token)
			if err != nil {
				return err
			}
			r := api.CoreResult{Text: "joined as " + w.Name + ": start catchmentd"}
			return a.print(r, func(w io.Writer) { fmt.Fprintln(w, r.Text) })
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration of the daemon")
	return cmd
}

func (a *app) coreBackupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the whole core to a file, while it serves",
		Long: `Write the whole core, its history included, to a file, while it serves: at one
revision, readable by etcd's own tools. It holds secrets, so its mode is 0600.
The fleet's certificate authority is not in it: keep a copy of the directory
authority in core.dir of the POP that has core.joins.`,
		Example: "  catchment core backup /root/core-$(date +%F).db",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withClient(func(c *api.Client) error {
				part := args[0] + ".part"
				f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
				if err != nil {
					return err
				}
				defer os.Remove(part)
				err = c.CoreBackup(cmd.Context(), f)
				info, serr := f.Stat()
				if err = errors.Join(err, serr, f.Sync(), f.Close()); err != nil {
					return err
				}
				if err := os.Rename(part, args[0]); err != nil {
					return err
				}
				r := api.CoreResult{Text: fmt.Sprintf("%s: %s", args[0], mebibytes(info.Size()))}
				return a.print(r, func(w io.Writer) { fmt.Fprintln(w, r.Text) })
			})
		},
	}
}

func (a *app) coreRestoreCommand() *cobra.Command {
	var path string
	var members []string
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Make this POP's member from a backup, with the daemon stopped",
		Long: `Make this POP's member from a backup, with the daemon stopped and the directory
etcd in core.dir moved away. Of a core of several do the same at each, with the
same file and the same --member for each of them, then start them all. Revisions
go on above all that was written before. One lost member of three needs no
restore: remove it and let another join.`,
		Example: `  systemctl stop catchmentd; mv /var/lib/catchment/core/etcd{,.old}
  catchment core restore core.db --member LON=lon.example.net:9795 --member FRA=fra.example.net:9795 --member NYC=nyc.example.net:9795`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			section, err := coreSection(path)
			if err != nil {
				return err
			}
			first := map[string]string{}
			for _, m := range members {
				name, addr, ok := strings.Cut(m, "=")
				if !ok {
					return usagef("--member %q: want NAME=HOST:PORT", m)
				}
				first[name] = addr
			}
			if err := host.RestoreHere(section, args[0], first, slog.New(slog.DiscardHandler)); err != nil {
				return err
			}
			r := api.CoreResult{Text: "restored: start catchmentd"}
			return a.print(r, func(w io.Writer) { fmt.Fprintln(w, r.Text) })
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "configuration of the daemon")
	cmd.Flags().StringArrayVar(&members, "member", nil, "`NAME=HOST:PORT` of each member that is restored, this one too; default: it alone, or core.first")
	return cmd
}
