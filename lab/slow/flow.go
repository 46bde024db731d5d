package slow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/await"
)

// clientSocket lets a client have any address of its place, and sets its receive
// buffer before the handshake; the kernel doubles what it is told, for its own
// needs. 0: the kernel's own.
func clientSocket(rcvbuf int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		var err error
		return errors.Join(c.Control(func(fd uintptr) {
			if err = unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_FREEBIND, 1); err == nil && rcvbuf > 0 {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, rcvbuf)
			}
		}), err)
	}
}

// congestion sets the congestion control of a connection.
func congestion(c *net.TCPConn, name string) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	e := raw.Control(func(fd uintptr) { err = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, name) })
	if err := errors.Join(e, err); err != nil {
		return fmt.Errorf("congestion control %s: %w", name, err)
	}
	return nil
}

// serve takes connections and sends what the plans of their clients say.
func serve(ctx context.Context, l net.Listener, plans map[netip.Addr]*plan) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		conn := c.(*net.TCPConn)
		p := plans[conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()]
		if err := congestion(conn, p.cc); err != nil {
			conn.Close()
			return err
		}
		wg.Go(func() { p.send(ctx, conn) })
	}
}

// send sends until the client leaves.
func (p *plan) send(ctx context.Context, c *net.TCPConn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	_ = c.SetLinger(0) // what is left is not wanted
	block := make([]byte, 64<<10)
	for {
		left := p.burst
		if left == 0 {
			left = 1 << 30
		}
		for left > 0 {
			n, err := c.Write(block[:min(left, len(block))])
			if left -= n; err != nil {
				return
			}
		}
		if await.Lapse(ctx, p.pause) != nil {
			return
		}
	}
}

// taken is what a client saw.
type taken struct {
	bytes   int64
	elapsed time.Duration // from the first byte on
	reading time.Duration // of it: waiting for data
	paused  time.Time     // when a player's buffer was full first
}

// tick is how often a client with a pace of its own reads.
const tick = 40 * time.Millisecond

// take reads as the plan says until it is over.
func (p *plan) take(ctx context.Context, w *world) (taken, error) {
	var t taken
	c, err := w.dial(ctx, p.client, p.rcvbuf)
	if err != nil {
		return t, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	buf := make([]byte, 128<<10)
	n, err := c.Read(buf[:1])
	if err != nil {
		return t, fmt.Errorf("%v: %w", p.client, err)
	}
	began := time.Now()
	t.bytes = int64(n)
	if err := c.SetReadDeadline(began.Add(p.lasts)); err != nil {
		return t, err
	}
	for {
		room, again := p.wants(&t, time.Since(began), len(buf))
		if room == 0 {
			if t.paused.IsZero() {
				t.paused = time.Now()
			}
			if t.elapsed = time.Since(began); t.elapsed >= p.lasts {
				return t, nil
			}
			if err := await.Lapse(ctx, again); err != nil {
				return t, err
			}
			continue
		}
		at := time.Now()
		n, err := c.Read(buf[:room])
		t.bytes += int64(n)
		t.elapsed = time.Since(began)
		t.reading += time.Since(at)
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || timeout(err) {
			return t, nil
		}
		if err != nil {
			return t, fmt.Errorf("%v: %w", p.client, err)
		}
	}
}

func timeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// wants is how much the client reads now, or, for nothing, when it looks again.
func (p *plan) wants(t *taken, now time.Duration, most int) (int, time.Duration) {
	switch {
	case p.stop > 0 && t.bytes >= p.stop:
		return 0, 10 * tick
	case p.reads > 0:
		if owed := int64(p.reads*now.Seconds()) - t.bytes; owed > 0 {
			return int(min(owed, int64(most))), 0
		}
		return 0, tick
	case p.plays > 0:
		has := float64(t.bytes) - p.plays*now.Seconds()
		if has >= p.high {
			p.full = true
		} else if has <= p.low {
			p.full = false
		}
		if p.full {
			return 0, tick
		}
	}
	return most, 0
}
