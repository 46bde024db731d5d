package front

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/server/cache/front/h2"
)

// h2Owner is what a connection of HTTP/2 asks.
type h2Owner struct {
	c      *Conn
	ctx    context.Context
	closes atomic.Bool // an answer wants the connection to end
	going  bool        // the client was told to go; under Conn.dead
}

// serveH2 runs a connection of HTTP/2 until it ends. held was read of it already.
func (c *Conn) serveH2(held []byte) {
	c.proto.Store(&protoH2)
	defer c.finish()
	defer func() {
		if p := recover(); p != nil {
			c.front.panicked(p, "")
		}
	}()
	l := &c.front.opts.Limits
	o := &h2Owner{c: c, ctx: context.WithValue(context.Background(), connKey{}, c)}
	opts := h2.Options{
		Streams: cmp.Or(max(l.Streams, 0), mostStreams), Resets: l.Resets, HeadBytes: l.HeadBytes, HeadFields: l.HeadFields, HeadTime: l.HeadTime,
		IdleTime: l.IdleTime, BodyTime: l.BodyTime, Grace: l.Grace, SendRate: l.SendRate, BodyRate: l.BodyRate,
		Live: &c.live, Remote: c.sock.RemoteAddr().String(), Local: c.sock.LocalAddr(),
	}
	if t, ok := c.stream.(*tls.Conn); ok {
		state := t.ConnectionState()
		opts.TLS = &state
		c.sock.spill = new(spill)
	}
	err := h2.New(opts, &h2Wire{c: c, o: o}, o, held).Serve()
	c.front.log.Debug("HTTP/2 ends", "client", c.remote, "err", err)
}

// mostStreams is how many streams a connection may have where no limit is asked for.
const mostStreams = 1000

// Context is where the contexts of requests come from.
func (o *h2Owner) Context() context.Context { return o.ctx }

// ServeHTTP answers what Begin did not.
func (o *h2Owner) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := o.c
	c.busy.Add(1)
	defer c.calm()
	defer c.ends(w)
	c.front.serveHTTP(w, r)
}

// calm notes the end of a stream.
func (c *Conn) calm() {
	if c.busy.Add(-1) == 0 {
		c.flow.Store(nil)
	}
}

// Leaving says whether the client is to be sent away.
func (o *h2Owner) Leaving() bool {
	c := o.c
	if !o.closes.Load() && !c.lastOne() && !c.front.woken(c) {
		return false
	}
	c.dead.Lock()
	o.going = true
	c.dead.Unlock()
	return true
}

// Note counts.
func (o *h2Owner) Note(e h2.Event) {
	st := &o.c.front.stats
	switch e {
	case h2.Reset:
		st.resets.Add(1)
	case h2.Abused:
		st.abusers.Add(1)
		o.c.front.log.Info("HTTP/2 abused", "client", o.c.remote)
	case h2.SlowHead:
		st.slowHeads.Add(1)
	case h2.SlowBody:
		st.slowBodies.Add(1)
	case h2.SlowRead:
		st.slow.Add(1)
	case h2.BadHead:
		st.bad.Add(1)
	}
}

// Begin holds a request to the rules of the parser and asks the Hitter for it.
func (o *h2Owner) Begin(h *h2.Head) *h2.Reply {
	c := o.c
	f := c.front
	c.requests.Add(1)
	c.unpace()
	w := workPool.Get().(*work)
	ref := w.adoptHead(h, &f.rules)
	if ref == nil && !w.head.slow && h.End && f.hitter != nil && !f.opts.NoFast {
		if r := o.hit(w, h); r != nil {
			return r
		}
	}
	w.giveBack()
	if ref != nil {
		return f.refuseStream(ref, c)
	}
	return nil
}

// hit asks the Hitter; nil: it does not have it.
func (o *h2Owner) hit(w *work, h *h2.Head) (r *h2.Reply) {
	c := o.c
	f := c.front
	defer func() {
		if p := recover(); p != nil {
			f.panicked(p, string(w.head.target))
			o.closes.Store(true)
			r = f.refuseStream(&refusal{http.StatusInternalServerError, "internal error"}, c)
		}
	}()
	w.fillRequest(c)
	w.ans.reset()
	if !f.hitter.Hit(&w.req, &w.ans) {
		return nil
	}
	w.sent = Sent{Began: time.Now(), Conn: c, Status: w.ans.Status}
	if !sound(&w.ans, w.req.Head) {
		f.stats.badAnswers.Add(1)
		w.sent.Err = errAnswer
		w.sent.Ended = w.sent.Began
		if w.ans.Done != nil {
			w.ans.Done.Finish(&w.req, &w.ans, &w.sent)
		}
		return nil
	}
	if w.sent.Status == 0 {
		w.sent.Status = w.ans.Head.status
	}
	f.stats.fast.Add(1)
	c.busy.Add(1)
	var body *atomic.Int64
	if w.ans.Length > noteAbove && !w.req.Head {
		t := w.transfer(w.sent.Began)
		body = new(atomic.Int64)
		t.body = body
		c.begins(w, t)
	}
	if w.ans.Close {
		o.closes.Store(true)
	}
	w.buf, h.Buf = h.Buf[:cap(h.Buf)], w.buf[:0] // the request lives on in what was read
	r = w.streamReply()
	r.Progress = body
	return r
}

// Sent is told when the answer has gone.
func (w *work) Sent(head, body int64, err error) {
	c := w.req.Conn
	defer func() {
		if p := recover(); p != nil {
			c.front.panicked(p, string(w.head.target))
		}
	}()
	s := &w.sent
	s.HeadBytes, s.BodyBytes, s.Err, s.Ended = head, body, err, time.Now()
	s.Slow = errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errSlow)
	if parts := w.ans.parts; len(parts) > 0 && parts[0].File != nil {
		c.front.stats.copied.Add(uint64(body))
	}
	if w.ans.Done != nil {
		w.ans.Done.Finish(&w.req, &w.ans, s)
	}
	if w.reply.Progress != nil {
		c.ends(w)
	}
	c.calm()
	w.giveBack()
}

// adoptHead makes the parsed head of one that HTTP/2 has read, and holds it to the parser's rules. It leaves h as it is.
func (w *work) adoptHead(h *h2.Head, l *rules) *refusal {
	d := &w.head
	*d = head{fields: d.fields[:0], length: h.Length, minor: 1, nHost: 1, method: h.Method, target: h.Target, host: h.Host}
	switch {
	case h.TooLarge:
		return errTooMany
	case string(h.Method) == http.MethodConnect:
		return errConnect
	case len(h.Target) > l.URLBytes:
		return errTooLong
	case !validHost(h.Host):
		return errHost
	}
	n := uint32(len(h.Buf))
	h.Buf = append(append(h.Buf, "host"...), h.Host...)
	d.fields = append(d.fields, field{n, n + 4, n + 4, uint32(len(h.Buf)), idHost})
	d.buf = h.Buf
	for i := range h.Fields {
		a := &h.Fields[i]
		name := h.Buf[a.N0:a.N1]
		id := fieldID(name)
		if len(name) == 2 && id == idSlow && string(name) == "te" {
			continue // "trailers", which says nothing to a cache
		}
		if !d.note(field{a.N0, a.N1, a.V0, a.V1, id}, name, l) {
			d.slow = true
		}
	}
	if m := string(h.Method); m != http.MethodGet && m != http.MethodHead {
		d.slow = true
	}
	if len(d.target) == 1 && d.target[0] == '*' && string(h.Method) == http.MethodOptions {
		return nil
	}
	if d.target[0] != '/' {
		return errTarget
	}
	return d.checkOrigin(d.target)
}

// refuseStream is the answer to a request that is not served.
func (f *Front) refuseStream(ref *refusal, c *Conn) *h2.Reply {
	f.stats.bad.Add(1)
	f.log.Debug("request refused", "client", c.remote, "status", ref.status, "why", ref.why)
	text := []byte(ref.why + "\n")
	p := h2.AppendPlain(nil, "content-type", "text/plain")
	p = h2.AppendPlain(p, "server", f.opts.Server)
	p = h2.AppendPlain(p, "content-length", strconv.Itoa(len(text)))
	p = h2.AppendPlain(p, "date", dateValue(f.date()))
	if ref == errConnect {
		p = h2.AppendPlain(p, "allow", "GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE")
	}
	return &h2.Reply{Status: ref.status, Own: p, Parts: []Part{{Bytes: text, Length: int64(len(text))}}}
}

// dateValue is the value of a Date line.
func dateValue(line []byte) []byte { return bytes.TrimSpace(line[len("Date:"):]) }
