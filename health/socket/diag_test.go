package socket

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/server/sockdiag"
)

// message builds what the kernel sends about a socket.
func message(family uint8, local, remote netip.AddrPort) []byte {
	b := make([]byte, sockdiag.HeaderLen+sockdiag.MessageLen)
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	m := b[sockdiag.HeaderLen:]
	m[0], m[1] = family, 7
	binary.BigEndian.PutUint16(m[sockdiag.AtSport:], local.Port())
	binary.BigEndian.PutUint16(m[sockdiag.AtDport:], remote.Port())
	copy(m[8:], addrBytes(family, local.Addr()))
	copy(m[24:], addrBytes(family, remote.Addr()))
	return b
}

func addrBytes(family uint8, a netip.Addr) []byte {
	if family == unix.AF_INET6 {
		b := a.As16()
		return b[:]
	}
	return a.AsSlice()
}

var (
	vip4  = netip.MustParseAddrPort("192.0.2.1:80")
	peer4 = netip.MustParseAddrPort("198.51.100.9:4711")
	none4 = netip.MustParseAddrPort("0.0.0.0:0")
)

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
		s := &sockdiag.Socket{Family: tc.family, Local: netip.AddrPortFrom(netip.MustParseAddr(tc.local), 80)}
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
