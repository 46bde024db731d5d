package h2

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// handle gives a request to the Owner in a goroutine of its own.
func (c *Conn) handle(id uint32, h *Head) {
	s := c.add(id, h.End)
	s.handler = true
	s.cond = sync.NewCond(&c.mu)
	s.left = h.Length
	ctx, cancel := context.WithCancel(context.WithValue(c.base, http.LocalAddrContextKey, c.opts.Local))
	s.cancel = cancel
	r, err := s.request(h, ctx)
	if err != nil {
		c.owner.Note(BadHead)
		c.streamError(id, ProtocolError)
		return
	}
	s.req = r
	c.handlers++
	w := &writer{s: s, header: make(http.Header), body: r.Method != http.MethodHead}
	c.work.Go(func() { c.run(s, w, r) })
}

// run calls the handler and ends the stream. A panic resets it: a short body must not be taken for a whole one.
func (c *Conn) run(s *stream, w *writer, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			w.abort()
		} else {
			w.finish()
		}
		s.cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.handlers--
		for i := range s.limits {
			s.limits[i].set(s, time.Time{})
		}
		if s.in != nil {
			s.in.closed = true
		}
		c.forgetBody(s)
		c.flush()
	}()
	c.owner.ServeHTTP(w, r)
}

// request makes the http.Request of a head.
func (s *stream) request(h *Head, ctx context.Context) (*http.Request, error) {
	c := s.c
	text := string(h.Buf) // one copy for all fields
	at := func(i int) string { return text[h.at[i]:h.to[i]] }
	r := &http.Request{
		Method: at(pMethod), RequestURI: at(pPath), Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header, len(h.Fields)),
		Host: at(pAuthority), RemoteAddr: c.opts.Remote, TLS: c.opts.TLS, ContentLength: h.Length, Body: http.NoBody,
	}
	if r.Host == "" {
		r.Host = at(pHost)
	}
	for _, f := range h.Fields {
		name := http.CanonicalHeaderKey(text[f.N0:f.N1])
		r.Header[name] = append(r.Header[name], text[f.V0:f.V1])
	}
	if err := s.target(r); err != nil {
		return nil, err
	}
	if h.End {
		r.ContentLength = 0
	} else {
		b := &body{s: s, hello: r.Header.Get("Expect") == "100-continue"}
		r.Body, s.in = b, b
		if b.hello {
			r.Header.Del("Expect")
		}
		s.announce(r)
	}
	return r.WithContext(ctx), nil
}

// target fills in the URL.
func (s *stream) target(r *http.Request) (err error) {
	switch {
	case r.Method == http.MethodConnect:
		r.URL, r.RequestURI = &url.URL{Host: r.Host}, r.Host
	case r.RequestURI == "*":
		r.URL = &url.URL{Path: "*"}
	default:
		r.URL, err = url.ParseRequestURI(r.RequestURI)
	}
	return err
}

// announce notes which trailers the client says will come.
func (s *stream) announce(r *http.Request) {
	for _, line := range r.Header["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
			switch name {
			case "", "Transfer-Encoding", "Trailer", "Content-Length":
			default:
				if r.Trailer == nil {
					r.Trailer = make(http.Header)
				}
				r.Trailer[name] = nil
			}
		}
	}
	r.Header.Del("Trailer")
}

// trailers takes those that were announced; like net/http it leaves the others out.
func (s *stream) trailers(h *Head) {
	if s.req == nil {
		return
	}
	text := string(h.Buf)
	for _, f := range h.Fields {
		name := http.CanonicalHeaderKey(text[f.N0:f.N1])
		if _, ok := s.req.Trailer[name]; ok {
			s.req.Trailer[name] = append(s.req.Trailer[name], text[f.V0:f.V1])
		}
	}
}

// feed takes bytes of the body.
func (s *stream) feed(p []byte) {
	if s.off > 0 && s.off >= len(s.body)-s.off {
		s.body, s.off = s.body[:copy(s.body, s.body[s.off:])], 0
	}
	s.body = append(s.body, p...)
	s.brought += int64(len(p))
	if o := &s.c.opts; float64(s.brought) >= float64(o.BodyRate)*o.Grace.Seconds() {
		s.quiet, s.brought = 0, 0
		s.waited = time.Now()
	}
	s.cond.Broadcast()
}

// body is Request.Body.
type body struct {
	s      *stream
	hello  bool // 100 (Continue) is to be sent before the first read
	closed bool
}

// errClosedBody is what reading after Close gives.
var errClosedBody = errors.New("http2: body is closed")

// Read waits for bytes of the body.
func (b *body) Read(p []byte) (int, error) {
	s := b.s
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.hello {
		b.hello = false
		if s.err == nil && !s.ended {
			c.endHead(c.beginHead(s.id, http.StatusContinue), false)
			c.flush()
		}
	}
	for !b.closed && s.off == len(s.body) && !s.ended && s.err == nil && !s.limits[reading].passed() {
		s.await()
	}
	switch {
	case b.closed:
		return 0, errClosedBody
	case s.off < len(s.body):
		n := copy(p, s.body[s.off:])
		if s.off += n; s.off == len(s.body) && cap(s.body) > bodyRoom/4 {
			s.body, s.off = nil, 0
		}
		c.used(s, n)
		c.flush()
		return n, nil
	case s.err != nil:
		return 0, s.err
	case s.ended:
		return 0, io.EOF
	}
	return 0, os.ErrDeadlineExceeded
}

// await waits for something to change, and keeps the account of how long the client has been waited for.
func (s *stream) await() {
	s.waiting, s.waited = true, time.Now()
	s.cond.Wait()
	s.waiting = false
	s.quiet += time.Since(s.waited)
}

// Close ends reading; what still comes is thrown away.
func (b *body) Close() error {
	b.s.c.mu.Lock()
	defer b.s.c.mu.Unlock()
	b.closed = true
	b.s.cond.Broadcast()
	return nil
}
