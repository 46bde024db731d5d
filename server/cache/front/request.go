package front

import "net/netip"

// Request is a plain GET or HEAD as the fast path read it. All slices point into the connection's read buffer: they are
// good until the [Finisher] of the answer has returned, or until Hit returns false; copy what must live longer.
//
// What a Hitter can rely on: HTTP/1.1; one valid Host; origin-form target; no body; and none of the fields that change how
// a cache must act: Authorization, Cache-Control, Pragma, Expect, Upgrade, TE, Trailer, Via, CDN-Loop, If-Match,
// If-Unmodified-Since, Max-Forwards, Proxy-*, Catchment-Debug, nor one of Options.SlowNames, nor two of one kind among the
// fields named below. Requests with those go to the http.Handler.
type Request struct {
	Head   bool   // HEAD; else GET
	TLS    bool   // came over TLS
	Target []byte // the request target as sent: path and query; begins with '/'; no byte that a URI cannot have, but for a few in the query
	Path   []byte // Target up to the first '?'; percent escapes are well formed
	Query  []byte // after the first '?'; nil without one
	Host   []byte // as sent: host, perhaps with a port; letters may be of any case

	AcceptEncoding  []byte // values of known fields, nil when absent
	AcceptLanguage  []byte
	Accept          []byte
	Cookie          []byte
	IfModifiedSince []byte
	IfNoneMatch     []byte
	IfRange         []byte
	Origin          []byte
	Range           []byte
	Referer         []byte
	UserAgent       []byte

	Span Span // Range as parsed, when it is one simple byte range
	Conn *Conn

	fields []field
	buf    []byte
}

// Span is one byte range of a Range field (RFC 9110 §14.1.2).
type Span struct {
	Kind  SpanKind
	First int64 // first byte; for SpanSuffix the number of last bytes
	Last  int64 // last byte, inclusive; for SpanFrom -1
}

// SpanKind says what form a Range has.
type SpanKind uint8

// The forms of a Range field.
const (
	SpanNone   SpanKind = iota // no Range
	SpanFromTo                 // bytes=a-b, a <= b
	SpanFrom                   // bytes=a-
	SpanSuffix                 // bytes=-n
	SpanOther                  // several ranges, another unit, or malformed: see Range
)

// Resolve says which part of a representation of size bytes is asked: first byte and length. ok is false when nothing of
// it is satisfiable (RFC 9110 §14.1.2: 416) or the kind is neither of the three simple ones.
func (s Span) Resolve(size int64) (first, length int64, ok bool) {
	switch s.Kind {
	case SpanFromTo:
		if s.First >= size {
			return 0, 0, false
		}
		return s.First, min(s.Last, size-1) - s.First + 1, true
	case SpanFrom:
		if s.First >= size {
			return 0, 0, false
		}
		return s.First, size - s.First, true
	case SpanSuffix:
		n := min(s.First, size)
		if n == 0 {
			return 0, 0, false
		}
		return size - n, n, true
	}
	return 0, 0, false
}

// Get is the value of the first field with this name, which must be in lower case; ok is false when there is none.
func (r *Request) Get(name string) (value []byte, ok bool) {
	for i := range r.fields {
		f := &r.fields[i]
		if equalFold(f.name(r.buf), name) {
			return f.value(r.buf), true
		}
	}
	return nil, false
}

// Fields gives all fields in the order sent, names as sent, values trimmed.
func (r *Request) Fields(yield func(name, value []byte) bool) {
	for i := range r.fields {
		f := &r.fields[i]
		if !yield(f.name(r.buf), f.value(r.buf)) {
			return
		}
	}
}

// Remote is the client's address and port.
func (r *Request) Remote() netip.AddrPort { return r.Conn.Remote() }

// equalFold compares ASCII b with the lower-case s.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range len(b) {
		c := b[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}
