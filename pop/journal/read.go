package journal

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/catchment/catchment/policy"
)

// ReadDir returns what matches in the files of dir, oldest first. It takes no
// lock and may run beside the daemon. Lines that are no entries are skipped:
// the last one may be half written. Files that rotation removes meanwhile are
// left out.
func ReadDir(dir string, f Filter) ([]Entry, error) {
	files, err := list(dir)
	if err != nil {
		return nil, err
	}
	var newest [][]Entry // one a file, newest first
	count := 0
	for i, name := range slices.Backward(files) {
		if i+1 < len(files) && files[i+1].first <= f.After+1 {
			break // all of it, and of those before, is older
		}
		entries, err := readFile(filepath.Join(dir, name.name), f)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		newest = append(newest, entries)
		if count += len(entries); f.Limit > 0 && count >= f.Limit {
			break
		}
	}
	slices.Reverse(newest)
	out := slices.Concat(newest...)
	sortBySeq(out)
	return f.last(out), nil
}

func sortBySeq(list []Entry) {
	slices.SortStableFunc(list, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
}

func readFile(path string, f Filter) ([]Entry, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	needles := f.needles()
	var out []Entry
	err = scan(file, func(line []byte, _ int64, _ bool) {
		if !wanted(line, needles) {
			return
		}
		if e, ok := parse(line); ok && f.match(&e) {
			if f.Limit > 0 && len(out) >= 2*f.Limit { // never all of a file
				out = append(out[:0], out[len(out)-f.Limit:]...)
			}
			out = append(out, e)
		}
	})
	return f.last(out), err
}

// batch is how many entries Each holds at a time.
const batch = 256

// Each gives what Read would return to yield, oldest first, and ends with its
// error if it has one. Without a limit it never holds more than a part of it.
// Readers of the files take turns: however many there are, they do not take
// more than one CPU from the rest of the daemon.
func (j *Journal) Each(f Filter, yield func(Entry) error) error {
	recent, whole := j.memory(f)
	if f.Limit > 0 && !whole {
		var err error
		if recent, err = j.Read(f); err != nil {
			return err
		}
	}
	have := map[uint64]bool{} // that the files and the memory both may have
	if !whole && f.Limit <= 0 {
		files, err := list(j.opt.Dir)
		if err != nil {
			return err
		}
		first := uint64(math.MaxUint64)
		if len(recent) > 0 {
			first = recent[0].Seq
		}
		for i, name := range files {
			if i+1 < len(files) && files[i+1].first <= f.After+1 {
				continue // all of it is older
			}
			err := j.eachOf(filepath.Join(j.opt.Dir, name.name), f, func(e Entry) error {
				if e.Seq >= first {
					have[e.Seq] = true
				}
				return yield(e)
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	for _, e := range f.last(recent) {
		if have[e.Seq] {
			continue
		}
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

// eachOf gives what matches in a file to yield, a batch at a time.
func (j *Journal) eachOf(path string, f Filter, yield func(Entry) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	var part []Entry
	j.disk.Lock()
	defer j.disk.Unlock()
	pass := func() error {
		j.disk.Unlock() // whoever reads slowly keeps nobody waiting
		defer j.disk.Lock()
		for _, e := range part {
			if err := yield(e); err != nil {
				return err
			}
		}
		part = part[:0]
		return nil
	}
	in := &ended{r: file}
	needles := f.needles()
	err = scan(in, func(line []byte, _ int64, _ bool) {
		if in.err != nil || !wanted(line, needles) {
			return
		}
		if e, ok := parse(line); ok && f.match(&e) {
			if part = append(part, e); len(part) == batch {
				in.err = pass()
			}
		}
	})
	if err == nil && in.err == nil {
		err = pass()
	}
	return cmp.Or(in.err, err)
}

// ended is a reader that fails from now on once it has an error.
type ended struct {
	r   io.Reader
	err error
}

func (e *ended) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return e.r.Read(p)
}

// wanted: most lines are not asked for, and need not be decoded.
func wanted(line []byte, needles [][]byte) bool {
	for _, n := range needles {
		if !bytes.Contains(line, n) {
			return false
		}
	}
	return true
}

// needles are what every line has in it whose entry matches, as line writes
// it. A line may have them and not match.
func (f *Filter) needles() [][]byte {
	var out [][]byte
	add := func(key string, v any) {
		text, _ := json.Marshal(v) // of a string, or a prefix
		out = append(out, append([]byte(`"`+key+`":`), text...))
	}
	if f.Service != "" {
		add("service", f.Service)
	}
	if f.Slice != (policy.SliceID{}) && f.Service == "" { // with a service, entries without a slice match too
		add("slice", f.Slice)
	}
	if f.Kind != "" {
		add("kind", f.Kind)
	}
	return out
}

// scan calls fn for each line without its newline, with its offset and
// whether it had one. A line beyond maxLine, which the writer never makes,
// comes in pieces.
func scan(r io.Reader, fn func(line []byte, off int64, terminated bool)) error {
	in := bufio.NewReaderSize(r, maxLine)
	var off int64
	for {
		line, err := in.ReadSlice('\n')
		n := int64(len(line))
		switch {
		case err == nil:
			fn(line[:n-1], off, true)
		case errors.Is(err, bufio.ErrBufferFull):
			fn(line, off, false)
		case errors.Is(err, io.EOF):
			if n > 0 {
				fn(line, off, false)
			}
			return nil
		default:
			return err
		}
		off += n
	}
}
