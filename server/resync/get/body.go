package get

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/server/resync/careful"
)

// body delivers a window of an object, from one connection after the other. A
// goroutine reads from each; there are two for as long as a silent one has a
// rival.
type body struct {
	opt    Options
	req    *http.Request
	w      window
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex // Read and Close
	next  int64      // the byte that is delivered next
	left  []byte     // of a piece that did not fit
	cur   *stream    // nil: broken
	rival chan answer
	stop  context.CancelFunc // of the rival
	tried time.Time          // when the rival was begun
	met   *atomic.Bool       // the rival has a connection, or does not say
	dials int                // times a rival was begun anew since the last byte
	fails int                // attempts in vain since the last byte
	heard time.Time          // the last byte
	asked time.Time          // the reader wanted more
	last  error              // why the last connection or attempt failed
	gap   time.Duration      // the longest between two pieces of cur
	pace  pace               // of what came
	quiet bool               // it was told that cur is silent
	ends  bool               // the connection was closed where that may be the end
	err   error              // for good
}

// stream is one answer that is read.
type stream struct {
	pieces chan piece
	addr   string
	pop    string
	stop   context.CancelFunc
}

type piece struct {
	b   []byte
	err error
}

// answer is what an attempt to go on came to.
type answer struct {
	s        *stream
	complete bool
	err      error
	anew     bool // it went by the first URL
}

// pieceLen is how much is read at once, and pieces how many wait. Of a slow
// connection a read brings little: what is left of its memory is read into as
// long as it is leastLen.
const (
	pieceLen = 64 << 10
	leastLen = 16 << 10
	pieces   = 4
)

func newBody(o Options, req *http.Request, resp *http.Response, w window, addr string) *body {
	ctx, cancel := context.WithCancel(req.Context())
	b := &body{opt: o, req: req, w: w, ctx: ctx, cancel: cancel, next: w.start, heard: time.Now()}
	b.cur = b.read(resp, func() {}, addr)
	return b
}

// read starts to read an answer.
func (b *body) read(resp *http.Response, stop context.CancelFunc, addr string) *stream {
	s := &stream{pieces: make(chan piece, pieces), pop: POP(resp.Header), addr: addr}
	quit, from := make(chan struct{}), resp.Body // which becomes b itself
	s.stop = sync.OnceFunc(func() { close(quit); stop(); from.Close() })
	b.wg.Go(func() {
		defer from.Close()
		var buf []byte
		for {
			if len(buf) < leastLen {
				buf = make([]byte, pieceLen)
			}
			n, err := from.Read(buf)
			select {
			case s.pieces <- piece{buf[:n:n], err}:
			case <-quit:
				return
			}
			buf = buf[n:]
			if err != nil {
				return
			}
		}
	})
	return s
}

func (b *body) tell(e Event) {
	if b.opt.OnEvent != nil {
		b.opt.OnEvent(e)
	}
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = time.Now()
	for len(b.left) == 0 && b.err == nil {
		b.await()
	}
	if len(b.left) > 0 {
		n := copy(p, b.left)
		b.left = b.left[n:]
		return n, nil
	}
	return 0, b.err
}

// await waits for one thing to happen.
func (b *body) await() {
	if b.w.end >= 0 && b.next >= b.w.end {
		b.end(io.EOF)
		return
	}
	if b.cur == nil && b.rival == nil {
		b.attempt()
	}
	var coming chan piece
	var silent, deaf <-chan time.Time
	if b.cur != nil {
		coming = b.cur.pieces
		if b.rival == nil {
			t := time.NewTimer(b.patience())
			defer t.Stop()
			silent = t.C
		}
	}
	if b.rival != nil && !b.met.Load() {
		t := time.NewTimer(min(b.opt.Stall<<min(b.dials, 10), max(b.opt.Stall, 2*time.Second)) - time.Since(b.tried))
		defer t.Stop()
		deaf = t.C
	}
	over := time.NewTimer(b.opt.Patience - time.Since(b.since()))
	defer over.Stop()
	select {
	case p := <-coming:
		b.take(p)
	case a := <-b.rival:
		b.answered(a)
	case <-silent:
		b.tell(Event{Kind: Stalled, Offset: b.next, POP: b.cur.pop, Addr: b.cur.addr})
		b.quiet = true
		b.attempt()
	case <-deaf:
		b.redial()
	case <-over.C:
		b.end(errors.Join(fmt.Errorf("nothing came for %v: %w", b.opt.Patience, context.DeadlineExceeded), b.last))
	case <-b.ctx.Done():
		b.end(context.Cause(b.ctx))
	}
}

// since is from when a gap counts: the last byte, or when the reader came back.
func (b *body) since() time.Time {
	if b.asked.After(b.heard) {
		return b.asked
	}
	return b.heard
}

// patience is how long the current connection may be silent: longer than it
// has been before, and longer after each alarm that was none.
func (b *body) patience() time.Duration {
	return max(b.opt.Stall, 4*b.gap)
}

// take delivers what the current connection brought.
func (b *body) take(p piece) {
	if len(p.b) > 0 {
		b.gap = max(b.gap, time.Since(b.since()))
		if b.quiet {
			b.tell(Event{Kind: Awake, Offset: b.next, POP: b.cur.pop, Addr: b.cur.addr, Gap: time.Since(b.heard)})
		}
		b.dismiss()
		b.quiet, b.fails, b.dials, b.heard = false, 0, 0, time.Now()
		b.left = p.b
		if room := b.w.end - b.next; b.w.end >= 0 && int64(len(b.left)) > room {
			b.left = b.left[:room]
		}
		b.next += int64(len(b.left))
		b.pace.add(len(p.b), b.heard)
	}
	switch {
	case p.err == nil:
	case errors.Is(p.err, io.EOF) && (b.w.end < 0 && !b.w.closes || b.w.end >= 0 && b.next >= b.w.end):
		b.end(io.EOF)
	case errors.Is(p.err, io.EOF) && b.w.end < 0: // it may have broken: the server is asked whether more follows
		b.ends = true
		b.drop()
	default:
		if errors.Is(p.err, io.EOF) {
			p.err = io.ErrUnexpectedEOF
		}
		b.last = p.err
		b.tell(Event{Kind: Broken, Offset: b.next, POP: b.cur.pop, Addr: b.cur.addr, Err: p.err})
		b.drop()
		if b.rival != nil && !b.met.Load() { // the way is open now, and was not when it began
			b.dismiss()
			b.fails = 0
		}
	}
}

// redial begins an attempt anew that has no connection yet. The kernel asks
// again for a connection after 1, 3 and 7 seconds; a route that has come back
// meanwhile is found sooner like this.
func (b *body) redial() {
	if b.met.Load() {
		return
	}
	b.dismiss()
	b.dials++
	b.attempt()
}

// drop lets go of the current connection.
func (b *body) drop() {
	b.cur.stop()
	b.cur, b.quiet, b.gap = nil, false, 0
	b.pace.since = time.Time{}
}

// dismiss lets go of an attempt that is not needed.
func (b *body) dismiss() {
	if b.rival == nil {
		return
	}
	b.stop()
	rival := b.rival
	b.rival = nil
	b.wg.Go(func() {
		if a := <-rival; a.s != nil {
			a.s.stop()
		}
	})
}

// answered judges what an attempt came to.
func (b *body) answered(a answer) {
	b.rival = nil
	switch {
	case a.err == nil && a.complete, b.ends && errors.Is(a.err, ErrChanged): // who sends all anew knows no ranges
		b.end(io.EOF)
	case a.err == nil:
		if b.cur != nil {
			b.drop()
		}
		b.cur, b.ends, b.w.closes = a.s, false, false
		b.tell(Event{Kind: Resumed, Offset: b.next, POP: a.s.pop, Addr: a.s.addr, Gap: time.Since(b.heard)})
	case errors.Is(a.err, ErrChanged) && !a.anew:
		if b.cur == nil { // else the one that is silent may still go on
			b.end(a.err)
			return
		}
		b.gap = max(b.gap, b.opt.Patience)
	case b.ctx.Err() == nil:
		b.fails++
		b.last = a.err
		b.tell(Event{Kind: Failed, Offset: b.next, Err: a.err})
	}
}

// end ends the body for good.
func (b *body) end(err error) {
	b.dismiss()
	if b.cur != nil {
		b.drop()
	}
	b.err = err
}

// Close implements io.Closer; it waits for what it started.
func (b *body) Close() error {
	b.cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(http.ErrBodyReadAfterClose)
	b.left = nil
	b.wg.Wait()
	return nil
}

// attempt asks for what is missing on another connection, at once the first
// time, and later after a wait that grows.
func (b *body) attempt() {
	ctx, stop := context.WithCancel(b.ctx)
	b.rival, b.stop, b.tried, b.met = make(chan answer, 1), stop, time.Now(), new(atomic.Bool)
	if _, says := b.opt.Again.(*http.Transport); !says {
		b.met.Store(true)
	}
	wait := time.Duration(0)
	if b.fails > 0 {
		wait = min(50*time.Millisecond<<min(b.fails, 10), 5*time.Second)
	}
	b.tried = b.tried.Add(wait)
	to, from, rate, met := b.rival, b.next, b.pace.best, b.met
	req := b.req
	if (b.fails+b.dials)%2 == 1 {
		req = begunBy(req)
	}
	b.wg.Go(func() {
		select {
		case <-time.After(wait):
			a := b.ask(ctx, req, stop, from, rate, met)
			a.anew = req != b.req
			to <- a
		case <-ctx.Done():
			to <- answer{err: ctx.Err()}
		}
	})
}

// begunBy is the request that a redirect, or several, led from to this one: the
// server that it led to may be the one that is gone.
func begunBy(req *http.Request) *http.Request {
	for req.Response != nil && req.Response.Request != nil {
		req = req.Response.Request
	}
	return req
}

// ask asks for what comes from a byte on, and says how fast the client was.
func (b *body) ask(ctx context.Context, of *http.Request, stop context.CancelFunc, from int64, rate uint64, met *atomic.Bool) answer {
	var addr string
	req := traced(of, ctx, &addr, met)
	req.Header.Set("Range", b.w.rangeFrom(from))
	req.Header.Set("If-Range", b.w.validator)
	if rate > 0 {
		req.Header.Set(careful.FieldBandwidth, strconv.FormatUint(8*rate, 10))
	}
	send := b.opt.Again.RoundTrip
	if of != b.req {
		send = (&http.Client{Transport: b.opt.Again}).Do
	}
	resp, err := send(req)
	if err = plain(err); err != nil {
		stop()
		return answer{err: err}
	}
	complete, err := b.w.goesOn(resp, from)
	if err != nil || complete {
		resp.Body.Close()
		stop()
		return answer{complete: complete, err: err}
	}
	return answer{s: b.read(resp, stop, addr)}
}

// traced is a copy of a request that tells, once it is answered, by whom, and in
// met when it has a connection: of TCP, the handshake of TLS may follow.
func traced(req *http.Request, ctx context.Context, addr *string, met *atomic.Bool) *http.Request {
	connected := func(_, _ string, err error) {
		if err == nil {
			met.Store(true)
		}
	}
	return req.Clone(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{ConnectDone: connected, GotConn: func(i httptrace.GotConnInfo) {
		met.Store(true)
		if i.Conn != nil && i.Conn.RemoteAddr() != nil {
			*addr = i.Conn.RemoteAddr().String()
		}
	}}))
}
