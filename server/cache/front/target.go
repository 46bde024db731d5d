package front

import (
	"bytes"
	"net/netip"
	"strings"
)

// checkTarget checks the request target by its form (RFC 9112 §3.2). Only origin-form with nothing but legal URI bytes stays
// on the fast path; other bytes that net/http takes go to the general path; the rest is refused.
func (h *head) checkTarget() *refusal {
	t := h.target
	m := string(h.method)
	switch {
	case m == "CONNECT":
		return errConnect
	case t[0] == '/':
		return h.checkOrigin(t)
	case len(t) == 1 && t[0] == '*':
		h.slow = true
		if m != "OPTIONS" {
			return errTarget
		}
		return nil
	default:
		h.slow = true
		return h.checkAbsolute(t)
	}
}

// checkOrigin checks path and query. Percent escapes of the path must be well formed; a '#' never belongs in a target.
func (h *head) checkOrigin(t []byte) *refusal {
	path, query, _ := bytes.Cut(t, []byte{'?'})
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case class[c]&inPath != 0:
		case c == '%':
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return errTarget
			}
			i += 2
		case class[c]&inTarget == 0 || c == '#':
			return errTarget
		default:
			h.slow = true
		}
	}
	for _, c := range query {
		switch {
		case class[c]&inQuery != 0:
		case class[c]&inTarget == 0 || c == '#':
			return errTarget
		default:
			h.slow = true
		}
	}
	return nil
}

// checkAbsolute checks http://host/path. Its host must be the one of Host: a difference is a wish to be understood in two
// ways (RFC 9112 §3.2.2 lets Host be ignored; refusing is safer).
func (h *head) checkAbsolute(t []byte) *refusal {
	scheme, rest, ok := strings.Cut(string(t), "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return errTarget
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host := []byte(rest[:end])
	if !validHost(host) {
		return errTarget
	}
	if h.nHost == 1 && !strings.EqualFold(string(host), string(h.host)) {
		return errOtherHost
	}
	if end == len(rest) {
		return nil
	}
	if rest[end] == '#' {
		return errTarget
	}
	return h.checkOrigin([]byte(rest[end:]))
}

// validHost takes host or host:port: a name of letters, digits and "-._~", an IPv4 address, or an IPv6 address in brackets
// (RFC 3986 §3.2.2 without percent escapes and sub-delims, which no host name has). A port has one to five digits.
func validHost(b []byte) bool {
	if len(b) == 0 || len(b) > 260 {
		return false
	}
	port := []byte(nil)
	if b[0] == '[' {
		end := bytes.IndexByte(b, ']')
		if end < 0 {
			return false
		}
		a, err := netip.ParseAddr(string(b[1:end]))
		if err != nil || !a.Is6() || a.Zone() != "" {
			return false
		}
		if port = b[end+1:]; len(port) == 0 {
			return true
		}
	} else {
		i := bytes.IndexByte(b, ':')
		if i < 0 {
			return all(b, inHost)
		}
		if i == 0 || !all(b[:i], inHost) {
			return false
		}
		port = b[i:]
	}
	if len(port) < 2 || len(port) > 6 || port[0] != ':' {
		return false
	}
	for _, c := range port[1:] {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// parseSpan reads a Range of one simple byte range (RFC 9110 §14.1.2); everything else is SpanOther.
func parseSpan(v []byte) Span {
	other := Span{Kind: SpanOther}
	if len(v) < 7 || !equalFold(v[:6], "bytes=") {
		return other
	}
	v = v[6:]
	dash := bytes.IndexByte(v, '-')
	if dash < 0 {
		return other
	}
	first, okFirst := parseLength(v[:dash])
	last, okLast := parseLength(v[dash+1:])
	switch {
	case okFirst && okLast && first <= last:
		return Span{SpanFromTo, first, last}
	case okFirst && dash == len(v)-1:
		return Span{SpanFrom, first, -1}
	case dash == 0 && okLast:
		return Span{SpanSuffix, last, -1}
	}
	return other
}
