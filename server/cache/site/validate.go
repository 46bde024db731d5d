package site

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/catchment/catchment/server/cache/rule"
)

// Error is one mistake in the configuration of a site.
type Error struct {
	Site  string // its name
	Index int    // its place in the list, from 0
	Path  string // the key inside the site, e.g. token.keys[0].id
	Msg   string
}

func (e *Error) Error() string { return fmt.Sprintf("site %q: %s: %s", e.Site, e.Path, e.Msg) }

// problems collects every mistake.
type problems struct {
	site string
	n    int
	errs []error
}

func (p *problems) add(path, format string, args ...any) {
	p.errs = append(p.errs, &Error{Site: p.site, Index: p.n, Path: path, Msg: fmt.Sprintf(format, args...)})
}

func (p *problems) err() error { return errors.Join(p.errs...) }

// Validate judges a site by itself, the files it names among it. The error
// holds every mistake, each an *Error.
func (c *Config) Validate() error {
	p := &problems{site: c.Name}
	p.build(c)
	return p.err()
}

// minSecret is the shortest secret that signs: 128 bits.
const minSecret = 16

func (p *problems) validate(c *Config) {
	if c.Name == "" || len(c.Name) > 64 || !tokenText(c.Name) {
		p.add("name", "%q: want letters, digits, - _ and .", c.Name)
	}
	p.hosts(c)
	for i, s := range c.Schemes {
		p.oneOf(at("schemes", i), s, "http", "https")
	}
	p.unique("schemes", c.Schemes)
	p.paths("paths", c.Paths)
	for i, m := range c.Methods {
		if !httpguts.ValidHeaderFieldName(m) || m != strings.ToUpper(m) {
			p.add(at("methods", i), "%q: want a method in capitals, such as GET", m)
		}
		if m == http.MethodConnect || m == http.MethodTrace {
			p.add(at("methods", i), "%s is never served", m)
		}
	}
	p.unique("methods", c.Methods)
	p.upstream(&c.Upstream)
	p.key(&c.Key)
	p.cache(&c.Cache)
	p.edits("request-headers", &c.RequestHeaders)
	p.edits("response-headers", &c.ResponseHeaders)
	p.limits(&c.Limits)
	p.steer(c)
}

func at(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

func (p *problems) oneOf(path, have string, want ...string) {
	if !slices.Contains(want, have) {
		p.add(path, "%q: want %s", have, strings.Join(want, " or "))
	}
}

func (p *problems) unique(path string, list []string) {
	for i, s := range list {
		if slices.Index(list, s) < i {
			p.add(at(path, i), "%q is there twice", s)
		}
	}
}

func (p *problems) hosts(c *Config) {
	if len(c.Hosts) == 0 {
		p.add("hosts", "no hosts: nothing would be served")
	}
	var seen []string
	for i, h := range c.Hosts {
		pattern, ok := parsePattern(h)
		if !ok {
			p.add(at("hosts", i), "%q: want a name, a name with one *, or an address, each with :PORT if only that one is meant", h)
			continue
		}
		if s := pattern.String(); slices.Contains(seen, s) {
			p.add(at("hosts", i), "%q is there twice", s)
		} else {
			seen = append(seen, s)
		}
	}
}

func (p *problems) paths(key string, paths []string) {
	var seen []string
	for i, path := range paths {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?# \t\r\n*") {
			p.add(at(key, i), "%q: want a path such as /video; all that is below it is meant too", path)
			continue
		}
		n := string(normalPath(nil, []byte(path), false))
		if n != "/" {
			n = strings.TrimSuffix(n, "/")
		}
		if slices.Contains(seen, n) {
			p.add(at(key, i), "%q is there twice", path)
		}
		seen = append(seen, n)
	}
}

func (p *problems) upstream(u *Upstream) {
	if len(u.Origins)+len(u.Parents) == 0 {
		p.add("upstream.origins", "no origins and no parents: nothing could be fetched")
	}
	var names []string
	server := func(path, name, url string, weight int) {
		if name != "" && slices.Contains(names, name) {
			p.add(path+".name", "%q is the name of another one", name)
		}
		names = append(names, name)
		p.serverURL(path, url)
		p.notNegative(path+".weight", weight)
	}
	for i, o := range u.Origins {
		server(at("upstream.origins", i), o.Name, o.URL, o.Weight)
	}
	for i, o := range u.Parents {
		server(at("upstream.parents", i), o.Name, o.URL, o.Weight)
		p.notNegative(at("upstream.parents", i)+".rank", o.Rank)
	}
	if u.BypassParents && len(u.Parents) == 0 {
		p.add("upstream.bypass-parents", "there are no parents")
	}
	if u.Host != "" {
		if _, _, ok := splitHost(nil, []byte(u.Host)); !ok {
			p.add("upstream.host", "%q: want a host name", u.Host)
		}
	}
	if _, ok := balances[u.Balance]; !ok {
		p.add("upstream.balance", "%q: want round-robin, key or least-busy", u.Balance)
	}
	if _, ok := protocols[u.Protocol]; !ok {
		p.add("upstream.protocol", "%q: want auto, http1 or http2", u.Protocol)
	}
	p.notNegative("upstream.attempts", u.Attempts)
	p.notNegative("upstream.max-connections", u.MaxConnections)
	if c := u.Check; c.Path == "" && (c.Host != "" || c.Interval > 0 || c.Timeout > 0 || len(c.Status) > 0) {
		p.add("upstream.check.path", "no path: nothing would be checked")
	} else if c.Path != "" && c.Path[0] != '/' {
		p.add("upstream.check.path", "%q: want a path such as /healthz", c.Path)
	}
}

func (p *problems) notNegative(path string, n int) {
	if n < 0 {
		p.add(path, "%d: want zero or more", n)
	}
}

func (p *problems) serverURL(path, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		p.add(path+".url", "%q: want http://HOST:PORT or https://HOST:PORT", text)
	}
}

func (p *problems) key(k *KeyRules) {
	if _, ok := queryModes[k.Query.Mode]; !ok {
		p.add("key.query.mode", "%q: want all, keep, drop or none", k.Query.Mode)
	}
	byName := k.Query.Mode == "keep" || k.Query.Mode == "drop"
	if byName != (len(k.Query.Names) > 0) {
		p.add("key.query.names", "%d names with mode %q: keep and drop want names, the others none", len(k.Query.Names), k.Query.Mode)
	}
	for i, n := range k.Query.Names {
		if n == "" || strings.Contains(strings.TrimSuffix(n, "*"), "*") {
			p.add(at("key.query.names", i), "%q: want a name, or the start of one and a *", n)
		}
	}
	p.tokens("key.headers", k.Headers)
	p.tokens("key.cookies", k.Cookies)
	if k.Host != "" {
		if _, _, ok := splitHost(nil, []byte(k.Host)); !ok {
			p.add("key.host", "%q: want a host name", k.Host)
		}
	}
	if k.RawPath && k.MergeSlashes {
		p.add("key.merge-slashes", "not together with raw-path")
	}
}

// tokens are names of headers and of cookies (RFC 9110 section 5.6.2).
func (p *problems) tokens(path string, names []string) {
	for i, n := range names {
		if !httpguts.ValidHeaderFieldName(n) {
			p.add(at(path, i), "%q is no name", n)
		}
	}
	p.unique(path, names)
}

func (p *problems) cache(c *Caching) {
	if c.ETag != "" {
		p.oneOf("cache.etag", c.ETag, "origin", "content")
	}
	if _, ok := cookieModes[c.Cookies]; !ok {
		p.add("cache.set-cookie", "%q: want private, store, strip or never", c.Cookies)
	}
	if c.Max > 0 && c.Min > c.Max {
		p.add("cache.min-ttl", "%s is above max-ttl (%s)", c.Min, c.Max)
	}
	if c.Heuristic != nil && (*c.Heuristic < 0 || *c.Heuristic > 100) {
		p.add("cache.heuristic", "%d: want a share in percent", *c.Heuristic)
	}
	if c.NoStale && c.StaleIfError+c.StaleWhileRevalidate+c.StaleDisconnected > 0 {
		p.add("cache.no-stale", "together with a time of stale service")
	}
	for name, list := range map[string][]StatusTTL{"status": c.Status, "override": c.Override} {
		for i, s := range list {
			for k, code := range s.Status {
				if code < 200 || code > 599 {
					p.add(at(at("cache."+name, i)+".status", k), "%d: want 200 to 599", code)
				}
			}
		}
	}
	for i, v := range c.Vary {
		q := at("cache.vary", i)
		mode, ok := varyModes[v.Mode]
		if !ok {
			p.add(q+".mode", "%q: want exact, list, accept, choose or ignore", v.Mode)
		}
		if ok && (mode == rule.VaryChoose) != (len(v.Allow) > 0) {
			p.add(q+".allow", "%d values with mode %s: choose wants some, the others none", len(v.Allow), v.Mode)
		}
		p.tokens(q+".field", []string{v.Field})
	}
	p.tokens("cache.targeted", c.Targeted)
	p.tokens("cache.tag-headers", c.TagHeaders)
}

// framing are headers that belong to a connection or a message's length: an
// edit of them would break the message.
var framing = []string{
	"Connection", "Content-Length", "Content-Range", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

func (p *problems) edits(path string, e *HeaderEdits) {
	p.tokens(path+".remove", e.Remove)
	for i, n := range e.Remove {
		p.editable(at(path+".remove", i), n)
	}
	for part, list := range map[string][]Header{"set": e.Set, "add": e.Add} {
		for i, h := range list {
			q := at(path+"."+part, i)
			if !httpguts.ValidHeaderFieldName(h.Name) {
				p.add(q+".name", "%q is no name", h.Name)
			}
			if !httpguts.ValidHeaderFieldValue(h.Value) {
				p.add(q+".value", "holds a control character")
			}
			p.editable(q+".name", h.Name)
		}
	}
}

func (p *problems) editable(path, name string) {
	if slices.Contains(framing, http.CanonicalHeaderKey(name)) {
		p.add(path, "%s is not for edits: it is part of the message's framing", name)
	}
	if strings.EqualFold(name, "Host") {
		p.add(path, "set upstream.host instead")
	}
}

func (p *problems) limits(l *Limits) {
	if l.IPv4 < 0 || l.IPv4 > 32 {
		p.add("limits.ipv4", "%d: want a prefix length", l.IPv4)
	}
	if l.IPv6 < 0 || l.IPv6 > 128 {
		p.add("limits.ipv6", "%d: want a prefix length", l.IPv6)
	}
	for name, r := range map[string]Rate{"client": l.Client, "site": l.Site} {
		q := "limits." + name
		if r.Requests < 0 || r.Burst < 0 || r.Bytes < 0 || r.BytesBurst < 0 {
			p.add(q, "a rate below zero")
		}
		if r.Burst > 0 && (r.Requests == 0 || r.Burst < 1) {
			p.add(q+".burst", "%v: want at least 1, and a rate of requests", r.Burst)
		}
		if r.BytesBurst > 0 && r.Bytes == 0 {
			p.add(q+".bytes-burst", "without a rate of bytes")
		}
	}
}

// signer makes the keys of tokens ready; nil without keys.
func (p *problems) signer(r *TokenRules) *signer {
	if len(r.Keys) == 0 {
		if r.Parameter != "" || r.Cookie != "" || len(r.Paths) > 0 {
			p.add("token.keys", "no keys: every URL would be open")
		}
		return nil
	}
	s := &signer{keys: map[string][]byte{}, parameter: r.parameter(), cookie: r.Cookie}
	for i, k := range r.Keys {
		q := at("token.keys", i)
		if k.ID == "" || !tokenText(k.ID) {
			p.add(q+".id", "%q: want letters, digits, - _ and .", k.ID)
		}
		if s.keys[k.ID] != nil {
			p.add(q+".id", "%q is the id of another key", k.ID)
		}
		secret := p.secret(q, "secret", k.Secret, k.SecretFile)
		if len(secret) < minSecret {
			p.add(q, "a secret of %d bytes: want at least %d", len(secret), minSecret)
		}
		s.keys[k.ID] = secret
	}
	p.paths("token.paths", r.Paths)
	for _, path := range r.Paths {
		n := string(normalPath(nil, []byte(path), false))
		if n != "/" {
			n = strings.TrimSuffix(n, "/")
		}
		s.paths = append(s.paths, n)
	}
	if r.Cookie != "" {
		p.tokens("token.cookie", []string{r.Cookie})
	}
	return s
}

func (r *TokenRules) parameter() string {
	if r.Parameter == "" {
		return "token"
	}
	return r.Parameter
}

// secret is a value, or the first line of a file.
func (p *problems) secret(path, key, value, file string) []byte {
	if value != "" && file != "" {
		p.add(path+"."+key+"-file", "together with %s", key)
	}
	if file == "" {
		return []byte(value)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		p.add(path+"."+key+"-file", "%v", err)
	}
	return []byte(strings.TrimRight(string(b), "\r\n"))
}

func (p *problems) access(path string, a *Access) access {
	token := p.secret(path, "token", a.Token, a.TokenFile)
	if (a.Token != "" || a.TokenFile != "") && len(token) < minSecret {
		p.add(path+".token", "%d bytes: want at least %d", len(token), minSecret)
	}
	return access{networks: slices.Clone([]netip.Prefix(a.Networks)), token: token}
}
