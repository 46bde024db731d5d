package origin

import (
	"net/http"
	"net/netip"
	"strings"
)

// hop are the fields that belong to one connection (RFC 9110 §7.6.1), in
// canonical form.
var hop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true,
	"Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Http2-Settings": true,
}

// hopRequest are further fields that are not for the next hop of a request.
// Host and Content-Length are made afresh.
var hopRequest = map[string]bool{
	"Proxy-Authorization": true, "Host": true, "Content-Length": true,
	// Expect is answered by the front; a body is sent without asking again.
	"Expect": true,
}

// kept are end-to-end fields that Connection must not name (RFC 9110 §7.6.1).
// If it does they stay: a client could else have a request fetched without the
// fields by which its answer is stored.
var kept = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Age": true,
	"Authorization": true, "Cache-Control": true, "Cdn-Cache-Control": true, "Cdn-Loop": true,
	"Content-Encoding": true, "Content-Length": true, "Content-Range": true, "Content-Type": true,
	"Cookie": true, "Date": true, "Etag": true, "Expires": true, "Forwarded": true, "Host": true,
	"If-Match": true, "If-Modified-Since": true, "If-None-Match": true, "If-Range": true,
	"If-Unmodified-Since": true, "Last-Modified": true, "Origin": true, "Pragma": true,
	"Range": true, "Set-Cookie": true, "User-Agent": true, "Vary": true, "Via": true,
	"X-Forwarded-For": true, "X-Forwarded-Proto": true, hopField: true,
}

// nominated are the fields that Connection names and may name.
func nominated(h http.Header) map[string]bool {
	var out map[string]bool
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			name = http.CanonicalHeaderKey(strings.Trim(name, " \t"))
			if name == "" || kept[name] {
				continue
			}
			if out == nil {
				out = map[string]bool{}
			}
			out[name] = true
		}
	}
	return out
}

// cleanRequest is a copy of h without what is for this hop only.
func cleanRequest(h http.Header) http.Header {
	named := nominated(h)
	out := make(http.Header, len(h)+4)
	for k, v := range h {
		if hop[k] || hopRequest[k] || named[k] {
			continue
		}
		out[k] = v[:len(v):len(v)]
	}
	if _, ok := out["User-Agent"]; !ok {
		out["User-Agent"] = []string{""} // none, rather than the library's
	}
	return out
}

// cleanResponse takes out of h what is for this hop only. Proxy-Authenticate
// goes too: no client of ours can answer it.
func cleanResponse(h http.Header) {
	named := nominated(h)
	for k := range h {
		if hop[k] || named[k] || k == "Proxy-Authenticate" || k == "Proxy-Authentication-Info" {
			delete(h, k)
		}
	}
}

// forwardFields puts in what the server may learn about the client.
func forwardFields(h http.Header, f Forward, client netip.Addr, scheme, host string) {
	if f.Hide {
		for _, k := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-Ip"} {
			delete(h, k)
		}
	}
	if !client.IsValid() {
		return
	}
	client = client.Unmap().WithZone("")
	if f.XForwardedFor {
		appendList(h, "X-Forwarded-For", client.String())
		h["X-Forwarded-Proto"] = []string{scheme}
	}
	if f.Forwarded {
		node := client.String()
		if client.Is6() {
			node = `"[` + node + `]"`
		}
		appendList(h, "Forwarded", "for="+node+";host="+quoteIfNeeded(host)+";proto="+scheme)
	}
}

// appendList adds v to the end of a comma-separated field, on one line.
func appendList(h http.Header, name, v string) {
	if old := h[name]; len(old) > 0 {
		v = strings.Join(old, ", ") + ", " + v
	}
	h[name] = []string{v}
}

// quoteIfNeeded is s as a token or a quoted-string (RFC 9110 §5.6.4).
func quoteIfNeeded(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !tokenRune(r) }) {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

func tokenRune(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' ||
		r < 0x80 && strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
