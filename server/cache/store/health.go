package store

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// DiskState says what the disk tier can do.
type DiskState string

// States of the disk.
const (
	NoDisk   DiskState = "none"   // the store has no directory
	DiskOK   DiskState = "ok"     //
	ReadOnly DiskState = "full"   // writes fail; what is stored is served
	DiskDown DiskState = "failed" // reads fail, too: RAM only
)

// Status says how the store is.
type Status struct {
	Disk   DiskState
	Reason string    // why the disk is not ok
	Since  time.Time // of the state
	Retry  time.Time // when the disk is tried next
}

// Status returns the state of now.
func (s *Store) Status() Status {
	if s.disk == nil {
		return Status{Disk: NoDisk}
	}
	h := &s.disk.health
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status
}

// readFailures in a row make a disk count as failed.
const readFailures = 8

// health is what is known of the disk: whether to use it, and when to try
// again.
type health struct {
	writes atomic.Bool
	reads  atomic.Bool
	errs   atomic.Uint64 // all I/O errors
	row    atomic.Int32  // read errors since the last success
	limit  atomic.Int64  // bytes: the quota, or less after the disk was full

	mu     sync.Mutex
	status Status
	first  time.Duration // wait before the first retry
	wait   time.Duration
}

func (h *health) init(quota int64, retry time.Duration) {
	h.writes.Store(true)
	h.reads.Store(true)
	h.limit.Store(quota)
	h.first, h.wait = retry, retry
	h.status = Status{Disk: DiskOK, Since: time.Now()}
}

func (h *health) writable() bool { return h.writes.Load() }
func (h *health) readable() bool { return h.reads.Load() }

// room is how many bytes may be used before something has to go.
func (h *health) room() int64 {
	n := h.limit.Load()
	return n - n/32
}

// set notes a state that is worse, and when to try again.
func (h *health) set(state DiskState, err error) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.status.Disk == state || h.status.Disk == DiskDown {
		return false
	}
	h.writes.Store(false)
	h.reads.Store(state != DiskDown)
	now := time.Now()
	h.status = Status{Disk: state, Reason: err.Error(), Since: now, Retry: now.Add(h.wait)}
	return true
}

// failWrite notes that a write failed: no more of them until a retry. A full
// disk also lowers what is used of it.
func (d *disk) failWrite(err error) {
	d.health.errs.Add(1)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		d.health.limit.Store(max(min(d.health.limit.Load(), d.total()*15/16), d.quota/64))
	}
	if d.health.set(ReadOnly, err) {
		d.log.Error("cache store: disk does not take writes, new objects stay in RAM", "dir", d.dir, "error", err)
	}
	d.journal.mu.Lock()
	broken := d.journal.broken
	d.journal.mu.Unlock()
	if broken {
		d.invalidate()
	}
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// failRead notes an error of the device (not of the data).
func (d *disk) failRead(err error) {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, errCorrupt) {
		return
	}
	d.health.errs.Add(1)
	if d.health.row.Add(1) >= readFailures && d.health.set(DiskDown, err) {
		d.log.Error("cache store: disk cannot be read, serving from RAM only", "dir", d.dir, "error", err)
	}
}

// due says whether a failed disk is to be tried now.
func (h *health) due(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.status.Disk != DiskOK && !now.Before(h.status.Retry)
}

// retry tries the disk, and uses it again if it works.
func (d *disk) retry() {
	err := d.probe()
	if err == nil {
		d.journal.mu.Lock()
		broken := d.journal.broken || d.journal.f == nil
		d.journal.mu.Unlock()
		if broken {
			err = d.snapshot()
		} else {
			err = d.journal.tryFlush()
		}
	}
	h := &d.health
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if err != nil {
		h.wait = min(h.wait*2, h.first*32)
		h.status.Reason, h.status.Retry = err.Error(), now.Add(h.wait)
		return
	}
	h.wait = h.first
	h.status = Status{Disk: DiskOK, Since: now}
	h.row.Store(0)
	h.reads.Store(true)
	h.writes.Store(true)
	d.log.Info("cache store: disk is in use again", "dir", d.dir)
}

// probe writes a file and reads it back.
func (d *disk) probe() error {
	name := filepath.Join(d.dir, "probe")
	f, err := d.fs.Open(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	b := make([]byte, 64<<10)
	_, err = f.WriteAt(b, 0)
	if err == nil {
		err = readFull(f, b, 0)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if rerr := d.fs.Remove(name); err == nil {
		err = rerr
	}
	return err
}

// relax lets a limit that a full disk has lowered grow again slowly.
func (h *health) relax(quota int64) {
	if n := h.limit.Load(); n < quota && h.writable() {
		h.limit.Store(min(quota, n+max(quota/4096, 1<<16)))
	}
}
