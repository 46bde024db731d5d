package h2

import (
	"errors"
	"os"
	"time"
)

// leave is how far the end in good order has come (RFC 9113 §6.8).
type leave uint8

const (
	staying leave = iota
	warned        // GOAWAY without a last stream: requests on their way are still served
	leaving       // GOAWAY with the last stream that is served
)

// patience is how long a client may take to answer the PING behind the first GOAWAY.
const patience = time.Second

var leavePing = [8]byte{'g', 'o', ' ', 'a', 'w', 'a', 'y', '.'}

// goAway begins the end: the client is told not to send further requests, and a PING tells when it has heard.
func (c *Conn) goAway(now time.Time) {
	b := c.batch()
	b.buf = appendGoAway(b.buf, maxStreamID, NoError, "")
	b.buf = appendPing(b.buf, 0, leavePing)
	c.leaving, c.leaveAt = warned, now.Add(patience)
}

// lastCall names the last stream that is served.
func (c *Conn) lastCall() {
	b := c.batch()
	b.buf = appendGoAway(b.buf, c.last, NoError, "")
	c.leaving = leaving
}

var errDone = &connError{NoError, "done"}

// over says whether the end is reached: nothing is at work and all is sent.
func (c *Conn) over() error {
	if c.leaving == leaving && len(c.streams) == 0 && !c.flushing && c.next == nil {
		return errDone
	}
	return nil
}

// end closes the connection: what the client can still be told is sent, then everything that waits is woken.
func (c *Conn) end(err error) {
	c.mu.Lock()
	var why *connError
	told := errors.As(err, &why) && !c.dead
	if told {
		if c.leaving != leaving || why.code != NoError {
			b := c.batch()
			b.buf = appendGoAway(b.buf, c.last, why.code, why.why)
		}
		c.flush()
		told = !c.flushing && !c.dead
	}
	c.die(err)
	giveRoom(c.in)
	c.in = nil
	c.mu.Unlock()
	if told {
		c.wire.Linger()
	}
	c.wire.Close()
}

// die ends all that goes on, with the connection locked.
func (c *Conn) die(err error) {
	if c.dead {
		return
	}
	if err == nil {
		err = os.ErrClosed
	}
	c.dead, c.err = true, err
	c.cancel()
	for _, s := range c.streams {
		c.drop(s, errConn)
	}
	c.ready = nil
	c.room.Broadcast()
	if !c.flushing {
		c.abandon()
	}
	c.wire.SetWake(past)
}

var past = time.Unix(1, 0)

// errConn is what streams hear when the connection has ended.
var errConn = errors.New("http2: connection closed")

// errReset is what a stream hears when the client reset it.
var errReset = errors.New("http2: stream reset by the client")
