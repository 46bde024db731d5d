package store

import (
	"fmt"
	"os"
)

// wantsFile says whether bytes up to end belong into a file.
func (o *Object) wantsFile(end int64) bool {
	d := o.s.disk
	return d != nil && d.health.writable() && (o.size.Load() > smallMax || end > smallMax)
}

// toFile writes the next bytes of a chunk to the file, made here if need be,
// and before them what of the chunk came to RAM.
func (o *Object) toFile(i int, a *active, p []byte) error {
	d := o.s.disk
	err := func() error {
		if o.b.file == nil {
			l, err := d.createLarge(o.id, o.size.Load())
			if err != nil {
				return err
			}
			o.b.file = l
		}
		start := int64(i) * chunkSize
		if a.mem != nil {
			if err := o.b.file.write(a.mem, start); err != nil {
				return err
			}
			o.b.ram -= int64(cap(a.mem))
			a.mem = nil
			o.charge()
		}
		return o.b.file.write(p, start+a.n)
	}()
	if err != nil {
		err = fmt.Errorf("large object %016x: %w", o.id, err)
		d.failWrite(err)
		return err
	}
	d.pressure()
	return nil
}

// fromFile takes the arrived part of a chunk back into RAM, when the file
// takes no more.
func (o *Object) fromFile(i int, a *active) error {
	if a.mem != nil || a.n == 0 || o.b.file == nil {
		return nil
	}
	n := max(o.chunkLen(i), a.n)
	if o.b.ram+n > o.s.memoryLimit() {
		return ErrTooLarge
	}
	mem := make([]byte, a.n, n)
	if err := o.b.file.read(mem, int64(i)*chunkSize); err != nil {
		return fmt.Errorf("large object %016x: %w: %w", o.id, ErrDisk, err)
	}
	a.mem = mem
	o.b.ram += n
	o.charge()
	return nil
}

// chunkStored notes a chunk that is complete in the file.
func (o *Object) chunkStored(i int, sum uint32) {
	l := o.b.file
	l.remember(i, sum)
	if !l.side || o.gone.Load() {
		o.persist()
		return
	}
	if err := l.writeSlot(i+1, appendSlot(nil, o.id, i+1, sum)); err != nil {
		o.s.disk.failWrite(err)
		return
	}
	o.indexFile(false)
}

// published stores what came while the object was private.
func (o *Object) published() {
	if o.whole.Load() {
		o.wholeStored()
	} else {
		o.persist()
	}
}

// wholeStored puts a completed object on disk, and its size into the index.
func (o *Object) wholeStored() {
	s := o.s
	h := &s.shards[o.key.shard()]
	h.mu.Lock()
	if o.entry != 0 {
		e := s.slab.at(o.entry)
		e.size = o.size.Load()
		e.flags |= flagWhole
	}
	h.mu.Unlock()
	switch {
	case s.disk == nil || o.gone.Load() || !s.disk.health.writable():
	case o.b.file != nil:
		o.persist()
	case o.size.Load() <= smallMax:
		o.record(o.Head())
	}
}

// persist writes the side file of a large object of known size, with all that
// is in its data file, and puts it into the index on disk. It says whether
// that was done.
func (o *Object) persist() bool {
	l, size := o.b.file, o.size.Load()
	if l == nil || size < 0 || o.gone.Load() || !o.s.disk.health.writable() {
		return false
	}
	head := o.Head()
	d := &side{id: o.id, key: o.key, variant: o.variant, size: size, stamp: head.Stamp, meta: head.Meta, whole: o.whole.Load()}
	d.sums = make([]uint32, chunks(size))
	some := false
	for i := range d.sums {
		if o.b.done.has(i) && o.b.mem[i] == nil && i < len(l.sums) {
			d.done.set(i)
			d.sums[i] = l.sums[i]
			some = true
		} else {
			d.whole = false
		}
	}
	if !some {
		return false
	}
	if err := l.writeSide(d); err != nil {
		o.s.disk.failWrite(fmt.Errorf("large object %016x: %w", o.id, err))
		return false
	}
	o.indexFile(d.whole)
	return true
}

// indexFile notes in the index what the files of a large object hold.
func (o *Object) indexFile(whole bool) {
	s := o.s
	h := &s.shards[o.key.shard()]
	h.mu.Lock()
	if o.entry != 0 {
		e := s.slab.at(o.entry)
		e.kind, e.size = inFile, o.size.Load()
		if whole {
			e.flags |= flagWhole
		}
		e.stamp = o.Head().Stamp
		s.disk.enqueue(o.entry, e, o.b.file.bytes)
	}
	h.mu.Unlock()
}

// record writes a whole small object into a segment with this head, and
// points the index to it. It says whether that was done.
func (o *Object) record(head *Head) bool {
	s := o.s
	d := s.disk
	body := o.bytes
	if len(head.Meta) > maxMeta {
		return false
	}
	r := record{id: o.id, key: o.key, variant: o.variant, stamp: head.Stamp, meta: head.Meta, body: body, bodySum: checksum(body)}
	length, err := d.segs.write(&r)
	if err != nil {
		d.failWrite(err)
		return false
	}
	h := &s.shards[o.key.shard()]
	h.mu.Lock()
	live := o.entry != 0
	if live {
		e := s.slab.at(o.entry)
		if e.kind == inSegment {
			d.segs.drop(e.seg, e.length)
		}
		e.kind, e.seg, e.off, e.length, e.stamp = inSegment, r.seg, r.off, length, head.Stamp
		e.flags |= flagWhole
		d.enqueue(o.entry, e, int64(length))
	}
	d.segs.unpin(r.seg, length, live)
	h.mu.Unlock()
	d.pressure()
	return true
}

// SetMeta replaces metadata and stamp at once, on disk, too; responses that
// began with the old Head keep it. When the disk does not take it the object
// lives on in RAM only.
func (o *Object) SetMeta(meta []byte, stamp Stamp) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := o.s
	head := &Head{Meta: meta, Stamp: stamp}
	h := &s.shards[o.key.shard()]
	h.mu.Lock()
	o.head.Store(head)
	where := inMemory
	if o.entry != 0 {
		e := s.slab.at(o.entry)
		e.stamp, where = stamp, e.kind
	}
	h.mu.Unlock()
	ok := true
	switch where {
	case inSegment:
		ok = s.disk.health.writable() && o.record(head)
	case inFile:
		ok = s.disk.health.writable()
		if ok {
			ok = o.persist()
		}
	}
	if !ok {
		s.unstore(o)
	}
	if where != inMemory {
		s.disk.journal.flush()
	}
	o.charge()
	return nil
}

// unstore takes the disk copy of an open object out of the index: it is no
// longer right. The object stays as long as it is in RAM.
func (s *Store) unstore(o *Object) {
	h := &s.shards[o.key.shard()]
	h.mu.Lock()
	defer h.mu.Unlock()
	if o.entry == 0 {
		return
	}
	e := s.slab.at(o.entry)
	if e.kind == inSegment {
		s.disk.segs.drop(e.seg, e.length)
	}
	s.disk.dequeue(o.entry, e)
	s.disk.journal.del(&e.key, e.id)
	e.kind = inMemory
}

// File says from where bytes of the body can be sent by sendfile(2): file
// descriptor, offset in it, number of bytes (at most limit). n is 0 when the
// bytes are not in a file or have not arrived: ReadAt then says which. At
// most one chunk is verified in a call, so a call may give less than there
// is. The descriptor is valid while the handle is held; it must not be
// closed, written, or read by its own offset.
func (o *Object) File(off, limit int64) (fd int, pos, n int64) {
	if off < 0 || o.Bytes() != nil {
		return -1, 0, 0
	}
	o.mu.Lock()
	l := o.b.file
	first := int(off / chunkSize)
	if l != nil && o.b.done.has(first) && o.b.mem[first] == nil && !o.b.good.has(first) {
		o.mu.Unlock()
		if !o.verify(first) {
			return -1, 0, 0
		}
		o.mu.Lock()
	}
	defer o.mu.Unlock()
	if l == nil {
		return -1, 0, 0
	}
	for at := off; n < limit; at = off + n {
		i := int(at / chunkSize)
		have := int64(0)
		if a := o.b.active[i]; a != nil && a.mem == nil {
			have = a.n
		} else if o.b.good.has(i) && o.b.mem[i] == nil {
			have = o.chunkLen(i)
		}
		end := int64(i)*chunkSize + have
		if end <= at {
			break
		}
		n = end - off
		if end%chunkSize != 0 {
			break
		}
	}
	if n = min(n, limit); n == 0 {
		return -1, 0, 0
	}
	return int(l.f.Fd()), off, n
}

// verify reads a chunk of the file and compares its checksum, once for as
// long as the object is open. A bad chunk is missing from then on.
func (o *Object) verify(i int) bool {
	o.check.Lock()
	defer o.check.Unlock()
	o.mu.Lock()
	l, done, good, length := o.b.file, o.b.done.has(i), o.b.good.has(i), o.chunkLen(i)
	want := uint32(0)
	if done && i < len(l.sums) {
		want = l.sums[i]
	}
	o.mu.Unlock()
	if !done || good {
		return good
	}
	sum, err := l.checksum(i, length)
	if err == nil && sum != want {
		err = fmt.Errorf("large object %016x chunk %d: %w", o.id, i, errCorrupt)
	}
	if err != nil {
		o.unreadable(i, err)
		return false
	}
	o.s.disk.health.row.Store(0)
	o.mu.Lock()
	o.b.good.set(i)
	o.mu.Unlock()
	return true
}

// unreadable makes a chunk of the file missing: it is bad or cannot be read.
func (o *Object) unreadable(i int, err error) {
	d := o.s.disk
	d.failRead(err)
	d.scrub.bad.Add(1)
	d.log.Warn("cache store: stored bytes dropped", "error", err)
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.b.done.has(i) {
		delete(o.b.active, i)
		return
	}
	o.b.done.clear(i)
	o.b.good.clear(i)
	o.whole.Store(false)
	if l := o.b.file; l.side {
		if werr := l.writeSlot(i+1, make([]byte, slotLen)); werr != nil && !os.IsNotExist(werr) {
			d.failWrite(werr)
		}
	}
	h := &o.s.shards[o.key.shard()]
	h.mu.Lock()
	if o.entry != 0 {
		o.s.slab.at(o.entry).flags &^= flagWhole
	}
	h.mu.Unlock()
	o.notify()
}
