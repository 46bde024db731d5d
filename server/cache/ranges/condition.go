package ranges

import (
	"strings"
	"time"
)

// ETag is an entity tag as sent, quotes and "W/" included; empty means none. What a server sends without quotes is kept:
// it never matches strongly, and weakly only when a client repeats it byte for byte.
type ETag string

// ParseETag reads the first ETag line. Blanks around it are cut; everything else stays as the server sent it.
func ParseETag(lines []string) ETag {
	if len(lines) == 0 {
		return ""
	}
	return ETag(trimOWS(lines[0]))
}

// Valid reports whether the tag follows the grammar (RFC 9110 §8.8.3).
func (e ETag) Valid() bool {
	tag, rest, ok := cutETag(string(e))
	return ok && tag != "" && rest == ""
}

// Strong reports whether it is a valid strong tag, the only kind that may join bytes of two responses.
func (e ETag) Strong() bool { return !strings.HasPrefix(string(e), "W/") && e.Valid() }

// opaque is the tag without its weakness mark.
func (e ETag) opaque() string { return strings.TrimPrefix(string(e), "W/") }

// StrongMatch compares strongly (§8.8.3.2): both strong and equal.
func (e ETag) StrongMatch(o ETag) bool { return e == o && e.Strong() }

// WeakMatch compares weakly: the opaque parts are equal, weak or not.
func (e ETag) WeakMatch(o ETag) bool {
	return e == o && e != "" || e.opaque() == o.opaque() && e.Valid() && o.Valid()
}

// cutETag takes one entity tag off the front of s.
func cutETag(s string) (tag, rest string, ok bool) {
	start := 0
	if strings.HasPrefix(s, "W/") {
		start = 2
	}
	if len(s) <= start || s[start] != '"' {
		return "", s, false
	}
	for i := start + 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[:i+1], s[i+1:], true
		case c < 0x21 || c == 0x7f:
			return "", s, false
		}
	}
	return "", s, false
}

// matchList reports whether any member of a list of entity tags satisfies match. star: the list is "*". A list with a
// syntax error matches by what came before the error, and as a whole if it repeats an invalid tag exactly.
func matchList(lines []string, have ETag, match func(ETag, ETag) bool) (matched, star bool) {
	for _, line := range lines {
		line = trimOWS(line)
		if line == "*" {
			return false, true
		}
		if match(have, ETag(line)) {
			return true, false
		}
		for s := line; s != ""; {
			tag, rest, ok := cutETag(s)
			if ok && match(have, ETag(tag)) {
				return true, false
			}
			if rest = strings.TrimLeft(rest, " \t"); !ok && s[0] != ',' || ok && rest != "" && rest[0] != ',' {
				break
			}
			s = strings.TrimLeft(rest, " \t,")
		}
	}
	return false, false
}

// Validators are what conditions are compared with: those of the stored response.
type Validators struct {
	ETag ETag
	// Modified is the Last-Modified date in Unix seconds; without one, the Date or the time of receipt, which a cache uses
	// instead (RFC 9111 §4.3.2) except for If-Range and If-Unmodified-Since.
	Modified int64
	// HasModified says Last-Modified was sent and is valid.
	HasModified bool
	// StrongModified says Last-Modified is a strong validator: at least a second before Date (RFC 9110 §8.8.2.2).
	StrongModified bool
}

// ReadValidators takes the validators from a response's fields; received is when it came, for a missing Date.
func ReadValidators(h Fields, received time.Time) Validators {
	v := Validators{ETag: ParseETag(h.Values("Etag"))}
	date, ok := firstDate(h.Values("Date"), received)
	if !ok {
		date = received
	}
	v.Modified = date.Unix()
	if lm, ok := firstDate(h.Values("Last-Modified"), received); ok {
		v.Modified, v.HasModified = lm.Unix(), true
		v.StrongModified = date.Sub(lm) >= time.Second
	}
	return v
}

func firstDate(lines []string, now time.Time) (time.Time, bool) {
	if len(lines) == 0 {
		return time.Time{}, false
	}
	return ParseDate(lines[0], now)
}

// Outcome is what the conditions of a request ask for.
type Outcome uint8

const (
	Proceed            Outcome = iota // answer as if there were no condition
	NotModified                       // 304
	PreconditionFailed                // 412
)

// Evaluate applies the conditions of a request in the order of RFC 9110 §13.2.2. get says the method is GET or HEAD. Use
// it only where the answer without conditions would be 2xx. If-Match and If-Unmodified-Since are meant for the origin: a
// cache that gets PreconditionFailed for a stored response should ask upstream before it answers 412.
func Evaluate(h Fields, v Validators, get bool, now time.Time) Outcome {
	if im := h.Values("If-Match"); len(im) > 0 {
		if matched, star := matchList(im, v.ETag, ETag.StrongMatch); !matched && !star {
			return PreconditionFailed
		}
	} else if since, ok := oneDate(h.Values("If-Unmodified-Since"), now); ok && v.HasModified && v.Modified > since {
		return PreconditionFailed
	}
	if inm := h.Values("If-None-Match"); len(inm) > 0 {
		if matched, star := matchList(inm, v.ETag, ETag.WeakMatch); !matched && !star {
			return Proceed
		}
		if get {
			return NotModified
		}
		return PreconditionFailed
	}
	if since, ok := oneDate(h.Values("If-Modified-Since"), now); ok && get && v.Modified <= since {
		return NotModified
	}
	return Proceed
}

// oneDate reads a field that is valid only as exactly one date (RFC 9110 §13.1.3), in Unix seconds.
func oneDate(lines []string, now time.Time) (int64, bool) {
	if len(lines) != 1 {
		return 0, false
	}
	t, ok := ParseDate(lines[0], now)
	return t.Unix(), ok
}

// RangeApplies reports whether the Range of a request may be honoured for a representation with these validators: there is
// no If-Range, or it matches strongly (RFC 9110 §13.1.5). The method must be GET: for others, HEAD included, Range is to
// be ignored.
func RangeApplies(h Fields, v Validators, now time.Time) bool {
	lines := h.Values("If-Range")
	if len(lines) == 0 {
		return true
	}
	if len(lines) > 1 {
		return false
	}
	val := trimOWS(lines[0])
	if strings.HasPrefix(val, `"`) || strings.HasPrefix(val, "W/") {
		return v.ETag.StrongMatch(ETag(val))
	}
	t, ok := ParseDate(val, now)
	return ok && v.StrongModified && v.Modified == t.Unix()
}

// Conditional reports whether the request has any condition or range at all, for a quick way past this package.
func Conditional(h Fields) bool {
	for _, name := range [...]string{"Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since"} {
		if len(h.Values(name)) > 0 {
			return true
		}
	}
	return false
}
