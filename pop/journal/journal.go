// Package journal keeps what this POP decided and why: one JSON object a line,
// append-only, in files of bounded size.
//
// It owns its directory (a lock file keeps a second daemon out), the writer
// goroutine (Run) and the newest entries in memory. It never blocks the caller:
// Append takes a number for the entry and queues it. It decides nothing, and a
// disk that is full or broken never stops the daemon: entries that find no room
// in the queue are counted and written down as a gap later, Err and Stats say
// what is wrong, and the newest entries stay readable from memory.
//
// The caller's steps: Open, then Run in a goroutine of its own, Append from
// anywhere, cancel Run's context when everything is said; Run writes what is
// queued and returns.
//
// Files are named by the number of their first entry, so nothing is ever
// renamed. A line that a crash cut off is removed at the next start and an
// entry says so. Written lines are synced to the disk in batches: after a
// power failure the last moments may be missing, after a crash of the daemon
// nothing that was handed to the kernel is.
package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
)

// Options are what Open needs.
type Options struct {
	Dir     string
	POP     policy.POPID // put on entries that name none
	MaxSize int64        // bytes after which a new file is begun; 0: 64 MiB
	Keep    int          // full files kept beside the current one; 0: 8
	Queue   int          // entries that may wait for the disk; 0: 8192
	Recent  int          // entries kept in memory; 0: 1024
	Logger  *slog.Logger // nil: none
}

// Retry bounds of a disk that does not take what it is given.
const (
	minRetry = 100 * time.Millisecond
	maxRetry = 10 * time.Second
)

// Journal is an open journal.
type Journal struct {
	opt  Options
	boot string
	log  *slog.Logger
	file *writer // used by Run only, after Open
	wake chan struct{}
	disk sync.Mutex // one reader of the files at a time

	mu      sync.Mutex
	seq     uint64  // last number given
	ring    []Entry // newest entries, oldest first from start
	start   int
	queue   []Entry
	lost    uint64 // since the last gap entry
	stats   Stats
	failing error
}

// Stats are counts since Open.
type Stats struct {
	Written uint64 // entries on disk
	Dropped uint64 // entries that found no room in the queue
	Errors  uint64 // failed attempts to write
	Queued  int    // entries waiting now
}

// Open prepares the journal in o.Dir, which it makes if it is missing. It
// fails where the directory cannot be made, read or locked; a disk that only
// cannot be written is left to Run.
func Open(o Options) (*Journal, error) {
	o.MaxSize, o.Keep = or(o.MaxSize, 64<<20), or(o.Keep, 8)
	o.Queue, o.Recent = or(o.Queue, 8192), or(o.Recent, 1024)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Dir == "" {
		return nil, errors.New("journal: no directory")
	}
	if err := os.MkdirAll(o.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	w, err := newWriter(o.Dir, o.MaxSize, o.Keep)
	if err != nil {
		return nil, fmt.Errorf("journal %s: %w", o.Dir, err)
	}
	boot := make([]byte, 8)
	_, _ = rand.Read(boot) // never fails
	return &Journal{
		opt: o, boot: hex.EncodeToString(boot), log: o.Logger, file: w,
		wake: make(chan struct{}, 1), seq: w.last,
	}, nil
}

func or[T int | int64](v, instead T) T {
	if v <= 0 {
		return instead
	}
	return v
}

// Boot returns what all entries of this run carry.
func (j *Journal) Boot() string { return j.boot }

// String names the task.
func (j *Journal) String() string { return "journal" }

// Append numbers the entry, stamps it where it has no time, and queues it. It
// never blocks on the disk. The caller must not change what e points to
// afterwards.
func (j *Journal) Append(e Entry) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC().Round(0)
	e.Boot = j.boot
	if e.POP == "" {
		e.POP = j.opt.POP
	}
	j.mu.Lock()
	j.add(e)
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// add numbers, remembers and queues; mu is held.
func (j *Journal) add(e Entry) {
	j.seq++
	e.Seq = j.seq
	if len(j.ring) < j.opt.Recent {
		j.ring = append(j.ring, e)
	} else {
		j.ring[j.start] = e
		j.start = (j.start + 1) % len(j.ring)
	}
	if len(j.queue) >= j.opt.Queue {
		j.lost++
		j.stats.Dropped++
		return
	}
	j.queue = append(j.queue, e)
}

// Run writes until ctx ends, then writes what is queued (one attempt), syncs
// and closes. It returns an error only if that last attempt fails.
func (j *Journal) Run(ctx context.Context) error {
	defer j.file.close()
	wait := minRetry
	for {
		select {
		case <-ctx.Done():
			return j.flush()
		case <-j.wake:
		}
		for j.flush() != nil {
			select {
			case <-ctx.Done():
				return j.flush()
			case <-time.After(wait):
				wait = min(2*wait, maxRetry)
			}
		}
		wait = minRetry
	}
}

// flush writes all that is queued and syncs once. What could not be written
// stays queued.
func (j *Journal) flush() error {
	for {
		batch := j.take()
		if len(batch) == 0 {
			return nil
		}
		repaired, err := j.file.write(batch)
		j.wrote(batch, err)
		if repaired > 0 {
			j.log.Warn("journal: removed a line that a crash cut off", "dir", j.opt.Dir, "bytes", repaired)
			j.Append(Entry{Kind: Gap, Text: fmt.Sprintf("a crash cut off the last line: %d bytes removed", repaired)})
		}
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
}

// take returns what is queued, with a gap entry where some found no room.
func (j *Journal) take() []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.lost > 0 && len(j.queue) < j.opt.Queue {
		n := j.lost
		j.lost = 0
		j.add(Entry{
			Time: time.Now().UTC().Round(0), Boot: j.boot, POP: j.opt.POP, Kind: Gap,
			Text: fmt.Sprintf("%d entries were dropped: the disk did not take them in time", n),
		})
	}
	return j.queue[:len(j.queue):len(j.queue)]
}

// wrote takes what was written off the queue, or keeps it, and tells the log
// when that changes.
func (j *Journal) wrote(batch []Entry, err error) {
	j.mu.Lock()
	was := j.failing
	j.failing = err
	if err == nil {
		j.stats.Written += uint64(len(batch))
		j.queue = append([]Entry(nil), j.queue[len(batch):]...)
	} else {
		j.stats.Errors++
	}
	j.mu.Unlock()
	switch {
	case err != nil && was == nil:
		j.log.Error("journal: cannot write; entries wait in memory", "dir", j.opt.Dir, "err", err)
	case err == nil && was != nil:
		j.log.Info("journal: writes again", "dir", j.opt.Dir)
	}
}

// Err returns why the journal cannot write now, nil while it can.
func (j *Journal) Err() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.failing
}

// Stats returns the counts.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.stats
	s.Queued = len(j.queue)
	return s
}

// Recent returns what matches among the newest entries in memory, oldest
// first: without touching the disk, for explain.
func (j *Journal) Recent(f Filter) []Entry {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Entry
	for i := range j.ring {
		e := &j.ring[(j.start+len(j.ring)-1-i)%len(j.ring)]
		if e.Seq <= f.After || f.Limit > 0 && len(out) == f.Limit {
			break
		}
		if f.match(e) {
			out = append(out, *e)
		}
	}
	slices.Reverse(out)
	return out
}

// Read returns what matches, oldest first: from memory where that is sure to
// have all of it, otherwise from the files and, where the disk is behind, from
// memory.
func (j *Journal) Read(f Filter) ([]Entry, error) {
	recent, whole := j.memory(f)
	if whole {
		return f.last(recent), nil
	}
	j.disk.Lock()
	out, err := ReadDir(j.opt.Dir, f)
	j.disk.Unlock()
	have := make(map[uint64]bool, len(out))
	for i := range out {
		have[out[i].Seq] = true
	}
	for _, e := range recent {
		if !have[e.Seq] {
			out = append(out, e)
		}
	}
	sortBySeq(out)
	return f.last(out), err
}

// memory returns what matches of the newest entries and of those that wait for
// the disk, and whether no older one can match.
func (j *Journal) memory(f Filter) (out []Entry, whole bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	oldest := j.seq + 1 // of the newest entries, which have no gaps
	if len(j.ring) > 0 {
		e := &j.ring[j.start]
		oldest = e.Seq
		whole = !f.Since.IsZero() && e.Time.Before(f.Since)
	}
	for i := range j.queue {
		if e := &j.queue[i]; e.Seq < oldest && f.match(e) {
			out = append(out, *e)
		}
	}
	for i := range j.ring {
		if e := &j.ring[(j.start+i)%len(j.ring)]; f.match(e) {
			out = append(out, *e)
		}
	}
	return out, whole || oldest <= f.After+1 || f.Limit > 0 && len(out) >= f.Limit
}
