package fill

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/catchment/catchment/server/cache/origin"
)

// Validator is what two responses must share to be of one version.
type Validator struct {
	// ETag is the strong entity tag with its quotes, empty if there is none.
	ETag string
	// LastModified is the date as sent, if it is a strong validator: at least a
	// second older than Date (RFC 9110 §8.8.2.2), and there is no ETag at all.
	LastModified string
}

// ValidatorOf is the strong validator of a response; the zero Validator if it has
// none, and then the version can only be had in one piece.
func ValidatorOf(h http.Header) Validator {
	if tags := h["Etag"]; len(tags) > 0 {
		if len(tags) == 1 && strongTag(tags[0]) {
			return Validator{ETag: tags[0]}
		}
		return Validator{}
	}
	modified, err := http.ParseTime(h.Get("Last-Modified"))
	if err != nil || len(h["Last-Modified"]) != 1 {
		return Validator{}
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || date.Sub(modified) < time.Second {
		return Validator{}
	}
	return Validator{LastModified: h.Get("Last-Modified")}
}

// strongTag tells whether s is a strong entity-tag (RFC 9110 §8.8.3).
func strongTag(s string) bool {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return false
	}
	for _, c := range []byte(s[1 : len(s)-1]) {
		if c < 0x21 || c == '"' || c == 0x7f {
			return false
		}
	}
	return true
}

// Strong tells whether parts can be asked for by it.
func (v Validator) Strong() bool { return v.ETag != "" || v.LastModified != "" }

func (v Validator) ifRange() string {
	if v.ETag != "" {
		return v.ETag
	}
	return v.LastModified
}

// same tells whether a response is of this version. A 206 to If-Range must carry
// the ETag, but need not carry Last-Modified (RFC 9110 §15.3.7).
func (v Validator) same(r *origin.Response) bool {
	if v.ETag != "" {
		tags := r.Header["Etag"]
		return len(tags) == 1 && tags[0] == v.ETag
	}
	if v.LastModified == "" || len(r.Header["Etag"]) > 0 {
		return false
	}
	got := r.Header["Last-Modified"]
	if len(got) == 0 {
		return r.Status == http.StatusPartialContent
	}
	return len(got) == 1 && got[0] == v.LastModified
}

// Span is a range of bytes of a body whose length is not known: from First to
// Last, both counted; Last -1: to the end; First negative: the last -First bytes.
type Span struct{ First, Last int64 }

// field is the Range field that gets all chunks that a cold span touches. For a
// suffix the first chunk's start is not known: a chunk more is asked for.
func (s Span) field(chunk int64) string {
	switch {
	case s.First < 0:
		return "bytes=" + strconv.FormatInt(s.First-chunk+1, 10)
	case s.Last < 0:
		return "bytes=" + strconv.FormatInt(s.First/chunk*chunk, 10) + "-"
	}
	return rangeField(s.First/chunk*chunk, (s.Last/chunk+1)*chunk)
}

func rangeField(off, end int64) string {
	if end < 0 {
		return "bytes=" + strconv.FormatInt(off, 10) + "-"
	}
	return "bytes=" + strconv.FormatInt(off, 10) + "-" + strconv.FormatInt(end-1, 10)
}

// Head is a response's header, and which bytes of the representation follow.
type Head struct {
	*origin.Response
	// First and Last are the places of the first and last byte, Last -1 if not
	// known, Total the length of the representation, -1 if not known.
	First, Last, Total int64
	// Bad is not nil for a 206 whose Content-Range is not to be believed, or whose
	// length is another. It cannot be stored.
	Bad error

	release func() // gives body and turn back
}

func headOf(r *origin.Response, give func()) *Head {
	h := &Head{Response: r, Last: -1, Total: -1}
	h.release = sync.OnceFunc(func() { r.Body.Close(); give() })
	switch {
	case r.Status != http.StatusPartialContent:
		if r.Length >= 0 {
			h.Last, h.Total = r.Length-1, r.Length
		}
		return h
	case len(r.Header["Content-Range"]) != 1:
		h.Bad = ErrPart
		return h
	}
	first, last, total, ok := ParseContentRange(r.Header["Content-Range"][0])
	if !ok || r.Length >= 0 && r.Length != last-first+1 {
		h.Bad = ErrPart
		return h
	}
	h.First, h.Last, h.Total = first, last, total
	return h
}

// ParseContentRange reads the Content-Range of a 206 (RFC 9110 §14.4). total is
// -1 for "*".
func ParseContentRange(s string) (first, last, total int64, ok bool) {
	unit, rest, found := strings.Cut(strings.Trim(s, " \t"), " ")
	if !found || !strings.EqualFold(unit, "bytes") {
		return 0, 0, 0, false
	}
	rng, size, found := strings.Cut(strings.TrimLeft(rest, " "), "/")
	a, b, dash := strings.Cut(rng, "-")
	if !found || !dash {
		return 0, 0, 0, false
	}
	first, ok1 := digits(a)
	last, ok2 := digits(b)
	total, ok3 := int64(-1), size == "*"
	if !ok3 {
		total, ok3 = digits(size)
	}
	if !ok1 || !ok2 || !ok3 || last < first || total >= 0 && last >= total {
		return 0, 0, 0, false
	}
	return first, last, total, true
}

// digits reads 1*DIGIT below 2^62.
func digits(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
