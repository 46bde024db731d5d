package ranges

import (
	"errors"
	"strconv"
	"strings"
)

// ContentRange is a parsed Content-Range field (RFC 9110 §14.4).
type ContentRange struct {
	Span Span  // zero in an answer 416 ("bytes */size")
	Size int64 // of the whole representation, -1 if the sender did not say ("*")
}

// errContentRange is returned for a Content-Range that cannot be relied on.
var errContentRange = errors.New("ranges: invalid Content-Range")

// ParseContentRange reads a Content-Range field of the unit bytes. A last position below the first, or not below the size,
// is an error, as is a number that does not fit: the message must not be used then (§14.4).
func ParseContentRange(v string) (ContentRange, error) {
	v = trimOWS(v)
	if len(v) < 6 || !strings.EqualFold(v[:5], "bytes") || v[5] != ' ' {
		return ContentRange{}, errContentRange
	}
	span, size, found := strings.Cut(v[6:], "/")
	if !found {
		return ContentRange{}, errContentRange
	}
	c := ContentRange{Size: -1}
	ok := true
	if size != "*" {
		c.Size, ok = parseExact(size)
	}
	if span == "*" {
		if !ok || c.Size < 0 {
			return ContentRange{}, errContentRange
		}
		return c, nil
	}
	first, last, found := strings.Cut(span, "-")
	a, ok1 := parseExact(first)
	b, ok2 := parseExact(last)
	if !found || !ok || !ok1 || !ok2 || a > b || c.Size >= 0 && b >= c.Size {
		return ContentRange{}, errContentRange
	}
	c.Span = Span{a, b + 1}
	return c, nil
}

// parseExact is parseInt where a number that does not fit is an error.
func parseExact(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	_, digits := parseInt(s)
	return n, err == nil && digits && n < 1<<62
}

// AppendContentRange appends "bytes first-last/size"; a size below zero is written as "*".
func AppendContentRange(b []byte, s Span, size int64) []byte {
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, s.Start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, s.End-1, 10)
	b = append(b, '/')
	if size < 0 {
		return append(b, '*')
	}
	return strconv.AppendInt(b, size, 10)
}

// AppendUnsatisfied appends "bytes */size", the Content-Range of an answer 416.
func AppendUnsatisfied(b []byte, size int64) []byte {
	return strconv.AppendInt(append(b, "bytes */"...), size, 10)
}

// Multipart is the frame of a multipart/byteranges answer (RFC 9110 §14.6): for each span Head then its bytes, and Tail at
// the end. Length is known before anything is sent.
type Multipart struct {
	spans    []Span
	size     int64
	typ      string
	boundary string
}

// NewMultipart frames spans of a representation of size bytes and the given Content-Type ("" if it has none). The
// boundary must not occur in the content: 16 random bytes in hex will do. One span alone is never sent as multipart.
func NewMultipart(spans []Span, size int64, contentType, boundary string) *Multipart {
	return &Multipart{spans, size, contentType, boundary}
}

// ContentType is the Content-Type of the answer.
func (m *Multipart) ContentType() string { return "multipart/byteranges; boundary=" + m.boundary }

// Head appends what comes before the bytes of span i.
func (m *Multipart) Head(b []byte, i int) []byte {
	if i > 0 {
		b = append(b, "\r\n"...)
	}
	b = append(append(b, "--"...), m.boundary...)
	if m.typ != "" {
		b = append(append(b, "\r\nContent-Type: "...), m.typ...)
	}
	b = append(b, "\r\nContent-Range: "...)
	b = AppendContentRange(b, m.spans[i], m.size)
	return append(b, "\r\n\r\n"...)
}

// Tail appends what comes after the last span.
func (m *Multipart) Tail(b []byte) []byte {
	b = append(append(b, "\r\n--"...), m.boundary...)
	return append(b, "--\r\n"...)
}

// Length is the exact Content-Length of the answer.
func (m *Multipart) Length() int64 {
	var n int64
	var buf [256]byte
	for i, s := range m.spans {
		n += int64(len(m.Head(buf[:0], i))) + s.Len()
	}
	return n + int64(len(m.Tail(buf[:0])))
}

// Chunks gives the numbers of the first and the last chunk that hold a byte of the span, for chunks of the given size.
func Chunks(s Span, chunk int64) (first, last int64) {
	return s.Start / chunk, (s.End - 1) / chunk
}

// Chunk gives the span of chunk n of a representation of size bytes; size below zero means not known, then it is full.
func Chunk(n, size, chunk int64) Span {
	s := Span{n * chunk, (n + 1) * chunk}
	if size >= 0 {
		s.End = min(s.End, size)
	}
	return s
}
