package site

import (
	"bytes"
	"iter"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Headers is what a key reads of a request's header; http.Header is one. Values
// gives all lines of a field, its name in the canonical form.
type Headers interface{ Values(name string) []string }

// Request is what a key and a token are made of, as the client sent it. The
// slices are only read.
type Request struct {
	TLS    bool
	Host   []byte
	Path   []byte // up to the query; empty is /
	Query  []byte // without the question mark
	Header Headers
}

// Key is the identity of an object. Its slices stay valid until the next use of
// it; a pool of them saves the allocations.
type Key struct {
	// Bytes are the whole primary key: the site, the URL, and the headers and
	// cookies that the site's rules name.
	Bytes []byte
	// URL is the part of Bytes that a purge of a URL names:
	// scheme://host/path?query.
	URL []byte
	// Host (with a port that is not the scheme's), Path and Query are parts of
	// URL. Path and Query are what the origin is asked for.
	Host, Path, Query []byte

	params []param
}

// keyer makes the keys of a site.
type keyer struct {
	prefix     string // the site's name and what ends it
	rules      KeyRules
	host       string // normal form of rules.Host
	headers    []string
	mode       queryMode
	names      []string // exact
	starts     []string // of names that end in *
	token      string   // the parameter that is in no key; empty: none
	via        bool     // so is ViaParameter
	plainQuery bool     // the query is taken as it is
}

type queryMode uint8

const (
	queryAll queryMode = iota
	queryKeep
	queryDrop
	queryNone
)

var queryModes = map[string]queryMode{"": queryAll, "all": queryAll, "keep": queryKeep, "drop": queryDrop, "none": queryNone}

func newKeyer(c *Config) keyer {
	k := keyer{prefix: c.Name + " ", rules: c.Key, mode: queryModes[c.Key.Query.Mode]}
	if name, port, ok := splitHost(nil, []byte(c.Key.Host)); ok {
		k.host = string(name)
		if port != 0 {
			k.host += ":" + strconv.Itoa(int(port))
		}
	}
	for _, h := range c.Key.Headers {
		k.headers = append(k.headers, http.CanonicalHeaderKey(h))
	}
	slices.Sort(k.headers)
	for _, name := range c.Key.Query.Names {
		if start, ok := strings.CutSuffix(name, "*"); ok {
			k.starts = append(k.starts, start)
		} else {
			k.names = append(k.names, name)
		}
	}
	if len(c.Token.Keys) > 0 {
		k.token = c.Token.parameter()
	}
	k.via = len(c.Steer.Targets) > 0
	k.plainQuery = k.mode == queryAll && k.token == "" && !c.Key.Query.Sort && !k.via
	return k
}

// NeedsHeaders reports whether keys of the site look at the request's header.
func (s *Site) NeedsHeaders() bool { return len(s.key.headers)+len(s.key.rules.Cookies) > 0 }

// Key fills k with the key of a request that Match gave to this site.
func (s *Site) Key(k *Key, r *Request) {
	b := append(k.Bytes[:0], s.key.prefix...)
	url := len(b)
	if r.TLS && !s.key.rules.FoldScheme {
		b = append(b, "https://"...)
	} else {
		b = append(b, "http://"...)
	}
	host := len(b)
	b = s.key.appendHost(b, r)
	path := len(b)
	b = s.key.appendPath(b, r.Path)
	query := len(b)
	b = s.key.appendQuery(b, k, r.Query)
	end := len(b)
	if r.Header != nil && s.NeedsHeaders() {
		b = s.key.appendHeaders(b, r.Header)
	}
	k.Bytes = b
	k.URL, k.Host, k.Path = b[url:end:end], b[host:path:path], b[path:query:query]
	k.Query = nil
	if end > query {
		k.Query = b[query+1 : end : end]
	}
}

func (k *keyer) appendHost(b []byte, r *Request) []byte {
	if k.host != "" {
		return append(b, k.host...)
	}
	b, port, _ := splitHost(b, r.Host)
	if port != 0 && port != defaultPort(r.TLS) {
		b = append(b, ':')
		b = strconv.AppendUint(b, uint64(port), 10)
	}
	return b
}

func (k *keyer) appendPath(b, path []byte) []byte {
	if len(path) == 0 {
		return append(b, '/')
	}
	start := len(b)
	if k.rules.RawPath {
		b = append(b, path...)
	} else {
		b = normalPath(b, path, k.rules.MergeSlashes)
	}
	if k.rules.LowerCase {
		lower(b[start:])
	}
	return b
}

// lower folds letters that are not part of a percent-encoding, whose normal
// form is capitals.
func lower(b []byte) {
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '%':
			i += 2
		case 'A' <= c && c <= 'Z':
			b[i] = c + 'a' - 'A'
		}
	}
}

// param is one parameter of a query as it is written.
type param struct{ name, text []byte }

// appendQuery appends what the rules leave of the query, a question mark
// before it. A lone question mark is nothing.
func (k *keyer) appendQuery(b []byte, to *Key, query []byte) []byte {
	if len(query) == 0 || k.mode == queryNone {
		return b
	}
	if k.plainQuery {
		b = append(b, '?')
		return append(b, query...)
	}
	params := to.params[:0]
	for len(query) > 0 {
		var text []byte
		text, query, _ = bytes.Cut(query, []byte("&"))
		name, _, _ := bytes.Cut(text, []byte("="))
		if k.takes(name) {
			params = append(params, param{name, text})
		}
	}
	to.params = params
	if k.rules.Query.Sort {
		slices.SortStableFunc(params, func(x, y param) int { return bytes.Compare(x.name, y.name) })
	}
	for i, p := range params {
		b = append(b, "?&"[min(i, 1)])
		b = append(b, p.text...)
	}
	clear(params)
	return b
}

// takes reports whether a parameter is in the key. Names are compared decoded:
// %75tm_source is utm_source.
func (k *keyer) takes(name []byte) bool {
	if bytes.IndexByte(name, '%') >= 0 || bytes.IndexByte(name, '+') >= 0 {
		name = decode(name)
	}
	if k.token != "" && string(name) == k.token || k.via && string(name) == ViaParameter {
		return false
	}
	if k.mode == queryAll {
		return true
	}
	named := slices.ContainsFunc(k.names, func(n string) bool { return n == string(name) }) ||
		slices.ContainsFunc(k.starts, func(s string) bool { return len(name) >= len(s) && string(name[:len(s)]) == s })
	return named == (k.mode == queryKeep)
}

// decode is a part of a query without its encodings.
func decode(text []byte) []byte {
	return decodePath(bytes.ReplaceAll(text, []byte("+"), []byte("%20")))
}

// decodePath is a path without its encodings.
func decodePath(name []byte) []byte {
	out := make([]byte, 0, len(name))
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '%' && i+2 < len(name) {
			if hi, lo := unhex(name[i+1]), unhex(name[i+2]); hi < 16 && lo < 16 {
				c = hi<<4 | lo
				i += 2
			}
		}
		out = append(out, c)
	}
	return out
}

// appendHeaders appends the values of the headers and cookies of the key, each
// with its length, so that no value can pass for another's. All lines of a
// field count: the origin sees them too.
func (k *keyer) appendHeaders(b []byte, h Headers) []byte {
	for _, name := range k.headers {
		b = appendName(b, 'h', name)
		for _, v := range h.Values(name) {
			b = appendValue(b, v)
		}
	}
	if len(k.rules.Cookies) == 0 {
		return b
	}
	lines := h.Values("Cookie")
	for _, name := range k.rules.Cookies {
		b = appendName(b, 'c', name)
		for _, line := range lines {
			for v := range cookies(line, name) {
				b = appendValue(b, v)
			}
		}
	}
	return b
}

func appendName(b []byte, kind byte, name string) []byte {
	b = append(b, '\n', kind, ':')
	return append(b, name...)
}

func appendValue(b []byte, value string) []byte {
	b = append(b, '=')
	b = strconv.AppendInt(b, int64(len(value)), 10)
	b = append(b, ':')
	return append(b, value...)
}

// cookies are the values of a cookie in a Cookie header (RFC 6265 section
// 4.2.1); a client may send several of one name.
func cookies(header, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for part := range strings.SplitSeq(header, ";") {
			if n, v, ok := strings.Cut(strings.Trim(part, " \t"), "="); ok && n == name && !yield(v) {
				return
			}
		}
	}
}
