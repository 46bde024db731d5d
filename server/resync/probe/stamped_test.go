package probe

import (
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// control runs f with a connection's descriptor.
func control(t *testing.T, c *net.TCPConn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) { err = f(int(fd)) })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// stampOf is the time stamp that a server's connection has now.
func stampOf(t *testing.T, server *net.TCPConn) (stamp uint32) {
	t.Helper()
	control(t, server, func(fd int) error {
		v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_TIMESTAMP)
		stamp = uint32(v)
		return err
	})
	return stamp
}

// sequence is what a server's connection sends and expects next.
func sequence(t *testing.T, server *net.TCPConn) (next, expects uint32) {
	t.Helper()
	control(t, server, func(fd int) error {
		err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, 1)
		for i, out := range []*uint32{1: &expects, 2: &next} { // TCP_RECV_QUEUE, TCP_SEND_QUEUE
			if out == nil || err != nil {
				continue
			}
			var v int
			if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR_QUEUE, i); err == nil {
				v, err = unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_QUEUE_SEQ)
			}
			*out = uint32(v)
		}
		return errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_REPAIR, -1)) // off, and nothing is sent
	})
	return next, expects
}

// counter is one of the kernel's counters of this network namespace.
func counter(t *testing.T, name string) int {
	t.Helper()
	b, err := os.ReadFile("/proc/thread-self/net/netstat")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(b), "\n")
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for k, n := range names {
			if n == name {
				v, err := strconv.Atoi(values[k])
				if err != nil {
					t.Fatal(err)
				}
				return v
			}
		}
	}
	t.Fatalf("no counter %s", name)
	return 0
}

// TestStamped: a client answers every segment with an old stamp, not two in a
// second, and takes nothing of it, even if its numbers are those that it
// waits for; and once its server is gone it hears of it by one.
func TestStamped(t *testing.T) {
	for _, vip := range []string{"127.0.0.8", "2001:db8::8"} {
		t.Run(vip, func(t *testing.T) {
			p, err := New(Options{VIP: anywhere})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			client, server := serve(t, vip)
			f := of(client)
			f.Stamp = stampOf(t, server)
			next, expects := sequence(t, server)
			answered, skipped := counter(t, "PAWSEstab"), counter(t, "TCPACKSkippedPAWS")
			send := func(seq, ack uint32) {
				t.Helper()
				if err := p.send(stamped(nil, f.VIP, f.Client, seq, ack, f.Stamp), f.VIP.Addr(), f.Client.Addr()); err != nil {
					t.Fatal(err)
				}
			}
			const n = 20
			for range n {
				send(next, expects)
				send(rand.Uint32(), rand.Uint32())
			}
			if a, s := counter(t, "PAWSEstab")-answered, counter(t, "TCPACKSkippedPAWS")-skipped; a != 2*n || s != 0 {
				t.Errorf("%d of %d are refused for their stamps, %d not answered", a, 2*n, s)
			}
			server.Write([]byte("yz"))
			client.SetReadDeadline(time.Now().Add(20 * time.Second))
			got := make([]byte, 2)
			if _, err := io.ReadFull(client, got); err != nil || string(got) != "yz" {
				t.Errorf("the client of a server that lives gets %q, %v", got, err)
			}
			die(t, server)
			send(rand.Uint32(), rand.Uint32())
			if _, err := client.Read(got); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("the client of a dead server: %v", err)
			}
		})
	}
}

// TestStampedSegment: both kinds of segment are whole, and one with a stamp
// carries one byte and the stamp.
func TestStampedSegment(t *testing.T) {
	from, to := netip.MustParseAddrPort("[2001:db8::1]:443"), netip.MustParseAddrPort("[2001:db8:ffff::9]:65535")
	b := stamped(nil, from, to, 1, 2, 3)
	if len(b) != largest || b[12] != 8<<4 || b[13] != 0x10 || sum(b, from.Addr(), to.Addr()) != 0 {
		t.Errorf("% x", b)
	}
	if now := uint32(3); int32(now-binary.BigEndian.Uint32(b[24:])) != old {
		t.Errorf("the stamp % x", b[24:28])
	}
}

// TestDoubt: in doubt only flows with stamps are asked, for a while; when
// their POP is gone they are woken like the others, at once.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sent := playing(t, Options{VIP: anywhere})
		flows := some(3)
		flows[0].Stamp, flows[1].Stamp = 1, 1
		flows[1].RTT = 220 * time.Millisecond
		if n := p.Doubt(flows, time.Now()); n != 2 || p.Doubt(flows, time.Now()) != 0 {
			t.Fatalf("%d flows are asked", n)
		}
		step := func(wait time.Duration, want int, what string) {
			t.Helper()
			before := sent()
			time.Sleep(wait)
			if n := sent() - before; n != want {
				t.Errorf("%s: %d segments, want %d", what, n, want)
			}
		}
		step(801*time.Millisecond, 20+10, "in doubt")
		before := sent()
		if n := p.Wake(flows, time.Now()); n != 3 || p.Wake(flows, time.Now()) != 0 {
			t.Errorf("%d flows are woken", n)
		}
		if n := sent() - before; n != 5 {
			t.Errorf("%d segments at once, want 5: of both kinds, and one", n)
		}
		step(321*time.Millisecond, (8+2)+(4+1)+8, "woken")
		for _, f := range flows {
			p.Done(f.Client, f.VIP)
		}
		p.Doubt(flows[:1], time.Now())
		step(10*time.Second, 49, "in doubt for long") // and the first
		if c := p.Counts(); c.Doubted != 3 || c.Asked != 6 || c.Repeat != 2+3 || p.Waiting() != 0 {
			t.Errorf("%+v, %d wait", c, p.Waiting())
		}
	})
}

// TestGap: between two segments of a flow is a quarter of its round trip, within
// bounds.
func TestGap(t *testing.T) {
	for rtt, want := range map[time.Duration]time.Duration{
		0: 40 * time.Millisecond, 20 * time.Millisecond: 40 * time.Millisecond, 120 * time.Millisecond: 55 * time.Millisecond, time.Second: 200 * time.Millisecond,
	} {
		var j job
		j.set(Flow{RTT: rtt}, time.Now(), &Options{Gap: 40 * time.Millisecond}, false)
		if j.gap != want {
			t.Errorf("round trip %v: gap %v, want %v", rtt, j.gap, want)
		}
	}
}
