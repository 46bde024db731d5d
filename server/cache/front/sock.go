package front

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// errSlow ends a transfer whose client took less than the least rate.
var errSlow = errors.New("front: client too slow")

// sock is one TCP socket. Writes first try without waiting; only a full socket buffer costs a deadline. It judges the
// least rate: time spent waiting adds up, and each window's worth of bytes taken starts anew. One goroutine may read while
// another writes; deadlines can be set from anywhere.
type sock struct {
	*net.TCPConn
	raw   syscall.RawConn
	c     *Conn
	stats *counters

	mu    sync.Mutex
	wdead time.Time // write deadline set from outside

	grace  time.Duration // <= 0: never too slow
	need   int64         // bytes in each grace
	waited time.Duration // since the last need bytes
	taken  int64         // since waited was zero

	gather *[]byte // TLS records that wait to be sent together; nil: each goes at once. See collect
	lost   int64   // of them, not sent

	tooSlow bool // was cut: no more is sent, not even a TLS alert

	iov   [2]unix.Iovec
	iovs  *[maxIov]unix.Iovec // for HTTP/2
	spill *spill              // HTTP/2 under TLS: Write never waits
	op    writeOp
	wfn   func(fd uintptr) bool
	rop   readOp
	rfn   func(fd uintptr) bool
}

// writeOp is what wfn shall do and what came of it.
type writeOp struct {
	p     []byte   // bytes to send,
	more  []byte   // and these behind them,
	rest  [][]byte // or these, or
	file  int      // file to send from, when not negative
	off   int64
	count int
	wait  bool // wait when the socket is full
	now   bool // errFull when the socket is full
	n     int
	err   error
}

type readOp struct {
	get func() []byte // gives room to read into
	put func()        // takes it back when nothing came
	n   int
	err error
}

func newSock(tcp *net.TCPConn, c *Conn, l *Limits, st *counters) (*sock, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &sock{TCPConn: tcp, raw: raw, c: c, stats: st, grace: l.Grace}
	s.need = max(1, int64(float64(l.SendRate)*l.Grace.Seconds()))
	if l.SendRate < 0 {
		s.grace = 0
	}
	s.wfn, s.rfn = s.tryWrite, s.tryRead
	return s, nil
}

// tryWrite is run by the poller: true when it is done.
func (s *sock) tryWrite(fd uintptr) bool {
	o := &s.op
	for {
		if o.file >= 0 {
			o.n, o.err = s.c.front.sender.send(fd, o)
		} else if len(o.rest) > 0 {
			o.n, o.err = s.writeVec(fd)
		} else if len(o.more) == 0 {
			o.n, o.err = rawWrite(fd, o.p)
		} else {
			o.n, o.err = s.writev(fd, o.p, o.more)
		}
		if o.err != unix.EINTR {
			break
		}
	}
	return o.err != unix.EAGAIN || !o.wait
}

// step does one write operation, waiting when it must. n may be less than asked.
func (s *sock) step() (int, error) {
	if s.tooSlow {
		return 0, errSlow
	}
	s.op.wait = false
	if err := s.raw.Write(s.wfn); err != nil {
		return 0, err
	}
	if s.op.err == unix.EAGAIN {
		if s.op.now {
			return 0, errFull
		}
		if err := s.waitWrite(); err != nil {
			return 0, err
		}
	}
	if s.op.err != nil {
		return 0, os.NewSyscallError("write", s.op.err)
	}
	s.c.out.Add(int64(s.op.n))
	s.stats.bytesOut.Add(uint64(s.op.n))
	s.taken += int64(s.op.n)
	if s.taken >= s.need {
		s.taken, s.waited = 0, 0
	}
	return s.op.n, nil
}

// waitWrite does the operation once the socket has room, and keeps the account of time waited.
func (s *sock) waitWrite() error {
	s.op.wait = true
	if s.grace <= 0 {
		return s.raw.Write(s.wfn)
	}
	start := time.Now()
	end := start.Add(s.grace - s.waited)
	ours := s.limitWrite(end)
	err := s.raw.Write(s.wfn)
	now := time.Now()
	s.waited += now.Sub(start)
	s.restoreWrite()
	if ours && errors.Is(err, os.ErrDeadlineExceeded) && !now.Before(end) {
		s.stats.slow.Add(1)
		s.tooSlow = true
		return errSlow
	}
	return err
}

// limitWrite sets the earlier of end and the outside deadline; ours says that it is end.
func (s *sock) limitWrite(end time.Time) (ours bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.wdead.IsZero() && s.wdead.Before(end) {
		return false
	}
	s.TCPConn.SetWriteDeadline(end)
	return true
}

func (s *sock) restoreWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.TCPConn.SetWriteDeadline(s.wdead)
}

// SetWriteDeadline sets a deadline beside the least rate's.
func (s *sock) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wdead.IsZero() && t.IsZero() {
		return nil
	}
	s.wdead = t
	return s.TCPConn.SetWriteDeadline(t)
}

// SetDeadline sets both deadlines.
func (s *sock) SetDeadline(t time.Time) error {
	s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

// Write sends all of p, or keeps it for the next that does while records are gathered.
func (s *sock) Write(p []byte) (int, error) {
	switch {
	case s.spill != nil:
		return s.spillWrite(p)
	case s.gather != nil:
		return s.gatherWrite(p)
	}
	return s.send(p, nil)
}

// writev writes two pieces by one system call.
func (s *sock) writev(fd uintptr, p, more []byte) (int, error) {
	s.iov[0].Base, s.iov[1].Base = &p[0], &more[0]
	s.iov[0].SetLen(len(p))
	s.iov[1].SetLen(len(more))
	n, err := rawWritev(fd, s.iov[:])
	s.iov[0].Base, s.iov[1].Base = nil, nil
	return n, err
}

// send sends all of p and more, both by the same system calls as far as that goes.
func (s *sock) send(p, more []byte) (sent int, err error) {
	for sent < len(p)+len(more) {
		s.op = writeOp{file: -1}
		if sent < len(p) {
			s.op.p, s.op.more = p[sent:], more
		} else {
			s.op.p = more[sent-len(p):]
		}
		n, err := s.step()
		sent += n
		if err != nil {
			s.op = writeOp{}
			return sent, err
		}
	}
	s.op = writeOp{}
	return sent, nil
}

// sendFile sends length bytes of f from off by sendfile, the file's own offset untouched. A file that ends early gives
// io.ErrUnexpectedEOF.
func (s *sock) sendFile(f *os.File, off, length int64) (sent int64, err error) {
	fd := int(f.Fd())
	for sent < length {
		s.op = writeOp{file: fd, off: off + sent, count: int(min(length-sent, sendUnit))}
		n, err := s.step()
		s.stats.sendfile.Add(1)
		s.stats.sendfileBytes.Add(uint64(n))
		sent += int64(n)
		if err != nil {
			return sent, err
		}
		if n == 0 {
			return sent, io.ErrUnexpectedEOF
		}
	}
	return sent, nil
}

// calm forgets the time waited: a new response begins.
func (s *sock) calm() { s.waited, s.taken = 0, 0 }

func (s *sock) tryRead(fd uintptr) bool {
	o := &s.rop
	p := o.get()
	for {
		o.n, o.err = rawRead(fd, p)
		if o.err != unix.EINTR {
			break
		}
	}
	if o.err == unix.EAGAIN {
		o.put()
		return false
	}
	return true
}

// readLazy reads into what get gives, asked for only when something can be read; put takes it back.
func (s *sock) readLazy(get func() []byte, put func()) (int, error) {
	s.rop = readOp{get: get, put: put}
	if err := s.raw.Read(s.rfn); err != nil {
		return 0, err
	}
	switch o := &s.rop; {
	case o.err != nil:
		return 0, os.NewSyscallError("read", o.err)
	case o.n == 0:
		return 0, io.EOF
	default:
		s.got(o.n)
		return o.n, nil
	}
}

// Read reads what is there, waiting for it.
func (s *sock) Read(p []byte) (int, error) {
	n, err := s.TCPConn.Read(p)
	s.got(n)
	return n, err
}

func (s *sock) got(n int) {
	s.c.in.Add(int64(n))
	s.stats.bytesIn.Add(uint64(n))
}

// Close ends the connection and takes it out of the registry.
func (s *sock) Close() error {
	s.c.finish()
	return nil
}
