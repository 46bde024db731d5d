package rule_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/catchment/catchment/server/cache/rule"
)

func TestReadControl(t *testing.T) {
	n := rule.ReadControl(http.Header{}, &rule.Policy{})
	with := func(f func(*rule.Control)) rule.Control {
		c := n
		c.Present = true
		f(&c)
		return c
	}
	target := func(f func(*rule.Control)) rule.Control {
		return with(func(c *rule.Control) { c.Targeted = true; f(c) })
	}
	p := &rule.Policy{Targeted: []string{"Lon-Cache-Control", "Cdn-Cache-Control"}}
	for _, c := range []struct {
		h    http.Header
		want rule.Control
	}{
		{http.Header{"Cache-Control": {"x"}}, with(func(*rule.Control) {})},
		{http.Header{"Cache-Control": {"no-cache, max-age=5, stale-while-revalidate=6,stale-if-error=7"}},
			with(func(c *rule.Control) { c.NoCache, c.MaxAge, c.Revalidate, c.Error = true, 5, 6, 7 })},
		{http.Header{"Cache-Control": {`no-cache=""`}}, with(func(c *rule.Control) { c.NoCache = true })},
		{http.Header{"Cache-Control": {`no-cache="a, B ,", no-cache`}}, with(func(c *rule.Control) { c.NoCache, c.Omit = true, []string{"a", "B"} })},
		{http.Header{"Cache-Control": {`private=a`}}, with(func(c *rule.Control) { c.Omit = []string{"a"} })},
		{http.Header{"Cache-Control": {`s-maxage=`}}, with(func(c *rule.Control) { c.SharedMaxAge, c.Invalid = 0, true })},
		{http.Header{"Cache-Control": {`x="a, no-store`}}, with(func(*rule.Control) {})},
		{http.Header{"Cache-Control": {`x="a\"", public, immutable, must-understand, proxy-revalidate`}},
			with(func(c *rule.Control) {
				c.Public, c.Immutable, c.MustUnderstand, c.ProxyRevalidate = true, true, true, true
			})},
		{http.Header{"Cache-Control": {"no-store"}, "Cdn-Cache-Control": {"max-age=5"}}, target(func(c *rule.Control) { c.MaxAge = 5 })},
		{http.Header{"Lon-Cache-Control": {"max-age=1"}, "Cdn-Cache-Control": {"max-age=5"}}, target(func(c *rule.Control) { c.MaxAge = 1 })},
		{http.Header{"Lon-Cache-Control": {"max-age=1.5"}, "Cdn-Cache-Control": {"max-age=5"}}, target(func(c *rule.Control) { c.MaxAge = 5 })},
		{http.Header{"Cdn-Cache-Control": {"max-age=5;x=1", "private=\"a\", z=(1 2)"}}, target(func(c *rule.Control) { c.MaxAge, c.Omit = 5, []string{"a"} })},
		{http.Header{"Cdn-Cache-Control": {`no-cache="a, b"`}}, target(func(c *rule.Control) { c.Omit = []string{"a", "b"} })},
		{http.Header{"Cdn-Cache-Control": {`private=""`}}, n},
		{http.Header{"Cdn-Cache-Control": {`no-store="a"`}}, n},
		{http.Header{"Cdn-Cache-Control": {"no-store=(1 2)"}}, n},
		{http.Header{"Cdn-Cache-Control": {"no-store=1"}}, n},
	} {
		if got := rule.ReadControl(c.h, p); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%v:\n%+v, want\n%+v", c.h, got, c.want)
		}
	}
}

// FuzzControl: no input makes it panic, a quoted text never acts as a directive, and no-store by itself always does.
func FuzzControl(f *testing.F) {
	f.Add(`a="b,c", max-age=3`)
	f.Add(`a="\"", =, "`)
	f.Fuzz(func(t *testing.T, in string) {
		p := rule.DefaultPolicy()
		_ = rule.ReadControl(http.Header{"Cache-Control": {in}, "Cdn-Cache-Control": {in}}, &p)
		_ = rule.ReadRequest(http.Header{"Cache-Control": {in}}, &p)
		quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(in)
		c := rule.ReadControl(http.Header{"Cache-Control": {`x="` + quoted + `", no-store`}}, &rule.Policy{})
		want := rule.ReadControl(http.Header{"Cache-Control": {`no-store`}}, &rule.Policy{})
		if !reflect.DeepEqual(c, want) {
			t.Fatalf("%q in quotes is read as %+v", in, c)
		}
	})
}

func TestVerdictReasons(t *testing.T) {
	p := rule.DefaultPolicy()
	p.Negative = []rule.StatusTTL{{From: 403, To: 403, TTL: second}}
	p.Override = []rule.StatusTTL{{From: 410, To: 410, TTL: second}, {From: 418, To: 418, TTL: -1}}
	for _, c := range []struct {
		method   string
		status   int
		req      string
		resp     string
		want     rule.Reason
		remember bool
	}{
		{"GET", 200, "", "Cache-Control: max-age=1", rule.Explicit, false},
		{"GET", 200, "", "Last-Modified: Sat, 01 Jan 2000 00:00:00 GMT", rule.Heuristic, false},
		{"GET", 200, "", `ETag: "a"`, rule.Validate, false},
		{"GET", 403, "", "X: 1", rule.Negative, false},
		{"GET", 410, "", "X: 1", rule.Override, false},
		{"GET", 418, "", "Cache-Control: max-age=1", rule.PolicyBypass, true},
		{"GET", 200, "", "X: 1", rule.NoLifetime, true},
		{"GET", 200, "", "Cache-Control: no-cache, max-age=5", rule.NoLifetime, true},
		{"GET", 200, "", "Cache-Control: max-age=0, stale-if-error=9", rule.Explicit, false},
		{"GET", 200, "", "Cache-Control: max-age=0, must-revalidate, stale-while-revalidate=9", rule.NoLifetime, true},
		{"GET", 200, "", "Cache-Control: max-age=0, stale-while-revalidate=9", rule.Explicit, false},
		{"GET", 200, "", "Cache-Control: max-age=0, must-revalidate, stale-if-error=9", rule.NoLifetime, true},
		{"GET", 206, "", "Cache-Control: max-age=1 | Content-Range: bytes */10", rule.StatusNotUnderstood, false},
		{"GET", 416, "Range: bytes=9-", "Cache-Control: max-age=1", rule.StatusNeverStored, false},
		{"GET", 429, "", "Cache-Control: public, max-age=1", rule.StatusNeverStored, false},
		{"GET", 401, "", "Cache-Control: max-age=1", rule.Explicit, false},
		{"GET", 302, "", "X: 1", rule.NotCacheableByStatus, true},
		{"GET", 503, "", "X: 1", rule.NotCacheableByStatus, false},
		{"GET", 200, "", "Cache-Control: no-store", rule.ResponseNoStore, true},
		{"GET", 200, "", "Cache-Control: private", rule.ResponsePrivate, true},
		{"GET", 200, "", "Cache-Control: max-age=1 | Set-Cookie: a=b", rule.SetsCookie, true},
		{"GET", 200, "", "Cache-Control: max-age=1 | Vary: *", rule.VaryStar, true},
		{"GET", 200, "Cache-Control: no-store", "Cache-Control: max-age=1", rule.RequestNoStore, false},
		{"GET", 200, "Authorization: x", "Cache-Control: max-age=1", rule.RequestAuthorized, false},
		{"GET", 103, "", "Cache-Control: max-age=1", rule.StatusNotFinal, false},
		{"GET", 304, "", "Cache-Control: max-age=1", rule.StatusNotModified, false},
		{"GET", 206, "", "Cache-Control: max-age=1 | Content-Range: bytes 0-1/2", rule.Explicit, false},
		{"GET", 206, "", "Cache-Control: max-age=1 | Content-Range: bytes 2-1/2", rule.StatusNotUnderstood, false},
		{"GET", 206, "", "Cache-Control: max-age=1 | Content-Type: multipart/byteranges", rule.StatusNotUnderstood, false},
		{"HEAD", 200, "", "Cache-Control: max-age=1", rule.MethodNotCacheable, false},
		{"POST", 200, "", "Cache-Control: max-age=1", rule.MethodNotCacheable, false},
		{"get", 200, "", "Cache-Control: max-age=1", rule.MethodNotCacheable, false},
	} {
		g := &stage{}
		v := rule.Judge(&rule.Exchange{Method: c.method, Status: c.status, Request: g.fields(c.req), Response: g.fields(c.resp), ResponseTime: noon, RequestTime: noon}, &p)
		if v.Reason != c.want || v.Store != (v.Header != nil) || v.Remember() != c.remember {
			t.Errorf("%s %d %s: %v, stored %v, remember %v; want %v, %v", c.method, c.status, c.resp, v.Reason, v.Store, v.Remember(), c.want, c.remember)
		}
	}
}

func TestReasonsHaveTexts(t *testing.T) {
	seen := map[string]bool{}
	for r := rule.None; r.String() != "unknown"; r++ {
		if s := r.String(); s == "" || seen[s] {
			t.Errorf("reason %d: text %q", r, s)
		}
		seen[r.String()] = true
	}
	if len(seen) < 35 {
		t.Errorf("only %d reasons", len(seen))
	}
}
