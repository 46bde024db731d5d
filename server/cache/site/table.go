package site

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
)

// What Match refuses with; StatusOf gives the status.
var (
	ErrBadHost     = errors.New("site: no valid host")
	ErrBadPath     = errors.New("site: no valid path")
	ErrUnknownHost = errors.New("site: no site has this host")
	ErrUnknownPath = errors.New("site: the host's sites do not have this path")
)

// StatusOf is the status that a request is refused with: 421 for a host that
// nobody has (RFC 9110 section 15.5.20), which is never proxied.
func StatusOf(err error) int {
	var refused interface{ Status() int }
	switch {
	case errors.As(err, &refused):
		return refused.Status()
	case errors.Is(err, ErrUnknownHost):
		return http.StatusMisdirectedRequest
	case errors.Is(err, ErrUnknownPath):
		return http.StatusNotFound
	}
	return http.StatusBadRequest
}

// Directory holds the current table. It may be asked and set at any time; what
// it gave stays whole.
type Directory struct{ table atomic.Pointer[Table] }

// Set puts a table in the place of the one before.
func (d *Directory) Set(t *Table) { d.table.Store(t) }

// Table is the current one, an empty one at first.
func (d *Directory) Table() *Table {
	if t := d.table.Load(); t != nil {
		return t
	}
	return &Table{}
}

// Table finds sites. It never changes.
type Table struct {
	sites  []*Site
	byName map[string]*Site
	exact  map[string]*host
	// wild are the patterns by what stands after their *; lengths are those
	// of all keys of wild, longest first.
	wild    map[string][]*host
	lengths []int
}

// host is one host pattern with what is served under it.
type host struct {
	pattern pattern
	rules   []served // the first that fits is the one
}

// served is a path prefix of a site under one host, with its port and scheme.
type served struct {
	port   uint16 // 0: any
	scheme scheme
	path   string
	site   *Site
}

type scheme uint8

const (
	anyScheme scheme = iota
	onlyHTTP
	onlyHTTPS
)

func (s scheme) String() string { return [...]string{"http and https", "http", "https"}[s] }

// order sorts rules so that the first one that fits is the one that is meant:
// port, then scheme, then the longest path.
func (r served) order(o served) int {
	return cmp.Or(
		cmp.Compare(o.port, r.port),
		cmp.Compare(o.scheme, r.scheme),
		cmp.Compare(len(o.path), len(r.path)),
		cmp.Compare(r.path, o.path),
	)
}

// Sites are all, in the order of the configuration.
func (t *Table) Sites() []*Site { return t.sites }

// Site finds one by its name, nil if there is none.
func (t *Table) Site(name string) *Site { return t.byName[name] }

// Match finds the site of a request by its host (as sent in Host or
// :authority), its path (as sent, up to the query) and whether it came by TLS.
// The host decides first: an exact name, else the pattern with most literal
// characters. Among what is served under it port comes before scheme before
// the longest path. A host's sites that do not have the path do not fall back
// to those of a wider pattern: they may be another customer's.
func (t *Table) Match(tls bool, host, path []byte) (*Site, error) {
	var buf [maxHost]byte
	name, port, ok := splitHost(buf[:0], host)
	if !ok {
		return nil, ErrBadHost
	}
	if len(path) == 0 || path[0] != '/' {
		if string(path) != "*" && len(path) != 0 {
			return nil, ErrBadPath
		}
		path = slash
	}
	h := t.find(name)
	if h == nil {
		return nil, ErrUnknownHost
	}
	if !plainPath(path, true) {
		path = normalPath(make([]byte, 0, len(path)), path, false)
	}
	want := onlyHTTP
	if tls {
		want = onlyHTTPS
	}
	if port == 0 {
		port = defaultPort(tls)
	}
	for i := range h.rules {
		r := &h.rules[i]
		if (r.port == 0 || r.port == port) && (r.scheme == anyScheme || r.scheme == want) && hasPrefix(path, r.path) {
			return r.site, nil
		}
	}
	return nil, ErrUnknownPath
}

var slash = []byte("/")

func defaultPort(tls bool) uint16 {
	if tls {
		return 443
	}
	return 80
}

// find is the best pattern for a name.
func (t *Table) find(name []byte) *host {
	if h := t.exact[string(name)]; h != nil {
		return h
	}
	var best *host
	most := -1
	for _, n := range t.lengths {
		if n >= len(name) {
			continue
		}
		after := name[len(name)-n:]
		// In a list the longest before comes first.
		for _, h := range t.wild[string(after)] {
			b := h.pattern.before
			if len(b)+n < len(name) && string(name[:len(b)]) == b {
				if literals := len(b) + n; literals > most {
					best, most = h, literals
				}
				break
			}
		}
	}
	return best
}

// add puts a site under one of its hosts.
func (t *Table) add(p pattern, r served) {
	h := t.exact[p.before]
	if p.wild {
		i := slices.IndexFunc(t.wild[p.after], func(h *host) bool { return h.pattern.before == p.before })
		if h = nil; i >= 0 {
			h = t.wild[p.after][i]
		}
	}
	if h == nil {
		h = &host{pattern: p}
		if p.wild {
			t.wild[p.after] = append(t.wild[p.after], h)
		} else {
			t.exact[p.before] = h
		}
	}
	h.rules = append(h.rules, r)
}

// sort brings everything into the order in which Match looks.
func (t *Table) sort() {
	for _, h := range t.exact {
		slices.SortFunc(h.rules, served.order)
	}
	for after, list := range t.wild {
		t.lengths = append(t.lengths, len(after))
		slices.SortFunc(list, func(a, b *host) int { return cmp.Compare(len(b.pattern.before), len(a.pattern.before)) })
		for _, h := range list {
			slices.SortFunc(h.rules, served.order)
		}
	}
	slices.Sort(t.lengths)
	t.lengths = slices.Compact(t.lengths)
	slices.Reverse(t.lengths)
}

// Resolve finds the site of a whole URL, and what a client would send for it.
func (t *Table) Resolve(rawURL string) (*Site, *Request, error) {
	scheme, rest, ok := strings.Cut(rawURL, "://")
	tls := strings.EqualFold(scheme, "https")
	if !ok || !tls && !strings.EqualFold(scheme, "http") {
		return nil, nil, fmt.Errorf("site: %q: want a URL such as https://www.example.com/path", rawURL)
	}
	rest, _, _ = strings.Cut(rest, "#")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	path, query, _ := strings.Cut(rest[end:], "?")
	r := &Request{TLS: tls, Host: []byte(rest[:end]), Path: []byte(path), Query: []byte(query)}
	s, err := t.Match(tls, r.Host, r.Path)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", rawURL, err)
	}
	return s, r, nil
}
