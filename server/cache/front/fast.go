package front

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/catchment/catchment/server/cache/front/h2"
)

// verdict says how the fast loop ended.
type verdict uint8

const (
	vClose verdict = iota // the connection is to be closed
	vHand                 // a whole head that net/http shall serve is at work.head
	vRaw                  // the HTTP/2 preface
)

// room is the size of a read buffer; one that had to grow past keepRoom is not used again.
const (
	room     = 4 << 10
	keepRoom = 16 << 10
)

// work is what a connection needs while a request is read and answered. Waiting connections hold none.
type work struct {
	buf  []byte // what was read is buf[r:w]
	r, w int
	seen int // buf[r:seen] was searched for the end of the head
	end  int // length of the head at work, once it is complete
	head head
	req  Request
	ans  Answer
	sent Sent
	out  []byte // the response head, and a short body

	reply h2.Reply // the answer as HTTP/2 sends it; then out has its own fields
}

var workPool = sync.Pool{New: func() any { return &work{buf: make([]byte, room)} }}

// loop reads requests of one connection one after the other and answers those that the Hitter has. The same loop runs on the
// connection's own goroutine and, once it was handed over, inside the reads of net/http.
type loop struct {
	c     *Conn
	w     *work // nil: nothing read
	first bool  // no request was served yet
	get   func() []byte
	put   func()
}

func newLoop(c *Conn) *loop {
	l := &loop{c: c, first: true}
	l.get, l.put = l.space, l.release
	return l
}

// run serves until something is not for it.
func (l *loop) run() verdict {
	c, f := l.c, l.c.front
	for {
		ref, ok := l.readHead()
		if !ok {
			return vClose
		}
		w := l.w
		if ref == nil && l.first && f.opts.H2C && !c.secure && bytes.HasPrefix(l.held(), preface) {
			return vRaw
		}
		if ref == nil {
			ref = w.head.parse(w.buf[w.r:w.r+w.end:w.r+w.end], &f.rules)
		}
		if ref != nil {
			l.refuse(ref)
			return vClose
		}
		l.first = false
		n := c.requests.Add(1)
		c.unpace()
		if f.opts.Limits.ConnRequest > 0 && n >= int64(f.opts.Limits.ConnRequest) || f.letsGo(l.c) {
			w.head.close = true
		}
		if w.head.slow || f.hitter == nil || f.opts.NoFast {
			return vHand
		}
		hit, keep := l.answer()
		if !hit {
			return vHand
		}
		l.drop(w.end)
		if !keep {
			return vClose
		}
	}
}

// answer asks the Hitter and sends what it says. keep says that the connection goes on.
func (l *loop) answer() (hit, keep bool) {
	c, w := l.c, l.w
	defer func() {
		if p := recover(); p != nil { // of the Hitter: only this connection pays
			c.front.panicked(p, string(w.head.target))
			hit, keep = true, false
		}
	}()
	w.fillRequest(c)
	w.ans.reset()
	if !c.front.hitter.Hit(&w.req, &w.ans) {
		return false, false
	}
	began := time.Now()
	c.busy.Store(1)
	defer c.busy.Store(0)
	w.sent = Sent{Began: began, Conn: c, Status: w.ans.Status}
	s := &w.sent
	if !sound(&w.ans, w.req.Head) {
		c.front.stats.badAnswers.Add(1)
		s.Err = errAnswer
		l.finish()
		return false, false
	}
	if s.Status == 0 {
		s.Status = w.ans.Head.status
	}
	c.front.stats.fast.Add(1)
	closing := w.head.close || w.ans.Close
	noted := w.ans.Length > noteAbove && !w.req.Head
	if noted {
		c.Note(w.transfer(began))
	}
	if c.sock.waited != 0 {
		c.sock.calm()
	}
	s.Err = l.send(closing)
	if noted {
		c.Note(nil)
	}
	s.Slow = errors.Is(s.Err, errSlow)
	l.finish()
	if closing && s.Err == nil {
		l.linger()
	}
	return true, s.Err == nil && !closing
}

// noteAbove is the length of a body from which on a transfer is shown in the registry.
const noteAbove = 64 << 10

var errAnswer = errors.New("front: the answer's parts and lengths do not fit")

func (l *loop) finish() {
	w := l.w
	w.sent.Ended = time.Now()
	if w.ans.Done != nil {
		w.ans.Done.Finish(&w.req, &w.ans, &w.sent)
	}
	w.ans.reset()
}

func (w *work) transfer(began time.Time) *Transfer {
	return &Transfer{Method: "GET", Host: string(w.req.Host), Target: string(w.req.Target), Began: began,
		First: w.ans.First, Length: w.ans.Length, ETag: w.ans.ETag}
}

// sound checks that what the head says is what will be sent: a difference would desynchronize the connection.
func sound(a *Answer, head bool) bool {
	if a.Head == nil {
		return false
	}
	var n int64
	for i := range a.parts {
		p := &a.parts[i]
		if p.File == nil && int64(len(p.Bytes)) != p.Length || p.Length < 0 {
			return false
		}
		n += p.Length
	}
	switch a.Status {
	case 0:
		switch a.Head.status {
		case http.StatusNoContent, http.StatusNotModified:
			return n == 0
		}
		return head || n == a.Head.length
	case http.StatusPartialContent:
		return n == a.Length && n > 0 && a.First >= 0 && a.First+n <= a.Size
	case http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable:
		return n == 0
	}
	return false
}

// fillRequest makes the Request of the parsed head.
func (w *work) fillRequest(c *Conn) {
	h, r := &w.head, &w.req
	path, query, has := bytes.Cut(h.target, []byte{'?'})
	if has && query == nil {
		query = []byte{}
	}
	v := func(i id) []byte {
		if h.at[i] == 0 {
			return nil
		}
		return h.fields[h.at[i]-1].value(h.buf)
	}
	*r = Request{
		Head: len(h.method) == 4, TLS: c.secure, Target: h.target, Path: path, Query: query, Host: h.host,
		Accept: v(idAccept), AcceptEncoding: v(idAcceptEncoding), AcceptLanguage: v(idAcceptLanguage),
		Cookie: v(idCookie), IfModifiedSince: v(idIfModifiedSince), IfNoneMatch: v(idIfNoneMatch),
		IfRange: v(idIfRange), Origin: v(idOrigin), Range: v(idRange), Referer: v(idReferer),
		UserAgent: v(idUserAgent), Conn: c, fields: h.fields, buf: h.buf,
	}
	if r.Range != nil {
		r.Span = parseSpan(r.Range)
	}
}

// serve runs a new connection until it is closed or net/http has it.
func (c *Conn) serve() {
	if c.secure && !c.handshake() {
		return
	}
	if t, ok := c.stream.(*tls.Conn); ok && t.ConnectionState().NegotiatedProtocol == "h2" {
		c.serveH2(nil)
		return
	}
	l := newLoop(c)
	switch v := l.run(); v {
	case vClose:
		if t, ok := c.stream.(*tls.Conn); ok {
			t.Close()
		}
		c.finish()
	case vRaw:
		held := bytes.Clone(l.held())
		l.drop(len(held))
		l.release()
		c.serveH2(held)
	default:
		c.front.stats.handed.Add(1)
		newGate(l).handOver()
	}
}

// linger lets the client read the last response before the socket is closed: closing with unread bytes would reset it.
func (l *loop) linger() {
	c := l.c
	if t, ok := c.stream.(*tls.Conn); ok {
		t.CloseWrite()
	}
	c.sock.CloseWrite()
	c.sock.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, io.LimitReader(c.sock.TCPConn, lingerBytes))
}

const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 256 << 10
)
