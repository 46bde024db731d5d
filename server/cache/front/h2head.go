package front

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"github.com/catchment/catchment/server/cache/front/h2"
)

// streamHead is a Head as HTTP/2 sends it, made at the first answer over HTTP/2.
type streamHead struct {
	fields []h2.Field // those worth a place in HPACK's table; the ones that a 304 has come first
	n304   int
	fixed  []byte // the others, encoded; those that a 304 has come first
	f304   int
	length int // where Content-Length of the whole body begins in fixed
}

// ofStream gives it.
func (h *Head) ofStream() *streamHead {
	if s := h.stream.Load(); s != nil {
		return s
	}
	s := new(streamHead)
	add := func(meta bool) {
		for _, v := range h.values {
			if v.meta != meta {
				continue
			}
			name := strings.ToLower(v.name)
			for _, line := range v.list {
				if h2.Indexable(name) && len(line) <= maxIndexed {
					s.fields = append(s.fields, h2.Field{Name: name, Value: line})
				} else {
					s.fixed = h2.AppendField(s.fixed, name, line)
				}
			}
		}
	}
	add(true)
	s.n304, s.f304 = len(s.fields), len(s.fixed)
	add(false)
	s.length = len(s.fixed)
	s.fixed = h2.AppendField(s.fixed, "content-length", strconv.FormatInt(h.length, 10))
	h.stream.Store(s)
	return s
}

// maxIndexed is the length of the longest value that goes into HPACK's table.
const maxIndexed = 200

// streamReply is the answer at work as HTTP/2 sends it.
func (w *work) streamReply() *h2.Reply {
	a, status := &w.ans, w.sent.Status
	f := w.req.Conn.front
	head := a.Head.ofStream()
	r := &w.reply
	*r = h2.Reply{Status: status, Fields: head.fields, Fixed: head.fixed, Done: w}
	own := w.out[:0]
	switch {
	case a.Status == http.StatusPartialContent:
		r.Fixed = head.fixed[:head.length]
		own = h2.AppendPlain(own, "content-range", contentRange(a))
		own = appendNumber(own, "content-length", a.Length)
	case status == http.StatusNotModified || a.Status == http.StatusRequestedRangeNotSatisfiable:
		r.Fields, r.Fixed = head.fields[:head.n304], head.fixed[:head.f304]
		if status != http.StatusNotModified {
			own = h2.AppendPlain(own, "content-range", "bytes */"+strconv.FormatInt(a.Size, 10))
			own = appendNumber(own, "content-length", 0)
		}
	case status == http.StatusNoContent:
		r.Fixed = head.fixed[:head.length]
	}
	if !a.Head.date {
		own = h2.AppendPlain(own, "date", dateValue(f.date()))
	}
	if a.Age >= 0 {
		own = appendNumber(own, "age", a.Age)
	}
	if a.CacheStatus != nil {
		own = h2.AppendPlain(own, "cache-status", a.CacheStatus)
	}
	if len(a.Extra) > 0 {
		own = appendLines(own, a.Extra)
	}
	if p := w.req.Conn.port; p != nil && p.altSvc != "" {
		own = h2.AppendPlain(own, "alt-svc", p.altSvc)
	}
	w.out, r.Own = own, own
	if !w.req.Head {
		r.Parts = a.parts
	}
	return r
}

func appendNumber(dst []byte, name string, n int64) []byte {
	var b [20]byte
	return h2.AppendPlain(dst, name, strconv.AppendInt(b[:0], n, 10))
}

// appendLines writes lines of HTTP/1.1.
func appendLines(dst, lines []byte) []byte {
	for line := range bytes.SplitSeq(lines, []byte("\r\n")) {
		if name, value, ok := bytes.Cut(line, []byte{':'}); ok {
			dst = h2.AppendPlain(dst, strings.ToLower(string(name)), bytes.TrimSpace(value))
		}
	}
	return dst
}
