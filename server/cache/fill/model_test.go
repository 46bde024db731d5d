package fill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/server/cache/origin"
)

// object is an Object in memory with small chunks, after the store's contract.
type object struct {
	id    uint64
	chunk int64
	meta  *origin.Response // what a cache would keep

	mu      sync.Mutex
	size    int64
	data    []byte
	arrived map[int64]int64 // by chunk
	whole   bool
	err     error
	deleted bool
	refs    int
	most    int64 // WriteAt fails behind it, if > 0
	fails   bool  // and the object with it
}

var ids atomic.Uint64

func newObject(size, chunk int64) *object {
	return &object{id: ids.Add(1), chunk: chunk, size: size, arrived: map[int64]int64{}, refs: 1}
}

func (o *object) ID() uint64       { return o.id }
func (o *object) ChunkSize() int64 { return o.chunk }

func (o *object) locked(f func()) { o.mu.Lock(); defer o.mu.Unlock(); f() }

func (o *object) Size() (n int64)     { o.locked(func() { n = o.size }); return n }
func (o *object) Whole() (b bool)     { o.locked(func() { b = o.whole }); return b }
func (o *object) Err() (err error)    { o.locked(func() { err = o.err }); return err }
func (o *object) Hold()               { o.locked(func() { o.refs++ }) }
func (o *object) references() (n int) { o.locked(func() { n = o.refs }); return n }

func (o *object) Release() {
	o.locked(func() { o.refs-- })
	if o.references() < 0 {
		panic("released twice")
	}
}

func (o *object) length(i int64) int64 {
	if o.size < 0 {
		return o.chunk
	}
	return max(0, min(o.chunk, o.size-i*o.chunk))
}

func (o *object) available(off int64) int64 {
	at := off
	for {
		i := at / o.chunk
		end := i*o.chunk + o.arrived[i]
		if end <= at {
			return at - off
		}
		if at = end; at%o.chunk != 0 {
			return at - off
		}
	}
}

func (o *object) Available(off int64) (n int64) {
	o.locked(func() { n = o.available(off) })
	return n
}

func (o *object) Missing(off, end int64) (list []Range) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.size >= 0 && (end < 0 || end > o.size) {
		end = o.size
	}
	for i := off / o.chunk; i*o.chunk < end; i++ {
		m := Range{Off: i*o.chunk + o.arrived[i], End: i*o.chunk + o.length(i)}
		if o.size < 0 {
			m.End = min(m.End, end)
		}
		if m.Off >= m.End {
			continue
		}
		if n := len(list); n > 0 && list[n-1].End == m.Off {
			list[n-1].End = m.End
		} else {
			list = append(list, m)
		}
	}
	return list
}

func (o *object) WriteAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err != nil:
		return 0, o.err
	case o.size >= 0 && off+int64(len(p)) > o.size:
		return 0, errors.New("behind the end")
	case o.most > 0 && off+int64(len(p)) > o.most:
		err := errors.New("no space")
		if o.fails {
			o.err = err
		}
		return 0, err
	}
	for k, c := range p {
		at := off + int64(k)
		i := at / o.chunk
		switch have := i*o.chunk + o.arrived[i]; {
		case at > have:
			return k, fmt.Errorf("gap at %d", at)
		case at == have:
			for int64(len(o.data)) <= at {
				o.data = append(o.data, 0)
			}
			o.data[at] = c
			o.arrived[i]++
		}
	}
	return len(p), nil
}

func (o *object) ReadAt(p []byte, off int64) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.available(off)
	if n == 0 {
		if o.size >= 0 && off >= o.size {
			return 0, io.EOF
		}
		return 0, errors.Join(errors.New("not yet"), o.err)
	}
	return copy(p[:min(n, int64(len(p)))], o.data[off:]), nil
}

func (o *object) Complete(size int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return o.err
	}
	if o.size >= 0 && o.size != size {
		return errors.New("another size")
	}
	if o.available(0) != size {
		return errors.New("not all there")
	}
	o.size, o.whole = size, true
	return nil
}

func (o *object) Fail(err error) {
	o.locked(func() {
		if !o.whole && o.err == nil {
			o.err = err
		}
	})
}

func (o *object) Delete() { o.locked(func() { o.deleted = true }) }

func (o *object) found() (b bool) { o.locked(func() { b = o.err == nil && !o.deleted }); return b }

// server is an origin in memory: versions of one body, with faults.
type server struct {
	mu       sync.Mutex
	body     []byte
	etag     string
	header   http.Header
	noRanges bool
	noLength bool
	status   int           // instead of 200
	delay    time.Duration // before the head
	pace     time.Duration // between pieces
	piece    int           // bytes a Read; 0: all
	breaks   []int64       // the n-th response breaks after so many bytes; -1: not
	lie      func(h http.Header, status *int)

	asked []string // Range fields
	sent  int64    // bytes
}

func (s *server) Do(ctx context.Context, r *origin.Request) (*origin.Response, error) {
	s.mu.Lock()
	n := len(s.asked)
	s.asked = append(s.asked, r.Header.Get("Range"))
	body, etag, delay, status := s.body, s.etag, s.delay, s.status
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return nil, &origin.Error{Kind: origin.KindCanceled, Err: context.Cause(ctx)}
		}
	}
	h := s.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if etag != "" {
		h.Set("Etag", etag)
	}
	if status == 0 {
		status = 200
	}
	part := body
	if field := r.Header.Get("Range"); field != "" && !s.noRanges && status == 200 {
		if ir := r.Header.Get("If-Range"); ir == "" || ir == etag {
			a, b, ok := resolve(field, int64(len(body)))
			if !ok {
				status, part = 416, nil
				h.Set("Content-Range", fmt.Sprintf("bytes */%d", len(body)))
			} else {
				status, part = 206, body[a:b]
				h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", a, b-1, len(body)))
			}
		}
	}
	if s.lie != nil {
		s.lie(h, &status)
	}
	length := int64(len(part))
	if s.noLength && status == 200 {
		length = -1
	}
	broken := int64(-1)
	if n < len(s.breaks) {
		broken = s.breaks[n]
	}
	return &origin.Response{
		Status: status, Header: h, Length: length, Framed: true, From: origin.From{Name: "o", Attempts: 1},
		Body: &stream{s: s, ctx: ctx, rest: part, broken: broken, body: body},
	}, nil
}

// resolve is the half-open range of a Range field with one range.
func resolve(field string, size int64) (a, b int64, ok bool) {
	spec := strings.TrimPrefix(field, "bytes=")
	first, last, _ := strings.Cut(spec, "-")
	if first == "" {
		fmt.Sscan(last, &b)
		return max(0, size-b), size, size > 0
	}
	fmt.Sscan(first, &a)
	b = size
	if last != "" {
		fmt.Sscan(last, &b)
		b = min(b+1, size)
	}
	return a, b, a < b
}

// stream is a body that comes piece by piece, and breaks if it should.
type stream struct {
	s      *server
	ctx    context.Context
	rest   []byte
	body   []byte // the version
	broken int64
	read   int64
}

func (b *stream) Read(p []byte) (int, error) {
	if b.s.pace > 0 {
		select {
		case <-time.After(b.s.pace):
		case <-b.ctx.Done():
		}
	}
	if b.ctx.Err() != nil {
		return 0, &origin.Error{Kind: origin.KindCanceled, Err: context.Cause(b.ctx)}
	}
	n := min(len(p), len(b.rest))
	if b.s.piece > 0 {
		n = min(n, b.s.piece)
	}
	if b.broken >= 0 {
		n = min(n, int(b.broken-b.read))
		if n == 0 {
			return 0, &origin.Error{Kind: origin.KindTruncated, Err: io.ErrUnexpectedEOF}
		}
	}
	if n == 0 {
		return 0, io.EOF
	}
	copy(p, b.rest[:n])
	b.rest = b.rest[n:]
	b.read += int64(n)
	b.s.mu.Lock()
	b.s.sent += int64(n)
	b.s.mu.Unlock()
	if len(b.rest) == 0 {
		return n, io.EOF // as the library does
	}
	return n, nil
}

func (s *server) total() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

func (b *stream) Close() error { return nil }

func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func bytesOf(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1], key[2], key[3] = byte(seed), byte(seed>>8), byte(seed>>16), byte(seed>>24)
	out := make([]byte, n)
	rand.NewChaCha8(key).Read(out)
	return out
}

func (s *server) source() Source {
	u, _ := url.Parse("/x")
	return Source{Upstream: s, Name: "u", Request: &origin.Request{Method: "GET", URL: u, Header: http.Header{}}}
}

// storing is a Fetch whose answers are stored, whatever they are.
func (s *server) storing(chunk int64, span *Span) Fetch {
	return Fetch{Source: s.source(), Range: span, ChunkSize: chunk, Judge: func(h *Head) Verdict {
		o := newObject(h.Total, chunk)
		o.meta = h.Response
		return Store(o, o)
	}}
}
