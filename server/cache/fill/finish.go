package fill

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// finish makes the object whole if nothing is missing: what was not hashed while
// it came (it came out of order) is read back, the origin's digests are compared,
// the sum is told, and then the store. Who comes while another does it (a hit on
// an object of which all bytes are there) waits for that one: afterwards the
// object is whole or will not be.
func (f *Flight) finish() {
	f.mu.Lock()
	if over := f.finishing; over != nil {
		f.mu.Unlock()
		<-over
		return
	}
	if f.err != nil || f.finished || f.total < 0 || f.obj.Whole() || f.obj.Err() != nil ||
		len(f.obj.Missing(0, f.total)) > 0 {
		f.mu.Unlock()
		return
	}
	over := make(chan struct{})
	f.finishing = over
	total, src := f.total, f.src
	f.mu.Unlock()

	sum, err := f.digest(total)
	if err == nil {
		err = f.complete(src, sum, total)
	}
	fatal := errors.Is(err, ErrDigest)
	if fatal {
		f.obj.Fail(err)
		f.count(err)
	}
	if err == nil {
		f.g.stats.whole.Add(1)
	}
	f.settle(func() {
		f.finishing = nil
		close(over)
		f.finished = err == nil
		if err == nil && f.dig != nil && f.dig.full {
			f.sum = &sum
		}
		if fatal {
			f.err = err
			f.wakeAll(err)
		}
		f.wakeAll(nil)
	})
}

// complete tells the owner, then the store.
func (f *Flight) complete(src Source, sum Sum, total int64) (err error) {
	defer func() {
		if p := recover(); p != nil {
			f.g.stats.panics.Add(1)
			err = fmt.Errorf("panic in Whole: %v", p)
		}
	}()
	if src.Whole != nil {
		src.Whole(f.obj, sum)
	}
	return f.obj.Complete(total)
}

// digest hashes what has not been hashed yet and compares.
func (f *Flight) digest(total int64) (Sum, error) {
	f.digests.Lock()
	defer f.digests.Unlock()
	d := f.dig
	if d == nil {
		return Sum{Size: total}, nil
	}
	buf := f.g.bufs.Get().(*[bufferSize]byte)
	defer f.g.bufs.Put(buf)
	for d.next < total {
		if f.g.ctx.Err() != nil {
			return Sum{}, context.Cause(f.g.ctx)
		}
		n, err := f.obj.ReadAt(buf[:min(bufferSize, total-d.next)], d.next)
		if n == 0 {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return Sum{}, fmt.Errorf("reading back at %d: %w", d.next, err)
		}
		d.Write(buf[:n])
	}
	if err := d.check(); err != nil {
		return Sum{}, err
	}
	sum, _ := d.sum()
	sum.Size = total
	return sum, nil
}

// broken is why the object is not whole, nil if it is; last is how its fill ended.
func (f *Flight) broken(last error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.obj.Whole():
		return nil
	case f.err != nil:
		return f.err
	case f.obj.Err() != nil:
		return f.obj.Err()
	case last != nil:
		return last
	}
	return io.ErrUnexpectedEOF
}
