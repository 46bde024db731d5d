package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/sandbox"
)

// sockets are connections from this host's VIP to clients on the same host.
// Small ones have got an answer and wait; their clients are gone without a
// word, so that each is one socket and not two. Large ones are downloads that
// their clients read slowly.
type sockets struct {
	server []net.Conn // both
	slow   []net.Conn // the clients of large ones
}

// vip is the address that all are to.
var vip = netip.MustParseAddr("192.0.2.1")

const (
	answer = 2 << 10   // of a small flow, bytes
	begun  = 320 << 10 // of a large one, read by its client
	buffer = 16 << 10  // of the sockets of large ones
)

// open makes the connections.
func open(ctx context.Context, number, small, large int) (*sockets, error) {
	s := &sockets{}
	if err := sandbox.Address(vip); err != nil {
		return s, err
	}
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, "tcp", netip.AddrPortFrom(vip, uint16(443+number)).String())
	if err != nil {
		return s, err
	}
	defer l.Close()
	for i := range small + large {
		if err := ctx.Err(); err != nil {
			return s, err
		}
		if err := s.add(ctx, l, number, i, i < large); err != nil {
			return s, fmt.Errorf("connection %d: %w", i, err)
		}
	}
	return s, nil
}

// add makes one connection, from one of many addresses.
func (s *sockets) add(ctx context.Context, l net.Listener, number, i int, large bool) error {
	d := net.Dialer{KeepAlive: -1, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 1, byte(number), 1), Port: 10_000 + i}}
	d.SetMultipathTCP(false)
	if large {
		d.Control = func(_, _ string, c syscall.RawConn) error { return set(c, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) }
	}
	c, err := d.DialContext(ctx, "tcp", l.Addr().String())
	if err != nil {
		return err
	}
	a, err := l.Accept()
	if err != nil {
		return err
	}
	s.server = append(s.server, a)
	if large {
		s.slow = append(s.slow, c)
		return s.begin(c.(*net.TCPConn), a.(*net.TCPConn))
	}
	if _, err := a.Write(make([]byte, answer)); err != nil {
		return err
	}
	if err := read(c, answer); err != nil {
		return err
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return err
	}
	if err := set(raw, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1); err != nil { // its end is not told to the other side
		return err
	}
	return c.Close()
}

// begin lets a large flow have got its first bytes, and then wait for its
// client with more.
func (s *sockets) begin(c, a *net.TCPConn) error {
	raw, err := a.SyscallConn()
	if err != nil {
		return err
	}
	if err := set(raw, unix.SOL_SOCKET, unix.SO_SNDBUF, buffer); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		_, err := a.Write(make([]byte, begun))
		done <- err
	}()
	if err := errors.Join(read(c, begun), <-done); err != nil {
		return err
	}
	return fill(raw)
}

// fill writes until there is no more room.
func fill(raw syscall.RawConn) error {
	var err error
	buf := make([]byte, buffer)
	e := raw.Write(func(fd uintptr) bool {
		for err == nil {
			_, err = unix.Write(int(fd), buf)
		}
		return true
	})
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	return errors.Join(e, err)
}

// move lets every large flow get on.
func (s *sockets) move() error {
	for i, c := range s.slow {
		if err := read(c, buffer/2); err != nil {
			return err
		}
		raw, err := s.server[i].(*net.TCPConn).SyscallConn()
		if err != nil {
			return err
		}
		if err := fill(raw); err != nil {
			return err
		}
	}
	return nil
}

func (s *sockets) close() {
	for _, c := range s.server {
		c.Close()
	}
	for _, c := range s.slow {
		c.Close()
	}
}

func set(c syscall.RawConn, level, name, value int) error {
	var err error
	e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), level, name, value) })
	return errors.Join(e, err)
}

func read(c net.Conn, n int) error {
	_, err := io.CopyN(io.Discard, c, int64(n))
	return err
}
