package purge

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// line is one line of the journal: a purge, or without one how far purges are
// folded or forgotten.
type line struct {
	Entry
	Floor Epoch `json:"floor,omitempty"`
}

const (
	journalName = "purges.log"
	maxUnsaved  = 10_000
	// maxLine bounds a line that is read: texts of maxText, escaped.
	maxLine = 7*6*maxText + 4096
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journal is the file: a line for each purge, its checksum before it. Its
// methods are called under Purges.write.
type journal struct {
	path    string
	f       *os.File
	good    int64  // bytes that are whole lines on disk
	lines   int    // in them
	unsaved []line // applied, not on disk
	damaged bool   // found so when opened
}

// openJournal reads the journal and calls each for its lines. A line that is
// cut off at the end is what a crash leaves, and is cut off here as well.
func openJournal(dir string, each func(*line)) (*journal, error) {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	j := &journal{path: filepath.Join(dir, journalName)}
	_ = os.Remove(j.path + ".new")
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	j.f = f
	if err := j.read(each); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Truncate(j.good), syncDir(dir)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

// read finds the lines of a journal; good is the end of the last whole one.
func (j *journal) read(each func(*line)) error {
	bad := false
	at := int64(0)
	r := bufio.NewReaderSize(j.f, 1<<16)
	for {
		text, err := readLine(r)
		at += int64(len(text))
		if err != nil && err != io.EOF {
			return err
		}
		if l, ok := parseLine(text); ok {
			j.damaged = j.damaged || bad
			j.good = at
			j.lines++
			each(l)
		} else {
			bad = true
		}
		if err == io.EOF {
			return nil
		}
	}
}

// readLine reads up to a line's end, in parts of at most maxLine.
func readLine(r *bufio.Reader) ([]byte, error) {
	var text []byte
	for {
		part, err := r.ReadSlice('\n')
		text = append(text, part...)
		if err != bufio.ErrBufferFull || len(text) > maxLine {
			if err == bufio.ErrBufferFull {
				err = nil
			}
			return text, err
		}
	}
}

// parseLine takes a line apart; false if it is not whole.
func parseLine(text []byte) (*line, bool) {
	text, whole := bytes.CutSuffix(text, []byte("\n"))
	if !whole || len(text) < 10 || text[8] != ' ' {
		return nil, false
	}
	var sum [4]byte
	if _, err := hex.Decode(sum[:], text[:8]); err != nil {
		return nil, false
	}
	var l line
	want := uint32(sum[0])<<24 | uint32(sum[1])<<16 | uint32(sum[2])<<8 | uint32(sum[3])
	if crc32.Checksum(text[9:], castagnoli) != want || json.Unmarshal(text[9:], &l) != nil {
		return nil, false
	}
	return &l, l.Kind == "" && l.Floor > 0 || l.Request.Validate() == nil
}

func appendLine(b []byte, l *line) ([]byte, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return b, err
	}
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(text, castagnoli))
	return append(append(b, text...), '\n'), nil
}

// append writes lines after those that could not be written before.
func (j *journal) append(lines []line) error {
	j.unsaved = append(j.unsaved, lines...)
	if over := len(j.unsaved) - maxUnsaved; over > 0 {
		j.unsaved = squeeze(j.unsaved, maxUnsaved/2)
	}
	var b []byte
	var err error
	for i := range j.unsaved {
		if b, err = appendLine(b, &j.unsaved[i]); err != nil {
			return err
		}
	}
	if _, err = j.f.WriteAt(b, j.good); err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		_ = j.f.Truncate(j.good)
		return err
	}
	j.good += int64(len(b))
	j.lines += len(j.unsaved)
	j.unsaved = nil
	return nil
}

// squeeze folds the oldest of the lines, so that at most about keep are left.
// What it returns purges at least as much.
func squeeze(lines []line, keep int) []line {
	cut := max(0, len(lines)-keep)
	folded := fold(lines[:cut], keep)
	if cut > 0 {
		floor := line{Floor: max(lines[cut-1].ID, lines[cut-1].Floor)}
		folded = append([]line{floor}, folded...)
	}
	return append(folded, lines[cut:]...)
}

// fold merges purges into those of their host or site, or of everything where
// these are more than keep, the newest of each standing for all.
func fold(lines []line, keep int) []line {
	type group struct {
		kind       Kind
		site, host string
		soft       bool
	}
	merged := map[group]Entry{}
	floor := Epoch(0)
	for i := range lines {
		l := &lines[i]
		floor = max(floor, l.Floor)
		if l.Kind == "" {
			continue
		}
		g := group{kind: All, soft: l.Soft}
		switch up := upOf(&l.Request); {
		case up.Kind == Host:
			g.kind, g.host = Host, up.Host
		case up.Kind == Site:
			g.kind, g.site = Site, up.Site
		}
		if merged[g].ID < l.ID {
			e := Entry{ID: l.ID, Time: l.Time}
			e.Request = Request{Kind: g.kind, Site: g.site, Host: g.host, Soft: g.soft, Who: "catchment", Why: "older purges, put together"}
			merged[g] = e
		}
	}
	out := make([]line, 0, len(merged)+1)
	if floor > 0 {
		out = append(out, line{Floor: floor})
	}
	for _, e := range merged {
		out = append(out, line{Entry: e})
	}
	slices.SortFunc(out, func(a, b line) int { return compare(a.ID, b.ID) })
	if len(merged) > keep {
		return foldAll(out)
	}
	return out
}

// upOf is the host or site that a purge folds into, or everything.
func upOf(r *Request) Request {
	switch {
	case r.Kind == URL:
		return Request{Kind: Host, Host: hostOf(r.URL)}
	case r.Host != "":
		return Request{Kind: Host, Host: r.Host}
	case r.Site != "":
		return Request{Kind: Site, Site: r.Site}
	}
	return Request{Kind: All}
}

// foldAll merges purges into one hard and one soft of everything.
func foldAll(lines []line) []line {
	var out []line
	for _, soft := range []bool{true, false} {
		for i := len(lines) - 1; i >= 0; i-- {
			if l := lines[i]; l.Kind != "" && l.Soft == soft {
				l.Request = Request{Kind: All, Soft: soft, Who: l.Who, Why: l.Why}
				out = append(out, l)
				break
			}
		}
	}
	for _, l := range lines {
		if l.Kind == "" {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b line) int { return compare(a.ID, b.ID) })
	return out
}

func compare(a, b Epoch) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (j *journal) close() error { return j.f.Close() }

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
