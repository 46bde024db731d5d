package relay

import (
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/catchment/catchment/pop/core"
)

// sum is a number modulo 2^256, lowest word first. It keeps the hash of a set:
// the sum of its members' hashes, whatever their order.
type sum [4]uint64

func (s sum) plus(o sum) sum {
	var carry uint64
	for i := range s {
		s[i], carry = bits.Add64(s[i], o[i], carry)
	}
	return s
}

func (s sum) minus(o sum) sum {
	var borrow uint64
	for i := range s {
		s[i], borrow = bits.Sub64(s[i], o[i], borrow)
	}
	return s
}

func (s sum) bytes() []byte {
	var b []byte
	for _, w := range s {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// sumOf reads what bytes wrote.
func sumOf(b []byte) (sum, bool) {
	var s sum
	if len(b) != sha256.Size {
		return s, false
	}
	for i := range s {
		s[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return s, true
}

// hashOf is what one key adds to the hash of the state it is in.
func hashOf(p core.RawPair) sum {
	h := sha256.New()
	var b [8]byte
	for _, n := range []int64{int64(len(p.Key)), p.Created, p.Revision, int64(p.Lease)} {
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	h.Write([]byte(p.Key))
	h.Write(p.Value)
	s, _ := sumOf(h.Sum(nil))
	return s
}
