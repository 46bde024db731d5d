package vacate

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/server/sockdiag"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// connect gives both ends of a connection to vip of a server that listens at
// listen.
func connect(t *testing.T, listen, vip string) (client, server *net.TCPConn) {
	t.Helper()
	to := netip.MustParseAddr(vip)
	if err := sandbox.Address(to); err != nil {
		t.Fatal(err)
	}
	c, s, err := sandbox.PairAt(t.Context(), netip.MustParseAddr(listen), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c, s
}

// timeWait gives the ends of a connection that its server has closed first.
func timeWait(t *testing.T, listen, vip string) (client, server netip.AddrPort) {
	t.Helper()
	c, s := connect(t, listen, vip)
	server, client = addr(s.LocalAddr()), addr(s.RemoteAddr())
	s.Close()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	c.Close()
	wait(t, func() bool { return state(t, client, server) == sockdiag.TimeWait })
	return client, server
}

func addr(a net.Addr) netip.AddrPort {
	p := a.(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// state is that of the server's end; 0: there is none.
func state(t *testing.T, client, server netip.AddrPort) (is uint8) {
	t.Helper()
	c, err := sockdiag.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Lookup(t.Context(), []sockdiag.ID{{Local: server, Remote: client}}, func(s *sockdiag.Socket) { is = s.State }); err != nil {
		t.Fatal(err)
	}
	return is
}

func wait(t *testing.T, what func() bool) {
	t.Helper()
	for stop := time.Now().Add(20 * time.Second); !what(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(stop) {
			t.Fatal("not within 20 s")
		}
	}
}

func run(t *testing.T) *Vacater {
	v := New()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return v
}

// TestVacate: a connection in TIME-WAIT goes, one that is open or half closed
// stays, and where nothing is nothing is done.
func TestVacate(t *testing.T) {
	for _, c := range []struct{ name, listen, vip string }{
		{"IPv4", "127.0.0.7", "127.0.0.7"}, {"IPv6", "2001:db8::7", "2001:db8::7"}, {"IPv4 of a socket of both", "::", "127.0.0.8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := run(t)
			client, server := timeWait(t, c.listen, c.vip)
			_, open := connect(t, c.listen, c.vip)
			_, half := connect(t, c.listen, c.vip)
			if err := half.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			v.Told(client, server)
			for _, s := range []*net.TCPConn{open, half} {
				v.Told(addr(s.RemoteAddr()), addr(s.LocalAddr()))
			}
			v.Told(netip.AddrPortFrom(client.Addr(), 1), server)
			wait(t, func() bool { n, _ := v.Counts(); return n.Looked == 4 })
			if n, err := v.Counts(); n != (Counts{Looked: 4, Ended: 1}) || err != nil {
				t.Errorf("%+v, %v", n, err)
			}
			if s := state(t, client, server); s != 0 {
				t.Errorf("it is in state %d", s)
			}
			for _, s := range []*net.TCPConn{open, half} {
				if is := state(t, addr(s.RemoteAddr()), addr(s.LocalAddr())); is == 0 || is == sockdiag.TimeWait {
					t.Errorf("a connection that is not over is in state %d", is)
				}
			}
		})
	}
}

// TestReset: a segment of the client's other connection is answered by an
// acknowledgement as long as a closed one stands there, and else by a reset.
func TestReset(t *testing.T) {
	client, server := timeWait(t, "127.0.0.9", "127.0.0.9")
	if got := answer(t, client, server); got != ack {
		t.Fatalf("a connection in TIME-WAIT answers with flags %#x", got)
	}
	v := run(t)
	client, server = timeWait(t, "127.0.0.9", "127.0.0.9") // the client's kernel has reset the first one
	v.Told(client, server)
	wait(t, func() bool { n, _ := v.Counts(); return n.Ended == 1 })
	if got := answer(t, client, server); got&rst == 0 {
		t.Errorf("where none stands flags %#x are the answer", got)
	}
}

const rst, ack = 0x04, 0x10

// answer sends a segment of a connection that the client has elsewhere, and
// gives the flags of what comes back.
func answer(t *testing.T, client, server netip.AddrPort) byte {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Sendmsg(fd, segment(client, server), unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: client.Addr().As4()}), &unix.SockaddrInet4{Addr: server.Addr().As4()}, 0); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 256)
	for {
		n, err := unix.Read(fd, buf)
		if err != nil {
			t.Fatal(err)
		}
		if tcp := buf[20:]; n >= 40 && binary.BigEndian.Uint16(tcp) == server.Port() && binary.BigEndian.Uint16(tcp[2:]) == client.Port() {
			return tcp[13] & (rst | ack)
		}
	}
}

// segment is an acknowledgement of something, with its checksum (RFC 9293 §3.1).
func segment(from, to netip.AddrPort) []byte {
	b := make([]byte, 20)
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	b[12], b[13], b[14] = 5<<4, ack, 1
	sum := uint32(6 + len(b))
	for _, part := range [][]byte{from.Addr().AsSlice(), to.Addr().AsSlice(), b} {
		for ; len(part) > 0; part = part[2:] {
			sum += uint32(binary.BigEndian.Uint16(part))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	binary.BigEndian.PutUint16(b[16:], ^uint16(sum))
	return b
}
