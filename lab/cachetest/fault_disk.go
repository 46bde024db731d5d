package cachetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/await"
)

// smallDisk mounts a file system of so many bytes for the store; only this
// mount namespace sees it.
func smallDisk(dir string, size int64) (end func() error, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make mounts private: %w", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		return nil, fmt.Errorf("mount a small disk: %w", err)
	}
	return func() error { return unix.Unmount(dir, unix.MNT_DETACH) }, nil
}

// diskFull: the file system is full long before the quota is. Everything is
// served rightly all the same.
func diskFull(h *harm) (err error) {
	store := filepath.Join(h.dir, "small")
	end, err := smallDisk(store, 32<<20)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	r, err := h.start(func(s *Setup) { s.StoreDir, s.Disk, s.Memory = store, 128<<20, 32<<20 })
	if err != nil {
		return err
	}
	defer r.Stop()
	paths := shelf(h.pick(400, 120)) // 250 MB, 75 MB
	var fs unix.Statfs_t
	for round := range 2 {
		t := each(h.ctx, r.HTTP, paths)
		if err := unix.Statfs(store, &fs); err != nil {
			return err
		}
		h.note("round %d: %s, %d of 32 MiB free", round+1, t, int64(fs.Bavail)*fs.Bsize>>20)
		t.into(h)
		if n := t.count(refused); n > 0 {
			h.bad("%d requests refused because the disk is full", n)
		}
	}
	before := h.origin.asked.Load()
	hot := paths[:3]
	for range 3 {
		each(h.ctx, r.HTTP, hot)
	}
	h.note("3 small objects asked 3 times more: %d requests at the origin", h.origin.asked.Load()-before)
	return r.Alive()
}

// diskErrors: from some moment on each write that makes a file longer fails
// (EFBIG by RLIMIT_FSIZE, which a running process can be given).
func diskErrors(h *harm) error {
	r, err := h.start(nil)
	if err != nil {
		return err
	}
	defer r.Stop()
	if r.proc == nil {
		return errors.New("the cache is no process of its own")
	}
	paths := shelf(h.pick(240, 64))
	each(h.ctx, r.HTTP, paths[:len(paths)/2]).into(h)
	for _, pid := range family(r.proc.cmd.Process.Pid) {
		if err := unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 0, Max: unix.RLIM_INFINITY}, nil); err != nil {
			return fmt.Errorf("limit files of %d: %w", pid, err)
		}
	}
	sick := each(h.ctx, r.HTTP, paths)
	again := each(h.ctx, r.HTTP, paths)
	for _, pid := range family(r.proc.cmd.Process.Pid) {
		_ = unix.Prlimit(pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}, nil)
	}
	well := each(h.ctx, r.HTTP, paths)
	h.note("while writes fail: %s, again: %s; afterwards: %s", sick, again, well)
	for _, t := range []*tally{sick, again, well} {
		t.into(h)
		if n := t.count(refused); n > 0 {
			h.bad("%d requests refused", n)
		}
	}
	return r.Alive()
}

// bitRot flips bytes all over the store's files between a kill and a start.
func bitRot(h *harm) error {
	paths := shelf(h.pick(240, 32))
	for round := range h.pick(10, 2) {
		r, err := h.start(nil)
		if err != nil {
			return err
		}
		before := h.origin.asked.Load()
		t := each(h.ctx, r.HTTP, paths)
		h.note("start %d: %s, %d requests at the origin", round+1, t, h.origin.asked.Load()-before)
		again := each(h.ctx, r.HTTP, paths)
		t.into(h)
		again.into(h)
		if n := t.count(refused) + again.count(refused); n > 0 {
			h.bad("%d requests refused", n)
		}
		if err := r.Alive(); err != nil {
			return err
		}
		settle(h.ctx, filepath.Join(h.dir, "store"))
		r.Kill()
		n, err := flip(filepath.Join(h.dir, "store"))
		if err != nil {
			return err
		}
		h.note("%d bytes flipped", n)
	}
	return nil
}

// settle waits until the files of a folder have not grown for a second, 10 s
// at most.
func settle(ctx context.Context, dir string) {
	last, calm := int64(-1), 0
	await.True(ctx, 10*time.Second, 100*time.Millisecond, func() bool {
		if now := diskUse(dir); now != last {
			last, calm = now, 0
			return false
		}
		calm++
		return calm == 10
	})
}

// diskUse is the bytes that the files below a folder take.
func diskUse(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			var st unix.Stat_t
			if unix.Lstat(path, &st) == nil {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}

// flip changes a byte of each 50 KB or so of each file.
func flip(dir string) (n int, err error) {
	rng := rand.New(rand.NewPCG(1, 2))
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		for at := rng.Int64N(50_000); at < info.Size(); at += 1 + rng.Int64N(100_000) {
			var b [1]byte
			if _, err := f.ReadAt(b[:], at); err != nil {
				return err
			}
			b[0] ^= 1 << rng.IntN(8)
			if _, err := f.WriteAt(b[:], at); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	return n, err
}

// killNine kills the cache during fills a hundred times; customers go on
// asking meanwhile and compare every byte.
func killNine(h *harm) error {
	paths := shelf(h.pick(320, 64))
	var at atomic.Pointer[string]
	nowhere := "127.0.0.1:1"
	at.Store(&nowhere)
	ctx, cancel := context.WithCancel(h.ctx)
	var t tally
	wait := customers(ctx, 6, func() string { return *at.Load() }, paths, &t)
	stop := func() { cancel(); wait() }
	rng := rand.New(rand.NewPCG(3, 4))
	kills := h.pick(100, 5)
	var starts []time.Duration
	for range kills {
		began := time.Now()
		r, err := h.start(nil)
		if err != nil {
			stop()
			return fmt.Errorf("after %d kills: %w", len(starts), err)
		}
		starts = append(starts, time.Since(began))
		at.Store(&r.HTTP)
		had := t.count(right)
		_ = await.Lapse(ctx, time.Duration(50+rng.IntN(250))*time.Millisecond) // the kill comes at no moment of its own
		await.True(ctx, 10*time.Second, time.Millisecond, func() bool { return t.count(right) > had })
		r.Kill()
		// A purge of what changed meanwhile is none of this test: every third
		// time the origin has other content under the same names, which
		// answers name by their version.
		if rng.IntN(3) == 0 {
			h.origin.version.Add(1)
		}
	}
	stop()
	slices.Sort(starts)
	h.note("%d kills: %s; start %v median, %v longest", kills, &t, starts[len(starts)/2].Round(time.Millisecond), starts[len(starts)-1].Round(time.Millisecond))
	last, err := h.afterCalm(paths)
	if err != nil {
		return err
	}
	t.into(h)
	last.into(h)
	if n := last.count(refused); n > 0 {
		h.bad("%d requests refused after the last start", n)
	}
	return nil
}

// afterCalm starts the cache, asks for all, gives the disk a moment, kills it
// and asks for all again: most of it must have stayed.
func (h *harm) afterCalm(paths []string) (*tally, error) {
	r, err := h.start(nil)
	if err != nil {
		return nil, err
	}
	each(h.ctx, r.HTTP, paths).into(h)
	settle(h.ctx, filepath.Join(h.dir, "store"))
	if err := r.Alive(); err != nil {
		return nil, err
	}
	r.Kill()
	if r, err = h.start(nil); err != nil {
		return nil, err
	}
	defer r.Stop()
	before := h.origin.asked.Load()
	t := each(h.ctx, r.HTTP, paths)
	asked := int(h.origin.asked.Load() - before)
	h.note("killed after a calm moment: %s, %d requests at the origin", t, asked)
	if asked > len(paths)/2 {
		h.bad("%d of %d objects did not outlive a kill", asked, len(paths))
	}
	return t, r.Alive()
}
