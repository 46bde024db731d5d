package probe

import (
	"encoding/binary"
	"net/netip"
)

// Lengths of TCP headers (RFC 9293 §3.1), without options and with a time
// stamp (RFC 7323 §3.2) between two bytes of padding.
const (
	synLen   = 20
	stampLen = 32
	// largest is the longest segment: one byte of payload.
	largest = stampLen + 1
)

// Flags of a TCP header.
const (
	flagSYN = 0x02
	flagACK = 0x10
)

// old is how far behind what a connection's stamps have passed those of a
// segment are that it must take for an old one: neither so little that it may
// have got nothing since, nor near half of the numbers there are (RFC 7323
// §5.2).
const old = 1 << 29

// segment makes a SYN with an acknowledgement from a VIP to a client. Its
// numbers are whatever they are: in a connection that exists a SYN is answered
// with what is expected, and changes nothing (RFC 5961 §4.2). A bare
// acknowledgement draws the same answer (RFC 9293 §3.10.7.4), but NATs and
// firewalls that follow connections drop one whose numbers do not fit, while
// Linux's lets the second half of a handshake through, which may be late.
//
// Linux answers one such segment of a connection in half a second, wherever
// the answer goes (tcp_invalid_ratelimit).
func segment(b []byte, from, to netip.AddrPort, seq, ack uint32) []byte {
	b = append(b[:0], make([]byte, synLen)...)
	return finish(b, from, to, seq, ack, synLen, flagSYN|flagACK)
}

// stamped makes a segment with a byte of payload and a time stamp that is far
// behind those that the connection has seen. Whatever its numbers, its receiver
// must take it for one of long ago: answer with what is expected, and drop it
// (RFC 7323 §5.3 R1, PAWS). Linux answers all of these, since payload comes of
// no loop of acknowledgements; NATs and firewalls that follow connections drop
// it.
func stamped(b []byte, from, to netip.AddrPort, seq, ack, stamp uint32) []byte {
	b = append(b[:0], make([]byte, stampLen+1)...)
	copy(b[synLen:], []byte{1, 1, 8, 10}) // no operation, twice; time stamps, 10 bytes
	binary.BigEndian.PutUint32(b[synLen+4:], stamp-old)
	return finish(b, from, to, seq, ack, stampLen, flagACK)
}

func finish(b []byte, from, to netip.AddrPort, seq, ack uint32, header int, flags byte) []byte {
	binary.BigEndian.PutUint16(b, from.Port())
	binary.BigEndian.PutUint16(b[2:], to.Port())
	binary.BigEndian.PutUint32(b[4:], seq)
	binary.BigEndian.PutUint32(b[8:], ack)
	b[12] = byte(header / 4 << 4)
	b[13] = flags
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
		for i := 0; i < len(part); i += 2 {
			s += uint32(part[i]) << 8
			if i+1 < len(part) {
				s += uint32(part[i+1])
			}
		}
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
