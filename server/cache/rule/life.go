package rule

import (
	"encoding/binary"
	"errors"
)

// Flags are properties of a stored response that a hit needs.
type Flags uint16

const (
	FlagNoCache        Flags = 1 << iota // must be validated before each use
	FlagMustRevalidate                   // must-revalidate, proxy-revalidate or s-maxage: never stale on its own
	FlagImmutable                        // RFC 8246: a plain reload (max-age=0) is answered from the store while fresh
	FlagHeuristic                        // the lifetime is a guess
	FlagOverride                         // the lifetime is the policy's
	FlagETag                             // it has an ETag
	FlagStrong                           // its ETag is strong: bytes of two answers may be joined
	FlagModified                         // it has a valid Last-Modified
	FlagShared                           // the origin said it may be shared (public, s-maxage, must-revalidate)
)

// Life is all of a stored response's times, worked out when it was stored or last validated. It is a plain value: copy it.
type Life struct {
	Received Millis // when the response (or the last 304) came
	Born     Millis // Received less the corrected initial age: age = now - Born (RFC 9111 §4.2.3)
	Date     Millis // the Date field, or Received; the most recent variant wins
	Fresh    Millis // fresh before this
	Revalidate,
	Error,
	Disconnected Millis // may be served stale before these; equal to Fresh where it may not
	Status uint16
	Flags  Flags
}

// Age is the value of the Age field: whole seconds (RFC 9111 §5.1).
func (l *Life) Age(now Millis) Seconds {
	return min(max(Seconds(now-l.Born)/1000, 0), maxSeconds)
}

// TTL is the remaining freshness in seconds, below zero once stale: the ttl parameter of Cache-Status.
func (l *Life) TTL(now Millis) int64 {
	d := int64(l.Fresh - now)
	if d < 0 {
		return -((-d + 999) / 1000)
	}
	return d / 1000
}

// IsFresh reports whether it is fresh at now, without regard to a request.
func (l *Life) IsFresh(now Millis) bool { return now < l.Fresh && l.Flags&FlagNoCache == 0 }

// Dead is the time after which it cannot answer anything without being validated first.
func (l *Life) Dead() Millis { return max(l.Fresh, l.Revalidate, l.Error, l.Disconnected) }

// Invalidate demands a validation before any further use (RFC 9111 §4.4, and §4.3.5 after a HEAD that differs): it is stale
// from now on, and nothing allows serving it stale.
func (l *Life) Invalidate(now Millis) {
	l.Fresh = min(l.Fresh, now)
	l.Revalidate, l.Error, l.Disconnected = l.Fresh, l.Fresh, l.Fresh
	l.Flags |= FlagMustRevalidate
}

// Expire makes it stale from now on; its stale windows count from there (soft purge).
func (l *Life) Expire(now Millis) {
	if l.Fresh <= now {
		return
	}
	by := l.Fresh - now
	l.Fresh, l.Revalidate, l.Error, l.Disconnected = now, l.Revalidate-by, l.Error-by, l.Disconnected-by
}

// lifeVersion marks the binary form; lifeSize is its length.
const (
	lifeVersion = 1
	lifeSize    = 1 + 7*8 + 2 + 2
)

// AppendBinary appends the binary form, always of the same length.
func (l Life) AppendBinary(b []byte) ([]byte, error) {
	b = append(b, lifeVersion)
	for _, m := range [...]Millis{l.Received, l.Born, l.Date, l.Fresh, l.Revalidate, l.Error, l.Disconnected} {
		b = binary.BigEndian.AppendUint64(b, uint64(m))
	}
	b = binary.BigEndian.AppendUint16(b, l.Status)
	return binary.BigEndian.AppendUint16(b, uint16(l.Flags)), nil
}

// errLife is returned for bytes that are not a Life.
var errLife = errors.New("rule: not a stored life")

// DecodeLife reads what AppendBinary wrote and returns the bytes after it.
func DecodeLife(b []byte) (Life, []byte, error) {
	if len(b) < lifeSize || b[0] != lifeVersion {
		return Life{}, b, errLife
	}
	at := func(i int) Millis { return Millis(binary.BigEndian.Uint64(b[1+8*i:])) }
	return Life{
		Received: at(0), Born: at(1), Date: at(2), Fresh: at(3), Revalidate: at(4), Error: at(5), Disconnected: at(6),
		Status: binary.BigEndian.Uint16(b[57:]),
		Flags:  Flags(binary.BigEndian.Uint16(b[59:])),
	}, b[lifeSize:], nil
}
