package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// origin is a server of the POP: who connects says how many bytes he wants.
type origin struct {
	listener net.Listener
	// before is called with each connection before its first byte.
	before func(*net.TCPConn)
}

// listen makes one with a congestion control.
func (w *world) listen(ctx context.Context, control string) (*origin, error) {
	o := &origin{before: func(*net.TCPConn) {}}
	err := w.pop.do(func() error {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return congestion(c, control) }}
		lc.SetMultipathTCP(false)
		var err error
		o.listener, err = lc.Listen(ctx, "tcp", netip.AddrPortFrom(popAddr.Addr(), 0).String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("server with %s: %w", control, err)
	}
	return o, nil
}

func congestion(c syscall.RawConn, name string) error {
	var err error
	e := c.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name) })
	return errors.Join(e, err)
}

// download is how one went, from the first packet of its handshake on.
type download struct {
	at       map[int]time.Duration // when so many bytes were there
	retrans  uint32                // segments sent again
	rate     uint64                // the kernel's delivery rate at the end, bytes a second
	rtt      time.Duration         // at the end
	received int
}

// fetch downloads n bytes from o and notes when the marks were reached. It
// ends early with ctx.
func (w *world) fetch(ctx context.Context, o *origin, n, buffer int, marks ...int) (d download, err error) {
	served := make(chan error, 1)
	go func() { served <- o.serve(&d) }()
	var c net.Conn
	began := time.Now()
	err = w.client.do(func() error {
		dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
			if buffer == 0 {
				return nil
			}
			var err error
			e := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) })
			return errors.Join(e, err)
		}}
		dialer.SetMultipathTCP(false)
		began = time.Now()
		var err error
		c, err = dialer.DialContext(ctx, "tcp", o.listener.Addr().String())
		return err
	})
	if err != nil {
		return d, err
	}
	defer context.AfterFunc(ctx, func() { c.Close() })()
	if _, err := c.Write(binary.BigEndian.AppendUint64(nil, uint64(n))); err != nil {
		return d, err
	}
	at, got := map[int]time.Duration{}, 0
	buf := make([]byte, 256<<10)
	for got < n {
		k, err := c.Read(buf)
		got += k
		for _, m := range marks {
			if got >= m && at[m] == 0 {
				at[m] = time.Since(began)
			}
		}
		if err != nil {
			break
		}
	}
	c.Close()
	err = <-served
	d.at, d.received = at, got
	if got < n && ctx.Err() == nil {
		return d, fmt.Errorf("got %d of %d bytes: %w", got, n, err)
	}
	return d, nil
}

var zeros = make([]byte, 64<<10)

// serve answers one connection.
func (o *origin) serve(d *download) error {
	c, err := o.listener.Accept()
	if err != nil {
		return err
	}
	defer c.Close()
	var want [8]byte
	if _, err := io.ReadFull(c, want[:]); err != nil {
		return err
	}
	conn := c.(*net.TCPConn)
	o.before(conn)
	for left := int(binary.BigEndian.Uint64(want[:])); left > 0; left -= len(zeros) {
		if _, err = conn.Write(zeros[:min(left, len(zeros))]); err != nil {
			break
		}
	}
	if err == nil { // until the client has it all and closes
		_, err = conn.Read(want[:])
	}
	if raw, e := conn.SyscallConn(); e == nil {
		_ = raw.Control(func(fd uintptr) {
			if i, e := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); e == nil {
				d.retrans, d.rate, d.rtt = i.Total_retrans, i.Delivery_rate, time.Duration(i.Rtt)*time.Microsecond
			}
		})
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
