package dns

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"time"
)

// CookieSecret is a key of server cookies, the same on all servers of an
// anycast address.
type CookieSecret [16]byte

const (
	cookieLen    = 24 // client's 8 octets and ours (RFC 9018 §4.1)
	cookieLife   = time.Hour
	cookieFuture = 5 * time.Minute
)

// makeCookie appends the option's data for a client: its part and ours.
func makeCookie(b []byte, client []byte, from netip.Addr, now uint32, key *CookieSecret) []byte {
	b = append(b, client[:8]...)
	b = append(b, 1, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, now)
	sum := cookieSum(b[len(b)-16:], from, key)
	return binary.LittleEndian.AppendUint64(b, sum)
}

// cookieSum hashes 16 octets and the address (RFC 9018 §4.4).
func cookieSum(head []byte, from netip.Addr, key *CookieSecret) uint64 {
	var in [32]byte
	copy(in[:], head[:16])
	n := 20
	if from.Is4() {
		a := from.As4()
		copy(in[16:], a[:])
	} else {
		a := from.As16()
		copy(in[16:], a[:])
		n = 32
	}
	return siphash(in[:n], key)
}

// goodCookie says whether the option's data is a cookie that one of the
// secrets made for this client and is not too old (RFC 9018 §4.3).
func goodCookie(data []byte, from netip.Addr, now uint32, secrets []CookieSecret) bool {
	if len(data) != cookieLen || data[8] != 1 {
		return false
	}
	age := int32(now - binary.BigEndian.Uint32(data[12:]))
	if age > int32(cookieLife/time.Second) || age < -int32(cookieFuture/time.Second) {
		return false
	}
	got := binary.LittleEndian.Uint64(data[16:])
	ok := false
	for i := range secrets {
		if cookieSum(data, from, &secrets[i])^got == 0 {
			ok = true
		}
	}
	return ok
}

// siphash is SipHash-2-4 of b.
func siphash(b []byte, key *CookieSecret) uint64 {
	k0, k1 := binary.LittleEndian.Uint64(key[:]), binary.LittleEndian.Uint64(key[8:])
	v0, v1 := k0^0x736f6d6570736575, k1^0x646f72616e646f6d
	v2, v3 := k0^0x6c7967656e657261, k1^0x7465646279746573
	round := func() {
		v0 += v1
		v2 += v3
		v1, v3 = bits.RotateLeft64(v1, 13)^v0, bits.RotateLeft64(v3, 16)^v2
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v1
		v0 += v3
		v1, v3 = bits.RotateLeft64(v1, 17)^v2, bits.RotateLeft64(v3, 21)^v0
		v2 = bits.RotateLeft64(v2, 32)
	}
	last := uint64(len(b)) << 56
	for ; len(b) >= 8; b = b[8:] {
		m := binary.LittleEndian.Uint64(b)
		v3 ^= m
		round()
		round()
		v0 ^= m
	}
	for i, c := range b {
		last |= uint64(c) << (8 * i)
	}
	v3 ^= last
	round()
	round()
	v0 ^= last
	v2 ^= 0xff
	for range 4 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}
