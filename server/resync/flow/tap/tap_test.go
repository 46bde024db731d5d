package tap

import (
	"cmp"
	"errors"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/server/sockdiag"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// vips are addresses of lo; other is one that nobody asks for.
var (
	vips  = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::2")}
	other = netip.MustParseAddr("192.0.2.9")
)

const least = 100_000

// open opens a tap, or skips where this kernel or machine has none.
func open(t *testing.T, slots int) *Tap {
	t.Helper()
	tap, err := Open(Options{Least: least, Slots: slots})
	if errors.Is(err, unix.EPERM) || errors.Is(err, ebpf.ErrNotSupported) || errors.Is(err, os.ErrNotExist) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tap.Close(); err != nil {
			t.Error(err)
		}
		if _, err := tap.Read(func(*Flow) {}); err == nil {
			t.Error("a closed tap still reads")
		}
	})
	return tap
}

// serve opens a connection to an address and sends n bytes to the client.
func serve(t *testing.T, vip netip.Addr, n int) net.Conn {
	t.Helper()
	if err := sandbox.Address(vip); err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", netip.AddrPortFrom(vip, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	send(t, s, c, n)
	return s
}

func send(t *testing.T, s, c net.Conn, n int) {
	t.Helper()
	failed := make(chan error, 1)
	go func() {
		_, err := s.Write(make([]byte, n))
		failed <- err
	}()
	if _, err := io.CopyN(io.Discard, c, int64(n)); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
}

// diag is what sock_diag says of the large flows of the addresses: the oracle.
func diag(t *testing.T) map[uint64]unix.TCPInfo {
	t.Helper()
	d, err := sockdiag.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all := map[uint64]unix.TCPInfo{}
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		q := sockdiag.Query{Family: family, States: 1 << sockdiag.Established, Info: true, Filter: sockdiag.Local(vips)}
		if err := d.Dump(t.Context(), q, func(s *sockdiag.Socket) {
			i := infoOf(s.Info)
			i.Fackets = uint32(s.Info[7] & 1) // a field that the kernel uses no more: tcpi_delivery_rate_app_limited
			if i.Bytes_acked >= least {
				all[s.Cookie] = i
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// TestLikeSockDiag compares all fields with what sock_diag says of the same
// sockets: of some that were there before, of some that came later, and not of
// those that are small or of another address.
func TestLikeSockDiag(t *testing.T) {
	serve(t, vips[0], 3*least)
	tap := open(t, 0)
	if err := tap.SetVIPs(vips); err != nil {
		t.Fatal(err)
	}
	for _, vip := range vips {
		paced(t, serve(t, vip, 5*least))
		serve(t, vip, least/2)
	}
	serve(t, other, 5*least)
	for stop := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		want := diag(t)
		var got []Flow
		if _, err := tap.Read(func(f *Flow) { got = append(got, *f) }); err != nil {
			t.Fatal(err)
		}
		diff := differs(got, want)
		if diff == "" && len(want) == 3 {
			return
		}
		if time.Now().After(stop) {
			t.Fatalf("%s: the tap has %+v, sock_diag %+v", diff, got, want)
		}
	}
}

// paced gives a connection a limit.
func paced(t *testing.T, c net.Conn) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = errors.Join(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptUint64(int(fd), unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, 5_000_000)
		}), err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func differs(got []Flow, want map[uint64]unix.TCPInfo) string {
	if len(got) != len(want) {
		return "not the same flows"
	}
	for _, f := range got {
		w, ok := want[f.Cookie]
		switch {
		case !ok || !slices.Contains(vips, f.VIP.Addr()) || f.State != sockdiag.Established || f.Client.Port() == 0:
			return "a flow of its own"
		case f.Acked != w.Bytes_acked || f.Rate != w.Delivery_rate:
			return "bytes"
		case f.RTT != us(w.Rtt) || f.MinRTT != us(w.Min_rtt) || f.Busy != time.Duration(w.Busy_time)*time.Microsecond || f.Receiver != time.Duration(w.Rwnd_limited)*time.Microsecond:
			return "times"
		case f.Cwnd != w.Snd_cwnd || f.MSS != w.Snd_mss || f.Out != w.Unacked || f.Retrans != w.Total_retrans:
			return "segments"
		case f.Window != w.Snd_wnd || f.AppLimited != (w.Fackets == 1) || f.Pace != w.Max_pacing_rate && (f.Pace != 0 || w.Max_pacing_rate != math.MaxUint64):
			return "limits"
		}
	}
	return ""
}

// TestManyWalks: more flows than there is memory for are told of all the same,
// each once.
func TestManyWalks(t *testing.T) {
	tap := open(t, 4)
	if err := tap.SetVIPs(vips); err != nil {
		t.Fatal(err)
	}
	for range 23 {
		serve(t, vips[0], 2*least)
	}
	for stop := time.Now().Add(20 * time.Second); ; {
		seen := map[uint64]int{}
		if _, err := tap.Read(func(f *Flow) { seen[f.Cookie]++ }); err != nil {
			t.Fatal(err)
		}
		most := 0
		for _, n := range seen {
			most = max(most, n)
		}
		if len(seen) == 23 && most == 1 {
			return
		}
		if most > 1 || time.Now().After(stop) {
			t.Fatalf("%d of 23 flows, one of them %d times", len(seen), most)
		}
	}
}

// TestLess: what is left out counts no more, as far as it comes later.
func TestLess(t *testing.T) {
	tap := open(t, 0)
	if err := errors.Join(tap.SetVIPs(vips), tap.SetVIPs(vips[1:])); err != nil {
		t.Fatal(err)
	}
	serve(t, vips[0], 2*least)
	serve(t, vips[1], 2*least)
	until := time.Now().Add(20 * time.Second)
	for n := 0; n == 0; {
		if _, err := tap.Read(func(f *Flow) {
			if n++; f.VIP.Addr() != vips[1] {
				t.Fatalf("%+v", f)
			}
		}); err != nil || time.Now().After(until) {
			t.Fatal(cmp.Or(err, errors.New("the flow is not seen")))
		}
	}
}

func TestFrequency(t *testing.T) {
	for _, hz := range []uint64{100, 250, 300, 1000} {
		for _, up := range []time.Duration{time.Second, time.Minute, 301 * time.Second, 100 * time.Hour, 3 * 365 * 24 * time.Hour} {
			jiffies := uint64(uint32(-300*int64(hz))) + uint64(up.Seconds()*float64(hz))
			if got := frequency(jiffies, uint64(up)); got != hz {
				t.Errorf("%d Hz, up %v: %d", hz, up, got)
			}
		}
	}
}

func infoOf(b []byte) (i unix.TCPInfo) {
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&i)), unsafe.Sizeof(i)), b)
	return i
}
