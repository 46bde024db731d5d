package fill

import (
	"context"
	"io"
	"sync"
)

// Reader reads a part of an object that need not be there yet, at its own speed.
// It is for one goroutine; Close must be called.
type Reader struct {
	f *Flight
	// Context ends waits of Read and WriteTo; nil: they wait for ever.
	Context context.Context
	// Anew tells that nothing of the version has been used yet: the reader gets
	// ErrChanged as soon as the upstream is known to have another one, though what
	// is under way might still bring its bytes.
	Anew  bool
	begin int64
	off   int64
	end   int64 // exclusive; -1: the body's end
	once  sync.Once
	// at and lost are the flight's: where the reader is, and that it was too slow
	// for a relay.
	at   int64
	lost bool
}

// Reader gives the bytes from first to last, both counted; last -1 means to the
// end. A range behind the end of the body ends there.
func (f *Flight) Reader(first, last int64) *Reader {
	f.hold(1)
	end := int64(-1)
	if last >= 0 {
		end = last + 1
	}
	r := &Reader{f: f, begin: first, off: first, end: end, at: first}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.readers[r] = struct{}{}
	return r
}

// Next waits until there are bytes to read: [off, off+n) can be read from the
// object now. At the end of the part the error is io.EOF. With ErrRelay the rest
// can only be had by Read.
func (r *Reader) Next(ctx context.Context) (off, n int64, err error) {
	if r.end >= 0 && r.off >= r.end {
		return r.off, 0, io.EOF
	}
	n, err = r.f.wait(ctx, r, r.off, r.end, r.off-r.begin >= r.f.chunk)
	if r.end >= 0 {
		n = min(n, r.end-r.off)
	}
	return r.off, n, err
}

// Advance goes n bytes on.
func (r *Reader) Advance(n int64) { r.off += n }

// Offset is the place of the next byte.
func (r *Reader) Offset() int64 { return r.off }

// Read waits for at least one byte.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	ctx := r.Context
	if ctx == nil {
		ctx = context.Background()
	}
	for {
		off, n, err := r.Next(ctx)
		if err == ErrRelay {
			if got := r.relayRead(p); got > 0 {
				return got, nil
			}
			continue
		}
		if err != nil {
			return 0, err
		}
		got, err := r.f.obj.ReadAt(p[:min(int64(len(p)), n)], off)
		if got > 0 {
			r.off += int64(got)
			return got, nil
		}
		if err == io.EOF || r.f.obj.Err() != nil {
			return 0, r.f.obj.Err()
		}
		// What was there is there no more (a bad chunk on the disk): ask again.
		if err := ctx.Err(); err != nil {
			return 0, err
		}
	}
}

// Close lets the flight go.
func (r *Reader) Close() error {
	r.once.Do(func() { r.f.release(r) })
	return nil
}

// Ensure waits until the bytes from first to last, both counted, are there.
func (f *Flight) Ensure(ctx context.Context, first, last int64) error {
	r := f.Reader(first, last)
	defer r.Close()
	for {
		_, n, err := r.Next(ctx)
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		r.Advance(n)
	}
}
