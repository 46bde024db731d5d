package h2

import (
	"os"
	"sync"
)

// Sizes of what is sent.
const (
	maxBatch     = 256 << 10 // bytes of bodies that one batch takes
	maxTurn      = 1 << 20   // bytes sent by whoever has something to send; more is left to drain
	quantum      = 64 << 10  // bytes of one stream before it is another's turn
	largestFrame = 64 << 10  // that we send, if the client takes it
	copyBelow    = 2 << 10   // bytes that are copied rather than pointed at
	copyReply    = 16 << 10  // a body up to this goes out with its head at once
)

// seg is a piece of a body in a batch, between two bytes of its buffer.
type seg struct {
	at   int // the piece comes before buf[at]
	data []byte
	file *os.File
	off  int64
	n    int
}

// batch is what is written in one go: frames in buf, bodies pointed at by segs.
type batch struct {
	buf     []byte
	segs    []seg
	bodies  int       // bytes of segs
	replies []sentOne // that are whole in buf
	streams []*stream // that have pieces here

	pos, seg, off int // how far it is written: in buf, in segs, in the segment
}

// sentOne is a reply that is over with the batch.
type sentOne struct {
	r    *Reply
	body int64
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func (b *batch) size() int { return len(b.buf) + b.bodies }

// free empties b and gives it back.
func (b *batch) free() {
	clear(b.segs)
	clear(b.replies)
	clear(b.streams)
	if cap(b.buf) > 2*maxOut {
		b.buf = nil
	}
	*b = batch{buf: b.buf[:0], segs: b.segs[:0], replies: b.replies[:0], streams: b.streams[:0]}
	batches.Put(b)
}

// batch is what is sent next.
func (c *Conn) batch() *batch {
	if c.next == nil {
		c.next = batches.Get().(*batch)
	}
	return c.next
}

// reply queues an answer: its head at once, its body too when it is short.
func (c *Conn) reply(id uint32, end bool, r *Reply) {
	b := c.batch()
	r.length = 0
	inline := len(c.ready) == 0
	for i := range r.Parts {
		p := &r.Parts[i]
		inline = inline && p.File == nil
		r.length += p.Length
	}
	r.head = c.writeHead(id, r)
	if r.length > 0 && (!inline || r.length > min(c.window, c.first, copyReply)) {
		s := c.add(id, end)
		s.reply, s.parts, s.last, s.since, s.gone = r, r.Parts, true, c.clock, r.Progress
		c.push(s)
		return
	}
	if r.length > 0 {
		c.window -= r.length
		c.earn(noiseData)
		b.buf = appendFrame(b.buf, int(r.length), kindData, flagEndStream, id)
		for i := range r.Parts {
			b.buf = append(b.buf, r.Parts[i].Bytes...)
		}
	}
	b.replies = append(b.replies, sentOne{r, r.length})
	if !end {
		c.reset(id, NoError)
	}
}

// fill adds bodies to what is sent next, in turns of the streams, as far as windows and the batch allow.
func (c *Conn) fill() {
	for len(c.ready) > 0 {
		s := c.ready[0]
		if len(s.parts) > 0 && (c.window <= 0 || c.next != nil && c.next.size() >= maxBatch) {
			return
		}
		c.ready = c.ready[1:]
		s.queued = false
		if s.err == nil && !s.closed {
			c.turn(s)
		}
	}
	c.ready = c.ready[:0]
}

// turn lets one stream send.
func (c *Conn) turn(s *stream) {
	b := c.batch()
	for left := int64(quantum); left > 0 && len(s.parts) > 0 && s.window > 0 && c.window > 0; {
		left -= c.dataFrame(b, s)
	}
	if len(s.parts) == 0 && s.last && !s.closed {
		b.buf = appendFrame(b.buf, 0, kindData, flagEndStream, s.id)
		c.shut(s)
	}
	c.push(s)
}

// dataFrame adds one DATA frame of s and says how many bytes of body it has.
func (c *Conn) dataFrame(b *batch, s *stream) int64 {
	if len(b.streams) == 0 || b.streams[len(b.streams)-1] != s {
		b.streams = append(b.streams, s)
		s.refs++
	}
	most := min(int64(c.frame), s.window, c.window)
	begin := len(b.buf)
	b.buf = appendFrame(b.buf, 0, kindData, 0, s.id)
	var n int64
	for n < most && len(s.parts) > 0 {
		p := &s.parts[0]
		m := min(p.Length-s.at, most-n)
		b.add(p, s.at, m)
		n += m
		if s.at += m; s.at == p.Length {
			s.parts, s.at = s.parts[1:], 0
		}
	}
	putLength(b.buf[begin:], int(n))
	s.window -= n
	c.window -= n
	s.sent += n
	s.took += n
	if n >= tinyData {
		c.earn(noiseData)
	}
	if len(s.parts) == 0 && s.last {
		b.buf[begin+4] = flagEndStream
		c.shut(s)
	}
	return n
}

// add points at n bytes of p from at, or copies them when they are few.
func (b *batch) add(p *Part, at, n int64) {
	switch {
	case p.File != nil:
		b.segs = append(b.segs, seg{at: len(b.buf), file: p.File, off: p.Offset + at, n: int(n)})
	case n <= copyBelow:
		b.buf = append(b.buf, p.Bytes[at:at+n]...)
		return
	default:
		b.segs = append(b.segs, seg{at: len(b.buf), data: p.Bytes[at : at+n], n: int(n)})
	}
	b.bodies += int(n)
}

// flush sends what is queued as far as the socket takes it; the rest is left to a goroutine that waits. It is called with the
// connection locked, and unlocks it while it writes.
func (c *Conn) flush() {
	if c.flushing || c.dead || c.next == nil && len(c.ready) == 0 {
		return
	}
	c.wire.Calm()
	c.flushing = true
	for sent := 0; c.begin(); {
		sent += c.now.size()
		done, err := c.writeSome()
		if err != nil {
			c.broke(err)
			return
		}
		if !done || sent > maxTurn && c.more() {
			c.work.Go(c.drain)
			return
		}
		c.written()
	}
	c.stopped()
}

// writeSome writes as much of the batch at work as goes at once, with the connection unlocked.
func (c *Conn) writeSome() (done bool, err error) {
	c.mu.Unlock()
	defer c.mu.Lock()
	if done, err = c.write(false); done {
		c.now.tell(nil)
	}
	return done, err
}

// stopped is called when whoever sent has nothing more to send.
func (c *Conn) stopped() {
	c.flushing = false
	if c.sendRoom != nil {
		c.vec = nil
		clear(c.sendRoom.vec[:])
		sendRooms.Put(c.sendRoom)
		c.sendRoom = nil
	}
	switch {
	case c.dead:
		c.abandon()
	case c.leaving == leaving && len(c.streams) == 0:
		c.wire.SetWake(past)
	}
}

// more says whether there is anything to send beside what is being sent.
func (c *Conn) more() bool { return c.next != nil || len(c.ready) > 0 && c.window > 0 }

// begin takes what is queued as the batch to send; false: there is nothing.
func (c *Conn) begin() bool {
	c.fill()
	if c.next == nil || c.dead {
		return false
	}
	c.now, c.next = c.next, nil
	for _, s := range c.now.streams {
		s.begun = s.sent
	}
	c.room.Broadcast()
	return true
}

// drain sends what is queued, waiting for the socket, until nothing is left.
func (c *Conn) drain() {
	for {
		_, err := c.write(true)
		if err == nil {
			c.now.tell(nil)
		}
		c.mu.Lock()
		if err != nil {
			c.broke(err)
			c.mu.Unlock()
			return
		}
		c.written()
		if !c.begin() {
			break
		}
		c.mu.Unlock()
	}
	c.stopped()
	c.mu.Unlock()
}

// tell lets the replies that are over with b know.
func (b *batch) tell(err error) {
	for _, d := range b.replies {
		n := d.body
		if err != nil {
			n = 0
		}
		d.r.over(n, err)
	}
	clear(b.replies)
	b.replies = b.replies[:0]
}

// written lets go of the batch that was sent.
func (c *Conn) written() {
	b := c.now
	c.now = nil
	for _, s := range b.streams {
		if s.gone != nil {
			s.gone.Store(s.begun)
		}
		c.unref(s)
	}
	b.free()
}

func (c *Conn) unref(s *stream) {
	s.refs--
	if s.cond != nil {
		s.cond.Broadcast()
	}
	c.settle(s)
}

// broke ends the connection after an error of writing.
func (c *Conn) broke(err error) {
	c.die(err)
	c.stopped()
}

// abandon gives up what is queued and being sent: the connection has ended and nobody writes.
func (c *Conn) abandon() {
	for _, b := range []*batch{c.now, c.next} {
		if b == nil {
			continue
		}
		b.tell(c.err)
		for _, s := range b.streams {
			c.unref(s)
		}
		b.free()
	}
	c.now, c.next = nil, nil
}

// write sends the batch at work; done says that all of it has gone.
func (c *Conn) write(wait bool) (done bool, err error) {
	b := c.now
	for {
		if len(c.vec) == 0 {
			if c.vec, err = c.gather(b); err != nil {
				return false, err
			}
			if len(c.vec) == 0 {
				return true, nil
			}
		}
		n, full, err := c.wire.Write(c.vec, wait)
		c.advance(n)
		if err != nil {
			return false, err
		}
		if full && !wait {
			return false, nil
		}
	}
}

// advance takes n bytes off what was gathered.
func (c *Conn) advance(n int) {
	for n > 0 && len(c.vec) > 0 {
		if n < len(c.vec[0]) {
			c.vec[0] = c.vec[0][n:]
			return
		}
		n -= len(c.vec[0])
		c.vec = c.vec[1:]
	}
}
