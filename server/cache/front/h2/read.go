package h2

import (
	"encoding/binary"
	"time"
)

// dataFrame is a DATA frame that is coming in: its body goes on as it comes.
type dataFrame struct {
	on   bool
	s    *stream // nil: nobody wants it
	left int     // bytes of body to come
	pad  int     // and of padding behind them
	end  bool
}

// block is a header block that is coming in.
type block struct {
	id     uint32 // 0: none
	n      int    // bytes so far
	frames int
	end    bool // END_STREAM
	s      *stream
	ignore bool // decoded only for HPACK's sake
	self   bool // the stream depends on itself
	since  time.Time
}

// frames takes all whole frames of what was read, and bodies as far as they go.
func (c *Conn) frames() error {
	for {
		if c.next != nil && c.next.size() >= maxOut {
			if err := c.awaitRoom(); err != nil {
				return err
			}
		}
		p := c.in[c.r:c.w]
		if !c.greeted {
			if ok, err := c.greeting(p); !ok {
				return err
			}
			continue
		}
		if c.data.on {
			if done, err := c.bodyPart(p); !done {
				return err
			}
			continue
		}
		if len(p) < headLen {
			return nil
		}
		f := parseFrame(p)
		if f.n > maxPayload {
			return broken(FrameSizeError, "frame too large")
		}
		if f.kind == kindData && c.block.id == 0 {
			used, err := c.dataHead(f, p[headLen:])
			if used == 0 || err != nil {
				return err
			}
			c.r += used
			continue
		}
		if len(p) < headLen+f.n {
			return nil
		}
		c.r += headLen + f.n
		if err := c.whole(f, p[headLen:headLen+f.n]); err != nil {
			return err
		}
	}
}

// awaitRoom waits until enough of what is queued was sent.
func (c *Conn) awaitRoom() error {
	c.flush()
	for !c.dead && c.next != nil && c.next.size() >= maxOut {
		c.room.Wait()
	}
	if c.dead {
		return c.err
	}
	return nil
}

// greeting takes the preface, and looks that SETTINGS follow (RFC 9113 §3.4).
func (c *Conn) greeting(p []byte) (bool, error) {
	n := min(len(p), len(preface))
	if string(p[:n]) != preface[:n] {
		return false, broken(ProtocolError, "no preface")
	}
	if len(p) < len(preface)+headLen {
		return false, nil
	}
	if f := parseFrame(p[len(preface):]); f.kind != kindSettings || f.has(flagAck) {
		return false, broken(ProtocolError, "no settings after the preface")
	}
	c.r += len(preface)
	c.greeted = true
	return true, nil
}

// whole takes a frame that is there in full.
func (c *Conn) whole(f frame, p []byte) error {
	if c.block.id != 0 && (f.kind != kindContinuation || f.id != c.block.id) {
		return broken(ProtocolError, "header block interrupted")
	}
	switch f.kind {
	case kindHeaders:
		return c.headers(f, p)
	case kindContinuation:
		if c.block.id == 0 {
			return broken(ProtocolError, "CONTINUATION without HEADERS")
		}
		c.block.frames++
		return c.fragment(p, f.has(flagEndHeaders))
	}
	if err := c.idle(f); err != nil {
		return err
	}
	switch f.kind {
	case kindPriority:
		return c.priority(f, p)
	case kindReset:
		return c.resetFrame(f, p)
	case kindSettings:
		return c.settings(f, p)
	case kindPing:
		return c.ping(f, p)
	case kindGoAway:
		switch {
		case f.id != 0:
			return broken(ProtocolError, "GOAWAY on a stream")
		case f.n < 8:
			return broken(FrameSizeError, "GOAWAY")
		}
		if c.leaving == staying {
			c.goAway(time.Now())
		}
		return nil
	case kindWindow:
		return c.windowFrame(f, p)
	case kindPush:
		return broken(ProtocolError, "PUSH_PROMISE from a client")
	}
	return nil // unknown ones are ignored (RFC 9113 §4.1)
}

// idle counts a frame that brings no request and no body: a client that sends too many of them goes (RFC 9113 §10.5).
func (c *Conn) idle(f frame) error {
	c.noise++
	if c.noise > maxNoise {
		return c.abused("too many frames")
	}
	return nil
}

const (
	maxNoise  = 4000 // frames that bring nothing
	noiseHead = 16   // of them each request earns
	noiseData = 4    // and each DATA frame that we send,
	tinyData  = 256  // if the client's window does not make it smaller than this
)

func (c *Conn) earn(n int64) { c.noise = max(c.noise-n, -maxNoise) }

func (c *Conn) abused(why string) error {
	c.owner.Note(Abused)
	return broken(EnhanceYourCalm, why)
}

func (c *Conn) priority(f frame, p []byte) error {
	if f.id == 0 {
		return broken(ProtocolError, "PRIORITY without a stream")
	}
	if f.n != 5 {
		return c.streamError(f.id, FrameSizeError)
	}
	if binary.BigEndian.Uint32(p)&maxStreamID == f.id {
		return c.streamError(f.id, ProtocolError)
	}
	return nil
}

func (c *Conn) resetFrame(f frame, p []byte) error {
	switch {
	case f.id == 0 || f.id > c.last || f.id%2 == 0:
		return broken(ProtocolError, "RST_STREAM of an idle stream")
	case f.n != 4:
		return broken(FrameSizeError, "RST_STREAM")
	}
	s := c.streams[f.id]
	if s == nil {
		return nil
	}
	c.owner.Note(Reset)
	c.drop(s, errReset)
	return c.countReset()
}

// countReset counts streams that came to nothing, by the client's doing: a few are normal, a connection of nothing else is an
// attack (CVE-2023-44487).
func (c *Conn) countReset() error {
	c.resets++
	if most := int64(c.opts.Resets); most > 0 && c.resets > most+c.requests/4 {
		return c.abused("too many streams reset")
	}
	return nil
}

// streamError ends a stream of which the client has made something wrong.
func (c *Conn) streamError(id uint32, code Code) error {
	c.reset(id, code)
	if s := c.streams[id]; s != nil {
		c.drop(s, errReset)
	}
	return c.countReset()
}

func (c *Conn) settings(f frame, p []byte) error {
	switch {
	case f.id != 0:
		return broken(ProtocolError, "SETTINGS on a stream")
	case f.has(flagAck) && f.n != 0, f.n%settingLen != 0:
		return broken(FrameSizeError, "SETTINGS")
	case f.has(flagAck):
		return nil
	}
	c.noise += int64(f.n / settingLen)
	for ; len(p) > 0; p = p[settingLen:] {
		if err := c.setting(binary.BigEndian.Uint16(p), binary.BigEndian.Uint32(p[2:])); err != nil {
			return err
		}
	}
	b := c.batch()
	b.buf = appendFrame(b.buf, 0, kindSettings, flagAck, 0)
	return nil
}

func (c *Conn) setting(id uint16, v uint32) error {
	switch id {
	case setTableSize:
		c.enc.SetMaxDynamicTableSize(min(v, maxTable))
	case setPush:
		if v > 1 {
			return broken(ProtocolError, "ENABLE_PUSH")
		}
	case setWindow:
		if v > maxStreamID {
			return broken(FlowControlError, "INITIAL_WINDOW_SIZE")
		}
		more := int64(v) - c.first
		c.first = int64(v)
		for _, s := range c.streams {
			if s.window += more; s.window > maxStreamID {
				return broken(FlowControlError, "window too large")
			}
			c.push(s)
		}
	case setFrameSize:
		if v < maxPayload || v > 1<<24-1 {
			return broken(ProtocolError, "MAX_FRAME_SIZE")
		}
		c.frame = int(min(v, largestFrame))
	}
	return nil
}

func (c *Conn) ping(f frame, p []byte) error {
	switch {
	case f.id != 0:
		return broken(ProtocolError, "PING on a stream")
	case f.n != 8:
		return broken(FrameSizeError, "PING")
	case !f.has(flagAck):
		b := c.batch()
		b.buf = appendPing(b.buf, flagAck, [8]byte(p))
	case [8]byte(p) == leavePing && c.leaving == warned:
		c.lastCall()
	}
	return nil
}

func (c *Conn) windowFrame(f frame, p []byte) error {
	if f.n != 4 {
		return broken(FrameSizeError, "WINDOW_UPDATE")
	}
	n := int64(binary.BigEndian.Uint32(p) & maxStreamID)
	if f.id == 0 {
		if c.window += n; n == 0 {
			return broken(ProtocolError, "WINDOW_UPDATE of nothing")
		} else if c.window > maxStreamID {
			return broken(FlowControlError, "window too large")
		}
		return nil
	}
	if f.id > c.last || f.id%2 == 0 {
		return broken(ProtocolError, "WINDOW_UPDATE of an idle stream")
	}
	s := c.streams[f.id]
	switch {
	case s == nil:
		return nil
	case n == 0:
		return c.streamError(f.id, ProtocolError)
	}
	if s.window += n; s.window > maxStreamID {
		return c.streamError(f.id, FlowControlError)
	}
	c.push(s)
	return nil
}
