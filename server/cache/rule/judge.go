package rule

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/catchment/catchment/server/cache/ranges"
)

// Verdict says whether a response may be stored, and holds what a store keeps of it.
type Verdict struct {
	Store  bool
	Reason Reason
	Life   Life
	Vary   Vary
	// Header is what is stored and served later: end-to-end fields only, no Age, Date added if missing. Nil if not stored.
	Header http.Header
	// Once has fields that belong into the answer to this request but not into the store: named by no-cache="..." or
	// private="...", cookies that the policy strips. Nil if there are none.
	Once http.Header
	// Groups are the names of Cache-Groups (RFC 9875), for invalidation within the same origin.
	Groups []string
}

// Remember reports whether a verdict against storing will probably hold for the next response too, so that requests for
// the key should not wait for one another for a while (hit-for-miss). Server errors are not remembered.
func (v *Verdict) Remember() bool {
	switch v.Reason {
	case ResponseNoStore, ResponsePrivate, SetsCookie, VaryStar, NoLifetime, NotCacheableByStatus, PolicyBypass:
		return !v.Store && v.Life.Status < 500
	}
	return false
}

// Judge decides on a final response of GET, or of POST where RFC 9110 §9.3.3 allows its reuse for GET (RFC 9111 §3).
// Whether the body came whole is not its business.
func Judge(x *Exchange, p *Policy) Verdict {
	c := ReadControl(x.Response, p)
	if r := refuse(x, &c, p); r != None {
		return refused(r, x)
	}
	vary, star := readVary(x.Response)
	if star {
		return refused(VaryStar, x)
	}
	t := readTimes(x)
	fresh, by := freshUntil(x.Status, &c, &t, p)
	if by == None && !heuristicStatus(x.Status) && !c.Public {
		return refused(NotCacheableByStatus, x)
	}
	l := makeLife(x.Status, x.Response, &c, &t, fresh, p, by)
	if by == None {
		by = Validate
	}
	if useless(&l, &c) {
		return refused(NoLifetime, x)
	}
	v := Verdict{Store: true, Reason: by, Life: l, Vary: newVary(vary, x.Request, x.Response, p), Groups: CacheGroups(x.Response)}
	v.Header, v.Once = storedHeader(x, &c, p)
	return v
}

// refused is a verdict against storing.
func refused(r Reason, x *Exchange) Verdict {
	return Verdict{Reason: r, Life: Life{Status: uint16(x.Status)}}
}

// useless: it will never be fresh, cannot be validated, and the origin gives it no stale window.
func useless(l *Life, c *Control) bool {
	if l.Flags&(FlagETag|FlagModified) != 0 {
		return false
	}
	if c.NoCache {
		return true
	}
	return l.Fresh <= l.Received && (c.Revalidate <= 0 || l.Revalidate <= l.Received) && (c.Error <= 0 || l.Error <= l.Received)
}

// refuse gives the reason not to store, None if there is none so far.
func refuse(x *Exchange, c *Control, p *Policy) Reason {
	switch {
	case x.Status < 200:
		return StatusNotFinal
	case x.Status == 304:
		return StatusNotModified
	case x.Method != "GET" && !postForGet(x, c):
		return MethodNotCacheable
	case neverStored(x.Status):
		return StatusNeverStored
	case p.never(x.Status):
		return PolicyBypass
	case c.MustUnderstand && !understood(x.Status):
		return StatusNotUnderstood
	case c.NoStore && !c.MustUnderstand:
		return ResponseNoStore
	case c.Private:
		return ResponsePrivate
	case x.Status == 206 && !goodPart(x.Response):
		return StatusNotUnderstood
	}
	if r := readNoStore(x.Request); r {
		return RequestNoStore
	}
	if len(x.Request.Values("Authorization")) > 0 && !c.mayShare() {
		return RequestAuthorized
	}
	if len(x.Response.Values("Set-Cookie")) > 0 && !cookieAllowed(c, p) {
		return SetsCookie
	}
	return None
}

// readNoStore reports no-store in a request.
func readNoStore(h Fields) bool {
	r := ReadRequest(h, &Policy{})
	return r.NoStore
}

// cookieAllowed applies CookieMode.
func cookieAllowed(c *Control, p *Policy) bool {
	switch p.Cookies {
	case CookieStore, CookieStrip:
		return true
	case CookieNever:
		return false
	}
	for _, name := range c.Omit {
		if strings.EqualFold(name, "Set-Cookie") {
			return true
		}
	}
	return c.Public || c.SharedMaxAge != none || c.Targeted && c.MaxAge != none
}

// goodPart: a 206 with one part and a Content-Range that can be relied on.
func goodPart(h Fields) bool {
	lines := h.Values("Content-Range")
	if len(lines) != 1 {
		return false
	}
	r, err := ranges.ParseContentRange(lines[0])
	return err == nil && r.Span.Len() > 0
}

// postForGet: a POST response with explicit freshness whose Content-Location is the request's own URL may answer later
// GET requests (RFC 9110 §9.3.3).
func postForGet(x *Exchange, c *Control) bool {
	lines := x.Response.Values("Content-Location")
	if x.Method != "POST" || x.Status != 200 || len(lines) != 1 || x.Target == "" {
		return false
	}
	if c.MaxAge <= 0 && c.SharedMaxAge <= 0 && len(x.Response.Values("Expires")) == 0 {
		return false
	}
	base, err1 := url.Parse(x.Target)
	loc, err2 := url.Parse(lines[0])
	if err1 != nil || err2 != nil {
		return false
	}
	to := base.ResolveReference(loc)
	base.Fragment, to.Fragment = "", ""
	return sameOrigin(base, to) && to.RequestURI() == base.RequestURI()
}
