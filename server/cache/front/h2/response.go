package h2

import (
	"errors"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2/hpack"
)

// writeRoom is how much of a body is gathered before it goes out.
const writeRoom = 4 << 10

// writer is the http.ResponseWriter of a stream. Its goroutine is the handler's.
type writer struct {
	s      *stream
	header http.Header
	body   bool // the method has one
	status int
	length int64 // Content-Length as the handler set it; -1: not set
	wrote  int64
	buf    []byte
	snap   http.Header // of when WriteHeader was called
	gone   bool        // the head was sent
	trails []string    // trailers announced by "Trailer"
}

// Header is as http.ResponseWriter has it.
func (w *writer) Header() http.Header { return w.header }

// WriteHeader sends informational heads at once; the last one goes with the first bytes.
func (w *writer) WriteHeader(status int) {
	switch {
	case w.status != 0:
		return
	case status < 100 || status > 999:
		panic("http2: invalid status " + strconv.Itoa(status))
	case status == http.StatusSwitchingProtocols:
		return // there is no such thing in HTTP/2 (RFC 9113 §8.6)
	case status < 200:
		w.early(status)
		return
	}
	w.status, w.length = status, -1
	w.snap = w.header.Clone()
	if v := w.snap["Content-Length"]; len(v) > 0 {
		n, ok := parseLength(v[0])
		if ok && len(v) == 1 {
			w.length = n
		} else {
			delete(w.snap, "Content-Length")
		}
	}
	for _, line := range w.snap["Trailer"] {
		for name := range strings.SplitSeq(line, ",") {
			w.trails = append(w.trails, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
}

// early sends an informational response (RFC 9110 §15.2).
func (w *writer) early(status int) {
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.s.err != nil || w.gone {
		return
	}
	begin := c.beginHead(w.s.id, status)
	c.fields(w.header, nil)
	c.endHead(begin, false)
	c.flush()
}

// bodyless says whether the status has no body.
func (w *writer) bodyless() bool {
	return w.status == http.StatusNoContent || w.status == http.StatusNotModified
}

// Progress is kept at how many bytes of the body the wire has taken since it was first asked for.
func (w *writer) Progress() *atomic.Int64 {
	c := w.s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.s.gone == nil {
		w.s.gone = new(atomic.Int64)
	}
	return w.s.gone
}

// Write takes bytes of the body: few are gathered, many are sent out of p, and waited for.
func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	switch {
	case w.bodyless():
		return 0, http.ErrBodyNotAllowed
	case w.length >= 0 && w.wrote+int64(len(p)) > w.length:
		return 0, http.ErrContentLength
	}
	w.wrote += int64(len(p))
	if !w.body { // only what the type is told from is kept
		w.buf = append(w.buf, p[:min(len(p), 512-len(w.buf))]...)
		return len(p), nil
	}
	if len(w.buf)+len(p) <= writeRoom {
		w.buf = append(w.buf, p...)
		return len(p), nil
	}
	if err := w.send(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString is Write.
func (w *writer) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// Flush sends what there is.
func (w *writer) Flush() { w.FlushError() }

// FlushError sends what there is, and the head before it.
func (w *writer) FlushError() error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.send(nil, false)
}

// SetReadDeadline and SetWriteDeadline are for http.ResponseController. A deadline that has passed ends the stream's reading
// or writing.
func (w *writer) SetReadDeadline(t time.Time) error  { return w.set(reading, t) }
func (w *writer) SetWriteDeadline(t time.Time) error { return w.set(writing, t) }

func (w *writer) set(which int, t time.Time) error {
	w.s.c.mu.Lock()
	defer w.s.c.mu.Unlock()
	w.s.limits[which].set(w.s, t)
	return nil
}

// EnableFullDuplex is for http.ResponseController: HTTP/2 always is.
func (w *writer) EnableFullDuplex() error { return nil }

// send gives what was gathered and p to the connection and waits until both are sent.
func (w *writer) send(p []byte, end bool) error {
	s := w.s
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if end {
		w.measure()
	}
	parts := make([]Part, 0, 2)
	for _, b := range [][]byte{w.buf, p} {
		if len(b) > 0 && w.body {
			parts = append(parts, Part{Bytes: b, Length: int64(len(b))})
		}
	}
	trailers := end && w.hasTrailers()
	if !w.gone {
		w.head(end && len(parts) == 0 && !trailers, p)
	}
	if len(parts) > 0 {
		s.took, s.since = 0, time.Now()
	}
	s.parts, s.at, s.last = parts, 0, end && !trailers
	if !s.closed {
		c.push(s)
	}
	if err := w.wait(); err != nil {
		return err
	}
	w.buf = w.buf[:0]
	if trailers {
		w.sendTrailers()
	}
	return nil
}

// wait sends, and waits until all that the stream was given is gone, or it never will.
func (w *writer) wait() error {
	s := w.s
	c := s.c
	c.flush()
	for s.err == nil && (len(s.parts) > 0 || s.last && !s.closed) {
		if s.limits[writing].passed() {
			c.reset(s.id, Cancel)
			c.drop(s, os.ErrDeadlineExceeded)
			c.flush()
			break
		}
		s.cond.Wait()
	}
	for s.refs > 0 && !(c.dead && !c.flushing) {
		s.cond.Wait() // the bytes are in use, whatever happened
	}
	if s.err != nil && !s.closed {
		return s.err
	}
	return nil
}

// measure sets Content-Length when the whole body is there before the head went out.
func (w *writer) measure() {
	if w.gone || w.length >= 0 || w.bodyless() || !w.body && w.wrote == 0 {
		return
	}
	w.snap["Content-Length"] = []string{strconv.FormatInt(w.wrote, 10)}
}

// head queues the head of the response.
func (w *writer) head(end bool, p []byte) {
	c, h := w.s.c, w.snap
	w.gone = true
	if _, ok := h["Content-Type"]; !ok && !w.bodyless() && len(w.buf)+len(p) > 0 && h.Get("Content-Encoding") == "" {
		sample := w.buf
		if len(sample) < 512 {
			sample = append(slices.Clone(sample), p[:min(len(p), 512)]...)
		}
		h["Content-Type"] = []string{http.DetectContentType(sample)}
	}
	if _, ok := h["Date"]; !ok {
		h["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	}
	if httpguts.HeaderValuesContainsToken(h["Connection"], "close") && c.leaving == staying {
		c.goAway(time.Now())
	}
	begin := c.beginHead(w.s.id, w.status)
	c.fields(h, w.trails)
	c.endHead(begin, end)
	if end {
		c.shut(w.s)
	}
}

// fields queues the fields of a header map, without those that HTTP/2 does not have, and trailers.
func (c *Conn) fields(h http.Header, not []string) {
	for name, lines := range h {
		switch name {
		case "Connection", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Keep-Alive":
			continue
		}
		if strings.HasPrefix(name, http.TrailerPrefix) || slices.Contains(not, name) || !httpguts.ValidHeaderFieldName(name) {
			continue
		}
		c.lines(name, lines)
	}
}

func (c *Conn) lines(name string, lines []string) {
	lower := strings.ToLower(name)
	for _, v := range lines {
		switch {
		case !httpguts.ValidHeaderFieldValue(v):
		case Indexable(lower):
			c.enc.WriteField(hpack.HeaderField{Name: lower, Value: strings.Trim(v, " \t")})
		default:
			c.next.buf = AppendField(c.next.buf, lower, strings.Trim(v, " \t"))
		}
	}
}

// hasTrailers says whether the handler has set any.
func (w *writer) hasTrailers() bool {
	for _, name := range w.trails {
		if len(w.header[name]) > 0 {
			return true
		}
	}
	for name := range w.header {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			return true
		}
	}
	return false
}

// sendTrailers ends the stream with the trailers.
func (w *writer) sendTrailers() {
	c := w.s.c
	begin := c.beginHead(w.s.id, 0)
	for _, name := range w.trails {
		c.lines(name, w.header[name])
	}
	for name, lines := range w.header {
		if name, ok := strings.CutPrefix(name, http.TrailerPrefix); ok && httpguts.ValidTrailerHeader(name) {
			c.lines(name, lines)
		}
	}
	c.endHead(begin, true)
	c.shut(w.s)
	c.flush()
}

var errShort = errors.New("http2: the handler wrote less than it said")

// finish ends the stream when the handler has returned.
func (w *writer) finish() {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.body && !w.bodyless() && w.length >= 0 && w.wrote < w.length {
		w.send(nil, false)
		w.abort()
		return
	}
	if w.send(nil, true) != nil {
		return
	}
	c, s := w.s.c, w.s
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err == nil && !s.ended { // RFC 9113 §8.1: the rest of the request is not wanted
		c.reset(s.id, NoError)
		c.drop(s, errShort)
	}
}

// abort resets the stream.
func (w *writer) abort() {
	c, s := w.s.c, w.s
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.err == nil && !s.closed {
		c.reset(s.id, InternalError)
		c.drop(s, errShort)
	}
}

// Indexable says whether a field (name in lower case) has the same value in many answers, so that it is worth a place in HPACK's
// table.
func Indexable(name string) bool {
	switch name {
	case "content-type", "cache-control", "cdn-cache-control", "server", "vary", "accept-ranges", "content-encoding", "content-language",
		"strict-transport-security", "x-content-type-options", "x-frame-options", "content-security-policy", "referrer-policy",
		"access-control-allow-origin", "access-control-allow-credentials", "access-control-expose-headers", "permissions-policy",
		"alt-svc", "via", "timing-allow-origin", "cross-origin-resource-policy", "x-xss-protection":
		return true
	}
	return false
}
