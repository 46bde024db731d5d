package fill

import (
	"context"
	"io"
	"math"
	"slices"
	"sync"
	"time"
)

// Flight is all that is under way for one object: who reads it, and the requests
// that bring what is missing. There is one per object, as long as anybody holds
// it or a request runs.
type Flight struct {
	g     *Group
	obj   Object
	chunk int64

	mu        sync.Mutex
	src       Source
	refs      int // outcomes, readers and Flight callers
	fetches   []*fetch
	waiters   map[*waiter]struct{}
	readers   map[*Reader]struct{}
	relay     *relay        // nil: the store takes the bytes
	total     int64         // length of the body, -1 not known yet
	whole     bool          // the upstream does not do ranges
	changed   bool          // it has another version: what is under way may end, nothing can be asked for
	err       error         // nothing more can come
	finishing chan struct{} // closed when the finish under way is over; nil: none is
	finished  bool
	sum       *Sum
	linger    *time.Timer

	digests sync.Mutex
	dig     *digester // nil: no digests
}

// fetch is one request under way, and what goes on where it breaks. Guarded by
// Flight.mu; only its own goroutine changes it.
type fetch struct {
	pos    int64 // the next byte to be written
	end    int64 // exclusive; -1: the body's end
	cancel context.CancelCauseFunc
}

// waiter waits for the byte at off.
type waiter struct {
	off int64
	ch  chan struct{}
	err error // set before ch is closed
}

// forSize is the offset of those who wait for the body's length.
const forSize = math.MaxInt64

// Flight joins what is under way for obj, with src to get what is missing; the
// validator in it must be that of the stored version. Release must be called.
func (g *Group) Flight(obj Object, src Source) *Flight {
	f := g.flight(obj, src)
	if !obj.Whole() && obj.Size() >= 0 && len(obj.Missing(0, -1)) == 0 {
		f.hold(1)
		if !g.spawn(func() { defer f.Release(); f.finish() }) {
			f.Release()
		}
	}
	return f
}

func (g *Group) flight(obj Object, src Source) *Flight {
	g.mu.Lock()
	defer g.mu.Unlock()
	f := g.flights[obj.ID()]
	if f == nil {
		obj.Hold()
		f = &Flight{g: g, obj: obj, chunk: obj.ChunkSize(), total: obj.Size(), src: src, waiters: map[*waiter]struct{}{}, readers: map[*Reader]struct{}{}}
		if !g.opt.NoDigest {
			f.dig = newDigester(wanted{}, true, !g.opt.NoTree)
		}
		g.flights[obj.ID()] = f
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs++
	if src.Validator.Strong() {
		f.src = src // the latest request is as good as any
	}
	return f
}

// Object is the flight's object, valid until Release.
func (f *Flight) Object() Object { return f.obj }

// Sum is the digest, if it is known: the object became whole in this flight.
func (f *Flight) Sum() *Sum {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.sum
}

// hold takes n more references.
func (f *Flight) hold(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refs += n
	if f.linger != nil && f.refs > 0 {
		f.linger.Stop()
		f.linger = nil
	}
}

// Release gives one reference back.
func (f *Flight) Release() { f.release(nil) }

// release lets r go too, if it is not nil.
func (f *Flight) release(r *Reader) {
	f.settle(func() {
		f.refs--
		delete(f.readers, r)
		if f.relay != nil {
			f.relay.note()
		}
		f.unwanted()
	})
}

// unwanted has a flight that nobody reads looked at in a while. f.mu is held.
func (f *Flight) unwanted() {
	if f.refs == 0 && (f.g.opt.Abandon > 0 || f.changed) && f.linger == nil && len(f.fetches) > 0 {
		f.linger = time.AfterFunc(f.g.opt.Linger, f.abandon)
	}
}

// settle changes the flight and lets it go if nobody needs it any more.
func (f *Flight) settle(change func()) {
	f.g.mu.Lock()
	f.mu.Lock()
	change()
	over := f.refs == 0 && len(f.fetches) == 0 && f.finishing == nil && f.g.flights[f.obj.ID()] == f
	if over {
		delete(f.g.flights, f.obj.ID())
		if f.relay != nil {
			f.g.stats.relaying.Add(-1)
		}
	}
	f.mu.Unlock()
	f.g.mu.Unlock()
	if over {
		f.obj.Release()
	}
}

// abandon gives up what nobody wants, if too little of it is there or nobody will
// find it.
func (f *Flight) abandon() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.linger = nil
	if f.refs > 0 || len(f.fetches) == 0 {
		return
	}
	share := 0.0
	if f.total > 0 {
		missing := int64(0)
		for _, m := range f.obj.Missing(0, f.total) {
			missing += m.End - m.Off
		}
		share = 1 - float64(missing)/float64(f.total)
	}
	if share >= f.g.opt.Abandon && !f.changed {
		return
	}
	for _, x := range f.fetches {
		if x.end < 0 || f.changed {
			x.cancel(ErrAbandoned)
		}
	}
}

// Size waits until the length of the body is known.
func (f *Flight) Size(ctx context.Context) (int64, error) {
	for {
		f.mu.Lock()
		total, err := f.total, f.err
		running := len(f.fetches) > 0
		if total >= 0 || err != nil || !running {
			f.mu.Unlock()
			if total < 0 && err == nil {
				err = ErrNoValidator
			}
			return total, err
		}
		w := f.join(forSize)
		f.mu.Unlock()
		if err := f.park(ctx, w); err != nil {
			return -1, err
		}
	}
}

// wait waits for the byte at off, and has it asked for if nobody does. end is
// where the reader will stop, -1: at the end of the body; ahead lets more of that
// be asked for now.
func (f *Flight) wait(ctx context.Context, r *Reader, off, end int64, ahead bool) (int64, error) {
	for {
		n, w, err := f.look(r, off, end, ahead)
		if err != nil || n > 0 {
			return n, err
		}
		if err := f.park(ctx, w); err != nil {
			return 0, err
		}
	}
}

// park waits to be woken.
func (f *Flight) park(ctx context.Context, w *waiter) error {
	select {
	case <-w.ch:
		return w.err
	case <-ctx.Done():
		f.mu.Lock()
		delete(f.waiters, w)
		f.mu.Unlock()
		return context.Cause(ctx)
	}
}

// join adds a waiter; f.mu is held.
func (f *Flight) join(off int64) *waiter {
	w := &waiter{off: off, ch: make(chan struct{})}
	f.waiters[w] = struct{}{}
	return w
}

// wake lets those go on who wait for a byte in [lo, hi); f.mu is held.
func (f *Flight) wake(lo, hi int64, err error) {
	for w := range f.waiters {
		if w.off >= lo && w.off < hi {
			w.err = err
			delete(f.waiters, w)
			close(w.ch)
		}
	}
}

func (f *Flight) wakeAll(err error) {
	f.wake(0, math.MaxInt64, err)
	for w := range f.waiters { // forSize
		delete(f.waiters, w)
		close(w.ch)
	}
}

// look tells what there is at off: bytes, the end, an error, or a waiter to park.
func (f *Flight) look(r *Reader, off, end int64, ahead bool) (int64, *waiter, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r.at = off
	if n := f.obj.Available(off); n > 0 {
		stop := f.stop(end)
		if more := off + n; ahead && n < int64(f.g.opt.Ahead)*f.chunk && (stop < 0 || more < stop) && f.relay == nil && !f.obj.Whole() && f.usable() == nil && !f.covered(more) {
			f.begin(more, end) // an error will come back when the byte is wanted
		}
		return n, nil, nil
	}
	if f.total >= 0 && off >= f.total || f.obj.Whole() && off >= f.obj.Size() {
		if f.judging() {
			return 0, f.join(off), nil
		}
		if f.err != nil && f.dig != nil && f.dig.want.any() {
			return 0, nil, f.err
		}
		return 0, nil, io.EOF
	}
	if f.relay != nil {
		w, err := f.relayLook(r, off)
		return 0, w, err
	}
	if err := f.usable(); err != nil {
		if f.err == nil && f.covered(off) {
			return 0, f.join(off), nil // who fetches it will see the same and relay it, or fail the flight
		}
		return 0, nil, err
	}
	if f.changed && r.Anew {
		return 0, nil, ErrChanged
	}
	if !f.covered(off) {
		if err := f.begin(off, end); err != nil {
			return 0, nil, err
		}
	}
	return 0, f.join(off), nil
}

// usable tells why nothing more can come.
func (f *Flight) usable() error {
	if f.err != nil {
		return f.err
	}
	return f.obj.Err()
}

// judging tells that all is there and a digest that the origin gave is still to be
// compared: no reader gets to the end before. f.mu is held.
func (f *Flight) judging() bool {
	if f.dig == nil || !f.dig.want.any() || f.finished || f.err != nil {
		return false
	}
	return f.finishing != nil || len(f.fetches) > 0 && len(f.obj.Missing(0, f.total)) == 0
}

// stop is where a reader with this end stops, -1 if that is not known.
func (f *Flight) stop(end int64) int64 {
	switch {
	case f.total < 0:
		return end
	case end < 0:
		return f.total
	}
	return min(end, f.total)
}

// extendable tells whether parts can be asked for.
func (f *Flight) extendable() bool {
	return f.src.Upstream != nil && f.src.Validator.Strong() && !f.whole && !f.changed
}

// covered tells whether a request under way will bring the byte at off, soon.
func (f *Flight) covered(off int64) bool {
	return slices.ContainsFunc(f.fetches, func(x *fetch) bool {
		if off < x.pos || x.end >= 0 && off >= x.end {
			return false
		}
		jump := int64(f.g.opt.Jump)
		return jump < 0 || f.total < 0 || !f.extendable() || off-x.pos <= jump*f.chunk
	})
}

// begin asks for the chunks that are missing from off on; f.mu is held.
func (f *Flight) begin(off, end int64) error {
	if f.src.Upstream == nil || !f.src.Validator.Strong() {
		return ErrNoValidator
	}
	if f.changed {
		return ErrChanged
	}
	limit := off + int64(f.g.opt.Join)*f.chunk
	if stop := f.stop(end); stop >= 0 {
		limit = min(limit, stop)
	}
	// Whole chunks, also of an object that does not know its size yet.
	if limit = (limit + f.chunk - 1) / f.chunk * f.chunk; f.total >= 0 {
		limit = min(limit, f.total)
	}
	missing := f.obj.Missing(off, limit)
	if len(missing) == 0 {
		return nil // it has come just now
	}
	m := missing[0]
	for _, x := range f.fetches {
		// Not what another will bring: x is somewhere in a chunk of its own.
		if at := x.pos / f.chunk * f.chunk; at > m.Off && at < m.End {
			m.End = at
		}
	}
	ctx, cancel := context.WithCancelCause(f.g.ctx)
	x := &fetch{pos: m.Off, end: m.End, cancel: cancel}
	deadline := time.AfterFunc(f.g.opt.Deadline, func() { cancel(ErrDeadline) })
	if !f.g.spawn(func() {
		defer deadline.Stop()
		defer cancel(nil)
		f.run(ctx, x, nil)
	}) {
		deadline.Stop()
		cancel(nil)
		return ErrClosed
	}
	f.fetches = append(f.fetches, x)
	return nil
}
