package front

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"time"
)

// space gives room to read into.
func (l *loop) space() []byte {
	if l.w == nil {
		l.w = workPool.Get().(*work)
		l.w.r, l.w.w, l.w.seen, l.w.end = 0, 0, 0, 0
	}
	w := l.w
	if w.r == w.w {
		w.r, w.w, w.seen = 0, 0, 0
	} else if w.w == len(w.buf) && w.r > 0 {
		copy(w.buf, w.buf[w.r:w.w])
		w.w, w.seen, w.r = w.w-w.r, w.seen-w.r, 0
	}
	if w.w == len(w.buf) && len(w.buf) < l.c.front.roomMax {
		grown := make([]byte, min(2*len(w.buf), l.c.front.roomMax))
		copy(grown, w.buf)
		w.buf = grown
	}
	return w.buf[w.w:]
}

// release gives the work back when it holds nothing.
func (l *loop) release() {
	w := l.w
	if w == nil || w.r != w.w {
		return
	}
	l.w = nil
	if len(w.buf) > keepRoom {
		w.buf = make([]byte, room)
	}
	w.head.buf = nil
	w.req = Request{}
	w.sent = Sent{}
	workPool.Put(w)
}

// held is what was read and not yet used.
func (l *loop) held() []byte {
	if l.w == nil {
		return nil
	}
	return l.w.buf[l.w.r:l.w.w]
}

// drop forgets n bytes of what is held.
func (l *loop) drop(n int) {
	w := l.w
	w.r += n
	w.seen = max(w.seen, w.r)
	w.end = 0
}

// fill reads more, waiting for it. The buffer is only taken once there is something to read, except under TLS.
func (l *loop) fill() error {
	c := l.c
	if c.secure {
		p := l.space()
		n, err := c.stream.Read(p)
		l.w.w += n
		if n > 0 {
			return nil
		}
		return err
	}
	n, err := c.sock.readLazy(l.get, l.put)
	if n > 0 {
		l.w.w += n
	}
	return err
}

// preface begins an HTTP/2 connection (RFC 9113 §3.4), as far as it looks like a head.
var preface = []byte("PRI * HTTP/2.0\r\n\r\n")

// readHead reads until a whole head is held. ok false: the connection ended or waited too long.
func (l *loop) readHead() (ref *refusal, ok bool) {
	lim := &l.c.front.opts.Limits
	blank := 0
	waiting := false // for the rest of a head
	for {
		if w := l.w; w != nil && w.r < w.w {
			if blank == 0 && w.w-w.r >= 2 && w.buf[w.r] == '\r' && w.buf[w.r+1] == '\n' {
				blank++ // one empty line before a request is forgiven (RFC 9112 §2.2)
				l.drop(2)
				continue
			}
			w.seen = max(w.seen, w.r)
			end, next, ref := scanHead(w.buf[w.r:w.w], w.seen-w.r)
			w.seen, w.end = w.r+next, end
			switch {
			case ref != nil:
				return ref, true
			case end > lim.HeadBytes:
				return errTooLarge, true
			case end > 0:
				return nil, true
			case w.w-w.r >= lim.HeadBytes:
				return l.tooLarge(), true
			}
			if !waiting {
				waiting = true
				l.c.setRead(deadline(lim.HeadTime), false)
			}
		} else if !l.awaitIdle() {
			return nil, false
		}
		if err := l.fill(); err != nil {
			if !l.lastChance(err) {
				l.timedOut(err)
				return nil, false
			}
		}
	}
}

// tooLarge says what of an endless head is too large.
func (l *loop) tooLarge() *refusal {
	line, _, _ := bytes.Cut(l.held(), []byte{'\n'})
	if len(line) > l.c.front.opts.Limits.URLBytes {
		return errTooLong
	}
	return errTooLarge
}

func deadline(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// awaitIdle prepares to wait for the next request. It says false when Drain wants the connection closed; a connection whose
// first request must be on its way has a moment left.
func (l *loop) awaitIdle() bool {
	l.release()
	c := l.c
	switch {
	case c.front.letsGo(c) && !l.first:
		return false
	case c.front.draining.Load():
		c.setRead(deadline(firstChance), false)
	default:
		c.setRead(deadline(c.front.opts.Limits.IdleTime), true)
	}
	return true
}

const (
	firstChance = time.Second          // for a new connection to bring its request when Drain has begun
	lookAgain   = 2 * time.Millisecond // for a request that crossed with Drain
)

// lastChance looks once more for a request that came in the moment in which Drain woke the idle connection.
func (l *loop) lastChance(err error) bool {
	c := l.c
	if !errors.Is(err, os.ErrDeadlineExceeded) || !c.front.letsGo(c) || len(l.held()) > 0 {
		return false
	}
	c.dead.Lock()
	woken := c.dead.idle && c.dead.until.Equal(past)
	c.dead.Unlock()
	if !woken {
		return false
	}
	c.setRead(deadline(lookAgain), false)
	return l.fill() == nil && len(l.held()) > 0
}

// timedOut ends a head that was not complete in time with 408 (RFC 9110 §15.5.9).
func (l *loop) timedOut(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) && len(l.held()) > 0 {
		l.c.front.stats.slowHeads.Add(1)
		l.refuse(&refusal{http.StatusRequestTimeout, "request head took too long"})
	}
}
