package front

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// step is where a gate is in the message that net/http reads.
type step uint8

const (
	stNext step = iota // between messages: the fast loop runs in the next Read
	stHead             // giving out a head
	stBody             // giving out a body
	stWait             // all was given; net/http only listens for the end of the connection
	stRaw              // hijacked: everything passes
	stDead             // the message was malformed or is out of step: nothing passes any more
)

// gate is the connection as net/http sees it. It gives out exactly one validated message at a time: the head that the
// fast loop handed over, then the body by its framing. Once net/http says that the response is done (StateIdle), the
// next Read runs the fast loop again and returns only with a message that net/http shall serve.
type gate struct {
	c    *Conn
	loop *loop

	mu      sync.Mutex
	cond    *sync.Cond
	step    step
	closing bool // close was asked while the fast loop ran
	running bool // the fast loop is running

	left  int64 // bytes of head or body still to give out
	chunk *chunkScanner
	last  bool // the message says that the connection ends after it

	rest    time.Duration // how long the body may still be waited for in this window
	brought int64
	end     time.Time // when the whole body must be there
}

// tlsGate tells net/http about TLS.
type tlsGate struct{ *gate }

// ConnectionState is what net/http puts into Request.TLS.
func (g tlsGate) ConnectionState() tls.ConnectionState {
	return g.c.stream.(*tls.Conn).ConnectionState()
}

// newGate makes a gate for what the fast loop handed over.
func newGate(l *loop) *gate {
	g := &gate{c: l.c, loop: l}
	g.cond = sync.NewCond(&g.mu)
	g.take()
	return g
}

// take prepares to give out what the loop left.
func (g *gate) take() {
	g.c.setRead(time.Time{}, false)
	g.c.sock.calm()
	w := g.loop.w
	h := &w.head
	g.step, g.left, g.last = stHead, int64(w.end), h.close
	g.chunk = nil
	if h.chunked {
		g.chunk = &chunkScanner{maxExt: g.c.front.opts.Limits.ChunkExt}
	}
	g.c.busy.Store(1)
}

// handOver gives the connection to net/http.
func (g *gate) handOver() {
	f := g.c.front
	var nc net.Conn = g
	if g.c.secure {
		nc = &tlsGate{g}
	}
	if !f.plain.give(nc) {
		g.c.finish()
	}
}

// idle is called when net/http has sent the whole response.
func (g *gate) idle() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.c.busy.Store(0)
	g.c.flow.Store(nil)
	switch {
	case g.step == stRaw:
	case g.step != stWait || g.last:
		g.step = stDead // net/http believes the message over, we do not: out of step
	default:
		g.step = stNext
	}
}

// hijacked lets everything pass from now on.
func (g *gate) hijacked() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.step = stRaw
}

// Read gives net/http the next bytes of the message at work.
func (g *gate) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	g.mu.Lock()
	step := g.step
	g.mu.Unlock()
	switch step {
	case stNext:
		if !g.runFast() {
			return 0, io.EOF
		}
		return g.Read(p)
	case stHead:
		return g.readHead(p)
	case stBody:
		return g.readBody(p)
	case stWait:
		return 0, g.listen()
	case stRaw:
		return g.readRaw(p)
	}
	return 0, io.EOF
}

// runFast serves hits until something is for net/http; false: the connection is over.
func (g *gate) runFast() bool {
	g.mu.Lock()
	if g.closing {
		g.mu.Unlock()
		return false
	}
	g.running = true
	g.mu.Unlock()
	v := g.loop.run()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = false
	if v == vClose || g.closing && v != vHand {
		g.step = stDead
		return false
	}
	g.take()
	return true
}

func (g *gate) readHead(p []byte) (int, error) {
	n := copy(p[:min(int64(len(p)), g.left)], g.loop.held())
	g.left -= int64(n)
	if g.left > 0 {
		g.loop.w.r += n // the head stays one piece until it is given out
		return n, nil
	}
	h := &g.loop.w.head
	length := h.length
	g.loop.drop(n)
	lim := &g.c.front.opts.Limits
	switch {
	case g.chunk != nil:
		g.set(stBody)
	case length > 0:
		g.left = length
		g.set(stBody)
	default:
		g.set(stWait)
	}
	g.rest, g.brought, g.end = lim.Grace, 0, deadline(lim.BodyTime)
	return n, nil
}

func (g *gate) set(s step) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.step != stRaw {
		g.step = s
	}
}

// readBody gives out body bytes, never one past the end of the message.
func (g *gate) readBody(p []byte) (int, error) {
	if len(g.loop.held()) == 0 {
		if err := g.more(); err != nil {
			return 0, err
		}
	}
	held := g.loop.held()
	if len(held) > len(p) {
		held = held[:len(p)]
	}
	n, done := len(held), false
	if g.chunk != nil {
		var err error
		if n, done, err = g.chunk.scan(held); err != nil {
			g.c.front.stats.bad.Add(1)
			g.set(stDead)
			return 0, err
		}
	} else {
		n = int(min(int64(n), g.left))
		g.left -= int64(n)
		done = g.left == 0
	}
	copy(p, held[:n])
	g.loop.drop(n)
	if done {
		g.set(stWait)
		g.c.setRead(time.Time{}, false)
	}
	return n, nil
}

// more waits for more of the body, no longer than the least rate and the time for the whole allow.
func (g *gate) more() error {
	lim := &g.c.front.opts.Limits
	start := time.Now()
	until := g.end
	if lim.BodyRate > 0 && lim.Grace > 0 {
		if end := start.Add(g.rest); until.IsZero() || end.Before(until) {
			until = end
		}
	}
	g.c.setRead(until, false)
	err := g.loop.fill()
	g.rest -= time.Since(start)
	g.brought += int64(len(g.loop.held()))
	if g.brought >= int64(float64(lim.BodyRate)*lim.Grace.Seconds()) {
		g.rest, g.brought = lim.Grace, 0
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !until.IsZero() && !time.Now().Before(until) {
		g.c.front.stats.slowBodies.Add(1)
		g.set(stDead)
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// listen waits for the end of the connection or for net/http to take its read back. What a pipelining client sends meanwhile
// is kept for the fast loop, and from then on it only waits to be called back: as in net/http, a client that pipelines and
// then ends its side is served to the end.
func (g *gate) listen() error {
	if len(g.loop.held()) == 0 {
		if err := g.loop.fill(); err != nil {
			return err
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		g.c.dead.Lock()
		abort, gone := g.c.dead.abort, g.c.dead.gone
		g.c.dead.Unlock()
		switch {
		case abort:
			return os.ErrDeadlineExceeded
		case gone:
			return net.ErrClosed
		}
		g.cond.Wait()
	}
}

func (g *gate) readRaw(p []byte) (int, error) {
	if held := g.loop.held(); len(held) > 0 {
		n := copy(p, held)
		g.loop.drop(n)
		g.loop.release()
		return n, nil
	}
	g.loop.release()
	return g.c.stream.Read(p)
}

// Write passes what net/http sends.
func (g *gate) Write(p []byte) (int, error) { return g.c.stream.Write(p) }

// ReadFrom is how net/http passes on a body: a piece of a file goes by sendfile in cleartext, all else through a buffer.
func (g *gate) ReadFrom(src io.Reader) (int64, error) {
	if s, ok := src.(*section); ok {
		off, n := s.off, s.left
		var sent int64
		var err error
		if g.c.secure {
			sent, err = copyFile(g.c.stream, s.file, off, n, g.c.front)
		} else {
			sent, err = g.c.sock.sendFile(s.file, off, n)
		}
		s.off, s.left = off+sent, n-sent
		return sent, err
	}
	b := copyPool.Get().(*[]byte)
	defer copyPool.Put(b)
	return io.CopyBuffer(writeOnly{g.c.stream}, readOnly{src}, *b)
}

type (
	writeOnly struct{ io.Writer }
	readOnly  struct{ io.Reader }
)

// Close ends the connection. When the fast loop runs (net/http believes the connection idle), it is asked to end after the
// response at work.
func (g *gate) Close() error {
	g.mu.Lock()
	if g.running {
		g.closing = true
		g.mu.Unlock()
		g.c.interrupt()
		return nil
	}
	g.mu.Unlock()
	if t, ok := g.c.stream.(*tls.Conn); ok {
		t.Close()
	}
	g.c.finish()
	g.mu.Lock()
	g.cond.Broadcast()
	g.mu.Unlock()
	return nil
}

// CloseWrite lets net/http end its side before it lingers.
func (g *gate) CloseWrite() error {
	if t, ok := g.c.stream.(*tls.Conn); ok {
		t.CloseWrite()
	}
	return g.c.sock.CloseWrite()
}

// LocalAddr and RemoteAddr are the socket's.
func (g *gate) LocalAddr() net.Addr  { return g.c.sock.LocalAddr() }
func (g *gate) RemoteAddr() net.Addr { return g.c.sock.RemoteAddr() }

// SetDeadline sets both.
func (g *gate) SetDeadline(t time.Time) error {
	g.SetReadDeadline(t)
	return g.SetWriteDeadline(t)
}

// SetReadDeadline is how net/http takes its read back; the front's own limits do the rest. In raw mode it is the socket's.
func (g *gate) SetReadDeadline(t time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch g.step {
	case stRaw:
		return g.c.sock.SetReadDeadline(t)
	case stNext:
		return nil // the fast loop sets its own
	}
	g.c.setAbort(!t.IsZero() && !t.After(time.Now()))
	g.cond.Broadcast()
	return nil
}

// SetWriteDeadline is the socket's.
func (g *gate) SetWriteDeadline(t time.Time) error { return g.c.sock.SetWriteDeadline(t) }

// connState is net/http's hook.
func connState(nc net.Conn, s http.ConnState) {
	var g *gate
	switch v := nc.(type) {
	case *gate:
		g = v
	case *tlsGate:
		g = v.gate
	default:
		return
	}
	switch s {
	case http.StateIdle:
		g.idle()
	case http.StateHijacked:
		g.hijacked()
	}
}
