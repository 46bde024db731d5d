package store

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
)

var errCrash = errors.New("crashed")

// faultFS is the real file system with a process that dies at a chosen
// change: that change is done in part or not at all, later calls do nothing.
// Other faults are given by fail.
type faultFS struct {
	osFS
	mu      sync.Mutex
	rnd     *rand.Rand
	changes int
	crashAt int // 0: never
	crashed bool
	fail    func(op, name string) error
	locks   []file
	lose    bool              // power failure: remember what is not synced
	dirty   map[string][]undo // by name
}

type undo struct {
	off int64
	was []byte
}

// step counts a change and says whether it may be done, and how much of it.
func (f *faultFS) step(op, name string, change bool) (share float64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.crashed {
		return 0, errCrash
	}
	if f.fail != nil {
		if err := f.fail(op, name); err != nil {
			return 0, err
		}
	}
	if !change {
		return 1, nil
	}
	f.changes++
	if f.crashAt > 0 && f.changes >= f.crashAt {
		f.crashed = true
		return f.rnd.Float64() * 1.2, errCrash
	}
	return 1, nil
}

func (f *faultFS) Open(name string, flag int) (file, error) {
	_, err := os.Stat(name)
	create := flag&os.O_CREATE != 0 && err != nil || flag&os.O_TRUNC != 0
	if share, err := f.step("open", name, create); err != nil && share < 0.6 {
		return nil, err
	}
	in, err := f.osFS.Open(name, flag)
	if err != nil {
		return nil, err
	}
	out := &faultFile{file: in, f: f, name: name}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.locks = append(f.locks, in)
	if f.crashed {
		return nil, errCrash
	}
	return out, nil
}

func (f *faultFS) Remove(name string) error {
	if share, err := f.step("remove", name, true); err != nil {
		if share > 0.6 {
			f.osFS.Remove(name)
		}
		return err
	}
	f.mu.Lock()
	delete(f.dirty, name)
	f.mu.Unlock()
	return f.osFS.Remove(name)
}

func (f *faultFS) Rename(from, to string) error {
	if share, err := f.step("rename", from, true); err != nil {
		if share > 0.6 {
			f.osFS.Rename(from, to)
		}
		return err
	}
	f.mu.Lock()
	if d, ok := f.dirty[from]; ok {
		f.dirty[to] = d
		delete(f.dirty, from)
	}
	f.mu.Unlock()
	return f.osFS.Rename(from, to)
}

func (f *faultFS) MkdirAll(name string) error {
	if _, err := f.step("mkdir", name, false); err != nil {
		return err
	}
	return f.osFS.MkdirAll(name)
}

func (f *faultFS) List(dir string) ([]fs.DirEntry, error) {
	if _, err := f.step("list", dir, false); err != nil {
		return nil, err
	}
	return f.osFS.List(dir)
}

func (f *faultFS) Size(name string) (int64, error) {
	if _, err := f.step("size", name, false); err != nil {
		return 0, err
	}
	return f.osFS.Size(name)
}

// die ends the process: nothing works any more, locks are free; with a power
// failure a part of what was not synced is lost, by pages.
func (f *faultFS) die(t *testing.T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.crashed = true
	for _, l := range f.locks {
		l.Close()
	}
	for name, list := range f.dirty {
		h, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		for i := len(list) - 1; i >= 0; i-- {
			if f.rnd.IntN(4) == 0 {
				if _, err := h.WriteAt(list[i].was, list[i].off); err != nil {
					t.Fatal(err)
				}
			}
		}
		h.Close()
	}
}

type faultFile struct {
	file
	f    *faultFS
	name string
}

func (h *faultFile) WriteAt(p []byte, off int64) (int, error) {
	share, err := h.f.step("write", h.name, true)
	if err == nil || share > 0 {
		p := p[:int(min(1, share)*float64(len(p)))]
		h.note(p, off)
		if n, werr := h.file.WriteAt(p, off); err == nil {
			return n, werr
		}
	}
	return 0, err
}

// note remembers what a write overwrites, by pages.
func (h *faultFile) note(p []byte, off int64) {
	if !h.f.lose {
		return
	}
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	if h.f.dirty == nil {
		h.f.dirty = map[string][]undo{}
	}
	for end := off + int64(len(p)); off < end; {
		next := min(end, (off/4096+1)*4096)
		was := make([]byte, next-off)
		h.file.ReadAt(was, off)
		h.f.dirty[h.name] = append(h.f.dirty[h.name], undo{off, was})
		off = next
	}
}

func (h *faultFile) ReadAt(p []byte, off int64) (int, error) {
	if _, err := h.f.step("read", h.name, false); err != nil {
		return 0, err
	}
	return h.file.ReadAt(p, off)
}

func (h *faultFile) Truncate(n int64) error {
	if _, err := h.f.step("truncate", h.name, true); err != nil {
		return err
	}
	return h.file.Truncate(n)
}

func (h *faultFile) Sync() error {
	if _, err := h.f.step("sync", h.name, false); err != nil {
		return err
	}
	h.f.mu.Lock()
	delete(h.f.dirty, h.name)
	h.f.mu.Unlock()
	return nil // the kernel of the test does not crash
}

func (h *faultFile) Allocate(off, n int64) error { return nil }
