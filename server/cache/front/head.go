package front

import (
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Head is the ready head of a stored response: made once an object, sent many times. It is immutable and holds one string
// of all its field lines, those that a 304 must have first.
type Head struct {
	status int
	line   string // status line with CRLF
	fields string // field lines, each with CRLF
	n304   int    // how much of fields goes into a 304
	date   bool   // fields has a Date
	length int64  // of the whole body

	values      []values // the same fields for HTTP/2 and 3
	lengthValue []string
	stream      atomic.Pointer[streamHead] // as HTTP/2 sends it, once asked for
}

// ownFields are never taken from a stored response: hop-by-hop fields (RFC 9110 §7.6.1) and those that front writes.
var ownFields = map[string]bool{
	"age": true, "connection": true, "content-length": true, "content-range": true, "keep-alive": true,
	"proxy-connection": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true,
	"proxy-authenticate": true, "proxy-authentication-info": true, "alt-svc": true,
}

// not304 are the fields of representation data that a 304 leaves out (RFC 9110 §15.4.5).
var not304 = map[string]bool{
	"content-type": true, "content-encoding": true, "content-language": true, "content-md5": true,
	"content-digest": true, "repr-digest": true, "digest": true, "accept-ranges": true,
}

// NewHead prepares the head of a stored response: status (200 to 599), its fields and the length of its body. Hop-by-hop
// fields, Age, Content-Length, Content-Range and Alt-Svc are left out. A bad name, or a value with CR, LF or NUL, is an
// error, so that no stored response can split what is sent (RFC 9110 §5.5).
func NewHead(status int, fields iter.Seq2[string, string], length int64) (*Head, error) {
	if status < 200 || status > 599 {
		return nil, fmt.Errorf("head: status %d", status)
	}
	if length < 0 {
		return nil, fmt.Errorf("head: length %d", length)
	}
	h := &Head{status: status, line: statusLine(status), length: length}
	var meta, rest strings.Builder
	for name, value := range fields {
		lower := strings.ToLower(name)
		if ownFields[lower] {
			continue
		}
		value = strings.Trim(value, " \t")
		if !isToken(name) || !isValue(value) {
			return nil, fmt.Errorf("head: field %q is not valid", name)
		}
		b := &meta
		if not304[lower] {
			b = &rest
		}
		h.date = h.date || lower == "date"
		b.WriteString(name + ": " + value + "\r\n")
		h.addValue(http.CanonicalHeaderKey(name), value, !not304[lower])
	}
	for i := range h.values {
		h.values[i].list = slices.Clip(h.values[i].list) // shared by all answers: who appends must copy
	}
	h.lengthValue = []string{strconv.FormatInt(length, 10)}
	h.n304 = meta.Len()
	h.fields = meta.String() + rest.String()
	return h, nil
}

// addValue notes a field for header maps.
func (h *Head) addValue(name, value string, meta bool) {
	for i := range h.values {
		if v := &h.values[i]; v.name == name {
			v.list = append(v.list, value)
			return
		}
	}
	h.values = append(h.values, values{name, []string{value}, meta})
}

// Header gives the fields of h one by one for NewHead.
func Header(h http.Header) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for name, values := range h {
			for _, v := range values {
				if !yield(name, v) {
					return
				}
			}
		}
	}
}

// Bytes is about how much memory h takes, with what HTTP/2 makes of it.
func (h *Head) Bytes() int { return 256 + len(h.line) + 2*len(h.fields) + 132*len(h.values) }

// Status and Length are as given to NewHead.
func (h *Head) Status() int   { return h.status }
func (h *Head) Length() int64 { return h.length }

func statusLine(status int) string {
	text := http.StatusText(status)
	if text == "" {
		text = "Status"
	}
	return "HTTP/1.1 " + strconv.Itoa(status) + " " + text + "\r\n"
}

const (
	line206 = "HTTP/1.1 206 Partial Content\r\n"
	line304 = "HTTP/1.1 304 Not Modified\r\n"
	line416 = "HTTP/1.1 416 Range Not Satisfiable\r\n"
)

// outcome is what a head needs beside the answer.
type outcome struct {
	date   []byte // "Date: ...\r\n" of this second
	altSvc string // whole line, or nothing
	close  bool
}

// appendHead writes the response head of a to dst (RFC 9112 §4, RFC 9110 §6.6.1, §14.4).
func appendHead(dst []byte, a *Answer, o outcome) []byte {
	h := a.Head
	switch a.Status {
	case http.StatusPartialContent:
		dst = append(dst, line206...)
		dst = append(dst, h.fields...)
		dst = append(dst, "Content-Range: bytes "...)
		dst = strconv.AppendInt(dst, a.First, 10)
		dst = append(dst, '-')
		dst = strconv.AppendInt(dst, a.First+a.Length-1, 10)
		dst = append(dst, '/')
		dst = strconv.AppendInt(dst, a.Size, 10)
		dst = append(dst, "\r\n"...)
		dst = appendLength(dst, a.Length)
	case http.StatusNotModified:
		dst = append(dst, line304...)
		dst = append(dst, h.fields[:h.n304]...)
	case http.StatusRequestedRangeNotSatisfiable:
		dst = append(dst, line416...)
		dst = append(dst, h.fields[:h.n304]...)
		dst = append(dst, "Content-Range: bytes */"...)
		dst = strconv.AppendInt(dst, a.Size, 10)
		dst = append(dst, "\r\nContent-Length: 0\r\n"...)
	default:
		dst = append(dst, h.line...)
		dst = append(dst, h.fields...)
		if h.status != http.StatusNoContent && h.status != http.StatusNotModified {
			dst = appendLength(dst, h.length)
		}
	}
	if !h.date {
		dst = append(dst, o.date...)
	}
	return appendTail(dst, a, o)
}

// appendTail writes what varies from request to request, and the empty line.
func appendTail(dst []byte, a *Answer, o outcome) []byte {
	if a.Age >= 0 {
		dst = append(dst, "Age: "...)
		dst = strconv.AppendInt(dst, a.Age, 10)
		dst = append(dst, "\r\n"...)
	}
	if a.CacheStatus != nil {
		dst = append(dst, "Cache-Status: "...)
		dst = append(dst, a.CacheStatus...)
		dst = append(dst, "\r\n"...)
	}
	dst = append(dst, a.Extra...)
	dst = append(dst, o.altSvc...)
	if o.close {
		dst = append(dst, "Connection: close\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, n, 10)
	return append(dst, "\r\n"...)
}

// appendDate writes the Date line for t (RFC 9110 §6.6.1).
func appendDate(dst []byte, t time.Time) []byte {
	dst = append(dst, "Date: "...)
	dst = t.UTC().AppendFormat(dst, http.TimeFormat)
	return append(dst, "\r\n"...)
}
