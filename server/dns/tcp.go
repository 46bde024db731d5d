package dns

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// streamListener is a TCP socket, with TLS or without.
type streamListener struct {
	*net.TCPListener
	tls *tls.Config
}

func (l *streamListener) addr() netip.AddrPort {
	a := l.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func listenStream(l Listen) (*streamListener, error) {
	host, _, err := net.SplitHostPort(l.Address)
	if err != nil {
		return nil, err
	}
	network := "tcp6"
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		network = "tcp4"
	}
	t, err := new(net.ListenConfig).Listen(context.Background(), network, l.Address)
	if err != nil {
		return nil, err
	}
	return &streamListener{t.(*net.TCPListener), l.TLS}, nil
}

// conn is a connection of a client.
type conn struct {
	net.Conn
	srv     *Server
	from    netip.AddrPort
	busy    atomic.Bool // between a question and its answer
	leaving atomic.Bool
}

// leave ends the connection once it is idle.
func (c *conn) leave() {
	c.leaving.Store(true)
	if !c.busy.Load() {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
}

// accept takes connections until the listener is closed.
func (s *Server) accept(ctx context.Context, l *streamListener) error {
	for {
		t, err := l.AcceptTCP()
		if err != nil {
			var temporary interface{ Temporary() bool }
			if errors.As(err, &temporary) && temporary.Temporary() { //nolint:staticcheck // out of descriptors
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(50 * time.Millisecond):
					continue
				}
			}
			return err
		}
		from := t.RemoteAddr().(*net.TCPAddr).AddrPort()
		c := &conn{Conn: t, srv: s, from: netip.AddrPortFrom(from.Addr().Unmap().WithZone(""), from.Port())}
		if l.tls != nil {
			c.Conn = tls.Server(t, l.tls)
		}
		if !s.admit(c) {
			s.stats.connsRefused.Add(1)
			t.Close()
			continue
		}
		go c.serve()
	}
}

// admit counts a connection, within the limits.
func (s *Server) admit(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := clientKey(c.from.Addr())
	if s.draining || len(s.conns) >= s.opt.Limits.Conns || s.nets[key] >= s.opt.Limits.ConnsClient {
		return false
	}
	s.conns[c] = struct{}{}
	s.nets[key]++
	s.work.Add(1)
	s.stats.connsAccepted.Add(1)
	return true
}

func (c *conn) gone() {
	c.Close()
	s := c.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	key := clientKey(c.from.Addr())
	if s.nets[key]--; s.nets[key] == 0 {
		delete(s.nets, key)
	}
	s.work.Done()
}

// serve answers questions in order (RFC 7766 §6.2.1.1 lets a client send many
// at once).
func (c *conn) serve() {
	defer c.gone()
	s := c.srv
	w := newWorker(s, false)
	w.from = c.from
	if a, ok := c.LocalAddr().(*net.TCPAddr); ok {
		w.local = a.AddrPort().Addr().Unmap()
	}
	in := bufio.NewReaderSize(c, 4096)
	var msg, out []byte
	for range s.opt.Limits.ConnQueries {
		var err error
		if msg, err = c.read(in, msg); err != nil {
			return
		}
		w.second = uint32(time.Now().Unix())
		_ = c.SetWriteDeadline(time.Now().Add(s.opt.Limits.QueryTime))
		if done, err := c.transfer(w, msg); done || err != nil {
			if err != nil {
				return
			}
			continue
		}
		out = w.answer(out[:0], msg)
		if len(out) == 0 {
			return // not a question: no more of this
		}
		if err := c.send(out); err != nil {
			return
		}
	}
}

// read reads one message. A connection may be idle for a while, a message that
// has begun must come soon.
func (c *conn) read(in *bufio.Reader, buf []byte) ([]byte, error) {
	l := &c.srv.opt.Limits
	c.busy.Store(false)
	_ = c.SetReadDeadline(time.Now().Add(l.IdleTime))
	if c.leaving.Load() && in.Buffered() == 0 {
		return nil, io.EOF
	}
	if _, err := in.Peek(1); err != nil {
		return nil, err
	}
	c.busy.Store(true)
	_ = c.SetReadDeadline(time.Now().Add(l.QueryTime))
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(head[:]))
	if cap(buf) < n {
		buf = make([]byte, n, max(n, 512))
	}
	_, err := io.ReadFull(in, buf[:n])
	return buf[:n], err
}

// send writes a message with its length in one piece.
func (c *conn) send(msg []byte) error {
	if len(msg) > dns.MaxMsgSize {
		return errors.New("message too long")
	}
	b := make([]byte, 2, 2+len(msg))
	binary.BigEndian.PutUint16(b, uint16(len(msg)))
	_, err := c.Write(append(b, msg...))
	return err
}
