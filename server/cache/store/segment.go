package store

import (
	"cmp"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// segments are the append-only files of small objects.
type segments struct {
	fs    fsys
	dir   string
	limit int64 // bytes of one file

	appending sync.Mutex // one write at a time, so that files have no holes

	mu   sync.Mutex
	all  map[uint32]*segment
	head *segment // the one that grows
	next uint32
	size int64 // bytes of all
	live int64 // bytes of records the index points to
}

// segment is one file; guarded by segments.mu but for f.
type segment struct {
	no      uint32
	f       file
	size    int64
	live    int64
	pins    int  // records written that are not in the index yet
	refs    int  // readers
	removed bool // closed by the last reader
}

func (g *segments) name(no uint32) string { return filepath.Join(g.dir, fmt.Sprintf("%08x.seg", no)) }

// write appends a record and says in r where; it stays pinned until unpin.
func (g *segments) write(r *record) (length uint32, err error) {
	g.appending.Lock()
	defer g.appending.Unlock()
	n := int64(recordLen(len(r.meta), len(r.body)))
	h, err := g.forAppend(n)
	if err != nil {
		return 0, err
	}
	r.seg, r.off = h.no, uint32(h.size)
	_, err = h.f.WriteAt(appendRecord(make([]byte, 0, n), r), h.size)
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		h.pins--
		return 0, fmt.Errorf("segment %08x: %w", h.no, err)
	}
	h.size += n
	g.size += n
	return uint32(n), nil
}

// forAppend returns the head segment pinned, a new one if n bytes do not fit.
func (g *segments) forAppend(n int64) (*segment, error) {
	g.mu.Lock()
	h, no := g.head, g.next
	if h != nil && h.size+n <= g.limit {
		h.pins++
		g.mu.Unlock()
		return h, nil
	}
	g.mu.Unlock()
	f, err := g.fs.Open(g.name(no), os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("segment %08x: %w", no, err)
	}
	h = &segment{no: no, f: f, pins: 1}
	g.mu.Lock()
	g.all[no], g.head, g.next = h, h, no+1
	g.mu.Unlock()
	return h, nil
}

// unpin ends what write began: the index points to the record, or not.
func (g *segments) unpin(no, length uint32, live bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h := g.all[no]
	h.pins--
	if live {
		h.live += int64(length)
		g.live += int64(length)
	}
}

// drop says that the index no longer points to a record.
func (g *segments) drop(no, length uint32) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h := g.all[no]; h != nil {
		h.live -= int64(length)
		g.live -= int64(length)
	}
}

// read returns a record verified; it may be one that is no longer live.
func (g *segments) read(no, off, length uint32) (record, error) {
	g.mu.Lock()
	h := g.all[no]
	if h == nil {
		g.mu.Unlock()
		return record{}, fmt.Errorf("segment %08x: %w", no, fs.ErrNotExist)
	}
	h.refs++
	g.mu.Unlock()
	b := make([]byte, length)
	err := readFull(h.f, b, int64(off))
	g.unref(h)
	if err != nil {
		return record{}, fmt.Errorf("segment %08x: %w", no, err)
	}
	r, err := parseRecord(b)
	if err == nil && (r.seg != no || r.off != off) {
		err = errCorrupt
	}
	if err != nil {
		return r, fmt.Errorf("segment %08x at %d: %w", no, off, err)
	}
	return r, nil
}

func (g *segments) unref(h *segment) {
	g.mu.Lock()
	h.refs--
	end := h.removed && h.refs == 0
	g.mu.Unlock()
	if end {
		h.f.Close()
	}
}

// remove deletes a segment that nothing points to; readers may still be at
// work on it.
func (g *segments) remove(no uint32) error {
	g.mu.Lock()
	h := g.all[no]
	if h == nil || h == g.head || h.pins > 0 || h.live > 0 {
		g.mu.Unlock()
		return nil
	}
	delete(g.all, no)
	g.size -= h.size
	g.live -= h.live
	h.removed = true
	end := h.refs == 0
	g.mu.Unlock()
	if end {
		h.f.Close()
	}
	return g.fs.Remove(g.name(no))
}

// victims returns the segments to be reclaimed next, those with the largest
// share of dead bytes, at most so many. What is evicted from the small queue
// goes in the order it came, so mostly these are the oldest ones.
func (g *segments) victims(most int) []uint32 {
	g.mu.Lock()
	defer g.mu.Unlock()
	var list []uint32
	for no, h := range g.all {
		if h != g.head && h.pins == 0 && h.live < h.size {
			list = append(list, no)
		}
	}
	share := func(no uint32) float64 { return float64(g.all[no].live) / float64(g.all[no].size) }
	slices.SortFunc(list, func(a, b uint32) int {
		return cmp.Or(cmp.Compare(share(a), share(b)), cmp.Compare(a, b))
	})
	return list[:min(most, len(list))]
}

// seal makes the head an ordinary segment, so that the next record starts
// another.
func (g *segments) seal() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.head = nil
}

// use returns the bytes of all segments and of live records.
func (g *segments) use() (size, live int64, files int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.size, g.live, len(g.all)
}

func (g *segments) close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var first error
	for _, h := range g.all {
		if err := h.f.Close(); first == nil {
			first = err
		}
	}
	return first
}
