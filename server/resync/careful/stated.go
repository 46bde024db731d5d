package careful

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// Fields of a request by which a client may state what it can take: the client
// hints of the Network Information API, and our own, which `catchment get`
// sends, in bits a second.
const (
	FieldDownlink  = "Downlink" // Mbit/s, rounded, and never more than browsers will say
	FieldRTT       = "RTT"      // ms
	FieldBandwidth = "Catchment-Bandwidth"
)

// Stated is what a client says of itself. It is a hint: a client may say
// anything, so by its word alone no flow gets more than Limits.Stated.
type Stated struct {
	Rate uint64        // bytes a second; 0: nothing was said
	RTT  time.Duration // 0: nothing was said
	// Measured: the client has measured it, and a word of less than what we
	// know counts too. A browser's Downlink ends at 10 Mbit/s.
	Measured bool
}

// Bounds of what may be said.
const (
	mostStated    = 100_000_000_000 // bit/s
	mostStatedRTT = 10 * time.Second
)

// ParseStated reads the fields of a request; what is malformed or beyond all
// bounds is as if it were not there.
func ParseStated(field func(name string) string) Stated {
	var s Stated
	if ms, err := strconv.ParseUint(strings.TrimSpace(field(FieldRTT)), 10, 32); err == nil && time.Duration(ms)*time.Millisecond <= mostStatedRTT {
		s.RTT = time.Duration(ms) * time.Millisecond
	}
	if bits, err := strconv.ParseUint(strings.TrimSpace(field(FieldBandwidth)), 10, 64); err == nil && bits <= mostStated {
		s.Rate, s.Measured = bits/8, bits >= 8
	}
	if s.Rate == 0 {
		s.Rate = downlink(strings.TrimSpace(field(FieldDownlink)))
	}
	return s
}

// downlink reads a decimal number of Mbit/s as bytes a second.
func downlink(v string) uint64 {
	if v == "" || len(v) > 16 || strings.Trim(v, "0123456789.") != "" {
		return 0 // also no exponents, signs and names of numbers
	}
	mbit, err := strconv.ParseFloat(v, 64)
	if err != nil || !(mbit*1e6 <= mostStated) {
		return 0
	}
	return uint64(mbit * 1e6 / 8)
}

// Hear makes a ticket of what is known and what the client says. What was
// measured here goes before: a client's word can only make it less. Where
// nothing is known it is half of the client's word, up to a bound.
func (l Limits) Hear(t Ticket, s Stated, p Path, now time.Time) Ticket {
	l = l.withDefaults()
	known := t.Rate > 0 && now.Sub(t.At) <= l.Lifetime
	switch {
	case s.Rate == 0:
	case known && s.Measured:
		t.Rate = min(t.Rate, s.Rate)
	case !known:
		t = Ticket{Rate: min(s.Rate/2, l.Stated), RTT: cmp.Or(s.RTT, p.RTT), At: now}
	}
	return t
}
