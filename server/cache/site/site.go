package site

import (
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/catchment/catchment/server/cache/rule"
)

// Site is a Config made ready. All but its token buckets never changes.
type Site struct {
	Config Config // read only
	Name   string

	key     keyer
	tokens  *signer  // nil: no tokens
	limiter *limiter // nil: no limits
	methods []string
	allow   string // the header
	request edits
	answer  edits
	debug   access
	purge   access
	policy  rule.Policy
	roots   *x509.CertPool // that origins are signed by; nil: the system's
}

// NewTable makes a table of these sites. The error holds every mistake, each
// an *Error. The rate limits of sites that keep them go on where those of the
// table before stood; old may be nil.
func NewTable(configs []Config, old *Table) (*Table, error) {
	t := &Table{byName: map[string]*Site{}, exact: map[string]*host{}, wild: map[string][]*host{}}
	p := &problems{}
	for i := range configs {
		p.site, p.n = configs[i].Name, i
		s := p.build(&configs[i])
		if other := t.byName[s.Name]; other != nil {
			p.add("name", "%q is the name of another site too", s.Name)
		}
		s.limiter = newLimiter(&configs[i].Limits)
		if old != nil {
			s.inherit(old.byName[s.Name])
		}
		t.byName[s.Name] = s
		t.sites = append(t.sites, s)
	}
	p.place(t)
	if err := p.err(); err != nil {
		return nil, err
	}
	t.sort()
	return t, nil
}

// inherit takes over the state of the site of the same name.
func (s *Site) inherit(old *Site) {
	if old != nil && old.limiter != nil && s.limiter != nil && old.limiter.same(s.limiter) {
		s.limiter = old.limiter
	}
}

// place puts the sites under their hosts, and refuses two that would be asked
// for the same: both are named.
func (p *problems) place(t *Table) {
	type spot struct {
		host   string
		port   uint16
		scheme scheme
		path   string
	}
	taken := map[spot]*Site{}
	for i, s := range t.sites {
		p.site, p.n = s.Name, i
		for at, s := range s.spots() {
			k := spot{at.pattern.name(), at.rule.port, at.rule.scheme, at.rule.path}
			other := taken[k]
			switch {
			case other == nil:
				taken[k] = s
				t.add(at.pattern, at.rule)
			case other != s:
				p.add("hosts", "%s with path %s (%s) is served for site %q already", at.pattern, at.rule.path, at.rule.scheme, other.Name)
			}
		}
	}
}

// place is where a rule goes.
type place struct {
	pattern pattern
	rule    served
}

// spots are all rules of a site with their hosts.
func (s *Site) spots() func(yield func(place, *Site) bool) {
	return func(yield func(place, *Site) bool) {
		paths := s.Config.Paths
		if len(paths) == 0 {
			paths = []string{"/"}
		}
		for _, text := range s.Config.Hosts {
			p, ok := parsePattern(text)
			if !ok {
				continue // said by validate
			}
			for _, path := range paths {
				r := served{port: p.port, scheme: s.scheme(), path: string(normalPath(nil, []byte(path), false)), site: s}
				if r.path != "/" {
					r.path = strings.TrimSuffix(r.path, "/")
				}
				if !yield(place{p, r}, s) {
					return
				}
			}
		}
	}
}

func (s *Site) scheme() scheme {
	schemes := s.Config.Schemes
	switch {
	case len(schemes) == 1 && schemes[0] == "http":
		return onlyHTTP
	case len(schemes) == 1 && schemes[0] == "https":
		return onlyHTTPS
	}
	return anyScheme
}

// defaultMethods are those of a site that names none.
var defaultMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
}

// build makes a site of its configuration and notes what is wrong with it.
func (p *problems) build(c *Config) *Site {
	p.validate(c)
	s := &Site{Config: *c, Name: c.Name, methods: c.Methods}
	if len(s.methods) == 0 {
		s.methods = defaultMethods
	}
	s.allow = strings.Join(s.methods, ", ")
	s.key = newKeyer(c)
	s.tokens = p.signer(&c.Token)
	s.request, s.answer = newEdits(&c.RequestHeaders), newEdits(&c.ResponseHeaders)
	s.policy, s.roots = newPolicy(&c.Cache), p.roots(c.Upstream.CA)
	s.debug, s.purge = p.access("debug", &c.Debug), p.access("purge", &c.Purge)
	return s
}

// Allows reports whether clients may use the method.
func (s *Site) Allows(method string) bool { return slices.Contains(s.methods, method) }

// AllowHeader is the value of Allow (RFC 9110 section 10.2.1).
func (s *Site) AllowHeader() string { return s.allow }

// MaxBody is the longest body of a request; 0: no limit.
func (s *Site) MaxBody() int64 { return int64(s.Config.Limits.MaxBody) }

// MayDebug reports whether this client may ask what became of its request.
// The token is what its Catchment-Token says.
func (s *Site) MayDebug(client netip.Addr, token string) bool { return s.debug.allows(client, token) }

// MayPurge reports whether this client may use PURGE.
func (s *Site) MayPurge(client netip.Addr, token string) bool { return s.purge.allows(client, token) }

// String names the site in logs.
func (s *Site) String() string { return fmt.Sprintf("site %s", s.Name) }
