package probe

import (
	"encoding/binary"
	"net/netip"
)

// segmentLen is a TCP header without options (RFC 9293 §3.1).
const segmentLen = 20

// segment makes a SYN with an acknowledgement from a VIP to a client. Its
// numbers are whatever they are: in a connection that exists a SYN is answered
// with what is expected, and changes nothing (RFC 5961 §4.2). A bare
// acknowledgement draws the same answer (RFC 9293 §3.10.7.4), but NATs and
// firewalls that follow connections drop one whose numbers do not fit, while
// Linux's lets the second half of a handshake through, which may be late.
func segment(b []byte, from, to netip.AddrPort, seq, ack uint32) []byte {
	b = append(b[:0], make([]byte, segmentLen)...)
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12] = segmentLen / 4 << 4
	b[13] = 0x12                          // SYN, ACK
	binary.BigEndian.PutUint16(b[14:], 1) // window
	binary.BigEndian.PutUint16(b[16:], sum(b, from.Addr(), to.Addr()))
	return b
}

// sum is the checksum of a segment whose own is zero, with the pseudo-header
// of its family (RFC 9293 §3.1, RFC 8200 §8.1).
func sum(b []byte, from, to netip.Addr) uint16 {
	const tcp = 6
	s := uint32(tcp) + uint32(len(b))
	for _, part := range [][]byte{from.AsSlice(), to.AsSlice(), b} {
		for i := 0; i+1 < len(part); i += 2 {
			s += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
