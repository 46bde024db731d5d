package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core"
)

// JoinHere uses a token for the POP of a configuration, without its daemon,
// which then starts as one that has joined.
func JoinHere(ctx context.Context, cfg config.Core, token string) (core.Welcome, error) {
	t, err := core.ParseToken(token)
	if err != nil {
		return core.Welcome{}, err
	}
	h := New(cfg, cfg.Name, slog.New(slog.DiscardHandler))
	if h.files.Cert == "" || cfg.TLS != nil || cfg.Joins.Listen != "" {
		return core.Welcome{}, errors.New("a POP with this section joins nobody: it wants mode embedded or follow, core.token-file, and neither core.tls nor core.joins")
	}
	if left, err := h.lifeLeft(); err == nil && left > 0 {
		return core.Welcome{}, fmt.Errorf("this POP has joined already: %s", h.files.Cert)
	}
	w, err := Join(ctx, t, h.files, h.fleetFile())
	if err == nil && w.Name != cfg.Name {
		err = errors.Join(fmt.Errorf("the token is for %s, this POP is %s", w.Name, cfg.Name), os.Remove(h.files.Cert))
	}
	return w, errors.Join(err, own(cfg.Dir))
}

// RestoreHere makes the member of a configuration from a backup, without its
// daemon. members (name: host:port) are all that are made from the same
// backup, this one among them; nil: it is alone, or those of core.first.
func RestoreHere(cfg config.Core, file string, members map[string]string, log *slog.Logger) error {
	if cfg.Mode != config.CoreEmbedded {
		return fmt.Errorf("mode %s: only a member is restored", cfg.Mode)
	}
	e := New(cfg, cfg.Name, log).embedded(fleet{})
	if e.Peers != nil && len(members) > 0 {
		e.Peers.First = members
		if members[cfg.Name] != cfg.Advertise {
			return fmt.Errorf("%s at %s has to be among the members", cfg.Name, cfg.Advertise)
		}
	}
	return errors.Join(core.Restore(e, file, log), own(cfg.Dir))
}

// own gives what root made in a directory to whom the directory around it
// belongs: the daemon's user.
func own(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(dir))
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(st.Uid), int(st.Gid))
	})
}
