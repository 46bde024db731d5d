package h2

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// stream is one request that is not over at once: its answer is sent piece by piece, or a handler works on it. All of it is
// under the connection's lock.
type stream struct {
	c  *Conn
	id uint32

	// What is sent.
	window int64         // bytes that the client's settings and updates allow; may be negative
	parts  []Part        // still to be sent; the first may be partly gone
	at     int64         // how much of it
	last   bool          // END_STREAM behind the parts
	queued bool          // is in Conn.ready
	refs   int           // batches that have something of it
	sent   int64         // bytes of body handed to batches
	begun  int64         // of them, when the batch at work was begun: all that will have gone with it
	gone   *atomic.Int64 // of them, those taken by the wire; nil: nobody asks
	took   int64         // of them, in this window of the least rate
	since  time.Time
	reply  *Reply // what parts come from; nil with a handler
	closed bool   // END_STREAM was sent
	err    error  // nothing more is sent or read, and why

	// With a handler.
	handler bool
	cond    *sync.Cond
	cancel  context.CancelFunc
	req     *http.Request
	in      *body    // the request's, if it has one
	limits  [2]limit // deadlines of reading and writing, set by the handler

	// What comes.
	ended   bool   // END_STREAM has come
	body    []byte // read from body[off:]
	off     int
	recv    int64 // bytes that may come
	credit  int64 // bytes used that the client does not know of
	left    int64 // of Content-Length; -1: not known
	waiting bool  // the handler waits for more
	brought int64 // bytes in this window of the least rate
	quiet   time.Duration
	waited  time.Time // since when the handler waits
	began   time.Time
}

const (
	reading = iota
	writing
)

// add makes a stream of its own for a request.
func (c *Conn) add(id uint32, end bool) *stream {
	s := &stream{c: c, id: id, window: c.first, ended: end, recv: bodyRoom, left: -1, began: c.clock}
	c.streams[id] = s
	c.live()
	return s
}

// live tells how many streams there are.
func (c *Conn) live() {
	if l := c.opts.Live; l != nil {
		l.Store(int32(len(c.streams)))
	}
}

// push puts s in the row of those that can send.
func (c *Conn) push(s *stream) {
	if !s.queued && s.err == nil && !s.closed && (len(s.parts) > 0 && (s.window > 0) || len(s.parts) == 0 && s.last) {
		s.queued = true
		c.ready = append(c.ready, s)
	}
}

// reset ends s from our side.
func (c *Conn) reset(id uint32, code Code) {
	b := c.batch()
	b.buf = appendReset(b.buf, id, code)
	c.ours.put(id)
}

// drop ends s: nothing more is sent or read.
func (c *Conn) drop(s *stream, err error) {
	if s.err == nil {
		s.err = err
	}
	s.parts = nil
	if s.cancel != nil {
		s.cancel()
	}
	if s.cond != nil {
		s.cond.Broadcast()
	}
	c.forgetBody(s)
	c.remove(s)
}

// remove takes s out once both sides have ended. Its reply, if any, hears of it when no batch has a part of it.
func (c *Conn) remove(s *stream) {
	if _, ok := c.streams[s.id]; ok {
		delete(c.streams, s.id)
		c.live()
		c.active = time.Now()
		if c.leaving == leaving && len(c.streams) == 0 {
			c.wire.SetWake(past)
		}
	}
	c.settle(s)
}

// settle tells the reply of an ended stream how it went.
func (c *Conn) settle(s *stream) {
	if r := s.reply; r != nil && s.refs == 0 && (s.err != nil || s.closed) {
		s.reply = nil
		r.over(s.sent, s.err)
	}
}

// shut is called when END_STREAM went into a batch.
func (c *Conn) shut(s *stream) {
	s.closed = true
	if s.cond != nil { // another stream's goroutine may have sent it
		s.cond.Broadcast()
	}
	if s.ended {
		c.remove(s)
		return
	}
	if s.reply != nil { // the answer is whole, the request is not: the rest is not wanted (RFC 9113 §8.1)
		c.reset(s.id, NoError)
		c.forgetBody(s)
		c.remove(s)
	}
}

// forgetBody gives the window of what was not read of a body back to the connection.
func (c *Conn) forgetBody(s *stream) {
	if n := len(s.body) - s.off; n > 0 {
		c.used(nil, n)
	}
	s.body, s.off = nil, 0
}

// used notes n bytes of bodies as read, and tells the client of it from time to time.
func (c *Conn) used(s *stream, n int) {
	c.credit += int64(n)
	if c.credit >= bodiesAll/4 && !c.dead {
		b := c.batch()
		b.buf = appendWindow(b.buf, 0, uint32(c.credit))
		c.recv += c.credit
		c.credit = 0
	}
	if s == nil || s.ended || s.err != nil {
		return
	}
	s.credit += int64(n)
	if s.credit >= bodyRoom/4 && !c.dead {
		b := c.batch()
		b.buf = appendWindow(b.buf, s.id, uint32(s.credit))
		s.recv += s.credit
		s.credit = 0
	}
}
