package rule

import (
	"net/http"
	"strconv"

	"github.com/catchment/catchment/server/cache/ranges"
)

// Match says how a 304 or a HEAD answer relates to a stored response.
type Match uint8

const (
	Mismatch  Match = iota // it is about another representation: the stored response does not hold any more
	Matches                // it confirms the stored response
	Unrelated              // it says nothing about it
)

// MatchNotModified says whether a 304 to our own conditions confirms the stored response (RFC 9111 §4.3.4). With an ETag
// in the 304 it must be the stored one (weakly, if either is weak); with Last-Modified only, that must be equal; with
// neither, it confirms. After Mismatch ask again without conditions, and drop the stored response.
func MatchNotModified(stored, newer http.Header) Match {
	tag, have := ranges.ParseETag(newer["Etag"]), ranges.ParseETag(stored["Etag"])
	switch {
	case tag != "" && have != "":
		if tag.WeakMatch(have) {
			return Matches
		}
		return Mismatch
	case tag != "":
		return Mismatch
	}
	if lm := newer.Get("Last-Modified"); lm != "" && have == "" && lm != stored.Get("Last-Modified") {
		return Mismatch
	}
	return Matches
}

// Freshen gives the stored response's new header and life after x, a 304 that MatchNotModified accepted; status is the
// stored one. x.Request is the request that was sent upstream.
//
// Where the verdict is not to store: if its reason is RequestNoStore or RequestAuthorized keep the stored response as it
// was and use it for this request only; for any other reason use Header (which is set) for this request and drop the
// stored response.
func Freshen(stored http.Header, status int, x *Exchange, p *Policy) Verdict {
	newer := x.Response
	fresh := ReadControl(newer, p)
	drop := p.Cookies != CookieStore && !(p.Cookies == CookiePrivate && cookieAllowed(&fresh, p))
	merged := update(stored, newer, drop)
	if len(newer["Date"]) == 0 {
		merged.Set("Date", formatDate(x.ResponseTime)) // not the stored one: this answer was made now
	}
	y := *x
	y.Method, y.Status, y.Response = http.MethodGet, status, merged
	v := Judge(&y, p)
	if !v.Store {
		c := ReadControl(merged, p)
		v.Header, v.Once = storedHeader(&y, &c, p)
	}
	if drop {
		rest := EndToEnd(newer)
		v.Once = take(rest, v.Once, "Set-Cookie")
	}
	return v
}

// MatchHead says whether the 200 to a HEAD request confirms a stored response to GET (RFC 9111 §4.3.5): no validator and
// no Content-Length may differ. After Mismatch the stored response must be validated before use (Life.Invalidate). size is the stored
// length, -1 if not known.
func MatchHead(stored http.Header, size int64, x *Exchange) Match {
	if x.Method != http.MethodHead || x.Status != http.StatusOK {
		return Unrelated
	}
	tag, have := ranges.ParseETag(x.Response["Etag"]), ranges.ParseETag(stored["Etag"])
	if tag != "" && have != "" && !tag.WeakMatch(have) {
		return Mismatch
	}
	lm, had := x.Response.Get("Last-Modified"), stored.Get("Last-Modified")
	if lm != "" && had != "" && lm != had {
		return Mismatch
	}
	if s := x.Response.Get("Content-Length"); s != "" && size >= 0 {
		if n, err := strconv.ParseInt(s, 10, 64); err != nil || n != size {
			return Mismatch
		}
	}
	return Matches
}
