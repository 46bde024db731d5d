package probe

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

func anywhere(netip.Addr) bool { return true }

// serve gives a client a connection of which it has got a byte, and returns
// the server's side.
func serve(t *testing.T, vip string) (client, server *net.TCPConn) {
	t.Helper()
	to := netip.MustParseAddr(vip)
	if err := sandbox.Address(to); err != nil {
		t.Fatal(err)
	}
	c, s, err := sandbox.Pair(t.Context(), to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	s.Write([]byte("x"))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return c, s
}

// die closes a socket so that nothing of it goes out, as if its host had gone.
func die(t *testing.T, c *net.TCPConn) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1) })
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func of(c *net.TCPConn) Flow {
	return Flow{Client: c.LocalAddr().(*net.TCPAddr).AddrPort(), VIP: c.RemoteAddr().(*net.TCPAddr).AddrPort(), At: time.Now()}
}

func run(t *testing.T, o Options) *Prober {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		p.Close()
	})
	return p
}

// TestWakes: a client whose server has gone without a word hears of it by a
// probe; one whose server lives notices nothing.
func TestWakes(t *testing.T) {
	for _, vip := range []string{"127.0.0.7", "2001:db8::7"} {
		t.Run(vip, func(t *testing.T) {
			p := run(t, Options{VIP: anywhere, Gap: 5 * time.Millisecond})
			dead, server := serve(t, vip)
			alive, lively := serve(t, vip)
			die(t, server)
			if n := p.Wake([]Flow{of(dead), of(alive)}, time.Now()); n != 2 {
				t.Fatalf("%d flows, %+v", n, p.Counts())
			}
			dead.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := dead.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
				t.Errorf("the client of a dead server: %v, %+v", err, p.Counts())
			}
			for stop := time.Now().Add(20 * time.Second); p.Counts().Sent < 10 && time.Now().Before(stop); { // each gets several
				time.Sleep(5 * time.Millisecond)
			}
			lively.Write([]byte("y"))
			alive.SetReadDeadline(time.Now().Add(20 * time.Second))
			if _, err := io.ReadFull(alive, make([]byte, 1)); err != nil {
				t.Errorf("the client of one that lives: %v", err)
			}
			if c := p.Counts(); c.Sent < 10 || c.Failed != 0 {
				t.Errorf("%+v", c)
			}
		})
	}
}

// quiet is a Prober whose segments go nowhere.
func quiet(o Options) *Prober {
	p, err := New(o)
	if err != nil {
		panic(err)
	}
	p.Close()
	return p
}

// TestRefuses: what is not ours, not announced, old, known already or too much
// is counted and not sent.
func TestRefuses(t *testing.T) {
	ours := netip.MustParseAddr("192.0.2.1")
	p := quiet(Options{VIP: func(a netip.Addr) bool { return a == ours }, Queue: 3})
	now := time.Now()
	flow := func(client string, vip netip.Addr, age time.Duration) Flow {
		return Flow{Client: netip.MustParseAddrPort(client), VIP: netip.AddrPortFrom(vip, 443), At: now.Add(-age)}
	}
	flows := []Flow{
		flow("203.0.113.1:1", ours, 0),
		flow("203.0.113.1:1", ours, 0),
		flow("203.0.113.1:2", netip.MustParseAddr("192.0.2.2"), 0),
		flow("203.0.113.1:3", ours, time.Minute+1),
		flow("203.0.113.1:4", ours, -2*time.Second),
		flow("203.0.113.1:0", ours, 0),
		flow("[2001:db8::9]:5", ours, 0),
		{},
		flow("203.0.113.1:6", ours, time.Minute),
		flow("203.0.113.1:7", ours, 0),
		flow("203.0.113.1:8", ours, 0),
	}
	want := Counts{Asked: 11, Foreign: 4, Stale: 2, Full: 1, Repeat: 1}
	if n := p.Wake(flows, now); n != 3 || p.Waiting() != 3 || p.Counts() != want {
		t.Errorf("took %d, %d wait, %+v, want %+v", n, p.Waiting(), p.Counts(), want)
	}
}

// TestWithdrawn: from when a prefix is withdrawn here nothing of it is sent.
func TestWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var announced atomic.Bool
		announced.Store(true)
		p := quiet(Options{VIP: func(netip.Addr) bool { return announced.Load() }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		p.Wake(some(1), time.Now())
		synctest.Wait()
		announced.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		if c := p.Counts(); c.Sent+c.Failed != 1 || c.Foreign != 1 || p.Waiting() != 0 {
			t.Errorf("%+v, %d wait", c, p.Waiting())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// playing runs a Prober whose segments go nowhere, in virtual time.
func playing(t *testing.T, o Options) (p *Prober, sent func() int) {
	p = quiet(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p, func() int {
		synctest.Wait()
		c := p.Counts()
		return int(c.Sent + c.Failed)
	}
}

func some(n int) (list []Flow) {
	for i := range n {
		list = append(list, Flow{Client: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.1"), uint16(i+1)), VIP: netip.MustParseAddrPort("192.0.2.1:443"), At: time.Now()})
	}
	return list
}

// TestPace: no second has more segments than the ceiling, those of flows that
// have had none come first, and all are let go of in the end.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const ceiling, flows = 100, 450
		p, count := playing(t, Options{VIP: anywhere, Rate: ceiling, Until: 12 * time.Second})
		p.Wake(some(flows), time.Now())
		sent, passed := 0, 0
		for p.Waiting() > 0 {
			time.Sleep(time.Second)
			now := count()
			passed++
			if n := now - sent; n > ceiling+ceiling/10 {
				t.Errorf("%d segments in a second", n)
			}
			sent = now
			p.mu.Lock()
			fresh := len(p.fresh)
			p.mu.Unlock()
			if want := max(0, flows-sent); fresh != want && fresh != want-1 { // one is in hand
				t.Errorf("after %d s %d flows have had nothing, want %d", passed, fresh, want)
			}
		}
		if sent < 2*flows || passed > 13 {
			t.Errorf("%d segments for %d flows in %d s", sent, flows, passed)
		}
	})
}

// TestSchedule: a flow gets segments at once and often at first, for the route
// may come after the first; then seldom, and then none.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sent := playing(t, Options{VIP: anywhere})
		began := time.Now()
		p.Wake(some(1), began)
		want, gap := 1, 40*time.Millisecond // a model: how many by now, and the next
		for next := gap; next < 15*time.Second; next += gap {
			time.Sleep(time.Until(began.Add(next - time.Millisecond)))
			if n := sent(); n != want {
				t.Fatalf("before %v: %d segments, want %d", next, n, want)
			}
			time.Sleep(time.Millisecond)
			if want++; sent() != want {
				t.Fatalf("at %v: %d segments, want %d", next, sent(), want)
			}
			if next >= 2*time.Second {
				gap = min(2*gap, time.Second)
			}
		}
		time.Sleep(10 * time.Second)
		if sent() != want || p.Waiting() != 0 || want < 60 || want > 80 {
			t.Errorf("%d segments, want %d, %d wait", sent(), want, p.Waiting())
		}
	})
}

// TestDone: a client that has come back is left alone, others are not.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sent := playing(t, Options{VIP: anywhere, Queue: 2})
		flows := some(2)
		p.Wake(flows, time.Now())
		if sent() != 2 {
			t.Fatal(p.Counts())
		}
		if !p.Done(flows[0].Client, flows[0].VIP) || p.Done(flows[0].Client, flows[0].VIP) || p.Done(flows[0].VIP, flows[0].Client) {
			t.Error("done is not told right")
		}
		time.Sleep(40 * time.Millisecond)
		if n := sent(); n != 3 || p.Waiting() != 1 || p.Counts().Done != 1 {
			t.Errorf("%d segments, %d wait, %+v", n, p.Waiting(), p.Counts())
		}
		if p.Wake(flows[:1], time.Now()) != 1 {
			t.Error("it cannot be woken again")
		}
	})
}

// TestHurry: when the route comes late, who waits for a long gap does not.
func TestHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, sent := playing(t, Options{VIP: anywhere})
		p.Wake(some(100), time.Now())
		time.Sleep(8500 * time.Millisecond)
		before := sent()
		p.Hurry(time.Now())
		p.Hurry(time.Now())
		if n := sent() - before; n != 100 {
			t.Errorf("%d segments at once, want 100", n)
		}
		time.Sleep(40 * time.Millisecond)
		if n := sent() - before; n != 200 {
			t.Errorf("%d segments after a gap, want 200", n)
		}
	})
}

// FuzzSegment: whatever the addresses and numbers, a segment is whole, its
// checksum is right, and it carries nothing.
func FuzzSegment(f *testing.F) {
	f.Add([]byte{192, 0, 2, 1}, []byte{203, 0, 113, 9}, uint16(443), uint16(50000), uint32(1), uint32(2))
	f.Add(make([]byte, 16), make([]byte, 16), uint16(0), uint16(0), ^uint32(0), ^uint32(0))
	f.Fuzz(func(t *testing.T, a, b []byte, ap, bp uint16, seq, ack uint32) {
		from, ok := netip.AddrFromSlice(a)
		to, ok2 := netip.AddrFromSlice(b)
		if !ok || !ok2 || from.Is4() != to.Is4() {
			return
		}
		if s := stamped(nil, netip.AddrPortFrom(from, ap), netip.AddrPortFrom(to, bp), seq, ack, seq^ack); len(s) != largest || sum(s, from, to) != 0 {
			t.Errorf("% x", s)
		}
		s := segment(nil, netip.AddrPortFrom(from, ap), netip.AddrPortFrom(to, bp), seq, ack)
		if len(s) != synLen || s[12] != 5<<4 || s[13] != 0x12 || sum(s, from, to) != 0 {
			t.Errorf("% x", s)
		}
	})
}

// TestSegment: the checksum is right in both families, by the rule that a
// receiver's sum with it is zero.
func TestSegment(t *testing.T) {
	for _, c := range [][2]string{{"192.0.2.1:443", "203.0.113.9:50000"}, {"[2001:db8::1]:443", "[2001:db8:ffff::9]:65535"}} {
		from, to := netip.MustParseAddrPort(c[0]), netip.MustParseAddrPort(c[1])
		b := segment(nil, from, to, 0xdeadbeef, 0xffffffff)
		if len(b) != 20 || b[13] != 0x12 || binary.BigEndian.Uint16(b) != from.Port() || binary.BigEndian.Uint16(b[2:]) != to.Port() {
			t.Errorf("% x", b)
		}
		if s := sum(b, from.Addr(), to.Addr()); s != 0 {
			t.Errorf("the sum of %v is %#x", c, s)
		}
	}
}
