package socket

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// message builds what the kernel sends about a socket.
func message(family uint8, local, remote netip.AddrPort) []byte {
	b := make([]byte, headerLen+msgLen)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	m := b[headerLen:]
	m[0], m[1] = family, 7
	binary.BigEndian.PutUint16(m[atSport:], local.Port())
	binary.BigEndian.PutUint16(m[atDport:], remote.Port())
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
	b := make([]byte, headerLen+4)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint32(b[headerLen:], uint32(code))
	return b
}

var (
	vip4, vip6 = netip.MustParseAddrPort("192.0.2.1:80"), netip.MustParseAddrPort("[2001:db8::1]:443")
	peer4      = netip.MustParseAddrPort("198.51.100.9:4711")
	none4      = netip.MustParseAddrPort("0.0.0.0:0")
	none6      = netip.MustParseAddrPort("[::]:0")
)

func TestParse(t *testing.T) {
	short := message(unix.AF_INET, vip4, peer4)
	binary.NativeEndian.PutUint32(short, headerLen+10)
	for _, tc := range []struct {
		name string
		b    []byte
		want []sock
		done bool
		err  error
	}{
		{"nothing", nil, nil, false, nil},
		{"two", slices.Concat(message(unix.AF_INET, vip4, peer4), message(unix.AF_INET6, vip6, none6)),
			[]sock{{unix.AF_INET, 7, vip4, peer4}, {unix.AF_INET6, 7, vip6, none6}}, false, nil},
		{"IPv4 in IPv6", message(unix.AF_INET6, vip4, peer4), []sock{{unix.AF_INET6, 7, vip4, peer4}}, false, nil},
		{"end", slices.Concat(message(unix.AF_INET, vip4, none4), end(unix.NLMSG_DONE, 0)), []sock{{unix.AF_INET, 7, vip4, none4}}, true, nil},
		{"error", end(unix.NLMSG_ERROR, -int32(unix.EPERM)), nil, true, syscall.EPERM},
		{"no error", end(unix.NLMSG_ERROR, 0), nil, true, nil},
		{"cut header", message(unix.AF_INET, vip4, peer4)[:10], nil, false, errTruncated},
		{"cut body", message(unix.AF_INET, vip4, peer4)[:50], nil, false, errTruncated},
		{"short body", short[:headerLen+10], nil, false, errTruncated},
	} {
		var got []sock
		done, err := parse(tc.b, func(s sock) { got = append(got, s) })
		if !slices.Equal(got, tc.want) || done != tc.done || !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, done %v, %v; want %v, %v, %v", tc.name, got, done, err, tc.want, tc.done, tc.err)
		}
	}
	if _, err := parse(message(99, vip4, peer4), func(sock) { t.Error("socket of family 99") }); err == nil {
		t.Error("no error for family 99")
	}
}

func FuzzParse(f *testing.F) {
	f.Add(message(unix.AF_INET, vip4, peer4))
	f.Add(slices.Concat(message(unix.AF_INET6, vip6, none6), end(unix.NLMSG_DONE, 0)))
	f.Add(end(unix.NLMSG_ERROR, -1))
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		_, _ = parse(b, func(s sock) {
			n++
			if !s.local.Addr().IsValid() || !s.remote.Addr().IsValid() {
				t.Errorf("invalid socket %+v", s)
			}
		})
		if n*(headerLen+msgLen) > len(b) {
			t.Errorf("%d sockets in %d bytes", n, len(b))
		}
	})
}

func TestCovers(t *testing.T) {
	for _, tc := range []struct {
		family uint8
		local  string
		addr   string
		want   bool
	}{
		{unix.AF_INET, "192.0.2.1", "192.0.2.1", true},
		{unix.AF_INET, "192.0.2.2", "192.0.2.1", false},
		{unix.AF_INET, "0.0.0.0", "192.0.2.1", true},
		{unix.AF_INET, "0.0.0.0", "2001:db8::1", false},
		{unix.AF_INET6, "::", "2001:db8::1", true},
		{unix.AF_INET6, "::", "192.0.2.1", true},
		{unix.AF_INET6, "2001:db8::1", "2001:db8::1", true},
		{unix.AF_INET6, "192.0.2.1", "192.0.2.1", true}, // IPv4 on an IPv6 socket
		{unix.AF_INET6, "fe80::1", "fe80::1%eth0", true},
	} {
		s := sock{family: tc.family, local: netip.AddrPortFrom(netip.MustParseAddr(tc.local), 80)}
		if got := covers(s, netip.MustParseAddr(tc.addr)); got != tc.want {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

// run interprets a filter program over a message, as the kernel does.
func run(p []unix.SockFilter, b []byte) uint32 {
	var acc uint32
	for pc := 0; ; pc++ {
		switch i := p[pc]; i.Code {
		case unix.BPF_LD | unix.BPF_H | unix.BPF_ABS:
			if int(i.K)+2 > len(b) {
				return 0
			}
			acc = uint32(binary.BigEndian.Uint16(b[i.K:]))
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			if acc == i.K {
				pc += int(i.Jt)
			} else {
				pc += int(i.Jf)
			}
		default:
			return i.K
		}
	}
}

func TestFilterProgram(t *testing.T) {
	listener := func(port uint16) []byte {
		return message(unix.AF_INET, netip.AddrPortFrom(vip4.Addr(), port), none4)
	}
	for _, n := range []int{0, 1, 2, 53, maxFilterPorts, maxFilterPorts + 1} {
		var ports []uint16
		for i := range n {
			ports = append(ports, uint16(1000+i))
		}
		p := filterProgram(ports)
		for _, port := range ports {
			if run(p, listener(port)) == 0 {
				t.Errorf("%d ports: %d is not let through", n, port)
			}
		}
		if other := run(p, listener(999)) != 0; other != (n > maxFilterPorts) {
			t.Errorf("%d ports: another port let through: %v", n, other)
		}
		if run(p, message(unix.AF_INET, netip.AddrPortFrom(vip4.Addr(), 1000), peer4)) != 0 {
			t.Errorf("%d ports: a connection is let through", n)
		}
		if run(p, []byte{1, 2, 3}) != 0 {
			t.Errorf("%d ports: three bytes are let through", n)
		}
	}
}
