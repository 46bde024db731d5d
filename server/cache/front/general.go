package front

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"
)

// handoff is a listener of connections that were accepted already.
type handoff struct {
	addr net.Addr
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newHandoff(addr net.Addr) *handoff {
	return &handoff{addr: addr, ch: make(chan net.Conn), done: make(chan struct{})}
}

// give passes a connection on; false when nobody takes any more.
func (h *handoff) give(c net.Conn) bool {
	select {
	case h.ch <- c:
		return true
	case <-h.done:
		return false
	}
}

// Accept, Close and Addr make it a net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.ch:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h *handoff) Addr() net.Addr { return h.addr }

// newServer makes the http.Server for handed-over connections of HTTP/1.1.
func (f *Front) newServer() *http.Server {
	s := &http.Server{
		Handler:        http.HandlerFunc(f.serveHTTP),
		MaxHeaderBytes: maxHead + 4096, // the gate has its own, smaller limit
		ConnState:      connState,
		ErrorLog:       slog.NewLogLogger(f.log.Handler(), slog.LevelWarn),
		ConnContext: func(ctx context.Context, nc net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, connOf(nc))
		},
		Protocols: new(http.Protocols),
	}
	s.Protocols.SetHTTP1(true)
	return s
}

// serveHTTP stands before the handler for every request of the general path.
func (f *Front) serveHTTP(w http.ResponseWriter, r *http.Request) {
	c := ConnOf(r.Context())
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler {
				f.panicked(p, r.RequestURI)
			}
			panic(http.ErrAbortHandler)
		}
	}()
	f.handlers.enter()
	defer f.handlers.leave()
	if c.port != nil && c.port.altSvc != "" {
		w.Header().Set("Alt-Svc", c.port.altSvc)
	}
	switch r.ProtoMajor {
	case 1:
		if f.letsGo(c) || c.lastOne() {
			w.Header().Set("Connection", "close")
		}
	case 3:
		if ref := f.checkRequest(r); ref != nil {
			f.stats.bad.Add(1)
			http.Error(w, ref.why, ref.status)
			return
		}
		w, r = f.limitStream(w, r, c)
		defer f.endStream(r, c)
		c.requests.Add(1)
		if f.hitStream(w, r, c) {
			return
		}
	}
	f.stats.general.Add(1)
	if m := f.opts.Limits.MaxBody; m > 0 && r.Body != nil && r.Body != http.NoBody {
		r.Body = http.MaxBytesReader(w, r.Body, m)
	}
	c.Note(&Transfer{Method: r.Method, Host: r.Host, Target: r.RequestURI, Began: time.Now(), Length: -1})
	f.handler.ServeHTTP(w, r)
}

// panicked notes a panic of what front calls.
func (f *Front) panicked(p any, target string) {
	f.stats.panics.Add(1)
	f.log.Error("panic", "target", target, "panic", p, "stack", string(debug.Stack()))
}

// lastOne says whether the connection has had all the requests it may have.
func (c *Conn) lastOne() bool {
	most := c.front.opts.Limits.ConnRequest
	return most > 0 && c.requests.Load() >= int64(most)
}

// checkRequest holds HTTP/3 to the limits and rules that the parser enforces for HTTP/1.1.
func (f *Front) checkRequest(r *http.Request) *refusal {
	l := &f.opts.Limits
	n := 0
	for _, v := range r.Header {
		n += len(v)
	}
	switch {
	case r.Method == http.MethodConnect:
		return errConnect
	case len(r.RequestURI) > l.URLBytes:
		return errTooLong
	case n > l.HeadFields:
		return errTooMany
	case !validHost([]byte(r.Host)):
		return errHost
	case r.RequestURI == "*" && r.Method == http.MethodOptions:
		return nil
	case !strings.HasPrefix(r.RequestURI, "/"):
		return errTarget
	}
	var h head
	return h.checkOrigin([]byte(r.RequestURI))
}

// section is a piece of a file on its way through net/http to the gate.
type section struct {
	file      *os.File
	off, left int64
	copied    int64
}

// Read gives the piece as bytes where it cannot be sent by sendfile.
func (s *section) Read(p []byte) (int, error) {
	if s.left <= 0 {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), s.left)], s.off)
	s.off += int64(n)
	s.left -= int64(n)
	s.copied += int64(n)
	if n > 0 {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return 0, err
}

// Send sends n bytes of file from off as (part of) the body of w and says how many went. On cleartext HTTP/1.1 with a
// Content-Length they go by sendfile with explicit offset, but for the first 512 that net/http sends with its head; elsewhere
// they are copied through a pooled buffer. Wrappers with Unwrap() http.ResponseWriter are followed, and do not see the bytes:
// count by the result, and call WriteHeader before.
func Send(w http.ResponseWriter, r *http.Request, file *os.File, off, n int64) (int64, error) {
	var front *Front
	if c := ConnOf(r.Context()); c != nil {
		front = c.front
	}
	for u := w; ; {
		if rf, ok := u.(io.ReaderFrom); ok && r.ProtoMajor == 1 {
			s := &section{file: file, off: off, left: n}
			sent, err := rf.ReadFrom(s)
			if front != nil {
				front.stats.copied.Add(uint64(s.copied))
			}
			if err == nil && sent < n {
				err = io.ErrUnexpectedEOF
			}
			return sent, err
		}
		next, ok := u.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		u = next.Unwrap()
	}
	return copyFile(w, file, off, n, front)
}
