package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// cable makes a veth pair whose ends are both up, and returns a packet socket
// on the near end; the far end is for the wire.
func cable(t *testing.T, near, far string) *os.File {
	t.Helper()
	// Only our frames: the kernel's own would be lost and counted too.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = near
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: far}); err != nil {
		t.Fatal(err)
	}
	for _, dev := range []string{near, far} {
		link, err := netlink.LinkByName(dev)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.LinkSetUp(link); err != nil {
			t.Fatal(err)
		}
	}
	// Until the kernel has noticed the carrier it drops what is sent.
	for _, dev := range []string{near, far} {
		wait(t, dev+" is up", func() bool {
			link, err := netlink.LinkByName(dev)
			return err == nil && link.Attrs().OperState == netlink.OperUp
		})
	}
	t.Cleanup(func() {
		if link, err := netlink.LinkByName(near); err == nil {
			netlink.LinkDel(link)
		}
	})
	f, err := open(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func wait(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 10 s", what)
		}
	}
}

// packet is a frame of a type nobody else uses, numbered, with no notes.
func packet(n int) []byte {
	p := make([]byte, header+14+50)
	binary.BigEndian.PutUint16(p[header+12:], 0x88b5)
	binary.BigEndian.PutUint32(p[header+14:], uint32(n))
	return p
}

// next reads the next of our frames; the kernel's own (IPv6 discovery) are
// passed over.
func next(t *testing.T, f *os.File) int {
	t.Helper()
	buf := make([]byte, largest)
	for {
		f.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err := f.Read(buf)
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		if n >= header+18 && binary.BigEndian.Uint16(buf[header+12:]) == 0x88b5 {
			return int(binary.BigEndian.Uint32(buf[header+14:]))
		}
	}
}

func TestWireCarriesBothWaysInOrder(t *testing.T) {
	a, b := cable(t, "a0", "a1"), cable(t, "b0", "b1")
	const delay = 30 * time.Millisecond
	w, err := Open("a1", "b1", Config{Delay: delay})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for _, way := range [][2]*os.File{{a, b}, {b, a}} {
		begin := time.Now()
		for n := range 100 {
			if _, err := way[0].Write(packet(n)); err != nil {
				t.Fatal(err)
			}
		}
		for want := range 100 {
			if got := next(t, way[1]); got != want {
				t.Fatalf("frame %d came as number %d", got, want)
			}
			if want == 0 && time.Since(begin) < delay {
				t.Errorf("the first frame came after %v, before its delay of %v", time.Since(begin), delay)
			}
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Run ended with %v", err)
	}
	if ab, ba := w.Stats(); ab.Sent < 100 || ba.Sent < 100 || ab.Lost+ba.Lost > 0 {
		t.Errorf("counters: %+v, %+v", ab, ba)
	}
}

func TestWireLoses(t *testing.T) {
	a, b := cable(t, "c0", "c1"), cable(t, "d0", "d1")
	w, err := Open("c1", "d1", Config{Loss: 1})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for n := range 50 {
		if _, err := a.Write(packet(n)); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, "50 frames are lost", func() bool { ab, _ := w.Stats(); return ab.Lost >= 50 })
	w.Set(Config{})
	if _, err := a.Write(packet(50)); err != nil {
		t.Fatal(err)
	}
	if got := next(t, b); got != 50 {
		t.Errorf("frame %d came through a wire that loses all", got)
	}
	cancel()
	<-ended
}

func TestOpenNamesTheInterface(t *testing.T) {
	cable(t, "e0", "e1")
	_, err := Open("e1", "nothing", Config{})
	var unknown *net.OpError
	if err == nil || !errors.As(err, &unknown) || !bytes.Contains([]byte(err.Error()), []byte("nothing")) {
		t.Errorf("Open: %v", err)
	}
	if _, err := unix.FcntlInt(0, unix.F_GETFD, 0); err != nil {
		t.Error("descriptor 0 was closed")
	}
}
