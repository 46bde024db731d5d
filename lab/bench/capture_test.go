package bench

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"
)

// message is a BGP message of that type.
func message(kind byte, body ...byte) []byte {
	b := bytes.Repeat([]byte{0xff}, 16)
	b = binary.BigEndian.AppendUint16(b, uint16(19+len(body)))
	return append(append(b, kind), body...)
}

var (
	keepalive   = message(4)
	endOfRIB    = message(2, 0, 0, 0, 0)
	endOfRIB6   = message(2, 0, 0, 0, 6, 0x80, 15, 3, 0, 2, 1)
	withdraw4   = message(2, 0, 4, 24, 192, 0, 2, 0, 0)
	announce4   = message(2, 0, 0, 0, 4, 0x40, 1, 1, 0, 24, 192, 0, 2)
	withdraw6   = message(2, 0, 0, 0, 13, 0x80, 15, 10, 0, 2, 1, 48, 0x20, 1, 0xd, 0xb8, 1, 0)
	announce6   = message(2, 0, 0, 0, 9, 0x90, 14, 0, 5, 0, 2, 1, 0, 0)
	broken      = message(2, 0xff, 0xff, 0, 0)
	cutInFormer = []byte{1, 2, 3}
)

func TestParseBGP(t *testing.T) {
	for _, c := range []struct {
		name string
		b    []byte
		want []kind
	}{
		{"empty", nil, nil},
		{"keepalive", keepalive, nil},
		{"end of RIB", endOfRIB, nil},
		{"end of RIB, IPv6", endOfRIB6, nil},
		{"withdraw", withdraw4, []kind{withdrawn}},
		{"announce", announce4, []kind{announced}},
		{"withdraw, IPv6", withdraw6, []kind{withdrawn}},
		{"announce, IPv6, long attribute", announce6, []kind{announced}},
		{"several in a segment", slices.Concat(keepalive, withdraw4, announce6), []kind{withdrawn, announced}},
		{"cut off", withdraw4[:22], nil},
		{"lengths that lie", broken, nil},
		{"middle of a message", cutInFormer, nil},
	} {
		if got := parseBGP(c.b); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// segment is a TCP segment in an IPv4 or IPv6 packet.
func segment(to string, src, dst uint16, flags byte, data []byte) []byte {
	tcp := binary.BigEndian.AppendUint16(nil, src)
	tcp = binary.BigEndian.AppendUint16(tcp, dst)
	tcp = append(tcp, make([]byte, 16)...)
	tcp[12], tcp[13] = 5<<4, flags
	tcp = append(tcp, data...)
	a := netip.MustParseAddr(to)
	if a.Is6() {
		head := make([]byte, 40)
		head[0], head[6] = 6<<4, 6
		copy(head[24:], a.AsSlice())
		return append(head, tcp...)
	}
	head := make([]byte, 20)
	head[0], head[9] = 4<<4|5, 6
	binary.BigEndian.PutUint16(head[2:], uint16(20+len(tcp)))
	copy(head[16:], a.AsSlice())
	return append(head, tcp...)
}

func TestParseIP(t *testing.T) {
	a4, a6 := netip.MustParseAddr("10.0.1.2"), netip.MustParseAddr("2001:db8:1::2")
	for _, c := range []struct {
		name string
		b    []byte
		want []packet
	}{
		{"SYN of a check", segment("10.0.1.2", 40000, servicePort, 0x02, nil), []packet{{probed, a4}}},
		{"its answer", segment("10.0.1.2", servicePort, 40000, 0x12, nil), nil},
		{"its data", segment("10.0.1.2", 40000, servicePort, 0x18, []byte("GET")), nil},
		{"active session", segment("10.0.1.2", 40000, 179, 0x18, withdraw4), []packet{{withdrawn, a4}}},
		{"passive session", segment("2001:db8:1::2", 179, 40000, 0x18, announce6), []packet{{announced, a6}}},
		{"other port", segment("10.0.1.2", 40000, 22, 0x18, withdraw4), nil},
		{"padding of the frame is not data", append(segment("10.0.1.2", 1, 179, 0x10, nil), withdraw4...), nil},
	} {
		if got := parseIP(c.b); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func FuzzParseIP(f *testing.F) {
	f.Add(segment("10.0.1.2", 40000, 179, 0x18, slices.Concat(keepalive, withdraw4, announce4)))
	f.Add(segment("2001:db8:1::2", 179, 40000, 0x18, withdraw6))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, p := range parseIP(b) {
			if !p.to.IsValid() || p.kind == 0 {
				t.Errorf("%v from %x", p, b)
			}
		}
	})
}
