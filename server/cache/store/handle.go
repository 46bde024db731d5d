package store

import "os"

// OSFile returns the open file that File speaks of, for senders that want more
// than its descriptor; nil if there is none. It is good while the handle is
// held, and is not to be closed, written, or read by its own offset.
func (o *Object) OSFile() *os.File {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.file == nil {
		return nil
	}
	f, _ := o.b.file.f.(osFile)
	return f.File
}

// Slice returns bytes of the body from off on, at most limit and not beyond the
// chunk's end, where that chunk is complete and in RAM; else nil. They are good
// as long as the slice is held, and not to be changed.
func (o *Object) Slice(off, limit int64) []byte {
	if off < 0 || limit <= 0 {
		return nil
	}
	if b := o.Bytes(); b != nil {
		return b[min(off, int64(len(b))):min(off+limit, int64(len(b)))]
	}
	i, at := int(off/chunkSize), off%chunkSize
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.b.active[i] != nil || !o.b.done.has(i) {
		return nil
	}
	mem, n := o.b.mem[i], o.chunkLen(i)
	if mem == nil || int64(len(mem)) < n || at >= n {
		return nil
	}
	return mem[at:min(n, at+limit)]
}
