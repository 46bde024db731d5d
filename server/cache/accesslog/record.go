package accesslog

import (
	"math"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// Record is one request and what became of it. What is empty is left out of
// the line. Its strings are only read during Add: they may point into buffers.
type Record struct {
	Time     time.Time // when the request's head was complete
	Site     string
	Client   netip.AddrPort
	Local    netip.AddrPort // the address that was asked
	Conn     uint64         // which connection of this process
	Seq      uint64         // which request on it, from 1
	Protocol string         // HTTP/1.1, HTTP/2.0, HTTP/3.0
	TLS      string         // version, if any
	Method   string
	Scheme   string
	Host     string // as the client sent it
	Path     string // as the client sent it
	Query    string // without the question mark

	Status   int
	Bytes    int64 // of the body, sent
	Duration time.Duration
	TTFB     time.Duration // until the first byte of the head went out
	Aborted  bool          // the client left before the end

	Cache  string // hit, miss, stale, revalidated, bypass, pass, refused ...
	Reason string // of it, as in Cache-Status
	Key    []byte // digest of the key; the first 8 bytes are logged

	Range     string // of the request
	Referer   string
	UserAgent string
	Trace     string // trace id

	Upstream     string // who was asked: origin/NAME, parent/NAME, peer/NAME
	UpstreamTime time.Duration
	UpstreamTTFB time.Duration

	// Steer is what was done with a client that plays a stream, and why: "serve:
	// seek", "pace 400000: not-paced", "redirect WAW: full buffer".
	Steer string

	TCP TCP
}

// TCP is what the kernel knew at the end of a transfer (tcp_info).
type TCP struct {
	Valid        bool
	DeliveryRate uint64 // bytes a second
	AppLimited   bool   // the rate says less than the path could carry
	RTT, MinRTT  time.Duration
	RwndLimited  float64 // share of the busy time in which the client's window held us up
	SndLimited   float64 // ... and our own buffer
	Retransmits  uint64  // segments, since the connection began
	Cwnd         uint32  // segments
}

const timeLayout = "2006-01-02T15:04:05.000000Z"

// format is how lines are written.
type format struct {
	uriLimit           int
	userAgent, referer bool
	sample             float64 // 0 or 1: every request
}

// appendRecord appends the line, with slow as the reason for the slow log, and
// a newline.
func (f *format) appendRecord(b []byte, r *Record, slow []byte) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.UTC().AppendFormat(b, timeLayout)
	b = append(b, '"')
	b = str(b, "site", r.Site)
	b = addr(b, "client", r.Client)
	b = addr(b, "local", r.Local)
	b = count(b, "conn", r.Conn)
	b = count(b, "seq", r.Seq)
	b = str(b, "protocol", r.Protocol)
	b = str(b, "tls", r.TLS)
	b = str(b, "method", r.Method)
	b = str(b, "scheme", r.Scheme)
	b = str(b, "host", r.Host)
	b = f.appendURI(b, r)
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = strconv.AppendInt(append(b, `,"bytes":`...), r.Bytes, 10)
	b = millis(append(b, `,"duration_ms":`...), r.Duration)
	b = millis(append(b, `,"ttfb_ms":`...), r.TTFB)
	b = flag(b, "aborted", r.Aborted)
	b = str(b, "cache", r.Cache)
	b = str(b, "reason", r.Reason)
	if len(r.Key) > 0 {
		b = append(b, `,"key":"`...)
		for _, c := range r.Key[:min(8, len(r.Key))] {
			b = append(b, hexDigits[c>>4], hexDigits[c&15])
		}
		b = append(b, '"')
	}
	b = f.appendClient(b, r)
	if r.Upstream != "" {
		b = str(b, "upstream", r.Upstream)
		b = millis(append(b, `,"upstream_ms":`...), r.UpstreamTime)
		b = millis(append(b, `,"upstream_ttfb_ms":`...), r.UpstreamTTFB)
	}
	b = str(b, "steer", r.Steer)
	b = r.TCP.append(b)
	if f.sample > 0 && f.sample < 1 && r.Status < 400 && slow == nil {
		b = strconv.AppendFloat(append(b, `,"sample":`...), f.sample, 'g', -1, 64)
	}
	if slow != nil {
		b = append(append(append(b, `,"slow":"`...), slow...), '"')
	}
	return append(b, '}', '\n')
}

// appendURI appends path and query, cut at the limit.
func (f *format) appendURI(b []byte, r *Record) []byte {
	path, query, cut := r.Path, r.Query, false
	if len(path) > f.uriLimit {
		path, query, cut = path[:f.uriLimit], "", true
	}
	if room := f.uriLimit - len(path); len(query) > room {
		query, cut = query[:room], true
	}
	b = append(b, `,"uri":"`...)
	b = escape(b, path)
	if query != "" {
		b = append(b, '?')
		b = escape(b, query)
	}
	b = append(b, '"')
	return flag(b, "uri_cut", cut)
}

// appendClient appends what the client says of itself.
func (f *format) appendClient(b []byte, r *Record) []byte {
	b = str(b, "range", capped(r.Range, 256))
	if f.referer {
		b = str(b, "referer", capped(r.Referer, f.uriLimit))
	}
	if f.userAgent {
		b = str(b, "user_agent", capped(r.UserAgent, f.uriLimit))
	}
	return str(b, "trace", capped(r.Trace, 256))
}

func capped(s string, n int) string { return s[:min(len(s), n)] }

func (t *TCP) append(b []byte) []byte {
	if !t.Valid {
		return b
	}
	b = strconv.AppendUint(append(b, `,"tcp":{"rate":`...), t.DeliveryRate, 10)
	b = flag(b, "app_limited", t.AppLimited)
	b = millis(append(b, `,"rtt_ms":`...), t.RTT)
	b = millis(append(b, `,"min_rtt_ms":`...), t.MinRTT)
	b = share(append(b, `,"rwnd_limited":`...), t.RwndLimited)
	b = share(append(b, `,"snd_limited":`...), t.SndLimited)
	b = strconv.AppendUint(append(b, `,"retransmits":`...), t.Retransmits, 10)
	b = count(b, "cwnd", uint64(t.Cwnd))
	return append(b, '}')
}

func key(b []byte, name string) []byte {
	b = append(b, ',', '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func str(b []byte, name, s string) []byte {
	if s == "" {
		return b
	}
	b = append(key(b, name), '"')
	return append(escape(b, s), '"')
}

func addr(b []byte, name string, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return b
	}
	a = netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	b = append(key(b, name), '"')
	return append(a.AppendTo(b), '"')
}

func count(b []byte, name string, n uint64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendUint(key(b, name), n, 10)
}

func flag(b []byte, name string, set bool) []byte {
	if !set {
		return b
	}
	return append(key(b, name), "true"...)
}

// millis appends milliseconds with three digits after the point.
func millis(b []byte, d time.Duration) []byte {
	us := max(0, d.Microseconds())
	b = strconv.AppendInt(b, us/1000, 10)
	rest := us % 1000
	return append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}

// share appends a number from 0 to 1 with three digits after the point.
func share(b []byte, s float64) []byte {
	if math.IsNaN(s) {
		s = 0
	}
	n := int(math.Round(1000 * min(1, max(0, s))))
	return append(b, byte('0'+n/1000), '.', byte('0'+n/100%10), byte('0'+n/10%10), byte('0'+n%10))
}

const hexDigits = "0123456789abcdef"

// plain are the characters that stand for themselves in a JSON string.
var plain = func() (t [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// escape appends s as the inside of a JSON string (RFC 8259 section 7). What is
// not UTF-8 becomes U+FFFD, and the two line ends that JavaScript does not
// allow in strings are escaped.
func escape(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c < utf8.RuneSelf {
			b = append(b, s[start:i]...)
			b = escapeByte(b, c)
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			b = append(append(b, s[start:i]...), `\ufffd`...)
			start = i + n
		case r == '\u2028' || r == '\u2029':
			b = append(append(b, s[start:i]...), `\u202`...)
			b = append(b, hexDigits[r&15])
			start = i + n
		}
		i += n
	}
	return append(b, s[start:]...)
}

func escapeByte(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	}
	if c == 0x7f { // encoding/json leaves it
		return append(b, c)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
