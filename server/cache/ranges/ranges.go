// Package ranges decides what part of a stored representation answers a request: byte ranges (RFC 9110 §14), conditional
// requests and their precedence (§13), entity tags and dates (§8.8, §5.6.7), and the exact form of a multipart answer.
//
// It is pure: it reads no clock, opens nothing, starts nothing. It parses strictly, since every input comes from the
// network; what it cannot understand it ignores where the RFC says ignore, and never guesses. It never decides whether a
// stored response may be used at all: that is package rule.
package ranges

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// Fields gives the lines of one header field by its canonical name, in the order received. http.Header is one.
type Fields interface {
	Values(name string) []string
}

// Span is a resolved part of a representation: bytes Start up to, not including, End. A valid span is not empty.
type Span struct {
	Start, End int64
}

// Len is the number of bytes of the span.
func (s Span) Len() int64 { return s.End - s.Start }

// Spec is one range as asked for, not yet resolved against a size (RFC 9110 §14.1.2). Numbers too large for an int64 are
// held at its largest value, which no representation reaches.
type Spec struct {
	First int64 // first byte, or -1 for a suffix
	Last  int64 // last byte inclusive, -1 for "to the end"; for a suffix the number of bytes
}

// resolve gives the span of the spec in size bytes, false if it is unsatisfiable.
func (s Spec) resolve(size int64) (Span, bool) {
	switch {
	case s.First < 0:
		n := min(s.Last, size)
		return Span{size - n, size}, n > 0
	case s.First >= size:
		return Span{}, false
	case s.Last < 0 || s.Last >= size:
		return Span{s.First, size}, true
	}
	return Span{s.First, s.Last + 1}, true
}

// DefaultMaxRanges is how many ranges a request may ask for before it gets the whole representation instead.
const DefaultMaxRanges = 32

// Parse reads the Range field lines of a GET request. ok is false when the field is absent or has to be ignored, so that
// the whole representation is the answer: more than one line, another unit than bytes, a syntax error, first above last, or
// more than limit ranges (0 means DefaultMaxRanges). Unit names are compared without case; blanks are allowed around
// commas only; empty list members are skipped (§5.6.1.2).
func Parse(lines []string, limit int) (specs []Spec, ok bool) {
	if len(lines) != 1 {
		return nil, false
	}
	set, ok := bytesUnit(lines[0])
	if !ok {
		return nil, false
	}
	if limit <= 0 {
		limit = DefaultMaxRanges
	}
	for rest, more := set, true; more; {
		var part string
		part, rest, more = strings.Cut(rest, ",")
		if part = trimOWS(part); part == "" {
			continue
		}
		s, ok := parseSpec(part)
		if !ok || len(specs) >= limit {
			return nil, false
		}
		specs = append(specs, s)
	}
	return specs, len(specs) > 0
}

// ParseOne is Parse for a single line with a single range, without allocation; ok is false for anything else.
func ParseOne(line string) (Spec, bool) {
	set, ok := bytesUnit(line)
	if !ok {
		return Spec{}, false
	}
	return parseSpec(trimOWS(set))
}

// bytesUnit cuts "bytes=" off.
func bytesUnit(line string) (string, bool) {
	line = trimOWS(line)
	const unit = "bytes="
	if len(line) < len(unit) || !strings.EqualFold(line[:len(unit)], unit) {
		return "", false
	}
	return line[len(unit):], true
}

// parseSpec reads one int-range or suffix-range.
func parseSpec(s string) (Spec, bool) {
	first, last, found := strings.Cut(s, "-")
	if !found {
		return Spec{}, false
	}
	if first == "" {
		n, ok := parseInt(last)
		return Spec{-1, n}, ok
	}
	a, ok := parseInt(first)
	if !ok {
		return Spec{}, false
	}
	if last == "" {
		return Spec{a, -1}, true
	}
	b, ok := parseInt(last)
	return Spec{a, b}, ok && lessOrEqual(first, last)
}

// parseInt reads 1*DIGIT; too large becomes the largest int64.
func parseInt(s string) (int64, bool) {
	if s == "" {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		if n > (math.MaxInt64-int64(d))/10 {
			n = math.MaxInt64
		} else if n != math.MaxInt64 {
			n = n*10 + int64(d)
		}
	}
	return n, true
}

// lessOrEqual compares two decimal numbers of any length.
func lessOrEqual(a, b string) bool {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return len(a) < len(b)
	}
	return a <= b
}

func trimOWS(s string) string { return strings.Trim(s, " \t") }

// Kind says what answers a range request.
type Kind uint8

const (
	Whole         Kind = iota // 200 with everything: there is no range to honour
	Partial                   // 206 with the spans
	Unsatisfiable             // 416 with Content-Range: bytes */size
)

// Resolve turns the ranges of a request into spans of a representation of size bytes. Overlapping ranges are joined (then
// the answer is in ascending order, RFC 9110 §15.3.7.2), so the spans never hold a byte twice and never more than size in
// all; without overlap the client's order stays. Ranges that cannot be satisfied are left out as long as one can. A
// suffix of an empty representation gets the whole of it, since 206 cannot express it.
func Resolve(specs []Spec, size int64) ([]Span, Kind) {
	if len(specs) == 0 {
		return nil, Whole
	}
	spans := make([]Span, 0, len(specs))
	for _, s := range specs {
		if size == 0 && s.First < 0 && s.Last > 0 {
			return nil, Whole
		}
		if p, ok := s.resolve(size); ok {
			spans = append(spans, p)
		}
	}
	if len(spans) == 0 {
		return nil, Unsatisfiable
	}
	return join(spans), Partial
}

// ResolveOne is Resolve for one range, without allocation.
func ResolveOne(s Spec, size int64) (Span, Kind) {
	if size == 0 && s.First < 0 && s.Last > 0 {
		return Span{}, Whole
	}
	if p, ok := s.resolve(size); ok {
		return p, Partial
	}
	return Span{}, Unsatisfiable
}

// join merges spans if any two of them overlap; it works in place.
func join(spans []Span) []Span {
	sorted := slices.Clone(spans)
	slices.SortFunc(sorted, func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End))
	})
	out := sorted[:1]
	for _, s := range sorted[1:] {
		if last := &out[len(out)-1]; s.Start < last.End {
			last.End = max(last.End, s.End)
			continue
		}
		out = append(out, s)
	}
	if len(out) == len(spans) {
		return spans
	}
	return out
}
