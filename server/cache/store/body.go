package store

import (
	"hash/crc32"
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
	if err := o.store(i, a, p); err != nil {
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

// store puts the next bytes of a chunk where they belong: the file if there
// is one or should be, RAM otherwise.
func (o *Object) store(i int, a *active, p []byte) error {
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
