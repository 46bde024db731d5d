package dns

import (
	"math"
	"net/netip"
	"sync/atomic"
)

// Rates limit answers over UDP to clients that have not shown a good cookie, so
// that the server is no use for reflecting floods. Counted for each client
// network (/24, /56) and kind of answer.
type Rates struct {
	Answers int // a second of the same name and type; default 1000; negative: no limit
	Errors  int // a second of errors, referrals and names that do not exist, by zone; default 200; negative: no limit
	Slip    int // each so many answers over the limit is sent truncated, so that the client asks again by TCP; default 2; 1: all; negative: none
}

func (r Rates) filled() Rates {
	if r.Answers == 0 {
		r.Answers = 1000
	}
	if r.Errors == 0 {
		r.Errors = 200
	}
	if r.Slip == 0 {
		r.Slip = 2
	}
	return r
}

type verdict uint8

const (
	pass verdict = iota
	slip
	drop
)

// limiter is a table of buckets that clients share by hash: a collision makes
// it stricter for both, never laxer.
type limiter struct {
	rates   Rates
	seed    uint64
	buckets []atomic.Uint64 // second<<32 | answers in it
	slips   atomic.Uint32
}

const limiterSize = 1 << 16 // half a megabyte

func newLimiter(r Rates, seed uint64) *limiter {
	l := &limiter{rates: r.filled(), seed: seed}
	if l.rates.Answers >= 0 || l.rates.Errors >= 0 {
		l.buckets = make([]atomic.Uint64, limiterSize)
	}
	return l
}

// judge counts an answer. what is a hash of its kind.
func (l *limiter) judge(client netip.Addr, what uint64, failed bool, second uint32) verdict {
	limit := l.rates.Answers
	if failed {
		limit = l.rates.Errors
	}
	if limit < 0 {
		return pass
	}
	b := &l.buckets[mix(what^clientKey(client)^l.seed)%limiterSize]
	for {
		old := b.Load()
		n := uint32(old)
		if uint32(old>>32) != second {
			n = 0
		}
		if n < math.MaxUint32 {
			n++
		}
		if !b.CompareAndSwap(old, uint64(second)<<32|uint64(n)) {
			continue
		}
		if int64(n) <= int64(limit) {
			return pass
		}
		if l.rates.Slip > 0 && l.slips.Add(1)%uint32(l.rates.Slip) == 0 {
			return slip
		}
		return drop
	}
}

// clientKey is a number for a client's network.
func clientKey(a netip.Addr) uint64 {
	if a.Is4() {
		b := a.As4()
		return uint64(b[0])<<16 | uint64(b[1])<<8 | uint64(b[2])
	}
	b := a.As16()
	var k uint64
	for _, c := range b[:7] {
		k = k<<8 | uint64(c)
	}
	return 1<<63 | k
}

func mix(x uint64) uint64 {
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	x ^= x >> 32
	x *= 0xd6e8feb86659fd93
	return x ^ x>>32
}

// hashName is FNV-1a of a name and a type.
func hashName(name []byte, typ uint16) uint64 {
	h := uint64(14695981039346656037) ^ uint64(typ)
	for _, c := range name {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}
