package store

import (
	"hash/crc32"
	"io"
	"slices"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// body is where the bytes of an open object are, by chunk; guarded by
// Object.mu. Bytes that have arrived never change afterwards.
type body struct {
	done   bitset          // chunks that are complete
	good   bitset          // of those in the file: checksum seen to be right
	active map[int]*active // chunks that are being written
	mem    map[int][]byte  // complete chunks in RAM
	file   *largeFile      // nil: all in RAM
	ram    int64           // bytes allocated in RAM
}

// active is a chunk of which the first n bytes have arrived.
type active struct {
	n   int64
	sum uint32
	mem []byte // nil: in the file
}

// Range is the half-open range [Off, End) of bytes of a body.
type Range struct{ Off, End int64 }

// bitset is a set of chunk numbers.
type bitset []uint64

func (b bitset) has(i int) bool { return i/64 < len(b) && b[i/64]&(1<<(i%64)) != 0 }

func (b *bitset) set(i int) {
	for i/64 >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[i/64] |= 1 << (i % 64)
}

func (b bitset) clear(i int) {
	if i/64 < len(b) {
		b[i/64] &^= 1 << (i % 64)
	}
}

// chunkLen returns the length of a chunk; of the last one only when the size
// is known.
func (o *Object) chunkLen(i int) int64 { return chunkLen(o.size.Load(), i) }

func chunkLen(size int64, i int) int64 {
	if size < 0 {
		return chunkSize
	}
	return max(0, min(chunkSize, size-int64(i)*chunkSize))
}

// chunks returns how many chunks a body has.
func chunks(size int64) int { return int((size + chunkSize - 1) / chunkSize) }

// arrived returns how many bytes of a chunk are there.
func (o *Object) arrived(i int) int64 {
	if o.b.done.has(i) {
		return o.chunkLen(i)
	}
	if a := o.b.active[i]; a != nil {
		return a.n
	}
	return 0
}

// Arrived returns how many bytes of a chunk are there, and its length.
func (o *Object) Arrived(chunk int) (have, length int64) {
	if o.whole.Load() {
		n := o.chunkLen(chunk)
		return n, n
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.arrived(chunk), o.chunkLen(chunk)
}

// Available returns how many bytes can be read from off on without a gap.
func (o *Object) Available(off int64) int64 {
	if off < 0 {
		return 0
	}
	if o.whole.Load() {
		return max(0, o.size.Load()-off)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.available(off, -1)
}

// available stops counting at limit, if it is not negative.
func (o *Object) available(off, limit int64) int64 {
	at := off
	for limit < 0 || at-off < limit {
		i := int(at / chunkSize)
		end := int64(i)*chunkSize + o.arrived(i)
		if end <= at {
			break
		}
		at = end
		if at%chunkSize != 0 {
			break
		}
	}
	return at - off
}

// Missing returns the ranges that have to be fetched so that [off, end) is
// there; end < 0 means to the end of the body, and is End of the last range if
// the size is not known yet. A range starts where the arrived part of a chunk
// ends, so that it can be written, and goes on to the end of the chunk even
// behind end: only complete chunks are kept.
func (o *Object) Missing(off, end int64) []Range {
	size := o.size.Load()
	if o.whole.Load() {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if size >= 0 && (end < 0 || end > size) {
		end = size
	}
	var list []Range
	for at := max(off, 0); end < 0 || at < end; {
		i := int(at / chunkSize)
		start := int64(i)*chunkSize + o.arrived(i)
		next := int64(i+1) * chunkSize
		if end < 0 && size < 0 { // open end: nothing is known behind the prefix
			if start == next {
				at = next
				continue
			}
			return append(list, Range{start, -1})
		}
		stop := min(next, end)
		if size >= 0 {
			stop = min(next, size) // the whole rest of the chunk is wanted
		}
		if start < stop && start < max(end, 0) {
			if n := len(list); n > 0 && list[n-1].End == start {
				list[n-1].End = stop
			} else {
				list = append(list, Range{start, stop})
			}
		}
		at = next
	}
	return list
}

// WriteAt adds bytes that arrived; p is copied. Each chunk is written from
// its front: off is the start of a chunk or where its arrived part ends.
// Bytes that are there already are skipped, never overwritten.
func (o *Object) WriteAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.Err(); err != nil {
		return 0, err
	}
	size := o.size.Load()
	if off < 0 || size >= 0 && off+int64(len(p)) > size {
		return 0, ErrSize
	}
	total := 0
	for len(p) > 0 {
		i, at := int(off/chunkSize), off%chunkSize
		n := min(int64(len(p)), chunkSize-at)
		if err := o.put(i, at, p[:n]); err != nil {
			o.notify()
			return total, err
		}
		total += int(n)
		off += n
		p = p[n:]
	}
	o.notify()
	return total, nil
}

// put writes bytes of one chunk.
func (o *Object) put(i int, at int64, p []byte) error {
	have := o.arrived(i)
	if at > have {
		return ErrGap
	}
	if skip := have - at; skip >= int64(len(p)) {
		return nil
	} else {
		p, at = p[skip:], have
	}
	a := o.b.active[i]
	if a == nil {
		if o.b.active == nil {
			o.b.active = map[int]*active{}
		}
		a = &active{}
		o.b.active[i] = a
	}
	if err := o.place1(i, a, p); err != nil {
		o.fail(err)
		return err
	}
	a.sum = crc32.Update(a.sum, castagnoli, p)
	a.n += int64(len(p))
	if a.n == o.chunkLen(i) {
		o.finish(i, a)
	}
	return nil
}

// place1 puts the next bytes of a chunk where they belong: the file if there
// is one or should be, RAM otherwise.
func (o *Object) place1(i int, a *active, p []byte) error {
	end := int64(i)*chunkSize + a.n + int64(len(p))
	if o.size.Load() < 0 && end > o.s.sizeLimit() {
		return ErrTooLarge
	}
	if o.wantsFile(end) {
		if err := o.toFile(i, a, p); err == nil {
			return nil
		}
		if err := o.fromFile(i, a); err != nil {
			return err
		}
	}
	need := a.n + int64(len(p))
	if int64(cap(a.mem)) < need {
		n := o.chunkLen(i)
		if o.size.Load() < 0 {
			n = min(chunkSize, max(need, 2*int64(cap(a.mem)), 4<<10))
		}
		if o.b.ram+n-int64(cap(a.mem)) > o.s.memoryLimit() {
			return ErrTooLarge
		}
		grown := make([]byte, a.n, n)
		copy(grown, a.mem)
		o.b.ram += n - int64(cap(a.mem))
		a.mem = grown
		o.charge()
	}
	a.mem = append(a.mem, p...)
	return nil
}

// charge tells the RAM tier what the object costs now.
func (o *Object) charge() {
	if o.private || o.gone.Load() {
		return
	}
	o.s.res.enter(o, o.b.file != nil && o.b.ram == 0, o.cost())
}

func (o *Object) cost() int64 { return overhead + int64(len(o.Head().Meta)) + o.b.ram }

// finish marks a chunk as complete.
func (o *Object) finish(i int, a *active) {
	delete(o.b.active, i)
	o.b.done.set(i)
	if a.mem == nil {
		o.b.good.set(i)
		o.chunkStored(i, a.sum)
		return
	}
	if o.b.mem == nil {
		o.b.mem = map[int][]byte{}
	}
	o.b.mem[i] = a.mem
}

// Complete marks the object as whole: all size bytes are there. Small objects
// go to disk now. It fails, and marks nothing, when bytes are missing
// (ErrShort) or the length is another than announced (ErrSize).
func (o *Object) Complete(size int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.Err(); err != nil {
		return err
	}
	if o.whole.Load() {
		if size != o.size.Load() {
			return ErrSize
		}
		return nil
	}
	if was := o.size.Load(); was >= 0 && was != size {
		return ErrSize
	} else if was < 0 {
		if err := o.setSize(size); err != nil {
			return err
		}
	}
	for i := range chunks(size) {
		if !o.b.done.has(i) {
			return ErrShort
		}
	}
	if b := o.inOnePiece(size); b != nil {
		o.bytes = b
	}
	o.whole.Store(true)
	o.wholeStored()
	o.charge()
	o.notify()
	return nil
}

// setSize learns the size at the end of a body of unknown length.
func (o *Object) setSize(size int64) error {
	last := chunks(size) - 1
	for i := range max(0, last) {
		if !o.b.done.has(i) {
			return ErrShort
		}
	}
	have := int64(0)
	for i, a := range o.b.active {
		have = max(have, int64(i)*chunkSize+a.n)
	}
	if last >= 0 && o.b.done.has(last) {
		have = max(have, int64(last+1)*chunkSize)
	}
	switch {
	case o.b.done.has(last+1) || have > size:
		return ErrSize
	case have < size:
		return ErrShort
	}
	o.size.Store(size)
	if a := o.b.active[last]; a != nil {
		if a.mem != nil && cap(a.mem)-len(a.mem) > len(a.mem)/8 {
			o.b.ram -= int64(cap(a.mem) - len(a.mem))
			a.mem = slices.Clip(slices.Clone(a.mem))
		}
		o.finish(last, a)
	}
	return nil
}

// inOnePiece returns the body if it is one slice in RAM.
func (o *Object) inOnePiece(size int64) []byte {
	if size == 0 {
		return []byte{}
	}
	if size <= chunkSize && o.b.file == nil {
		return o.b.mem[0]
	}
	return nil
}

// ReadAt reads from off on what has arrived, at most len(p) bytes; fewer are
// no error. With nothing to read it returns io.EOF at the end of the body,
// the error of a failed object, or ErrNotYet.
func (o *Object) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, ErrSize
	}
	if b := o.Bytes(); b != nil {
		if off >= int64(len(b)) {
			return 0, io.EOF
		}
		return copy(p, b[off:]), nil
	}
	total := 0
	for len(p) > 0 {
		n, err := o.readChunk(p, off)
		if n == 0 {
			if total > 0 {
				return total, nil
			}
			return 0, err
		}
		total += n
		off += int64(n)
		p = p[n:]
	}
	return total, nil
}

// readChunk reads within one chunk.
func (o *Object) readChunk(p []byte, off int64) (int, error) {
	i, at := int(off/chunkSize), off%chunkSize
	o.mu.Lock()
	n := o.arrived(i) - at
	if n <= 0 {
		defer o.mu.Unlock()
		if size := o.size.Load(); size >= 0 && off >= size {
			return 0, io.EOF
		}
		if err := o.Err(); err != nil {
			return 0, err
		}
		return 0, ErrNotYet
	}
	var mem []byte
	if a := o.b.active[i]; a != nil {
		mem = a.mem
	} else {
		mem = o.b.mem[i]
	}
	file := o.b.file
	unchecked := mem == nil && o.b.done.has(i) && !o.b.good.has(i)
	o.mu.Unlock()
	if mem != nil {
		return copy(p, mem[at:]), nil
	}
	if unchecked && !o.verify(i) {
		return 0, ErrNotYet
	}
	p = p[:min(int64(len(p)), n)]
	if err := file.read(p, off); err != nil {
		o.unreadable(i, err)
		return 0, ErrNotYet
	}
	return len(p), nil
}
