package core

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/catchment/catchment/pop/lapse"
)

// disk mounts a small file system; the package's tests run in a mount
// namespace of their own.
func disk(t *testing.T, mib int) string {
	dir := t.TempDir()
	if err := syscall.Mount("none", dir, "tmpfs", 0, fmt.Sprintf("size=%dm", mib)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// fill leaves that many bytes free.
func fill(t *testing.T, dir string, left int64) (path string) {
	path = filepath.Join(dir, "fill")
	free, err := freeBytes(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<16)
	for n := int64(0); n < free-left; n += int64(len(block)) {
		if _, err := f.Write(block); err != nil {
			break
		}
	}
	return path
}

func onDisk(t *testing.T, dir string, e Embedded) *Core {
	e.Dir, e.noSync, e.Heartbeat = filepath.Join(dir, "core"), true, quick
	c, err := NewEmbedded(e, Options{Log: logTo(t), Limits: wide, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	start(t, c)
	waitReady(t, c)
	return c
}

// TestDiskNearlyFull: writes are refused in time, reads go on, and writes pass
// again when there is room.
func TestDiskNearlyFull(t *testing.T) {
	t.Parallel()
	dir, ctx := disk(t, 200), deadline(t)
	c := onDisk(t, dir, Embedded{MinFree: 40 << 20})
	if _, err := c.Put(ctx, ann, intent("x"), raw(`1`), Absent); err != nil {
		t.Fatal(err)
	}
	path := fill(t, dir, 30<<20)
	if _, err := c.Put(ctx, ann, intent("y"), raw(`1`), Absent); !errors.Is(err, Full) {
		t.Errorf("write on a full disk: %v", err)
	}
	if _, err := c.Grant(ctx, time.Minute); !errors.Is(err, Full) {
		t.Errorf("lease on a full disk: %v", err)
	}
	if o, err := c.Get(ctx, intent("x")); err != nil || o.Write != ann {
		t.Errorf("read on a full disk: %v", err)
	}
	if s, err := c.Status(ctx); err != nil || len(s.Alarms) != 1 || s.Free > 40<<20 || s.Failed != "" {
		t.Errorf("status on a full disk: %+v, %v", s, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(ctx, ann, intent("y"), raw(`1`), Absent); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// TestDiskFull: without that guard the engine breaks over the disk; the
// process lives and hears of it, and what was acknowledged is there for the
// next process.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	dir, ctx := disk(t, 40), deadline(t)
	c, err := NewEmbedded(Embedded{Dir: filepath.Join(dir, "core"), noSync: true, MinFree: 1}, Options{Log: logTo(t), Limits: wide, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	waitReady(t, c)
	if _, err := c.Put(ctx, ann, intent("x"), raw(`1`), Absent); err != nil {
		t.Fatal(err)
	}
	full := fill(t, dir, 64<<10)
	big := raw(`"` + strings.Repeat("x", 200<<10) + `"`)
	written := 0
	for ; written < 1000; written++ {
		if _, err = c.Put(ctx, ann, intent(fmt.Sprint("fill ", written)), big, Any); err != nil {
			break
		}
	}
	if !errors.Is(err, Unavailable) && !errors.Is(err, Full) {
		t.Fatalf("writing on: %v", err)
	}
	if err := os.Remove(full); err != nil {
		t.Fatal(err)
	}
	// Either it could be stopped, and starts again by itself; or Run says that
	// only another process can go on, which finds the files as a copy is.
	for back := false; !back; {
		select {
		case err := <-done:
			if !errors.Is(err, Unavailable) {
				t.Errorf("Run: %v", err)
			}
			if _, err := c.Get(ctx, intent("x"), Stale()); !errors.Is(err, Unavailable) {
				t.Errorf("read of a broken engine: %v", err)
			}
			saved := t.TempDir()
			if err := os.CopyFS(filepath.Join(saved, "core"), os.DirFS(filepath.Join(dir, "core"))); err != nil {
				t.Fatal(err)
			}
			c, back = onDisk(t, saved, Embedded{MinFree: 1}), true
		case <-ctx.Done():
			t.Fatal("neither back nor ended")
		case <-time.After(50 * time.Millisecond):
			_, err := c.Put(ctx, ann, intent("back"), raw(`1`), Any)
			back = err == nil
		}
	}
	for i := range written {
		if _, err := c.Get(ctx, intent(fmt.Sprint("fill ", i))); err != nil {
			t.Errorf("acknowledged and lost: %v", err)
		}
	}
	if o, err := c.Get(ctx, intent("x")); err != nil || o.Write != ann {
		t.Errorf("after the restart: %v", err)
	}
}

// TestQuota: the engine's own alarm is surfaced, and taken back after room was
// made: compaction, and the defragmentation that follows by itself.
func TestQuota(t *testing.T) {
	t.Parallel()
	quota(t, Upkeep{Every: 200 * time.Millisecond, DefragSize: 1 << 20}, nil)
}

// TestQuotaSlowly: a compaction that takes long, with upkeep in its middle,
// does not use the only defragmentation up that would help.
func TestQuotaSlowly(t *testing.T) {
	t.Parallel()
	quota(t, Upkeep{Every: 20 * time.Millisecond, DefragSize: 1 << 20}, func(cfg *embed.Config) {
		cfg.CompactionBatchLimit, cfg.CompactionSleepInterval = 10, 40*time.Millisecond
	})
}

func quota(t *testing.T, upkeep Upkeep, tune func(*embed.Config)) {
	ctx := deadline(t)
	c := onDisk(t, t.TempDir(), Embedded{MinFree: 1, Quota: 4 << 20, Upkeep: upkeep, tune: tune})
	big := raw(`"` + strings.Repeat("x", 200<<10) + `"`)
	var err error
	for i := 0; err == nil && i < 1000; i++ {
		_, err = c.Put(ctx, ann, intent("x"), big, Any)
	}
	if !errors.Is(err, Full) {
		t.Fatalf("writing on: %v", err)
	}
	s, err := c.Status(ctx)
	if err != nil || len(s.Alarms) == 0 || s.Quota != 4<<20 {
		t.Errorf("status: %+v, %v", s, err)
	}
	if _, err := c.Get(ctx, intent("x")); err != nil {
		t.Errorf("read: %v", err)
	}
	if err := c.Compact(ctx, s.Revision); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err = c.Put(ctx, ann, intent("y"), raw(`1`), Any); err == nil {
			break
		}
		if !lapse.Of(ctx, 50*time.Millisecond) {
			t.Fatalf("after the compaction: %v", err)
		}
	}
}

// backup has a core of one write an object and back itself up to a file, then
// has after do more to it, and ends it. It returns the object.
func backup(t *testing.T, path string, after func(*Core)) Object {
	t.Helper()
	ctx := deadline(t)
	c := alone(t, t.TempDir(), Options{})
	stop := start(t, c)
	defer stop()
	waitReady(t, c)
	kept, err := c.Put(ctx, ann, intent("kept"), raw(`1`), Absent)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Backup(ctx, path); err != nil {
		t.Fatal(err)
	}
	after(c)
	return kept
}

// TestBackup: what was backed up is there after a restore, revisions go on
// growing, who watches gets a snapshot, and what is damaged is refused.
func TestBackup(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), deadline(t)
	path := filepath.Join(dir, "backup.db")
	var later Object
	kept := backup(t, path, func(c *Core) {
		var err error
		if later, err = c.Put(ctx, ann, intent("later"), raw(`1`), Absent); err != nil {
			t.Fatal(err)
		}
	})

	e := Embedded{Dir: filepath.Join(dir, "new"), noSync: true, MinFree: 1}
	b := mustRead(t, path)
	damaged := bytes.Clone(b)
	damaged[len(damaged)/2] ^= 1
	for name, content := range map[string][]byte{"damaged": damaged, "cut off": b[:len(b)-4096], "empty": nil} {
		bad := filepath.Join(dir, "bad")
		if err := os.WriteFile(bad, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := Restore(e, bad, nil); !errors.Is(err, Corrupt) {
			t.Errorf("restore of what is %s: %v", name, err)
		}
	}
	if err := Restore(e, path, logTo(t)); err != nil {
		t.Fatal(err)
	}
	if err := Restore(e, path, nil); !errors.Is(err, Conflict) {
		t.Errorf("restored over a member: %v", err)
	}
	c := alone(t, e.Dir, Options{})
	start(t, c)
	waitReady(t, c)
	o, err := c.Get(ctx, intent("kept"))
	if err != nil || o.Write != ann || o.Revision != kept.Revision {
		t.Errorf("kept: %+v, %v", o, err)
	}
	if _, err := c.Get(ctx, intent("later")); !errors.Is(err, NotFound) {
		t.Errorf("written after the backup: %v", err)
	}
	next, err := c.Put(ctx, ann, intent("next"), raw(`1`), Absent)
	if err != nil || next.Revision <= later.Revision {
		t.Errorf("revision %d after the restore, %d before: %v", next.Revision, later.Revision, err)
	}
	if b := listen(t, c, All(KindIntent), later.Revision).next(t); !b.Snapshot || len(b.Events) != 2 {
		t.Errorf("a watcher that knew of later writes hears %+v", b)
	}
}

// TestRestart: what was written is there, a second process is kept out, and
// nothing listens.
func TestRestart(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), deadline(t)
	c := alone(t, dir, Options{})
	if _, err := c.Get(ctx, intent("x")); !errors.Is(err, Unavailable) {
		t.Errorf("before Run: %v", err)
	}
	stop := start(t, c)
	waitReady(t, c)
	o, err := c.Put(ctx, ann, intent("x"), raw(`1`), Absent)
	if err != nil {
		t.Fatal(err)
	}
	if err := alone(t, dir, Options{}).Run(ctx); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second one: %v", err)
	}
	stop()
	if _, err := c.Put(ctx, ann, intent("x"), raw(`1`), Any); !errors.Is(err, Unavailable) {
		t.Errorf("after Run: %v", err)
	}
	c = alone(t, dir, Options{})
	start(t, c)
	waitReady(t, c)
	if again, err := c.Get(ctx, intent("x")); err != nil || again.Revision != o.Revision || !again.At.Equal(o.At.UTC().Truncate(time.Millisecond)) {
		t.Errorf("after a restart: %+v, want %+v: %v", again, o, err)
	}
	if m, err := os.Stat(filepath.Join(dir, "etcd")); err != nil || m.Mode().Perm() != 0o700 {
		t.Errorf("mode %v: %v", m.Mode(), err)
	}
}

// TestSocketAndExternal: etcd's own protocol on a Unix socket, and a core by
// endpoints on the other side of it.
func TestSocketAndExternal(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), deadline(t)
	socket := filepath.Join(dir, "core.sock")
	inside := onDisk(t, dir, Embedded{MinFree: 1, Socket: socket})
	outside, err := NewExternal(External{Endpoints: []string{"unix://" + socket}}, Options{Limits: wide})
	if err != nil {
		t.Fatal(err)
	}
	start(t, outside)
	waitReady(t, outside)
	o, err := outside.Put(ctx, ann, intent("x"), raw(`1`), Absent)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := inside.Get(ctx, intent("x")); err != nil || got.Revision != o.Revision {
		t.Errorf("inside: %+v, %v", got, err)
	}
	watches(t, newCore(outside.engine, Options{Root: "/w/", Limits: wide}.withDefaults()))
	if s, err := outside.Status(ctx); err != nil || s.Engine != "external" || !s.Quorum || s.Leader != "alone" {
		t.Errorf("status: %+v, %v", s, err)
	}
	if m, err := os.Stat(socket); err != nil || m.Mode().Perm()&0o077 != 0 {
		t.Errorf("others may use the socket: %v, %v", m.Mode(), err)
	}
}
