package rule_test

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/rule"
)

// pieces a random response is made of.
var (
	someControl = []string{"no-store", "no-cache", "private", "public", "must-revalidate", "proxy-revalidate", "max-age=0", "max-age=60",
		"s-maxage=0", "s-maxage=30", "max-age=x", "stale-while-revalidate=9", "stale-if-error=9", "must-understand", "immutable",
		`no-cache="x-a"`, `private="x-a, set-cookie"`, "other", ""}
	someStatus = []int{200, 200, 200, 203, 206, 301, 302, 304, 404, 412, 416, 429, 500, 503, 599, 103}
	someFields = []string{`Etag: "a"`, "Last-Modified: @-5000", "Expires: @50", "Expires: 0", "Set-Cookie: a=b", "Vary: X", "Vary: *", "Age: 20",
		"Connection: x-b", "X-B: 1", "X-A: 1", "Keep-Alive: 1", "Transfer-Encoding: chunked", "Date: @0", "Date: @-40", "Content-Range: bytes 0-1/9",
		"Proxy-Authenticate: x", "Trailer: x"}
	someRequest = []string{"Authorization: a", "Cache-Control: no-store", "X: 1", "Cookie: a", "Cache-Control: max-age=0"}
)

// some picks each of list with a chance of one in n.
func some(r *rand.Rand, list []string, n int) []string {
	return slices.DeleteFunc(slices.Clone(list), func(string) bool { return r.IntN(n) != 0 })
}

// forbidden is RFC 9111 §3 and §3.5 as a list of what must not be there, without regard to lifetimes.
func forbidden(method string, status int, req, control []string, h http.Header) string {
	has := func(d string) bool { return slices.Contains(control, d) }
	share := has("public") || has("must-revalidate") || has("s-maxage=0") || has("s-maxage=30")
	understood := status != 599
	switch {
	case method != "GET":
		return "method"
	case status < 200 || status == 304:
		return "status"
	case has("no-store") && !has("must-understand"):
		return "no-store"
	case has("must-understand") && !understood:
		return "must-understand"
	case has("private"):
		return "private"
	case slices.Contains(req, "Cache-Control: no-store"):
		return "request no-store"
	case slices.Contains(req, "Authorization: a") && !share:
		return "authorization"
	case slices.Contains(h["Vary"], "*"):
		return "vary"
	case status == 206 && h.Get("Content-Range") == "":
		return "part without range"
	}
	return ""
}

// TestJudgeKeepsItsPromises: random exchanges, and what must hold of every verdict.
func TestJudgeKeepsItsPromises(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9111))
	g := &stage{clock: noon}
	stored, refused := 0, map[string]int{}
	for range 30000 {
		p := rule.DefaultPolicy()
		p.Cookies = rule.CookieMode(r.IntN(4))
		if r.IntN(3) == 0 {
			p.MinTTL, p.StaleWhileRevalidate, p.StaleIfError = time.Hour, time.Minute, time.Minute
		}
		control, req := some(r, someControl, 7), some(r, someRequest, 12)
		h := g.fields(strings.Join(append(some(r, someFields, 6), "Cache-Control: "+strings.Join(control, ", ")), " | "))
		method, status := "GET", someStatus[r.IntN(len(someStatus))]
		if r.IntN(20) == 0 {
			method = "HEAD"
		}
		before := h.Clone()
		v := rule.Judge(&rule.Exchange{Method: method, Status: status, Request: g.fields(strings.Join(req, " | ")), Response: h,
			RequestTime: noon, ResponseTime: noon.Add(time.Second)}, &p)
		if why := forbidden(method, status, req, control, h); why != "" {
			if refused[why]++; v.Store {
				t.Fatalf("%s: stored %d %v for %v", why, status, h, req)
			}
		}
		if v.Store {
			stored++
			checkStored(t, &v, h, control, &p)
		}
		if len(before) != len(h) {
			t.Fatalf("the response was changed: %v, was %v", h, before)
		}
	}
	if stored < 3000 || len(refused) < 9 {
		t.Errorf("%d stored, refused %v", stored, refused)
	}
}

// checkStored is what holds of everything that is stored.
func checkStored(t *testing.T, v *rule.Verdict, h http.Header, control []string, p *rule.Policy) {
	t.Helper()
	for _, name := range []string{"Connection", "Keep-Alive", "Transfer-Encoding", "Proxy-Authenticate", "Trailer", "Age"} {
		if v.Header[name] != nil {
			t.Fatalf("%s is stored: %v", name, v.Header)
		}
	}
	if h["Connection"] != nil && v.Header["X-B"] != nil || v.Header["Date"] == nil {
		t.Fatalf("%v of %v", v.Header, h)
	}
	cookie := v.Header["Set-Cookie"] != nil
	if cookie && (p.Cookies == rule.CookieNever || p.Cookies == rule.CookieStrip) || slices.Contains(control, `private="x-a, set-cookie"`) && (cookie || v.Header["X-A"] != nil) {
		t.Fatalf("%v under %v, %v", v.Header, p.Cookies, control)
	}
	l, now := v.Life, rule.At(noon.Add(time.Second))
	if l.Fresh > l.Revalidate || l.Fresh > l.Error || l.Error > l.Disconnected || l.Born > l.Received || l.Dead() < l.Fresh {
		t.Fatalf("%+v", l)
	}
	strict := slices.Contains(control, "must-revalidate") || slices.Contains(control, "proxy-revalidate") || slices.Contains(control, "no-cache")
	if strict && l.Dead() != l.Fresh {
		t.Fatalf("%v may be stale: %+v", control, l)
	}
	req := rule.PlainRequest()
	if d := rule.Decide(&req, &l, now); slices.Contains(control, "no-cache") && d.Action != rule.Revalidate {
		t.Fatalf("%v: %v", control, d)
	}
	req.MaxStale = 1 << 31
	if d := rule.Decide(&req, &l, max(l.Dead(), now)); strict && d.Action != rule.Revalidate {
		t.Fatalf("%v, stale: %v", control, d)
	}
}

func TestFlags(t *testing.T) {
	g := &stage{clock: noon}
	p := rule.DefaultPolicy()
	p.Override = []rule.StatusTTL{{From: 410, To: 410, TTL: time.Hour}}
	const strong, modified = rule.FlagETag | rule.FlagStrong, rule.FlagModified
	for _, c := range []struct {
		status int
		resp   string
		want   rule.Flags
	}{
		{200, "Cache-Control: max-age=9", 0},
		{200, `Cache-Control: max-age=9 | ETag: "a"`, strong},
		{200, `Cache-Control: max-age=9 | ETag: W/"a"`, rule.FlagETag},
		{200, `Cache-Control: max-age=9 | ETag: a`, rule.FlagETag},
		{200, `Cache-Control: max-age=9 | Last-Modified: @-5`, modified},
		{200, `Cache-Control: max-age=9 | Last-Modified: x`, 0},
		{200, `Last-Modified: @-5000`, modified | rule.FlagHeuristic},
		{200, `Cache-Control: no-cache | ETag: "a"`, strong | rule.FlagNoCache},
		{200, `Cache-Control: max-age=9, must-revalidate`, rule.FlagMustRevalidate | rule.FlagShared},
		{200, `Cache-Control: max-age=9, proxy-revalidate`, rule.FlagMustRevalidate},
		{200, `Cache-Control: s-maxage=9`, rule.FlagMustRevalidate | rule.FlagShared},
		{200, `Cache-Control: max-age=9, public, immutable`, rule.FlagShared | rule.FlagImmutable},
		{410, `Cache-Control: max-age=9`, rule.FlagOverride},
	} {
		v := rule.Judge(&rule.Exchange{Method: "GET", Status: c.status, Request: http.Header{}, Response: g.fields(c.resp), RequestTime: noon, ResponseTime: noon}, &p)
		if !v.Store || v.Life.Flags != c.want || int(v.Life.Status) != c.status {
			t.Errorf("%d %s: flags %b, want %b (%v)", c.status, c.resp, v.Life.Flags, c.want, v.Reason)
		}
	}
}
