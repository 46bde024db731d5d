package journal

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
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
		for _, n := range needles { // most lines are not asked for: do not decode them
			if !bytes.Contains(line, n) {
				return
			}
		}
		if e, ok := parse(line); ok && f.match(&e) {
			out = append(out, e)
		}
	})
	return out, err
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
