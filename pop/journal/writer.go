package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	suffix   = ".jsonl"
	lockFile = "lock"
)

// writer is the current file and the directory around it.
type writer struct {
	dir  string
	max  int64
	keep int
	lock *os.File
	f    *os.File // nil: to be opened at the next write
	size int64
	last uint64 // number of the last entry known to be on disk
}

// newWriter locks the directory and finds the last number in it.
func newWriter(dir string, max int64, keep int) (*writer, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o640)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("in use by another process (%w)", err)
	}
	w := &writer{dir: dir, max: max, keep: keep, lock: lock}
	files, err := list(dir)
	if err != nil {
		lock.Close()
		return nil, err
	}
	for _, f := range slices.Backward(files) {
		t, err := tailOf(filepath.Join(dir, f.name))
		if err != nil {
			lock.Close()
			return nil, err
		}
		w.last = max64(w.last, t.last, f.first-1)
		if t.last > 0 {
			break
		}
	}
	return w, nil
}

func max64(a ...uint64) uint64 { return slices.Max(a) }

// write appends the entries that are not on disk yet and syncs. repaired is
// the length of a cut-off line that had to be removed first. After an error
// the file is opened and repaired anew, so that half a batch is never written
// twice and never left torn.
func (w *writer) write(batch []Entry) (repaired int64, err error) {
	defer func() {
		if err != nil {
			w.shut()
		}
	}()
	if w.f == nil {
		if repaired, err = w.open(batch[0].Seq); err != nil {
			return repaired, err
		}
	}
	var buf bytes.Buffer
	for i := range batch {
		if batch[i].Seq <= w.last {
			continue
		}
		if w.size+int64(buf.Len()) >= w.max {
			if err := w.put(&buf, batch[i].Seq-1); err != nil {
				return repaired, err
			}
			if err := w.rotate(batch[i].Seq); err != nil {
				return repaired, err
			}
		}
		buf.Write(batch[i].line())
	}
	return repaired, w.put(&buf, batch[len(batch)-1].Seq)
}

// put writes the buffer, whose last entry is last, and syncs.
func (w *writer) put(buf *bytes.Buffer, last uint64) error {
	if buf.Len() == 0 {
		return nil
	}
	n, err := w.f.Write(buf.Bytes())
	w.size += int64(n)
	if err != nil {
		return err
	}
	if err := w.f.Sync(); err != nil {
		return err
	}
	buf.Reset()
	w.last = max64(w.last, last)
	return nil
}

// open takes the newest file, without what a crash left behind its last
// entry, or begins one for the entry next.
func (w *writer) open(next uint64) (repaired int64, err error) {
	files, err := list(w.dir)
	if err != nil {
		return 0, err
	}
	if len(files) == 0 {
		return 0, w.begin(next)
	}
	path := filepath.Join(w.dir, files[len(files)-1].name)
	t, err := tailOf(path)
	if err != nil {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	if t.end < t.size {
		if err := f.Truncate(t.end); err != nil {
			f.Close()
			return 0, err
		}
	}
	if t.noNewline { // complete, only its newline is missing
		if _, err := f.Write([]byte{'\n'}); err != nil {
			f.Close()
			return 0, err
		}
		t.end++
	}
	w.f, w.size, w.last = f, t.end, max64(w.last, t.last)
	return max(0, t.size-t.end), nil
}

// begin creates the file whose first entry is first.
func (w *writer) begin(first uint64) error {
	path := filepath.Join(w.dir, fmt.Sprintf("%020d%s", first, suffix))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_CLOEXEC, 0o640)
	if err != nil {
		return err
	}
	w.f, w.size = f, 0
	if d, err := os.Open(w.dir); err == nil { // the name must survive too
		_ = d.Sync()
		d.Close()
	}
	return nil
}

// rotate begins a new file and removes the oldest beyond keep.
func (w *writer) rotate(first uint64) error {
	w.shut()
	if err := w.begin(first); err != nil {
		return err
	}
	files, err := list(w.dir)
	if err != nil {
		return err
	}
	for len(files) > w.keep+1 {
		if err := os.Remove(filepath.Join(w.dir, files[0].name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		files = files[1:]
	}
	return nil
}

func (w *writer) shut() {
	if w.f != nil {
		w.f.Close()
		w.f = nil
	}
}

func (w *writer) close() {
	w.shut()
	w.lock.Close()
}

type fileName struct {
	name  string
	first uint64
}

// list returns the journal's files, oldest first.
func list(dir string) ([]fileName, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []fileName
	for _, e := range entries {
		number, ok := strings.CutSuffix(e.Name(), suffix)
		first, err := strconv.ParseUint(number, 10, 64)
		if ok && err == nil && len(number) == 20 && first > 0 && first <= maxSeq && e.Type().IsRegular() {
			files = append(files, fileName{e.Name(), first})
		}
	}
	return files, nil // ReadDir sorts, and the numbers have one length
}

// tail is where the good part of a file ends.
type tail struct {
	last      uint64 // number of the last entry, 0: none
	end       int64  // just behind the last good line
	size      int64
	noNewline bool
}

func tailOf(path string) (tail, error) {
	f, err := os.Open(path)
	if err != nil {
		return tail{}, err
	}
	defer f.Close()
	var t tail
	err = scan(f, func(line []byte, off int64, terminated bool) {
		t.size = off + int64(len(line))
		if terminated {
			t.size++
		}
		if e, ok := parse(line); ok {
			t.last, t.end, t.noNewline = max64(t.last, e.Seq), t.size, !terminated
		}
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return t, err
}
