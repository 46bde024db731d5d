package checkpoint

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
	"strings"
	"time"
)

// The stream is a preface and then frames: a length (uvarint), a kind (a
// byte), and what the kind says. Numbers are uvarints where nothing else is
// said. Both sides keep what was said of VIPs, objects and flows by number, so
// that a flow that goes on costs about ten bytes a second.
//
//	preface  "catchment checkpoint 1\n"
//	vip      number, address and port
//	object   number, URL (16 bytes), size, ETag
//	flow     id, vip, object+1 (0: none), client, offset, speed
//	move     id, bytes further, speed
//	gone     id
//	drain    (nothing): all flows are about to move; or how many addresses,
//	         and those: of each VIP that is about to move, all there are
//	beat     (nothing): the sender lives
//	link     object, URL
//	stamp    id, 4 bytes
//
// An address and port are 1 byte (4 or 6), 4 or 16 bytes, 2 bytes. Speed is
// the rate and the round trip as logarithms, 2 bytes, and a byte of flags: bit
// 0 says that the client's window is the limit, bits 1 to 3 with how many other
// flows of its connection this one shares the rate, of which it says its part.
// Who does not know these bits takes such flows for flows of their own.
const (
	preface = "catchment checkpoint 1\n"

	kindVIP    = 1
	kindObject = 2
	kindFlow   = 3
	kindMove   = 4
	kindGone   = 5
	kindDrain  = 6
	kindBeat   = 7
	kindLink   = 8
	kindStamp  = 9

	// maxFrame is longer than any frame needs to be.
	maxFrame = MaxLink + 64

	flagClientLimited = 1
	shiftStreams      = 1
	maskStreams       = MaxStreams - 1
)

// appendFrame appends the frame that fill makes.
func appendFrame(b []byte, kind byte, fill func([]byte) []byte) []byte {
	var body [maxFrame]byte
	out := append(body[:0], kind)
	if fill != nil {
		out = fill(out)
	}
	return append(binary.AppendUvarint(b, uint64(len(out))), out...)
}

func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	return binary.BigEndian.AppendUint16(appendAddr(b, a.Addr()), a.Port())
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		v := a.As4()
		return append(append(b, 4), v[:]...)
	}
	v := a.As16()
	return append(append(b, 6), v[:]...)
}

// log8 is a number as 8 bits: 5 of exponent and 3 of mantissa, within 6 %. It
// rounds down: a rate is never said to be more than it is.
func log8(v uint64) byte {
	if v < 8 {
		return byte(v)
	}
	e := bits.Len64(v) - 3 // at least 1
	if e > 31 {
		return 0xff
	}
	return byte(e<<3) | byte(v>>(e-1)&7)
}

// exp8 is the least number that log8 makes b of.
func exp8(b byte) uint64 {
	e := b >> 3
	if e == 0 {
		return uint64(b)
	}
	return uint64(8|b&7) << (e - 1)
}

// Rates are said in units of 64 bytes a second, round trips of 10 us.
const (
	rateUnit = 64
	rttUnit  = 10 * time.Microsecond
)

func appendSpeed(b []byte, f *Flow) []byte {
	var flags byte
	if f.ClientLimited {
		flags |= flagClientLimited
	}
	flags |= byte(min(max(f.Streams, 1), MaxStreams)-1) << shiftStreams
	return append(b, log8(f.Rate/rateUnit), log8(uint64(max(f.RTT, 0)/rttUnit)), flags)
}

// reader reads a frame; after the first mistake all is zero and bad is set.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) addrPort() netip.AddrPort {
	a := r.addr()
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(r.take(2)))
}

func (r *reader) addr() (a netip.Addr) {
	switch r.take(1)[0] {
	case 4:
		a = netip.AddrFrom4([4]byte(r.take(4)))
	case 6:
		a = netip.AddrFrom16([16]byte(r.take(16)))
		if a.Is4In6() {
			r.bad = true
		}
	default:
		r.bad = true
	}
	return a
}

// link reads the rest of a frame as a URL of the web, in the characters that
// one is made of (RFC 3986 §2).
func (r *reader) link() string {
	s := string(r.b)
	r.b = nil
	if !linkable(s) {
		r.bad = true
		return ""
	}
	return s
}

func linkable(s string) bool {
	return len(s) <= MaxLink && (strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")) &&
		!strings.ContainsFunc(s, func(c rune) bool { return c <= 0x20 || c >= 0x7f })
}

func (r *reader) speed(f *Flow) {
	b := r.take(3)
	f.Rate, f.RTT = exp8(b[0])*rateUnit, time.Duration(min(exp8(b[1]), math.MaxInt32))*rttUnit
	f.ClientLimited, f.Streams = b[2]&flagClientLimited != 0, 0
	if others := b[2] >> shiftStreams & maskStreams; others > 0 {
		f.Streams = int(others) + 1
	}
}

// etag reads the rest of a frame as a strong entity tag (RFC 9110 §8.8.3).
func (r *reader) etag() string {
	s := string(r.b)
	r.b = nil
	if len(s) > MaxETag || !strong(s) {
		r.bad = true
		return ""
	}
	return s
}

// strong reports whether s is a strong entity tag: quoted, and of the
// characters that one is made of.
func strong(s string) bool {
	return len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' &&
		!strings.ContainsFunc(s[1:len(s)-1], func(c rune) bool { return c < 0x21 || c == '"' || c == 0x7f })
}

// end reports whether the frame was read to its end without a mistake.
func (r *reader) end() bool { return !r.bad && len(r.b) == 0 }
