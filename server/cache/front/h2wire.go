package front

import (
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// h2Wire is the connection below HTTP/2.
type h2Wire struct {
	c *Conn
	o *h2Owner
}

// Read waits for bytes; in clear text room is taken only once there are some.
func (w *h2Wire) Read(room func() []byte, put func()) (int, error) {
	if !w.c.secure {
		return w.c.sock.readLazy(room, put)
	}
	return w.c.stream.Read(room())
}

// SetWake sets until when Read waits. Drain and Leave wake it too.
func (w *h2Wire) SetWake(t time.Time) {
	d := &w.c.dead
	d.Lock()
	defer d.Unlock()
	d.idle = true
	if d.gone {
		return
	}
	if !w.o.going && w.c.front.woken(w.c) {
		t = past
	}
	d.until = t
	w.c.sock.SetReadDeadline(t)
}

// Calm begins a new account of the least rate.
func (w *h2Wire) Calm() { w.c.sock.calm() }

// Joins: TLS copies all bytes anyway, and one long piece makes whole records.
func (w *h2Wire) Joins() bool { return w.c.secure }

// Write sends bufs. Under TLS what the socket does not take at once is kept as records in the spill.
func (w *h2Wire) Write(bufs [][]byte, wait bool) (n int, full bool, err error) {
	s := w.c.sock
	if !w.c.secure {
		return s.sendVec(bufs, wait)
	}
	if full, err := s.unspill(wait); full || err != nil {
		return 0, full, err
	}
	for _, p := range bufs {
		for len(p) > 0 {
			m, err := w.c.stream.Write(p[:min(len(p), spillPiece)])
			n += m
			if err != nil {
				return n, false, err
			}
			p = p[m:]
			if full, err := s.unspill(wait); full || err != nil {
				return n, full, err
			}
		}
	}
	return n, false, nil
}

// Linger lets the client read the last bytes.
func (w *h2Wire) Linger() {
	c := w.c
	if t, ok := c.stream.(*tls.Conn); ok {
		t.CloseWrite()
	}
	c.sock.CloseWrite()
	c.sock.SetReadDeadline(time.Now().Add(lingerTime))
	io.Copy(io.Discard, io.LimitReader(c.sock.TCPConn, lingerBytes))
}

// Close ends the connection.
func (w *h2Wire) Close() { w.c.finish() }

// spill takes from TLS what the socket does not take at once, so that writing never waits where it must not.
type spill struct {
	mu  sync.Mutex
	buf []byte
	one [1][]byte
}

const (
	spillPiece = 64 << 10  // plain text given to TLS at a time
	spillMost  = 256 << 10 // records that can be kept: more than a piece makes, and an alert
)

var errSpill = errors.New("front: too much waits to be sent")

// spillWrite writes p, or keeps what of it the socket does not take now.
func (s *sock) spillWrite(p []byte) (int, error) {
	sp := s.spill
	sp.mu.Lock()
	defer sp.mu.Unlock()
	n := 0
	if len(sp.buf) == 0 {
		var err error
		sp.one[0] = p
		n, _, err = s.sendVec(sp.one[:], false)
		sp.one[0] = nil
		if err != nil {
			return n, err
		}
	}
	if n < len(p) {
		if len(sp.buf)+len(p)-n > spillMost {
			return n, errSpill
		}
		sp.buf = append(sp.buf, p[n:]...)
	}
	return len(p), nil
}

// unspill writes what was kept; full says that some of it still is.
func (s *sock) unspill(wait bool) (full bool, err error) {
	sp := s.spill
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if len(sp.buf) == 0 {
		return false, nil
	}
	sp.one[0] = sp.buf
	n, full, err := s.sendVec(sp.one[:], wait)
	sp.one[0] = nil
	if n == len(sp.buf) {
		sp.buf = nil
	} else {
		sp.buf = sp.buf[n:]
	}
	return full, err
}

// sendVec sends bufs in order. Without wait it sends what the socket takes at once; full says that it took no more.
func (s *sock) sendVec(bufs [][]byte, wait bool) (sent int, full bool, err error) {
	at := 0 // bytes of bufs[0] that have gone
	defer func() { s.op = writeOp{} }()
	for len(bufs) > 0 {
		if at == len(bufs[0]) {
			bufs, at = bufs[1:], 0
			continue
		}
		s.op = writeOp{file: -1, p: bufs[0][at:], rest: bufs[1:], now: !wait}
		n, err := s.step()
		if err == errFull {
			return sent, true, nil
		}
		sent += n
		if err != nil {
			return sent, false, err
		}
		for n > 0 {
			m := min(n, len(bufs[0])-at)
			n -= m
			if at += m; at == len(bufs[0]) {
				bufs, at = bufs[1:], 0
			}
		}
	}
	return sent, false, nil
}

var errFull = errors.New("front: socket full")

// maxIov is how many pieces one system call takes.
const maxIov = 64

// writeVec does a writeOp of many pieces by one system call.
func (s *sock) writeVec(fd uintptr) (int, error) {
	if s.iovs == nil {
		s.iovs = new([maxIov]unix.Iovec)
	}
	iov := s.iovs[:1]
	iov[0].Base = &s.op.p[0]
	iov[0].SetLen(len(s.op.p))
	for _, b := range s.op.rest {
		if len(iov) == maxIov {
			break
		}
		if len(b) > 0 {
			v := unix.Iovec{Base: &b[0]}
			v.SetLen(len(b))
			iov = append(iov, v)
		}
	}
	n, err := rawWritev(fd, iov)
	clear(iov)
	return n, err
}
