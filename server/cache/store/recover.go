package store

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// recover builds the index from snapshot and journals, checks it against the
// files that are there, and removes files it does not know. Whatever cannot
// be read is left out: the worst case is an empty cache.
func (d *disk) recover() {
	began := time.Now()
	r := recovery{d: d}
	if err := r.readIndex(); err != nil {
		d.log.Warn("cache store: starting empty", "dir", d.dir, "reason", err)
		r.forget()
		d.fresh = true
	}
	r.settle()
	d.s.nextID.Store(r.maxID + 1<<20) // ids in use at a crash may have left no trace
	d.segs.next = r.maxSeg + 1
	d.log.Info("cache store: index read", "dir", d.dir, "objects", d.s.slab.count(), "dropped", r.dropped,
		"torn", r.torn, "bytes", d.total(), "took", time.Since(began).Round(time.Millisecond))
}

// recovery is the state of one start; nothing else runs.
type recovery struct {
	d       *disk
	maxID   uint64
	maxSeg  uint32
	dropped int
	torn    int // journal bytes or snapshot blocks that were cut
}

// readIndex replays the newest snapshot and the journals since.
func (r *recovery) readIndex() error {
	d := r.d
	snaps, logs, err := d.generations()
	if err != nil {
		return err
	}
	base := uint64(0)
	for gen := range snaps {
		base = max(base, gen)
	}
	gens := make([]uint64, 0, len(logs))
	for gen := range logs {
		d.journal.gen = max(d.journal.gen, gen)
		if gen >= max(base, 1) {
			gens = append(gens, gen)
		}
	}
	d.journal.gen = max(d.journal.gen, base)
	slices.Sort(gens)
	switch {
	case base == 0 && len(gens) == 0:
		return nil // new
	case len(gens) == 0 || gens[0] != max(base, 1):
		return fmt.Errorf("journal of generation %d is missing", max(base, 1))
	}
	if base > 0 {
		b, err := r.read(snaps[base])
		if err != nil {
			return err
		}
		r.torn += readBlocks(b, r.put)
		d.index.Store(int64(len(b)))
	}
	for _, gen := range gens {
		b, err := r.read(logs[gen])
		if err != nil {
			return err
		}
		n := frames(b, r.put, r.del)
		r.torn += len(b) - n
		d.journal.written += int64(n)
	}
	return nil
}

func (r *recovery) read(name string) ([]byte, error) {
	size, err := r.d.fs.Size(name)
	if err != nil {
		return nil, err
	}
	f, err := r.d.fs.Open(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, size)
	return b, readFull(f, b, 0)
}

// put installs an entry, in the place of its older state or version.
func (r *recovery) put(e entry) {
	s := r.d.s
	r.maxID = max(r.maxID, e.id)
	if e.kind == inSegment {
		r.maxSeg = max(r.maxSeg, e.seg)
	}
	h := &s.shards[e.key.shard()]
	_, n := h.find(&s.slab, &e.key)
	for n != 0 {
		at := s.slab.at(n)
		next := at.next
		if at.id == e.id {
			e.next = at.next
			*at = e
			return
		}
		if at.variant == e.variant {
			r.drop(h, n)
		}
		n = next
	}
	if n = s.slab.alloc(); n != 0 {
		e.next = 0
		*s.slab.at(n) = e
		h.link(&s.slab, n)
	}
}

func (r *recovery) del(k Key, id uint64) {
	s := r.d.s
	r.maxID = max(r.maxID, id)
	h := &s.shards[k.shard()]
	for _, n := h.find(&s.slab, &k); n != 0; n = s.slab.at(n).next {
		if s.slab.at(n).id == id {
			r.drop(h, n)
			return
		}
	}
}

func (r *recovery) drop(h *shard, n uint32) {
	h.unlink(&r.d.s.slab, n)
	r.d.s.slab.release(n)
}

// each calls f for every entry; f may drop it.
func (r *recovery) each(f func(h *shard, n uint32, e *entry)) {
	s := r.d.s
	var list []uint32
	for i := range s.shards {
		h := &s.shards[i]
		list = list[:0]
		for _, n := range h.slots {
			for ; n != 0; n = s.slab.at(n).next {
				list = append(list, n)
			}
		}
		for _, n := range list {
			f(h, n, s.slab.at(n))
		}
	}
}

// forget drops everything that was read and the files it was read from.
func (r *recovery) forget() {
	r.each(func(h *shard, n uint32, _ *entry) { r.drop(h, n) })
	r.d.removeGenerations(r.d.journal.gen + 1)
	r.d.index.Store(0)
	r.d.journal.written = 0
}

// settle checks the entries against the files and fills the queue.
func (r *recovery) settle() {
	d := r.d
	r.openSegments()
	large := r.listLarge()
	type order struct {
		id uint64
		n  uint32
	}
	var list []order
	r.each(func(h *shard, n uint32, e *entry) {
		if !r.holds(e, large) {
			r.dropped++
			r.drop(h, n)
			return
		}
		list = append(list, order{e.id, n})
	})
	slices.SortFunc(list, func(a, b order) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	for _, o := range list {
		e := d.s.slab.at(o.n)
		queue, size := max(e.node.queue, smallQueue), e.node.size
		e.node = node{}
		d.q.push(o.n, queue, size)
		h := &d.s.shards[e.key.shard()]
		if _, head := h.find(&d.s.slab, &e.key); e.next != 0 || head != o.n {
			h.unlink(&d.s.slab, o.n) // newest first in a chain
			h.link(&d.s.slab, o.n)
		}
		if e.kind == inFile {
			d.large.Add(size)
			delete(large, e.id)
		}
	}
	for id := range large {
		r.maxID = max(r.maxID, id)
		d.noteRemove(d.fs.Remove(d.dataName(id)))
		d.noteRemove(d.fs.Remove(d.sideName(id)))
	}
	for no, h := range d.segs.all {
		if h.live == 0 {
			d.noteRemove(d.segs.remove(no))
		}
	}
}

// holds says whether the files have what an entry needs, and counts it.
func (r *recovery) holds(e *entry, large map[uint64]bool) bool {
	d := r.d
	if e.kind == inSegment {
		h := d.segs.all[e.seg]
		if h == nil || int64(e.off)+int64(e.length) > h.size {
			return false
		}
		h.live += int64(e.length)
		d.segs.live += int64(e.length)
		e.node.size = int64(e.length)
		return true
	}
	if !large[e.id] {
		return false
	}
	size, err := d.fs.Size(d.dataName(e.id))
	return err == nil && size == e.size
}

// openSegments opens the segment files that are there.
func (r *recovery) openSegments() {
	d := r.d
	list, err := d.fs.List(d.segs.dir)
	if err != nil {
		d.log.Warn("cache store: segments not listed", "error", err)
		return
	}
	for _, in := range list {
		var no uint32
		if _, err := fmt.Sscanf(in.Name(), "%8x.seg", &no); err != nil {
			continue
		}
		r.maxSeg = max(r.maxSeg, no)
		size, err := d.fs.Size(d.segs.name(no))
		var f file
		if err == nil {
			f, err = d.fs.Open(d.segs.name(no), os.O_RDWR)
		}
		if err != nil {
			d.log.Warn("cache store: segment left out", "error", err)
			continue
		}
		d.segs.all[no] = &segment{no: no, f: f, size: size}
		d.segs.size += size
	}
}

// listLarge returns the ids that have a side file or a data file.
func (r *recovery) listLarge() map[uint64]bool {
	d := r.d
	ids := map[uint64]bool{}
	dir := filepath.Join(d.dir, "large")
	subs, _ := d.fs.List(dir)
	for _, sub := range subs {
		list, err := d.fs.List(filepath.Join(dir, sub.Name()))
		if err != nil {
			d.log.Warn("cache store: large objects not listed", "error", err)
			continue
		}
		for _, in := range list {
			var id uint64
			base, ext, _ := strings.Cut(in.Name(), ".")
			if _, err := fmt.Sscanf(base, "%16x", &id); err != nil {
				continue
			}
			if ext != "data" && ext != "side" {
				d.noteRemove(d.fs.Remove(filepath.Join(dir, sub.Name(), in.Name())))
				continue
			}
			ids[id] = true
		}
	}
	return ids
}
