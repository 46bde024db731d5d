package rule

import (
	"encoding/binary"
	"errors"
	"net/http"
	"slices"
	"strings"
)

// VaryMode says how the values of a field named by Vary are made comparable (RFC 9111 §4.1).
type VaryMode uint8

const (
	VaryList   VaryMode = iota // lines joined, blanks around commas outside quotes dropped
	VaryExact                  // lines joined, nothing else
	VaryAccept                 // a list with weights: also order, case, "q=1" and repeated members do not matter
	VaryChoose                 // as VaryAccept, but only which members of Allow are acceptable counts
	VaryIgnore                 // the field does not select
)

// VaryRule is the treatment of one field.
type VaryRule struct {
	Field string // canonical name
	Mode  VaryMode
	Allow []string // for VaryChoose, lower case
	// Language lets a stored response with one Content-Language fit a request whose only most wanted language is that one.
	Language bool
}

// DefaultVary treats the Accept fields as lists with weights and everything else as a plain list.
func DefaultVary() []VaryRule {
	return []VaryRule{
		{Field: "Accept-Encoding", Mode: VaryAccept},
		{Field: "Accept-Language", Mode: VaryAccept, Language: true},
		{Field: "Accept-Charset", Mode: VaryAccept},
		{Field: "Accept", Mode: VaryAccept},
		{Field: "Cookie", Mode: VaryExact},
		{Field: "Authorization", Mode: VaryExact},
	}
}

// Vary is what selects a stored variant: the fields its response named, and what the storing request had in them. The zero
// value fits every request.
type Vary struct {
	Fields   []string // canonical, sorted, each once
	Key      string   // the normalized values
	Raw      string   // the values as they came, for a quick comparison
	Language string   // Content-Language in lower case, if it was a single tag and Vary names Accept-Language
}

// readVary collects the fields of all Vary lines; star if one member is "*".
func readVary(h Fields) (fields []string, star bool) {
	for _, line := range h.Values("Vary") {
		for name := range strings.SplitSeq(line, ",") {
			switch name = strings.Trim(name, " \t"); name {
			case "":
			case "*":
				return nil, true
			default:
				fields = append(fields, http.CanonicalHeaderKey(name))
			}
		}
	}
	slices.Sort(fields)
	return slices.Compact(fields), false
}

// newVary notes what the storing request had.
func newVary(fields []string, req Fields, resp Fields, p *Policy) Vary {
	if len(fields) == 0 {
		return Vary{}
	}
	v := Vary{Fields: fields, Key: string(appendVaryKey(nil, fields, req, p)), Raw: string(appendRaw(nil, fields, req))}
	if slices.Contains(fields, "Accept-Language") {
		if lang := resp.Values("Content-Language"); len(lang) == 1 && !strings.ContainsAny(lang[0], ", \t") {
			v.Language = strings.ToLower(lang[0])
		}
	}
	return v
}

// Matches reports whether the variant fits a request. Without Vary fields it is one comparison; otherwise it works on the
// stack for requests of usual size.
func (v *Vary) Matches(req Fields, p *Policy) bool {
	if len(v.Fields) == 0 {
		return true
	}
	var buf [512]byte
	if string(appendRaw(buf[:0], v.Fields, req)) == v.Raw {
		return true // most clients of one kind send the same bytes
	}
	if string(appendVaryKey(buf[:0], v.Fields, req, p)) == v.Key {
		return true
	}
	return v.Language != "" && v.matchesLanguage(req, p)
}

// matchesLanguage: all other fields are equal, and the language the request wants most is the stored one.
func (v *Vary) matchesLanguage(req Fields, p *Policy) bool {
	if r := p.varyRule("Accept-Language"); !r.Language || topLanguage(req.Values("Accept-Language")) != v.Language {
		return false
	}
	return withoutField(v.Key, v.Fields, "Accept-Language") ==
		withoutField(string(appendVaryKey(nil, v.Fields, req, p)), v.Fields, "Accept-Language")
}

// withoutField cuts the part of one field out of a key.
func withoutField(key string, fields []string, name string) string {
	parts := strings.Split(key, "\n")
	if i := slices.Index(fields, name); i >= 0 && i < len(parts) {
		parts = slices.Delete(parts, i, i+1)
	}
	return strings.Join(parts, "\n")
}

// Select picks the stored variant that fits the request; of several, the one with the latest Date, then the one received
// last (RFC 9111 §4). get gives a variant's Vary and Life. It returns -1 if none fits.
func Select[V any](stored []V, get func(V) (*Vary, *Life), req Fields, p *Policy) int {
	best := -1
	var bestLife *Life
	for i, s := range stored {
		v, l := get(s)
		if bestLife != nil && !newer(l, bestLife) || !v.Matches(req, p) {
			continue
		}
		best, bestLife = i, l
	}
	return best
}

func newer(a, b *Life) bool {
	return a.Date > b.Date || a.Date == b.Date && a.Received > b.Received
}

// AppendBinary appends the binary form.
func (v Vary) AppendBinary(b []byte) ([]byte, error) {
	b = binary.AppendUvarint(b, uint64(len(v.Fields)))
	for _, s := range append(slices.Clone(v.Fields), v.Key, v.Raw, v.Language) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b, nil
}

// errVary is returned for bytes that are not a Vary.
var errVary = errors.New("rule: not a stored vary")

// DecodeVary reads what AppendBinary wrote and returns the bytes after it. It copies the strings.
func DecodeVary(b []byte) (Vary, []byte, error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)) {
		return Vary{}, b, errVary
	}
	rest := b[used:]
	var all []string
	for range n + 3 {
		size, used := binary.Uvarint(rest)
		if used <= 0 || size > uint64(len(rest)-used) {
			return Vary{}, b, errVary
		}
		all = append(all, string(rest[used:used+int(size)]))
		rest = rest[used+int(size):]
	}
	v := Vary{Key: all[n], Raw: all[n+1], Language: all[n+2]}
	if n > 0 {
		v.Fields = all[:n:n]
	}
	return v, rest, nil
}
