package store

import "io"

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
