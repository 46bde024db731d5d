package get

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// window is the part of an object that a body delivers.
type window struct {
	validator string
	start     int64 // first byte
	end       int64 // one after the last; -1: not known, until the server ends
	size      int64 // of the whole object; -1: not known
	ranged    bool  // the request asked for a range: what follows does so too
	closes    bool  // its end is that of the connection, as if it had broken (RFC 9112 §6.3)
}

// resumable says what a body delivers and whether it can be resumed.
func resumable(req *http.Request, resp *http.Response) (window, bool) {
	w := window{validator: validator(resp.Header), end: -1, size: -1}
	if req.Method != http.MethodGet || req.Body != nil && req.Body != http.NoBody || w.validator == "" || resp.Uncompressed {
		return w, false
	}
	if strings.EqualFold(strings.TrimSpace(resp.Header.Get("Accept-Ranges")), "none") {
		return w, false
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if resp.ContentLength >= 0 {
			w.end, w.size = resp.ContentLength, resp.ContentLength
		}
		w.closes = w.end < 0 && resp.ProtoMajor == 1 && len(resp.TransferEncoding) == 0
		return w, true
	case http.StatusPartialContent:
		c, ok := parseContentRange(resp.Header.Get("Content-Range"))
		w.start, w.end, w.size, w.ranged = c.first, c.last+1, c.size, true
		return w, ok && c.first >= 0
	}
	return w, false
}

// contentRange is a Content-Range of bytes (RFC 9110 §14.4); first is -1 where
// no range could be satisfied, size -1 where it is not known.
type contentRange struct{ first, last, size int64 }

func parseContentRange(s string) (contentRange, bool) {
	none := contentRange{-1, -1, -1}
	unit, rest, ok := strings.Cut(strings.TrimSpace(s), " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return none, false
	}
	span, size, ok := strings.Cut(strings.TrimSpace(rest), "/")
	if !ok {
		return none, false
	}
	c := none
	if size != "*" {
		if c.size, ok = number(size); !ok {
			return none, false
		}
	}
	if span == "*" {
		return c, c.size >= 0
	}
	first, last, ok := strings.Cut(span, "-")
	if !ok {
		return none, false
	}
	var ok1, ok2 bool
	c.first, ok1 = number(first)
	c.last, ok2 = number(last)
	if !ok1 || !ok2 || c.last < c.first || c.size >= 0 && c.last >= c.size {
		return none, false
	}
	return c, true
}

// number is a run of digits; signs and spaces are none.
func number(s string) (int64, bool) {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 63)
	return n, err == nil
}

// rangeFrom is the Range that asks for what is missing from offset on.
func (w *window) rangeFrom(offset int64) string {
	if w.ranged && w.end >= 0 {
		return fmt.Sprintf("bytes=%d-%d", offset, w.end-1)
	}
	return fmt.Sprintf("bytes=%d-", offset)
}

// goesOn says whether an answer to rangeFrom is what is missing. complete: the
// server says that nothing is.
func (w *window) goesOn(resp *http.Response, offset int64) (complete bool, err error) {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		c, ok := parseContentRange(resp.Header.Get("Content-Range"))
		switch {
		case !ok || c.first != offset:
			return false, fmt.Errorf("asked for bytes from %d on and got %q", offset, resp.Header.Get("Content-Range"))
		case w.size >= 0 && c.size >= 0 && c.size != w.size:
			return false, fmt.Errorf("%w: its size was %d and is %d", ErrChanged, w.size, c.size)
		case w.end >= 0 && c.last+1 > w.end:
			return false, fmt.Errorf("asked for bytes up to %d and got %q", w.end-1, resp.Header.Get("Content-Range"))
		}
		if v := validator(resp.Header); v != "" && v != w.validator {
			return false, fmt.Errorf("%w: it was %s and is %s", ErrChanged, w.validator, v)
		}
		return false, nil
	case http.StatusRequestedRangeNotSatisfiable:
		// Only where it was not known how much there is can this be the end.
		c, ok := parseContentRange(resp.Header.Get("Content-Range"))
		if ok && c.first < 0 && c.size == offset && w.end < 0 {
			return true, nil
		}
		return false, fmt.Errorf("%w: there are no bytes from %d on (%s)", ErrChanged, offset, resp.Header.Get("Content-Range"))
	case http.StatusOK:
		return false, fmt.Errorf("%w: the server sends all of it anew", ErrChanged)
	case http.StatusNotFound, http.StatusGone, http.StatusForbidden, http.StatusUnauthorized:
		return false, fmt.Errorf("%w: %s", ErrChanged, resp.Status)
	}
	return false, fmt.Errorf("the server says %s", resp.Status)
}
