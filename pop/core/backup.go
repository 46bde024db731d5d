package core

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
)

// Backup writes the whole core, history included, to a file: consistent, at
// one revision, taken while it serves, readable by etcd's own tools. It is
// written to the side and renamed when its digest was right, so the file is
// whole or not there. It contains secrets: mode 0600.
func (c *Core) Backup(ctx context.Context, path string) error {
	_, cli, err := c.voters()
	if err != nil {
		return about(err, "backup", path)
	}
	r, err := cli.Snapshot(ctx)
	if err != nil {
		return about(certain(translate(err)), "backup", path)
	}
	defer r.Close()
	part := path + ".part"
	defer os.Remove(part)
	if err := writeSynced(part, r); err != nil {
		return about(&Error{Code: Unavailable, Err: err}, "backup", path)
	}
	if err := checkBackup(part); err != nil {
		return about(err, "backup", path)
	}
	return about(os.Rename(part, path), "backup", path)
}

func writeSynced(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Sync(), f.Close())
}

// checkBackup compares the SHA-256 at the end of a backup with its content.
func checkBackup(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fail(NotFound, "%w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	body := st.Size() - sha256.Size
	if body <= 0 || body%512 != 0 {
		return fail(Corrupt, "%d bytes are no backup, or not all of one", st.Size())
	}
	h := sha256.New()
	if _, err := io.CopyN(h, f, body); err != nil {
		return err
	}
	sum, err := io.ReadAll(f)
	if err != nil {
		return err
	}
	if !bytes.Equal(sum, h.Sum(nil)) {
		return fail(Corrupt, "the digest does not fit: damaged or cut off")
	}
	return nil
}

// revisionBump is added to the revision by a restore: more than any core
// writes between a backup and the restore, so that revisions go on growing
// and whoever remembers a later one starts from a snapshot.
const revisionBump = 100_000_000

// Restore makes the directory of a member from a backup; the member must not
// run, and what its directory held must have been moved away. For a core of
// several members, do it at each with the same file and the same Peers.First,
// then start them all. Members that were not restored do not belong to the
// new core.
func Restore(e Embedded, path string, log *slog.Logger) error {
	e = e.withDefaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := cmp.Or(e.check(), checkBackup(path)); err != nil {
		return about(err, "restore", path)
	}
	dir := filepath.Join(e.Dir, "etcd")
	if list, err := os.ReadDir(dir); err == nil && len(list) > 0 {
		return about(fail(Conflict, "%s holds a member: move it away first", dir), "restore", path)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return about(err, "restore", path)
	}
	release, err := (&embedded{cfg: e, log: log}).lockDir()
	if err != nil {
		return about(err, "restore", path)
	}
	defer release()
	var broke string
	done := make(chan error, 1)
	go func() {
		err := errors.New("broke off")
		defer func() { done <- err }()
		err = snapshot.NewV3(zapTo(log, func(why string) { broke = why })).Restore(snapshot.RestoreConfig{
			SnapshotPath: path, Name: e.Name, OutputDataDir: dir, PeerURLs: []string{e.advertise()},
			InitialCluster: e.first(), InitialClusterToken: clusterToken,
			RevisionBump: revisionBump, MarkCompacted: true,
		})
	}()
	if err := <-done; err != nil {
		os.RemoveAll(dir)
		return about(&Error{Code: Corrupt, Err: fmt.Errorf("%w %s", err, broke)}, "restore", path)
	}
	return nil
}
