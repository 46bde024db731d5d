package rule

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/server/cache/ranges"
)

// hopFields belong to one connection or one proxy and are neither stored nor forwarded (RFC 9110 §7.6.1, RFC 9111 §3.1).
var hopFields = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// firmFields are meant for all recipients, so Connection must not name them (RFC 9110 §7.6.1). A client that does so would
// have upstream answer another request than the one the answer is stored for.
var firmFields = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Authorization": true, "Cache-Control": true,
	"Cdn-Loop": true, "Content-Encoding": true, "Content-Language": true, "Content-Length": true, "Content-Location": true,
	"Content-Range": true, "Content-Type": true, "Cookie": true, "Date": true, "Etag": true, "Expires": true, "Forwarded": true,
	"Host": true, "If-Match": true, "If-Modified-Since": true, "If-None-Match": true, "If-Range": true,
	"If-Unmodified-Since": true, "Last-Modified": true, "Location": true, "Max-Forwards": true, "Origin": true, "Range": true,
	"Referer": true, "Set-Cookie": true, "User-Agent": true, "Vary": true, "Via": true, "X-Forwarded-For": true,
	"X-Forwarded-Host": true, "X-Forwarded-Proto": true, "X-Real-Ip": true,
}

// keptFields of a stored response are never changed by a 304 or a HEAD: they describe the stored bytes (RFC 9111 §3.2).
var keptFields = []string{"Content-Length", "Content-Encoding", "Content-Range", "Transfer-Encoding"}

// EndToEnd returns a copy of h without the fields of the connection: the fixed ones and those Connection names, unless they
// are of those that it must not name. Use it in both directions; for a request the caller adds Te or Upgrade again where it means them.
func EndToEnd(h http.Header) http.Header {
	out := h.Clone()
	if out == nil {
		out = http.Header{}
	}
	for _, name := range hopFields {
		out.Del(name)
	}
	for _, line := range h.Values("Connection") {
		for name := range strings.SplitSeq(line, ",") {
			if name = http.CanonicalHeaderKey(strings.Trim(name, " \t")); !firmFields[name] {
				delete(out, name)
			}
		}
	}
	return out
}

// storedHeader is what is kept of a response (RFC 9111 §3.1); once has those of its fields that only the request at hand
// may get: named by no-cache="..." or private="...", or cookies that the policy strips. It is nil if there are none.
func storedHeader(x *Exchange, c *Control, p *Policy) (h, once http.Header) {
	h = EndToEnd(x.Response)
	h.Del("Age")
	for _, name := range c.Omit {
		once = take(h, once, http.CanonicalHeaderKey(name))
	}
	if p.Cookies == CookieStrip {
		once = take(h, take(h, once, "Set-Cookie"), "Set-Cookie2")
	}
	if x.Status == http.StatusPartialContent {
		h.Del("Content-Range")
		h.Del("Content-Length")
	}
	if len(h["Date"]) == 0 {
		h.Set("Date", formatDate(x.ResponseTime))
	}
	return h, once
}

// take moves a field from h to the other header, which it makes at need.
func take(h, to http.Header, name string) http.Header {
	lines, ok := h[name]
	if !ok {
		return to
	}
	if to == nil {
		to = http.Header{}
	}
	to[name] = lines
	delete(h, name)
	return to
}

// Strip takes out of an answer to a client what the policy keeps from clients. Stored headers keep it, since a 304 may
// leave it out.
func (p *Policy) Strip(h http.Header) {
	if p.StripTargeted {
		for _, name := range p.Targeted {
			h.Del(name)
		}
	}
}

func formatDate(t time.Time) string { return string(ranges.AppendDate(nil, t)) }

// SetConditions puts the validators of a stored response into a request that asks upstream whether it still holds (RFC
// 9111 §4.3.1), in place of the client's own conditions and range. It reports false, changing nothing, if there is none.
func SetConditions(req, stored http.Header) bool {
	tag := ranges.ParseETag(stored["Etag"])
	modified := stored.Get("Last-Modified")
	if tag == "" && modified == "" {
		return false
	}
	DropConditions(req)
	if tag != "" {
		req.Set("If-None-Match", string(tag))
	}
	if modified != "" {
		req.Set("If-Modified-Since", modified)
	}
	return true
}

// DropConditions takes a client's conditions and ranges out of a request that is to fetch the whole for the store.
func DropConditions(req http.Header) {
	for _, name := range [...]string{"If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"} {
		delete(req, name)
	}
}

// update applies the fields of a later answer to a stored header (RFC 9111 §3.2): those present replace, others stay.
func update(stored, newer http.Header, dropCookie bool) http.Header {
	out := stored.Clone()
	for name, lines := range EndToEnd(newer) {
		if slices.Contains(keptFields, name) || dropCookie && strings.HasPrefix(name, "Set-Cookie") {
			continue
		}
		if name == "Etag" && !ranges.ParseETag(lines).Strong() && ranges.ParseETag(out["Etag"]).Strong() {
			continue // a 304 may name a strong tag weakly; the stored one is the better
		}
		out[name] = slices.Clone(lines)
	}
	return out
}
