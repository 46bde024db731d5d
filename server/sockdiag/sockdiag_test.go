package sockdiag

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// told builds what the kernel sends about a socket.
func told(family uint8, local, remote netip.AddrPort) []byte {
	b := make([]byte, HeaderLen+MessageLen)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	m := b[HeaderLen:]
	m[0], m[1] = family, 7
	binary.BigEndian.PutUint16(m[AtSport:], local.Port())
	binary.BigEndian.PutUint16(m[AtDport:], remote.Port())
	copy(m[atSrc:], addrBytes(family, local.Addr()))
	copy(m[atDst:], addrBytes(family, remote.Addr()))
	return b
}

func addrBytes(family uint8, a netip.Addr) []byte {
	if family == unix.AF_INET6 {
		b := a.As16()
		return b[:]
	}
	return a.AsSlice()
}

func end(kind uint16, code int32) []byte {
	b := make([]byte, HeaderLen+4)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[HeaderLen:], uint32(code))
	return b
}

var (
	vip4, vip6 = netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:443")
	peer4      = netip.MustParseAddrPort("198.51.100.9:4711")
	none4      = netip.MustParseAddrPort("0.0.0.0:0")
	none6      = netip.MustParseAddrPort("[::]:0")
)

func TestParse(t *testing.T) {
	short := told(unix.AF_INET, vip4, peer4)
	binary.NativeEndian.PutUint32(short, HeaderLen+10)
	for _, tc := range []struct {
		name string
		b    []byte
		want []Socket
		done bool
		err  error
	}{
		{"nothing", nil, nil, false, nil},
		{"two", slices.Concat(told(unix.AF_INET, vip4, peer4), told(unix.AF_INET6, vip6, none6)),
			[]Socket{{Family: unix.AF_INET, State: 7, Local: vip4, Remote: peer4}, {Family: unix.AF_INET6, State: 7, Local: vip6, Remote: none6}}, false, nil},
		{"IPv4 in IPv6", told(unix.AF_INET6, vip4, peer4), []Socket{{Family: unix.AF_INET6, State: 7, Local: vip4, Remote: peer4}}, false, nil},
		{"end", slices.Concat(told(unix.AF_INET, vip4, none4), end(unix.NLMSG_DONE, 0)), []Socket{{Family: unix.AF_INET, State: 7, Local: vip4, Remote: none4}}, true, nil},
		{"error", end(unix.NLMSG_ERROR, -int32(unix.EPERM)), nil, true, syscall.EPERM},
		{"no error", end(unix.NLMSG_ERROR, 0), nil, true, nil},
		{"cut header", told(unix.AF_INET, vip4, peer4)[:10], nil, false, ErrTruncated},
		{"cut body", told(unix.AF_INET, vip4, peer4)[:50], nil, false, ErrTruncated},
		{"short body", short[:HeaderLen+10], nil, false, ErrTruncated},
	} {
		var got []Socket
		done, err := Parse(tc.b, func(s *Socket) { got = append(got, *s) })
		if !slices.EqualFunc(got, tc.want, same) || done != tc.done || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, done %v, %v; want %v, %v, %v", tc.name, got, done, err, tc.want, tc.done, tc.err)
		}
	}
	if _, err := Parse(told(99, vip4, peer4), func(*Socket) { t.Error("socket of family 99") }); err == nil {
		t.Error("no error for family 99")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(told(unix.AF_INET, vip4, peer4))
	f.Add(slices.Concat(told(unix.AF_INET6, vip6, none6), end(unix.NLMSG_DONE, 0)))
	f.Add(end(unix.NLMSG_ERROR, -1))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = answered(b, func(*Socket) {})
		n := 0
		_, _ = Parse(b, func(s *Socket) {
			n++
			if !s.Local.Addr().IsValid() || !s.Remote.Addr().IsValid() {
				t.Errorf("invalid socket %+v", s)
			}
		})
		if n*(HeaderLen+MessageLen) > len(b) {
			t.Errorf("%d sockets in %d bytes", n, len(b))
		}
	})
}

func same(a, b Socket) bool {
	return a.Family == b.Family && a.State == b.State && a.Local == b.Local && a.Remote == b.Remote && a.Cookie == b.Cookie
}

// pairs are connections to an address of this host; the sockets of both ends.
func pairs(t *testing.T, addr string, n int) (servers []*net.TCPConn) {
	t.Helper()
	a := netip.MustParseAddr(addr)
	if err := sandbox.Address(a); err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", netip.AddrPortFrom(a, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var d net.Dialer
	d.SetMultipathTCP(false)
	for range n {
		c, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close(); s.Close() })
		servers = append(servers, s.(*net.TCPConn))
	}
	return servers
}

func id(c *net.TCPConn) ID {
	return ID{Local: c.LocalAddr().(*net.TCPAddr).AddrPort(), Remote: c.RemoteAddr().(*net.TCPAddr).AddrPort()}
}

func conn(t *testing.T) *Conn {
	t.Helper()
	c, err := Open(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestFilters: the kernel takes the programs, and what it dumps is what a look
// at every socket finds.
func TestFilters(t *testing.T) {
	one, other := pairs(t, "192.0.2.7", 8), pairs(t, "192.0.2.8", 8)
	family := uint8(unix.AF_INET)
	for _, c := range []struct {
		name string
		test func(*Socket) bool
		with []byte
	}{
		{"all", func(*Socket) bool { return true }, nil},
		{"an address", func(s *Socket) bool { return s.Local.Addr() == id(one[0]).Local.Addr() }, Local([]netip.Addr{id(one[0]).Local.Addr()})},
		{"two", func(s *Socket) bool {
			return s.Local.Addr() == id(one[0]).Local.Addr() || s.Local.Addr() == id(other[0]).Local.Addr()
		}, Local([]netip.Addr{netip.MustParseAddr("2001:db8::1"), id(one[0]).Local.Addr(), id(other[0]).Local.Addr()})},
		{"no port", func(*Socket) bool { return false }, RemotePorts(1, 2, nil)},
		{"a port", func(s *Socket) bool { return s.Remote.Port() == id(one[3]).Remote.Port() }, RemotePorts(id(one[3]).Remote.Port(), id(one[3]).Remote.Port(), nil)},
		{"ports of an address", func(s *Socket) bool {
			return s.Remote.Port() >= id(one[3]).Remote.Port() && s.Local.Addr() == id(one[0]).Local.Addr()
		}, RemotePorts(id(one[3]).Remote.Port(), 65535, Local([]netip.Addr{id(one[0]).Local.Addr()}))},
	} {
		dump := func(filter []byte, test func(*Socket) bool) (n int, cookies uint64) {
			err := conn(t).Dump(t.Context(), Query{Family: family, States: 1 << Established, Filter: filter}, func(s *Socket) {
				if test(s) {
					n, cookies = n+1, cookies+s.Cookie
				}
			})
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			return n, cookies
		}
		n, sum := dump(c.with, func(*Socket) bool { return true })
		if want, sums := dump(nil, c.test); n != want || sum != sums {
			t.Errorf("%s: %d sockets, want %d", c.name, n, want)
		}
	}
}

// TestLookup: single sockets are found in both families, more of them than
// one system call asks for, and those that are gone are passed over.
func TestLookup(t *testing.T) {
	for _, addr := range []string{"192.0.2.9", "2001:db8::9"} {
		servers := pairs(t, addr, atOnce+10)
		var ids []ID
		for _, s := range servers {
			ids = append(ids, id(s))
		}
		stale := ids[3]
		stale.Cookie = 1
		ids = append(ids, ID{Local: ids[0].Local, Remote: netip.AddrPortFrom(ids[0].Remote.Addr(), 1)}, stale)
		found := map[netip.AddrPort]uint64{}
		if err := conn(t).Lookup(t.Context(), ids, func(s *Socket) {
			found[s.Remote] = s.Cookie
			if len(s.Info) < 100 {
				t.Errorf("%v has no tcp_info", s.Remote)
			}
		}); err != nil || len(found) != len(servers) {
			t.Errorf("%s: found %d of %d, %v", addr, len(found), len(servers), err)
		}
		again := id(servers[0])
		again.Cookie = found[again.Remote]
		if err := conn(t).Destroy(ID{again.Local, again.Remote, again.Cookie + 1}); !errors.Is(err, ErrGone) {
			t.Errorf("%s: another socket of these addresses: %v", addr, err)
		}
		if err := conn(t).Destroy(again); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
		servers[0].SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := servers[0].Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNABORTED) {
			t.Errorf("%s: a destroyed socket: %v", addr, err)
		}
	}
}

// TestEnds: a dump and a lookup end with their context.
func TestEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := conn(t)
	if err := c.Dump(ctx, Query{Family: unix.AF_INET, States: 1 << Established}, func(*Socket) {}); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := conn(t).Dump(t.Context(), Query{Family: 99, States: 2}, func(*Socket) {}); err == nil {
		t.Error("sockets of family 99")
	}
}
