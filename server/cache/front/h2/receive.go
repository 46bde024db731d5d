package h2

import (
	"encoding/binary"
	"time"
)

// headers begins a header block: of a new request, or trailers.
func (c *Conn) headers(f frame, p []byte) error {
	if f.id%2 == 0 {
		return broken(ProtocolError, "HEADERS on a stream that is not the client's")
	}
	pad, self := 0, false
	if f.has(flagPadded) {
		if len(p) < 1 {
			return broken(FrameSizeError, "HEADERS")
		}
		pad, p = int(p[0]), p[1:]
	}
	if f.has(flagPriority) {
		if len(p) < 5 {
			return broken(FrameSizeError, "HEADERS")
		}
		self = binary.BigEndian.Uint32(p)&maxStreamID == f.id
		p = p[5:]
	}
	if pad > len(p) {
		return broken(ProtocolError, "padding")
	}
	p = p[:len(p)-pad]
	b := block{id: f.id, end: f.has(flagEndStream), self: self, s: c.streams[f.id]}
	switch {
	case b.s != nil:
		if b.s.ended {
			return broken(StreamClosed, "HEADERS on a stream that has ended")
		}
	case f.id > c.last:
		if c.leaving != leaving {
			c.last = f.id
			c.opened.put(f.id)
		} else {
			b.ignore = true
		}
	case c.ours.has(f.id):
		b.ignore = true // sent before our RST_STREAM was read
	case c.opened.has(f.id):
		return broken(StreamClosed, "HEADERS on a closed stream")
	default:
		return broken(ProtocolError, "stream numbers go back")
	}
	c.block = b
	c.head.reset(b.s != nil)
	c.head.End = b.end
	return c.fragment(p, f.has(flagEndHeaders))
}

// fragment takes a piece of a header block.
func (c *Conn) fragment(p []byte, end bool) error {
	b := &c.block
	if b.n += len(p); b.n > c.opts.HeadBytes+maxPayload || b.frames > maxParts {
		return c.abused("header block too large")
	}
	if _, err := c.dec.Write(p); err != nil {
		return broken(CompressionError, "HPACK")
	}
	if !end {
		if b.since.IsZero() {
			b.since = time.Now()
		}
		return nil
	}
	if err := c.dec.Close(); err != nil {
		return broken(CompressionError, "HPACK")
	}
	done := c.block
	c.block = block{}
	switch {
	case done.ignore:
		c.noise += noiseHead
		return c.idle(frame{})
	case done.s != nil:
		return c.trailers(done)
	}
	return c.request(done)
}

// request takes a whole head of a request.
func (c *Conn) request(b block) error {
	c.requests++
	c.earn(noiseHead)
	h := &c.head
	h.finish()
	switch {
	case h.Bad != "" || b.self:
		c.owner.Note(BadHead)
		return c.streamError(b.id, ProtocolError)
	case len(c.streams) >= c.opts.Streams || c.handlers >= c.opts.Streams:
		c.reset(b.id, RefusedStream)
		return c.countReset()
	}
	if r := c.owner.Begin(h); r != nil {
		c.reply(b.id, b.end, r)
		return nil
	}
	c.handle(b.id, h)
	return nil
}

// trailers takes the fields behind a body.
func (c *Conn) trailers(b block) error {
	s, h := b.s, &c.head
	switch {
	case s.err != nil:
		return nil
	case !b.end || h.Bad != "" || h.TooLarge || s.left > 0:
		return c.streamError(s.id, ProtocolError)
	}
	s.trailers(h)
	c.endBody(s)
	return nil
}

// dataHead begins a DATA frame (RFC 9113 §6.1): used is how much of the input its head took, 0 if more of it is needed.
func (c *Conn) dataHead(f frame, p []byte) (used int, err error) {
	d := dataFrame{on: true, left: f.n, end: f.has(flagEndStream)}
	used = headLen
	if f.id == 0 || f.id%2 == 0 || f.id > c.last && c.leaving != leaving {
		return 0, broken(ProtocolError, "DATA on an idle stream")
	}
	if f.has(flagPadded) {
		if f.n == 0 {
			return 0, broken(FrameSizeError, "DATA")
		}
		if len(p) == 0 {
			return 0, nil
		}
		used++
		if d.pad = int(p[0]); d.pad > f.n-1 {
			return 0, broken(ProtocolError, "padding")
		}
		d.left = f.n - 1 - d.pad
	}
	if c.recv -= int64(f.n); c.recv < 0 {
		return 0, broken(FlowControlError, "more than the connection's window")
	}
	s := c.streams[f.id]
	if d.left == 0 && !d.end {
		if err := c.idle(f); err != nil {
			return 0, err
		}
	}
	if s == nil || s.ended {
		c.used(nil, f.n)
		if s != nil || !c.ours.has(f.id) && f.id <= c.last {
			err = c.streamError(f.id, StreamClosed)
		} else {
			c.noise++
		}
		c.data = d
		return used, err
	}
	d.s = s
	c.data = d
	c.used(s, f.n-d.left)
	if s.recv -= int64(f.n); s.recv < 0 {
		err = c.streamError(f.id, FlowControlError)
	} else if s.left >= 0 {
		if s.left -= int64(d.left); s.left < 0 || d.end && s.left > 0 {
			err = c.streamError(f.id, ProtocolError)
		}
	}
	return used, err
}

// bodyPart passes on what has come of a DATA frame; done says that it is over.
func (c *Conn) bodyPart(p []byte) (done bool, err error) {
	d := &c.data
	if n := min(len(p), d.left); n > 0 {
		if s := d.s; s != nil {
			if s.err == nil && s.handler {
				s.feed(p[:n])
			} else {
				c.used(nil, n)
			}
		}
		d.left -= n
		c.r += n
		p = p[n:]
	}
	if d.left == 0 {
		n := min(len(p), d.pad)
		d.pad -= n
		c.r += n
	}
	if d.left > 0 || d.pad > 0 {
		return false, nil
	}
	if d.end && d.s != nil && d.s.err == nil {
		c.endBody(d.s)
	}
	c.data = dataFrame{}
	return true, nil
}

// endBody notes END_STREAM of the client.
func (c *Conn) endBody(s *stream) {
	s.ended = true
	if s.cond != nil {
		s.cond.Broadcast()
	}
	if s.closed {
		c.remove(s)
	}
}
