package rule

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/dunglas/httpsfv"
)

// Invalidation is what a successful unsafe request makes stale.
type Invalidation struct {
	URLs   []*url.URL // the target first, then Location and Content-Location of the same origin, each once
	Groups []string   // Cache-Group-Invalidation, to be taken within the target's origin (RFC 9875 §3)
}

// Invalidate says what the final answer to a request invalidates (RFC 9111 §4.4): nothing for a safe method or an answer
// that is an error (only 2xx and 3xx are none). target is the absolute URL of the request.
func Invalidate(method string, target *url.URL, status int, resp http.Header) Invalidation {
	if Safe(method) || status < 200 || status >= 400 {
		return Invalidation{}
	}
	inv := Invalidation{URLs: []*url.URL{target}, Groups: stringList(resp["Cache-Group-Invalidation"])}
	for _, name := range [...]string{"Location", "Content-Location"} {
		loc, err := url.Parse(strings.TrimSpace(resp.Get(name)))
		if err != nil || resp.Get(name) == "" {
			continue
		}
		inv.add(target, target.ResolveReference(loc))
	}
	return inv
}

// add appends a URL of the same origin that is not there yet.
func (inv *Invalidation) add(target, u *url.URL) {
	u.Fragment, u.RawFragment = "", ""
	if !sameOrigin(target, u) {
		return
	}
	for _, have := range inv.URLs {
		if have.RequestURI() == u.RequestURI() {
			return
		}
	}
	inv.URLs = append(inv.URLs, u)
}

// sameOrigin compares scheme, host and port (RFC 9110 §4.3.1).
func sameOrigin(a, b *url.URL) bool {
	return strings.EqualFold(a.Scheme, b.Scheme) && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

// port is the port, or the default of the scheme.
func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if strings.EqualFold(u.Scheme, "https") {
		return "443"
	}
	return "80"
}

// Limits on Cache-Groups: RFC 9875 §2 asks for at least 32 groups of 32 characters.
const (
	maxGroups    = 128
	maxGroupSize = 128
)

// CacheGroups reads the groups a response belongs to (RFC 9875 §2). Groups of two responses are the same only within one
// origin, compared byte by byte.
func CacheGroups(h Fields) []string { return stringList(h.Values("Cache-Groups")) }

// stringList reads a structured-field list of strings; parameters are ignored, and a field with an error or a member of
// another type counts as absent.
func stringList(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(lines)
	if err != nil {
		return nil
	}
	var out []string
	for _, m := range list {
		item, ok := m.(httpsfv.Item)
		if !ok {
			return nil
		}
		s, ok := item.Value.(string)
		if !ok {
			return nil
		}
		if len(out) < maxGroups && len(s) <= maxGroupSize {
			out = append(out, s)
		}
	}
	return out
}
