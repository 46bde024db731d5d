package fill

import (
	"context"
	"fmt"
	"math"
	"time"
)

// relay is what becomes of a body that the store does not take any more (too
// large, disk and memory full): it goes by a window in memory to those who read
// it now. Here, and only here, a reader can slow the fill: the window moves on
// when all readers have gone on, and one who does not for too long is left
// behind. Guarded by Flight.mu.
type relay struct {
	x     *fetch // whose bytes they are
	start int64  // of the window
	buf   []byte
	moved chan struct{} // a reader went on or left
}

func (w *relay) end() int64 { return w.start + int64(len(w.buf)) }

func (w *relay) note() {
	select {
	case w.moved <- struct{}{}:
	default:
	}
}

// divert begins the relay of x after the store has refused its bytes.
func (f *Flight) divert(x *fetch, why error) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.relay != nil {
		return f.relay.x == x
	}
	if f.g.opt.Relay < 0 || x.end >= 0 || f.err != nil || f.refs == 0 {
		return false
	}
	if f.g.stats.relaying.Add(1) > int64(f.g.opt.Relays) {
		f.g.stats.relaying.Add(-1)
		return false
	}
	f.g.stats.relayed.Add(1)
	f.g.opt.Log.Info("fill: the store refuses a body, it is passed on only", "upstream", f.src.Name, "at", x.pos, "error", why)
	f.relay = &relay{x: x, start: x.pos, moved: make(chan struct{}, 1)}
	f.wakeAll(nil)
	return true
}

// relayWrite adds the next bytes of x to the window, when there is room.
func (f *Flight) relayWrite(ctx context.Context, x *fetch, p []byte) error {
	timer := time.NewTimer(f.g.opt.RelayWait)
	defer timer.Stop()
	for len(p) > 0 {
		f.mu.Lock()
		w := f.relay
		if len(w.buf) >= f.g.opt.Relay {
			f.trim()
		}
		if n := min(len(p), f.g.opt.Relay-len(w.buf)); n > 0 {
			w.buf = append(w.buf, p[:n]...)
			p = p[n:]
			x.pos += int64(n)
			f.wake(x.pos-int64(n), x.pos, nil)
			f.mu.Unlock()
			continue
		}
		gone := f.refs == 0
		f.mu.Unlock()
		if gone {
			return ErrAbandoned
		}
		select {
		case <-w.moved:
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			if !f.leaveBehind() {
				return fmt.Errorf("%w: nobody reads what it does not take", ErrStore)
			}
		}
		timer.Reset(f.g.opt.RelayWait)
	}
	return nil
}

// slowest is the place of the reader that is farthest behind.
func (f *Flight) slowest() int64 {
	at := int64(math.MaxInt64)
	for r := range f.readers {
		if !r.lost {
			at = min(at, r.at)
		}
	}
	return at
}

// trim drops what all readers have read. f.mu is held.
func (f *Flight) trim() {
	w := f.relay
	n := min(f.slowest(), w.end()) - w.start
	if n <= 0 || len(f.readers) == 0 {
		return
	}
	w.buf = w.buf[:copy(w.buf, w.buf[n:])]
	w.start += n
}

// leaveBehind gives up the slowest readers; false if there are no others.
func (f *Flight) leaveBehind() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, left := f.slowest(), 0
	for r := range f.readers {
		switch {
		case r.at == at:
			r.lost = true
		case !r.lost:
			left++
		}
	}
	return left > 0
}

// relayLook is look for what comes by the relay; f.mu is held.
func (f *Flight) relayLook(r *Reader, off int64) (*waiter, error) {
	w := f.relay
	if r != nil {
		r.at = off
		w.note()
	}
	switch {
	case off < w.start || r != nil && r.lost:
		return nil, fmt.Errorf("%w: it did not take what was at %d", ErrStore, off)
	case off < w.end():
		return nil, ErrRelay
	case f.err != nil:
		return nil, f.err
	}
	return f.join(off), nil
}

// relayRead reads from the window.
func (r *Reader) relayRead(p []byte) int {
	f := r.f
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.relay
	if w == nil || r.lost || r.off < w.start || r.off >= w.end() {
		return 0
	}
	if r.end >= 0 {
		p = p[:min(int64(len(p)), r.end-r.off)]
	}
	n := copy(p, w.buf[r.off-w.start:])
	r.off += int64(n)
	r.at = r.off
	w.note()
	return n
}
