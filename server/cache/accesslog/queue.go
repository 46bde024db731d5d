package accesslog

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	flushAfter = 200 * time.Millisecond // a line waits no longer for others
	flushAt    = 64 << 10               // bytes that are written at once
	complainAt = time.Minute            // at most so often
)

// target is where lines go.
type target struct {
	path    string // empty: nowhere
	maxSize int64
	keep    int
	limit   int // bytes that may wait
}

// queue is the lines that wait for one file, and the file.
type queue struct {
	log *slog.Logger

	mu      sync.Mutex
	wanted  target
	waiting []byte
	spare   []byte // swapped with waiting by run
	lost    uint64 // lines dropped since the last that was written

	some chan struct{} // something waits
	full chan struct{} // enough waits

	written, dropped, failed atomic.Uint64

	// of run
	target
	f          *os.File
	size       int64
	complained time.Time
}

func newQueue(log *slog.Logger) *queue {
	return &queue{log: log, some: make(chan struct{}, 1), full: make(chan struct{}, 1)}
}

// set says where lines go from the next write on.
func (q *queue) set(t target) {
	q.mu.Lock()
	q.wanted = t
	q.mu.Unlock()
}

// aim takes over where lines are to go.
func (q *queue) aim() {
	q.mu.Lock()
	t := q.wanted
	q.mu.Unlock()
	if t.path != q.path {
		q.close()
	}
	q.target = t
}

// add puts a line into the queue, or counts it as dropped.
func (q *queue) add(line []byte) {
	q.mu.Lock()
	before := len(q.waiting)
	if before+len(line) > q.wanted.limit {
		q.lost++
		q.mu.Unlock()
		q.dropped.Add(1)
		return
	}
	q.waiting = append(q.waiting, line...)
	after := len(q.waiting)
	q.mu.Unlock()
	if before == 0 {
		signal(q.some)
	}
	if before < flushAt && after >= flushAt {
		signal(q.full)
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (q *queue) stats() Stats {
	q.mu.Lock()
	defer q.mu.Unlock()
	return Stats{Written: q.written.Load(), Dropped: q.dropped.Load(), Failed: q.failed.Load(), Waiting: len(q.waiting)}
}

// run writes what waits until ctx ends, then the rest.
func (q *queue) run(ctx context.Context, reopen <-chan struct{}, keep *ring) {
	defer q.close()
	q.show()
	for {
		select {
		case <-ctx.Done():
			q.flush(keep)
			return
		case <-reopen:
			q.close()
			q.show()
			continue
		case <-q.some:
		}
		select {
		case <-ctx.Done():
		case <-q.full:
		case <-time.After(flushAfter):
		}
		q.flush(keep)
	}
}

// show opens the file, so that the operator sees at once what is wrong with it.
func (q *queue) show() {
	if q.aim(); q.path != "" && q.f == nil {
		q.open()
	}
}

// flush writes all that waits.
func (q *queue) flush(keep *ring) {
	q.aim()
	q.mu.Lock()
	batch, lost := q.waiting, q.lost
	q.waiting, q.spare, q.lost = q.spare[:0], nil, 0
	q.mu.Unlock()
	if lost > 0 {
		batch = append(batch, lostLine(lost)...)
		q.complain("access log: lines dropped, the disk is too slow", "lines", lost)
	}
	if keep != nil {
		keep.add(batch)
	}
	if q.path != "" {
		q.write(batch)
	}
	if cap(batch) <= 4*flushAt {
		q.mu.Lock()
		q.spare = batch[:0]
		q.mu.Unlock()
	}
}

// lostLine says in the log itself that lines are missing.
func lostLine(n uint64) []byte {
	b := time.Now().UTC().AppendFormat([]byte(`{"time":"`), timeLayout)
	b = strconv.AppendUint(append(b, `","dropped":`...), n, 10)
	return append(b, '}', '\n')
}

// write appends a batch to the file, which is rotated before it grows over its
// size. What fails is counted, and a part that was written is taken back, so
// that the file holds whole lines only.
func (q *queue) write(batch []byte) {
	lines := uint64(bytes.Count(batch, []byte{'\n'}))
	if lines == 0 {
		return
	}
	if q.f != nil && q.size > 0 && q.size+int64(len(batch)) > q.maxSize {
		q.rotate()
	}
	if q.f == nil && !q.open() {
		q.failed.Add(lines)
		return
	}
	n, err := q.f.Write(batch)
	if err != nil {
		q.failed.Add(lines)
		q.complain("access log: cannot be written", "file", q.path, "err", err)
		if n > 0 && q.f.Truncate(q.size) != nil {
			q.size += int64(n)
		}
		q.close() // another file may be there by now
		return
	}
	q.size += int64(n)
	q.written.Add(lines)
}

func (q *queue) open() bool {
	f, err := os.OpenFile(q.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o640)
	if err == nil {
		var st os.FileInfo
		if st, err = f.Stat(); err == nil {
			q.f, q.size = f, st.Size()
			return true
		}
		err = errors.Join(err, f.Close())
	}
	q.complain("access log: cannot be opened", "file", q.path, "err", err)
	return false
}

func (q *queue) close() {
	if q.f != nil {
		if err := q.f.Close(); err != nil {
			q.complain("access log: close", "file", q.path, "err", err)
		}
		q.f = nil
	}
}

// rotate moves Path to Path.1, that to Path.2, up to keep. Where moving fails
// the file grows on.
func (q *queue) rotate() {
	name := func(i int) string { return q.path + "." + strconv.Itoa(i) }
	var err error
	for i := q.keep - 1; i >= 1; i-- {
		if e := os.Rename(name(i), name(i+1)); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	err = errors.Join(err, os.Rename(q.path, name(1)))
	if err != nil {
		q.complain("access log: cannot be rotated", "file", q.path, "err", err)
		return
	}
	q.close()
}

// complain warns, not more often than it helps.
func (q *queue) complain(msg string, args ...any) {
	if now := time.Now(); now.Sub(q.complained) >= complainAt {
		q.complained = now
		q.log.Warn(msg, args...)
	}
}
