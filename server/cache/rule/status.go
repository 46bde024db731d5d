package rule

import (
	"strconv"
	"strings"

	"github.com/dunglas/httpsfv"
)

// Fwd is why a request went upstream (RFC 9211 §2.2).
type Fwd uint8

const (
	FwdNone Fwd = iota
	FwdBypass
	FwdMethod
	FwdURIMiss
	FwdVaryMiss
	FwdMiss
	FwdRequest
	FwdStale
	FwdPartial
)

var fwdText = [...]string{"", "bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"}

// String is the token of RFC 9211.
func (f Fwd) String() string {
	if int(f) < len(fwdText) {
		return fwdText[f]
	}
	return ""
}

// CacheStatus is one member of the Cache-Status field (RFC 9211): what one cache did with a request.
type CacheStatus struct {
	Cache     string // the cache's name: a token where it can be one, else a string
	Hit       bool   // not together with Fwd
	Fwd       Fwd
	FwdStatus int   // status of the next hop's answer, 0: not said
	TTL       int64 // remaining freshness in seconds, if HasTTL
	HasTTL    bool
	Stored    bool
	Collapsed bool
	Key       string // the cache key, "": not said
	Detail    Reason // None: not said
}

// AppendTo appends the member in its structured form.
func (s *CacheStatus) AppendTo(b []byte) []byte {
	b = appendName(b, s.Cache)
	if s.Hit {
		b = append(b, "; hit"...)
	} else if s.Fwd != FwdNone {
		b = append(append(b, "; fwd="...), s.Fwd.String()...)
	}
	if s.FwdStatus != 0 {
		b = strconv.AppendInt(append(b, "; fwd-status="...), int64(s.FwdStatus), 10)
	}
	if s.HasTTL {
		b = strconv.AppendInt(append(b, "; ttl="...), s.TTL, 10)
	}
	if s.Stored {
		b = append(b, "; stored"...)
	}
	if s.Collapsed {
		b = append(b, "; collapsed"...)
	}
	if s.Key != "" {
		b = appendString(append(b, "; key="...), s.Key)
	}
	if s.Detail != None {
		b = append(append(b, "; detail="...), s.Detail.String()...)
	}
	return b
}

// Line is the value of the Cache-Status field to send: what the stored or forwarded response had (members of caches nearer
// to the origin), then ours. Upstream lines that are not valid are left out, since they would make the whole field invalid.
func (s *CacheStatus) Line(upstream []string) string {
	var b []byte
	if len(upstream) > 0 {
		if list, err := httpsfv.UnmarshalList(upstream); err == nil && len(list) > 0 {
			if text, err := httpsfv.Marshal(list); err == nil {
				b = append(append(b, text...), ", "...)
			}
		}
	}
	return string(s.AppendTo(b))
}

// appendName writes a cache name as a token if it can be one.
func appendName(b []byte, name string) []byte {
	if isToken(name) {
		return append(b, name...)
	}
	return appendString(b, name)
}

// isToken reports whether s is a structured-field token.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		alpha := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !alpha && c != '*' && (i == 0 || c <= ' ' || c > '~' || strings.IndexByte(`"(),;<=>?@[\]{}`, c) >= 0) {
			return false
		}
	}
	return s != ""
}

// appendString writes a structured-field string; what it cannot hold becomes "?".
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			b = append(b, '?')
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
