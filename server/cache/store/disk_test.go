package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestDiskFull fills a small file system below the quota: the store says so,
// serves on, makes room and uses the disk again.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	if err := tmpfs(dir, "size=12m"); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	m := newModel(t, 3, Options{Dir: filepath.Join(dir, "s"), RAM: 6 << 20, Disk: 1 << 30, segment: 256 << 10, Retry: time.Nanosecond})
	full, again := 0, 0
	for range 1200 {
		m.step()
		switch m.s.Status().Disk {
		case ReadOnly:
			full++
			m.s.disk.housekeeping(time.Now())
			if m.s.Status().Disk == DiskOK {
				again++
			}
		case DiskDown:
			t.Fatalf("%+v", m.s.Status())
		}
		m.invariants()
	}
	if full == 0 || again == 0 {
		t.Fatalf("full %d times, in use again %d times: %+v", full, again, m.s.Stats())
	}
	if st := m.s.Stats(); st.DiskLimit >= st.DiskQuota {
		t.Fatalf("the limit was not lowered: %+v", st)
	}
	m.readAll()
	m.close()
	m.open()
	m.readAll()
	m.close()
}

// faulty opens a store over a file system whose faults can be set.
func faulty(t *testing.T, opt Options) (*model, *faultFS) {
	f := &faultFS{rnd: rand.New(rand.NewPCG(1, 1))}
	opt.fs, opt.Dir, opt.Retry = f, t.TempDir(), time.Minute
	return newModel(t, 5, opt), f
}

func (f *faultFS) set(fail func(op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// TestReadErrors makes every read fail: stored objects become misses, the
// store goes on in RAM, and comes back without the bytes it could not read.
func TestReadErrors(t *testing.T) {
	m, f := faulty(t, Options{RAM: 100_000, Disk: 32 << 20})
	for i := range 100 {
		put(t, m.s, i, pattern(i, 2000))
	}
	f.set(func(op, _ string) error {
		if op == "read" {
			return syscall.EIO
		}
		return nil
	})
	found := 0
	for i := range 100 {
		for _, o := range m.s.Lookup(key(i), nil) {
			if !bytes.Equal(o.Bytes(), pattern(i, 2000)) {
				t.Fatal("other bytes")
			}
			found++
			o.Release()
		}
	}
	if st := m.s.Status(); st.Disk != DiskDown || st.Reason == "" || found == 0 || found > 60 {
		t.Fatalf("%d objects found, %+v", found, st)
	}
	put(t, m.s, 1000, pattern(1000, 2000))
	if objs := m.s.Lookup(key(1000), nil); len(objs) != 1 {
		t.Fatal("nothing can be stored in RAM")
	} else {
		objs[0].Release()
	}
	f.set(nil)
	m.s.disk.housekeeping(time.Now().Add(time.Hour))
	if st := m.s.Status(); st.Disk != DiskOK {
		t.Fatalf("%+v", st)
	}
	found = 0
	for i := range 100 {
		for _, o := range m.s.Lookup(key(i), nil) {
			found++
			o.Release()
		}
	}
	if found < 100-2*readFailures {
		t.Fatalf("%d objects after the disk came back", found)
	}
	m.close()
}

// TestWriteErrors lets a write fail in the middle of a large object, and all
// after it: the object goes on in RAM without a byte lost.
func TestWriteErrors(t *testing.T) {
	for _, part := range []string{"large", "small", "index", ".side"} {
		m, f := faulty(t, Options{RAM: 32 << 20, Disk: 64 << 20})
		v := &version{seed: 9, size: 3*chunkSize + 99}
		o, err := m.s.Create(key(1), New{Size: int64(v.size), Meta: m.meta(v)})
		if err != nil {
			t.Fatal(err)
		}
		o.SetMeta([]byte(v.metas[0]), stamp([]byte(v.metas[0])))
		m.all[9], m.now[name(1, 0)], v.whole = v, v, true
		half := chunkSize + 4711
		if !m.write(o, v, 0, half) {
			t.Fatal(o.Err())
		}
		f.set(func(op, name string) error {
			if op != "read" && strings.Contains(name, part) {
				return syscall.EIO
			}
			return nil
		})
		if !m.write(o, v, half, v.size) {
			t.Fatal(o.Err())
		}
		if err := o.Complete(int64(v.size)); err != nil {
			t.Fatal(err)
		}
		put(t, m.s, 2, pattern(2, 100)) // touches a segment
		m.s.disk.housekeeping(time.Now())
		m.s.Delete(key(2)) // must be written
		m.check(o)
		if st := m.s.Status(); st.Disk != ReadOnly {
			t.Fatalf("%s: %+v", part, st)
		}
		f.set(nil)
		m.s.disk.housekeeping(time.Now().Add(time.Hour))
		if st := m.s.Status(); st.Disk != DiskOK {
			t.Fatalf("%s: %+v", part, st)
		}
		m.check(o)
		o.Release()
		m.readAll()
		m.invariants()
		m.close()
		m.open()
		m.readAll()
		if n := len(m.s.Lookup(key(2), nil)); n != 0 {
			t.Fatalf("%s: a deleted object is back", part)
		}
		m.close()
	}
}

// TestDeleteWhileJournalFails deletes an object while the journal cannot be
// written and dies: it must not come back.
func TestDeleteWhileJournalFails(t *testing.T) {
	m, f := faulty(t, Options{Disk: 64 << 20})
	put(t, m.s, 1, pattern(1, 1000))
	put(t, m.s, 2, pattern(2, 1000))
	m.s.disk.housekeeping(time.Now())
	f.set(func(op, name string) error {
		if op == "write" && strings.HasSuffix(name, ".log") {
			return syscall.EIO
		}
		return nil
	})
	m.s.Delete(key(1))
	f.die(t)
	m.opt.fs = osFS{}
	m.open()
	defer m.close()
	if n := len(m.s.Lookup(key(1), nil)); n != 0 {
		t.Fatal("the deleted object is back")
	}
}

// each calls f for every file below dir; the store at work may take one away
// meanwhile.
func each(t *testing.T, dir string, f func(name string, size int64)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && name != dir {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		in, err := d.Info()
		if err == nil {
			f(name, in.Size())
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDamage flips bits, truncates and removes files of a closed store: what
// is served afterwards is right or is not there.
func TestDamage(t *testing.T) {
	bad := uint64(0)
	served := 0
	for i := range rounds(t, 16) {
		m := newModel(t, uint64(i), Options{Dir: t.TempDir(), Disk: 64 << 20, segment: 256 << 10})
		for range 60 {
			m.step()
		}
		if i%2 == 0 {
			m.s.disk.snapshot()
		}
		m.close()
		each(t, m.opt.Dir, func(name string, size int64) { damage(t, m.rnd, name, size) })
		m.weak = true
		m.open()
		m.served = 0
		m.readAll()
		m.invariants()
		for range 40 {
			m.step()
		}
		bad += m.s.Stats().Corrupt
		served += m.served
		m.close()
	}
	t.Logf("%d found bad, %d reads", bad, served)
	if bad == 0 || served == 0 {
		t.Fatal("the test shows nothing")
	}
}

func damage(t *testing.T, rnd *rand.Rand, name string, size int64) {
	t.Helper()
	if size == 0 || filepath.Base(name) == "lock" || strings.Contains(name, "index") && rnd.IntN(4) > 0 {
		return
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	switch rnd.IntN(8) {
	case 0:
		os.Remove(name)
	case 1:
		f.Truncate(rnd.Int64N(size))
	case 2, 3, 4:
		for range 3 {
			b := []byte{0}
			at := rnd.Int64N(size)
			f.ReadAt(b, at)
			b[0] ^= byte(1 << rnd.IntN(8))
			f.WriteAt(b, at)
		}
	}
}

// TestScrub finds what went bad while the store is open.
func TestScrub(t *testing.T) {
	m := newModel(t, 1, Options{Dir: t.TempDir(), RAM: 20_000, Disk: 64 << 20, OpenFiles: 1, ScrubRate: 1 << 40})
	defer m.close()
	for i := range 40 {
		put(t, m.s, i, pattern(i, 3000))
	}
	large := pattern(100, 3*chunkSize)
	put(t, m.s, 100, large)
	put(t, m.s, 101, large)
	each(t, m.opt.Dir, func(name string, size int64) {
		at := int64(-1)
		switch filepath.Ext(name) {
		case ".seg":
			at = size / 2
		case ".data":
			at = chunkSize + 5
		}
		if at < 0 {
			return
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, at); err != nil {
			t.Fatal(err)
		}
	})
	for i := range m.s.shards {
		m.s.disk.scrubShard(context.Background(), &m.s.shards[i], 1<<40)
	}
	st := m.s.Stats()
	if st.Corrupt != 3 || st.Objects != 41 || st.ScrubBytes < 6*chunkSize {
		t.Fatalf("want one record and two chunks: %+v", st)
	}
	for _, o := range m.s.Lookup(key(100), nil) {
		want := []Range{{chunkSize, 2 * chunkSize}}
		if got := o.Missing(0, -1); o.Whole() || len(got) != 1 || got[0] != want[0] {
			t.Fatalf("whole %v, missing %v, want %v", o.Whole(), got, want)
		}
		if _, err := o.WriteAt(large[chunkSize:2*chunkSize], chunkSize); err != nil {
			t.Fatal(err)
		}
		if err := o.Complete(int64(len(large))); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(large))
		if n, err := o.ReadAt(got, 0); n != len(large) || !bytes.Equal(got, large) {
			t.Fatalf("%d bytes, %v", n, err)
		}
		o.Release()
	}
}

// TestQuota fills a store many times over and measures what is on disk.
func TestQuota(t *testing.T) {
	opt := Options{Dir: t.TempDir(), RAM: 1 << 20, Disk: 24 << 20, Objects: 500, ScrubRate: -1}
	s, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { s.Run(ctx) })
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		size := rnd.IntN(smallMax)
		if i%20 == 0 {
			size = rnd.IntN(2 * chunkSize)
		}
		put(t, s, i, noise[:size])
		if i%100 != 99 {
			continue
		}
		blocks := int64(0)
		each(t, opt.Dir, func(name string, _ int64) {
			var st syscall.Stat_t
			if syscall.Stat(name, &st) == nil && !strings.Contains(name, "index") { // a journal reserves room ahead
				blocks += st.Blocks * 512
			}
		})
		if blocks > opt.Disk+opt.Disk/8 {
			t.Fatalf("%d bytes on disk, the quota is %d: %+v", blocks, opt.Disk, s.Stats())
		}
	}
	st := s.Stats()
	if st.Disk < opt.Disk/2 || st.Objects > opt.Objects+1 || st.RAM > opt.RAM {
		t.Fatalf("%+v", st)
	}
	stop()
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Create(key(1), New{}); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}
