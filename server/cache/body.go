package cache

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/store"
)

// copySize is the buffer of bodies that cannot be sent from a file or from memory.
const copySize = 128 << 10

// send sends head and body. Before the head goes out the first bytes must be there, so that a version that cannot be
// continued still lets the request start again.
func (a *answer) send() next {
	x := a.x
	if a.kind == ranges.Whole {
		a.spans = []ranges.Span{{Start: 0, End: a.size}} // End -1: until it ends
	}
	if a.steer() {
		return answered
	}
	defer func() { a.moving.End(x.w.bytes) }()
	body := x.r.Method != http.MethodHead && bodyAllowed(int(a.e.life.Status))
	if body && !a.e.Whole() {
		if a.flight == nil && a.incomplete() && x.done.status.Hit {
			x.done.status.Hit, x.done.status.Fwd, x.done.status.Detail = false, rule.FwdPartial, rule.PartialMiss
			x.done.status.Stored = true
			x.done.result = resultPartial
		}
		if err := a.firstBytes(); err != nil {
			return x.restart(&a.e, err)
		}
		a.size = a.e.Size()
	}
	if a.kind == ranges.Partial && len(a.spans) > 1 {
		a.sendParts()
		return answered
	}
	a.head()
	h := x.w.Header()
	status := int(a.e.life.Status)
	span := a.spans[0]
	switch {
	case a.kind == ranges.Partial:
		status = http.StatusPartialContent
		a.resumes(span.Start, span.Len())
		h.Set("Content-Range", string(ranges.AppendContentRange(nil, span, a.size)))
		h.Set("Content-Length", strconv.FormatInt(span.Len(), 10))
	case a.size >= 0 && bodyAllowed(status):
		h.Set("Content-Length", strconv.FormatInt(a.size, 10))
		span.End = a.size
		a.resumes(0, a.size)
	default:
		delete(h, "Content-Length")
	}
	x.writeTrace()
	x.w.WriteHeader(status)
	if body {
		a.noteFlow(span.Start, max(span.Len(), -1))
		x.cut(a.sendSpan(span))
		a.learn()
	}
	return answered
}

// bodyAllowed: 1xx, 204, 304 have none (RFC 9110 §6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// firstBytes waits for the first byte to be sent.
func (a *answer) firstBytes() error {
	span := a.spans[0]
	if a.e.Available(span.Start) > 0 {
		return nil
	}
	r := a.fly().Reader(span.Start, span.End-1)
	if span.End < 0 {
		r.Close()
		r = a.fly().Reader(span.Start, -1)
	}
	defer r.Close()
	r.Anew = true
	_, _, err := r.Next(a.x.context())
	if errors.Is(err, io.EOF) || errors.Is(err, fill.ErrRelay) {
		return nil
	}
	return err
}

// cut breaks the connection after a body that could not be sent to its end: nothing else tells the client (RFC 9112 §8).
func (x *exchange) cut(err error) {
	if err == nil {
		return
	}
	x.step("broken", err.Error())
	if x.w.err == nil && x.context().Err() == nil {
		x.done.detail = "broken"
		x.s.metrics.broken.Add(1)
		x.s.log.Info("answer broken off", "url", string(x.key.URL), "err", err)
	}
	panic(http.ErrAbortHandler)
}

// sendSpan sends the bytes of a span, waiting for those that have not arrived. End -1 is the object's end.
func (a *answer) sendSpan(s ranges.Span) error {
	if b := a.e.Bytes(); b != nil {
		_, err := a.x.w.Write(b[s.Start:s.End])
		return err
	}
	var r *fill.Reader
	defer func() {
		if r != nil {
			r.Close()
		}
	}()
	off := s.Start
	for s.End < 0 || off < s.End {
		n, err := a.sendSome(off, s.End)
		off += n
		switch {
		case errors.Is(err, io.EOF) && s.End < 0:
			return nil
		case n > 0 && err == nil:
			continue
		case err != nil && !errors.Is(err, store.ErrNotYet):
			return err
		}
		if r == nil {
			r = a.fly().Reader(off, s.End-1)
			if s.End < 0 {
				r.Close()
				r = a.fly().Reader(off, -1)
			}
		}
		r.Advance(off - r.Offset())
		a.x.w.Flush()
		_, n, err = r.Next(a.x.context())
		if errors.Is(err, fill.ErrRelay) {
			return a.sendRelayed(r)
		}
		if errors.Is(err, io.EOF) && n == 0 {
			if s.End >= 0 && off < s.End {
				return io.ErrUnexpectedEOF
			}
			return nil
		}
		if err != nil && n == 0 {
			return err
		}
	}
	return nil
}

// sendRelayed sends the rest of a span that the store does not take: too large for it, or disk and memory are full.
func (a *answer) sendRelayed(r *fill.Reader) error {
	a.x.step("relayed", "the store does not take the rest")
	r.Context = a.x.context()
	buf := a.x.s.buffers.Get().(*[copySize]byte)
	defer a.x.s.buffers.Put(buf)
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			if _, err := a.x.w.Write(buf[:n]); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// sendSome sends what is there now from off on, at most to end. ErrNotYet: nothing is.
func (a *answer) sendSome(off, end int64) (int64, error) {
	n := a.e.Available(off)
	if end >= 0 {
		n = min(n, end-off)
	}
	if n <= 0 {
		if end < 0 && a.e.Whole() {
			return 0, io.EOF
		}
		return 0, store.ErrNotYet
	}
	if p := a.e.Slice(off, n); len(p) > 0 {
		sent, err := a.x.w.Write(p)
		return int64(sent), err
	}
	if f, pos, m := fileOf(a.e.Object, off, n); m > 0 {
		sent, err := front.Send(a.x.w, a.x.r, f, pos, m)
		a.x.w.bytes += sent
		if err == nil && sent < m {
			err = io.ErrShortWrite
		}
		if err != nil && a.x.w.err == nil {
			a.x.w.err = err
		}
		return sent, err
	}
	buf := a.x.s.buffers.Get().(*[copySize]byte)
	defer a.x.s.buffers.Put(buf)
	got, err := a.e.ReadAt(buf[:min(n, copySize)], off)
	if got == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			err = store.ErrNotYet
		}
		return 0, err
	}
	sent, err := a.x.w.Write(buf[:got])
	return int64(sent), err
}

// sendParts sends several ranges as multipart/byteranges (RFC 9110 §14.6).
func (a *answer) sendParts() {
	a.head()
	h := a.x.w.Header()
	m := ranges.NewMultipart(a.spans, a.size, h.Get("Content-Type"), boundary())
	h.Set("Content-Type", m.ContentType())
	h.Set("Content-Length", strconv.FormatInt(m.Length(), 10))
	a.x.writeTrace()
	a.x.w.WriteHeader(http.StatusPartialContent)
	for i, s := range a.spans {
		if _, err := a.x.w.Write(m.Head(nil, i)); err != nil {
			a.x.cut(err)
		}
		a.x.cut(a.sendSpan(s))
	}
	a.x.w.Write(m.Tail(nil))
}

// boundary is a separator that nobody can put into a body beforehand.
func boundary() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
