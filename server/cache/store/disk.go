package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// disk is the disk tier: files, the queue that decides what stays, journal.
type disk struct {
	s     *Store
	fs    fsys
	dir   string
	log   *slog.Logger
	lock  file
	quota int64
	fresh bool // the index on disk was of no use

	segs    segments
	journal journal
	large   atomic.Int64 // bytes of bodies in data files
	dying   atomic.Int64 // of these: of objects that left the index and are still open
	index   atomic.Int64 // bytes of the last snapshot

	mu sync.Mutex // queue and the nodes of the entries
	q  fifo

	evicted, reclaimed, copied atomic.Uint64

	upkeep sync.Mutex // one maintain at a time
	kick   chan struct{}

	health health
	scrub  scrubber
}

// openDisk takes the directory and reads the index.
func openDisk(s *Store) (*disk, error) {
	opt := &s.opt
	d := &disk{s: s, fs: opt.fs, dir: opt.Dir, log: opt.Log, quota: opt.Disk, kick: make(chan struct{}, 1)}
	d.q = fifo{at: func(n uint32) *node { return &s.slab.at(n).node }, cap: opt.Disk}
	d.segs = segments{fs: d.fs, dir: filepath.Join(d.dir, "small"), limit: opt.segment, all: map[uint32]*segment{}, next: 1}
	d.journal = journal{fs: d.fs, dir: d.dir, lost: d.failWrite}
	d.health.init(d.quota, opt.Retry)
	for _, sub := range []string{"small", "large"} {
		if err := d.fs.MkdirAll(filepath.Join(d.dir, sub)); err != nil {
			return nil, fmt.Errorf("store %s: %w", d.dir, err)
		}
	}
	lock, err := d.fs.Open(filepath.Join(d.dir, "lock"), os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, fmt.Errorf("store %s: %w", d.dir, err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("store %s: in use by another process: %w", d.dir, err)
	}
	d.lock = lock
	d.recover()
	_, err = d.journal.rotate()
	if err == nil && d.fresh {
		err = d.snapshot() // a journal counts only with the snapshot it begins with
	}
	if err != nil {
		d.journal.mend(true)
		d.failWrite(err)
	}
	return d, nil
}

// enqueue puts an entry that is on disk now into the queue, or notes its new
// size; with its shard locked. It is journaled.
func (d *disk) enqueue(n uint32, e *entry, size int64) {
	d.mu.Lock()
	if e.node.queue == noQueue {
		d.q.add(n, mix(&e.key, e.variant), size)
	} else {
		d.q.resize(n, size)
	}
	d.mu.Unlock()
	d.note(e)
}

// resize notes another charge of an entry.
func (d *disk) resize(n uint32, size int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.q.resize(n, size)
}

// note journals the state of an entry, with its shard locked.
func (d *disk) note(e *entry) {
	d.mu.Lock()
	at := *e
	d.mu.Unlock()
	d.journal.put(&at)
}

// dequeue takes an entry out of the queue and returns its charge.
func (d *disk) dequeue(n uint32, e *entry) int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	size := e.node.size
	d.q.remove(n)
	return size
}

// total returns the bytes of all files.
func (d *disk) total() int64 {
	segs, _, _ := d.segs.use()
	return segs + d.large.Load() + d.index.Load() + d.journal.bytes()
}

// over says whether something has to go.
func (d *disk) over() bool {
	if d.total()-d.dying.Load() > d.health.room() {
		return true
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.q.count() > d.s.opt.Objects
}

// pressure is called after bytes were written, without a lock of a shard: the
// writer itself makes room when the one in the background does not keep up.
func (d *disk) pressure() {
	if !d.over() {
		return
	}
	select {
	case d.kick <- struct{}{}:
	default:
	}
	if d.total()-d.dying.Load() > d.quota {
		d.maintain()
	}
}

// noteRemove logs a file that could not be removed; it is tried again at the
// next start.
func (d *disk) noteRemove(err error) {
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		d.log.Warn("cache store: a file could not be removed", "error", err)
	}
}

// close writes what is buffered and lets the directory go.
func (d *disk) close() error {
	var err error
	if d.journal.written > 64<<10 && d.health.writable() {
		err = d.snapshot()
	}
	for _, cerr := range []error{d.journal.close(), d.segs.close(), d.lock.Close()} {
		if err == nil {
			err = cerr
		}
	}
	return err
}
