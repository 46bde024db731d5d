package load

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// addVeth makes a pair of devices on which nobody speaks but the test.
func addVeth(t *testing.T, name, peer string) {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: peer}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { remove(t, name) })
	for _, n := range []string{name, peer} {
		l, err := netlink.LinkByName(n)
		if err == nil {
			err = errors.Join(netlink.LinkSetIP6AddrGenMode(l, nl.IN6_ADDR_GEN_MODE_NONE), netlink.LinkSetUp(l))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func remove(t *testing.T, name string) {
	t.Helper()
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.LinkDel(l)
	}
	if err != nil && !errors.As(err, new(netlink.LinkNotFoundError)) {
		t.Error(err)
	}
}

// sendFrames sends n frames of so many octets out of a device.
func sendFrames(t *testing.T, device string, n, octets int) {
	t.Helper()
	l, err := netlink.LinkByName(device)
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	frame := make([]byte, octets)
	copy(frame, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01\x88\xb5") // EtherType for experiments
	for range n {
		if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: l.Attrs().Index}); err != nil {
			t.Fatal(err)
		}
	}
}

// between makes rates of what a sampler says before and after act, as if
// exactly two seconds lay between.
func between(t *testing.T, s Sampler, act func()) map[Unit]float64 {
	t.Helper()
	made := map[Unit]*series{}
	for i := range 2 {
		r, err := s.Sample(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range r {
			if made[p.Unit] == nil {
				made[p.Unit] = &series{stale: time.Minute}
			}
			if err := made[p.Unit].add(p, at(float64(2*i))); err != nil {
				t.Error(err)
			}
		}
		if i == 0 {
			act()
		}
	}
	out := map[Unit]float64{}
	for u, s := range made {
		if v := s.value(at(2)); v.Known {
			out[u] = v.Value
		}
	}
	return out
}

func TestLinkCountsBothDirections(t *testing.T) {
	addVeth(t, "v0", "v1")
	a, b := NewLink(LinkConfig{Device: "v0"}), NewLink(LinkConfig{Device: "v1", Capacity: 1e9})
	defer a.(*link).Close()
	defer b.(*link).Close()
	for name, c := range map[string]struct {
		s    Sampler
		want map[Unit]float64
	}{
		"sender":   {a, map[Unit]float64{Out: 1000 * 1000 * 8 / 2, In: 200 * 500 * 8 / 2}},
		"receiver": {b, map[Unit]float64{In: 1000 * 1000 * 8 / 2, Out: 200 * 500 * 8 / 2}},
	} {
		got := between(t, c.s, func() {
			sendFrames(t, "v0", 1000, 1000)
			sendFrames(t, "v1", 200, 500)
		})
		if len(got) != 2 || got[In] != c.want[In] || got[Out] != c.want[Out] {
			t.Errorf("%s: got %v, want %v bit/s", name, got, c.want)
		}
	}
	r, _ := a.Sample(t.Context())
	if r[0].Limit != 10e9 { // what the driver of veth says
		t.Errorf("speed of a veth: %v", r[0].Limit)
	}
	if r, _ := b.Sample(t.Context()); r[0].Limit != 1e9 || r[1].Limit != 1e9 || r[0].Most != 10e9 || r[0].Down {
		t.Errorf("configured: %+v", r)
	}
	peer, err := netlink.LinkByName("v0")
	if err == nil {
		err = netlink.LinkSetDown(peer)
	}
	if r, _ := b.Sample(t.Context()); err != nil || len(r) != 2 || !r[0].Down || !r[1].Down {
		t.Errorf("without a carrier: %+v, %v", r, err)
	}
}

func TestLoopback(t *testing.T) {
	s := NewLink(LinkConfig{Device: "lo"})
	defer s.(*link).Close()
	for _, address := range []string{"127.0.0.1:9", "[::1]:9"} {
		a := netip.MustParseAddrPort(address)
		header := 20
		if a.Addr().Is6() {
			header = 40
		}
		got := between(t, s, func() {
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(a.Addr(), 0)))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			to := c.LocalAddr().(*net.UDPAddr).AddrPort() // ourselves: no ICMP comes back
			for range 100 {
				if _, err := c.WriteToUDPAddrPort(make([]byte, 1200), to); err != nil {
					t.Fatal(err)
				}
			}
		})
		want := float64(100 * (1200 + 8 + header) * 8 / 2)
		if got[In] != want || got[Out] != want {
			t.Errorf("%s: got %v, want %v bit/s", address, got, want)
		}
	}
	if r, _ := s.Sample(t.Context()); len(r) != 2 || r[0].Limit != 0 {
		t.Errorf("loopback has no speed: %v", r)
	}
}

// A device that goes away is an error, and one that comes back under its name
// counts from there on.
func TestLinkComesAndGoes(t *testing.T) {
	s := NewLink(LinkConfig{Device: "v2"})
	defer s.(*link).Close()
	if r, err := s.Sample(t.Context()); err == nil || len(r) > 0 || !strings.Contains(err.Error(), "link v2") {
		t.Errorf("before it is there: %v, %v", r, err)
	}
	addVeth(t, "v2", "v3")
	sum := series{stale: time.Minute}
	take := func(second float64) {
		t.Helper()
		r, err := s.Sample(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := sum.add(r[1], at(second)); err != nil {
			t.Error(err)
		}
	}
	take(0)
	sendFrames(t, "v2", 100, 1000)
	take(1)
	if v := sum.value(at(1)); v.Value != 800_000 {
		t.Errorf("%+v", v)
	}
	remove(t, "v2")
	if r, err := s.Sample(t.Context()); err == nil || len(r) > 0 {
		t.Errorf("gone: %v, %v", r, err)
	}
	addVeth(t, "v2", "v3")
	sendFrames(t, "v2", 1000, 1000) // more than it had counted before
	take(2)
	if v := sum.value(at(2)); !v.At.Equal(at(1)) {
		t.Errorf("a rate across two devices: %+v", v)
	}
	sendFrames(t, "v2", 10, 1000)
	take(3)
	if v := sum.value(at(3)); v.Value != 80_000 {
		t.Errorf("%+v", v)
	}
}

// The runner, the kernel and real time together: what is sent is seen.
func TestRunnerSeesTraffic(t *testing.T) {
	addVeth(t, "v4", "v5")
	r := NewRunner(slog.New(slog.DiscardHandler))
	plan := Plan{Timing: Timing{Interval: 20 * time.Millisecond, Average: 20 * time.Millisecond}, Sources: []Source{{Name: "v4", Units: []Unit{In, Out}, Sampler: NewLink(LinkConfig{Device: "v4", Capacity: 1e12})}}}
	if err := r.Set(plan); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	limit := time.Now().Add(30 * time.Second)
	for {
		sendFrames(t, "v4", 10, 1000)
		s := r.Snapshot()
		if s.POP.Load[Out].Known && s.POP.Load[Out].Value > 0 && s.POP.Load[In] == (Value{0, true, s.POP.Load[In].At}) {
			if s.POP.Capacity[Out] != 1e12 || s.Hosts[0].Name != ThisHost {
				t.Errorf("%+v", s)
			}
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("nothing is seen: %+v", s)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// addAddress puts an address on lo and waits until it can be connected to:
// IPv6 takes a moment.
func addAddress(t *testing.T, a netip.Addr) net.Listener {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.AddrReplace(lo, &netlink.Addr{IPNet: netlink.NewIPNet(a.AsSlice()), Flags: unix.IFA_F_NODAD})
	}
	if err != nil {
		t.Fatal(err)
	}
	limit := time.Now().Add(30 * time.Second)
	for {
		l, err := net.Listen("tcp", netip.AddrPortFrom(a, 0).String())
		if err == nil {
			var c net.Conn
			if c, err = net.Dial("tcp", l.Addr().String()); err == nil {
				c.Close()
				if c, err = l.Accept(); err == nil {
					c.Close()
					return l
				}
			}
			l.Close()
		}
		if time.Now().After(limit) {
			t.Fatal(err)
		}
	}
}

func TestConnections(t *testing.T) {
	var addrs []netip.Addr
	want := map[string]float64{}
	for i, s := range []string{"192.0.2.1", "2001:db8::1", "192.0.2.2"} {
		addrs = append(addrs, netip.MustParseAddr(s))
		l := addAddress(t, addrs[i])
		defer l.Close()
		for range 2 - i {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			d, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
		}
		want[s] = float64(2 * (2 - i)) // both ends: the client's has the same address
	}
	r, err := NewConnections(addrs).Sample(t.Context())
	if err != nil || len(r) != 3 {
		t.Fatal(r, err)
	}
	got := map[string]float64{}
	for _, p := range r {
		got[p.Name] = p.Value
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
