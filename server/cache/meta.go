package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/ranges"
	"github.com/catchment/catchment/server/cache/rule"
)

// meta is what is kept beside the body of a stored response. It is immutable: a refresh makes a new one.
type meta struct {
	life  rule.Life
	why   rule.Reason // why it was stored
	epoch purge.Epoch // newest purge when its fill, or its last validation, began
	site  string
	url   string // site.Key.URL: scheme://host/path?query
	vary  rule.Vary
	// tags are what it can be purged by; groups of them come from Cache-Groups (RFC 9875).
	tags []string
	// header has the end-to-end fields as upstream sent them, without Age; trailer the same of the trailer section.
	header, trailer http.Header
	// sum is of the whole body, nil before it was complete. With contentTag it gives the ETag.
	sum        *fill.Sum
	contentTag bool
}

// metaVersion is the first byte. Stored objects with another version are dropped when they are met.
const metaVersion = 1

const (
	metaHasSum     = 1 << 0
	metaContentTag = 1 << 1
)

// limits of what decode takes; encode never makes more, since front and origin limit headers below that.
const (
	metaMaxString = 1 << 20
	metaMaxCount  = 1 << 12
)

// encode gives the binary form of m.
func (m *meta) encode() []byte {
	b := make([]byte, 0, 512)
	b = append(b, metaVersion)
	b, _ = m.life.AppendBinary(b)
	flags := byte(0)
	if m.sum != nil {
		flags |= metaHasSum
	}
	if m.contentTag {
		flags |= metaContentTag
	}
	b = append(b, flags, byte(m.why))
	b = binary.AppendUvarint(b, uint64(m.epoch))
	b = appendString(appendString(b, m.site), m.url)
	b, _ = m.vary.AppendBinary(b)
	b = binary.AppendUvarint(b, uint64(len(m.tags)))
	for _, t := range m.tags {
		b = appendString(b, t)
	}
	b = appendHeader(appendHeader(b, m.header), m.trailer)
	if m.sum != nil {
		b = append(append(b, m.sum.SHA256[:]...), m.sum.Root[:]...)
		b = binary.AppendUvarint(b, uint64(m.sum.Size))
	}
	return slices.Clip(b)
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendHeader writes names in order, each with all its lines.
func appendHeader(b []byte, h http.Header) []byte {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	b = binary.AppendUvarint(b, uint64(len(names)))
	for _, name := range names {
		b = appendString(b, name)
		b = binary.AppendUvarint(b, uint64(len(h[name])))
		for _, v := range h[name] {
			b = appendString(b, v)
		}
	}
	return b
}

var errMeta = errors.New("cache: stored metadata is not readable")

// reader takes the binary form apart; after an error everything it gives is zero.
type metaReader struct {
	b   []byte
	err error
}

func (r *metaReader) fail() {
	if r.err == nil {
		r.err = errMeta
	}
	r.b = nil
}

func (r *metaReader) uvarint(limit uint64) uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > limit {
		r.fail()
		return 0
	}
	r.b = r.b[size:]
	return n
}

func (r *metaReader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail()
		return make([]byte, min(n, 64))
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *metaReader) string() string {
	n := int(r.uvarint(metaMaxString))
	if n > len(r.b) {
		r.fail()
		return ""
	}
	return string(r.bytes(n))
}

func (r *metaReader) header() http.Header {
	n := int(r.uvarint(metaMaxCount))
	if n == 0 || r.err != nil {
		return nil
	}
	h := make(http.Header, n)
	for range n {
		name := r.string()
		lines := int(r.uvarint(metaMaxCount))
		values := make([]string, 0, min(lines, 8))
		for range lines {
			values = append(values, r.string())
			if r.err != nil {
				return nil
			}
		}
		if r.err != nil {
			return nil
		}
		h[name] = values
	}
	return h
}

// decodeMeta reads what encode wrote.
func decodeMeta(b []byte) (*meta, error) {
	if len(b) == 0 || b[0] != metaVersion {
		return nil, errMeta
	}
	life, rest, err := rule.DecodeLife(b[1:])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errMeta, err)
	}
	r := &metaReader{b: rest}
	m := &meta{life: life}
	flags := r.bytes(2)
	m.contentTag, m.why = flags[0]&metaContentTag != 0, rule.Reason(flags[1])
	hasSum := flags[0]&metaHasSum != 0
	m.epoch = purge.Epoch(r.uvarint(math.MaxUint64))
	m.site, m.url = r.string(), r.string()
	if m.vary, r.b, err = rule.DecodeVary(r.b); err != nil {
		r.fail()
	}
	if n := int(r.uvarint(metaMaxCount)); n > 0 {
		for range n {
			m.tags = append(m.tags, r.string())
			if r.err != nil {
				return nil, r.err
			}
		}
	}
	m.header, m.trailer = r.header(), r.header()
	if hasSum {
		m.sum = new(fill.Sum)
		copy(m.sum.SHA256[:], r.bytes(len(m.sum.SHA256)))
		copy(m.sum.Root[:], r.bytes(len(m.sum.Root)))
		m.sum.Size = int64(r.uvarint(math.MaxInt64))
	}
	if r.err == nil && len(r.b) > 0 {
		r.fail()
	}
	if r.err != nil {
		return nil, r.err
	}
	return m, nil
}

// etag is the entity tag that clients see: the origin's, or the content's.
func (m *meta) etag() string {
	if !m.contentTag {
		return m.header.Get("Etag")
	}
	return fill.HeadETag(m.sum, fill.ValidatorOf(m.header))
}

// served is the header of answers made from m, a copy: what was stored, with the ETag that clients see.
func (m *meta) served() http.Header {
	h := m.header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if m.contentTag {
		delete(h, "Etag")
		if tag := m.etag(); tag != "" {
			h["Etag"] = []string{tag}
		}
	}
	return h
}

// validators are those that clients' conditions are compared with.
func (m *meta) validators() ranges.Validators {
	return ranges.ReadValidators(m.served(), m.life.Received.Time())
}

// purgeObject is m as the purges see it.
func (m *meta) purgeObject() *purge.Object {
	_, rest, _ := strings.Cut(m.url, "://")
	path := strings.IndexByte(rest, '/')
	if path < 0 {
		path = len(rest)
	}
	host, target := rest[:path], rest[path:]
	if q := strings.IndexByte(target, '?'); q >= 0 {
		target = target[:q]
	}
	return &purge.Object{Site: m.site, Host: []byte(host), Path: []byte(target), URL: []byte(m.url), Tags: m.tags}
}
