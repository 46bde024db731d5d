package rule_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/catchment/catchment/server/cache/rule"
)

func TestMatchNotModified(t *testing.T) {
	g := &stage{}
	for _, c := range []struct {
		stored, newer string
		want          rule.Match
	}{
		{`ETag: "a"`, `ETag: "a"`, rule.Matches},
		{`ETag: "a"`, `ETag: W/"a"`, rule.Matches},
		{`ETag: "a"`, `ETag: "b"`, rule.Mismatch},
		{`ETag: "a"`, ``, rule.Matches},
		{`Last-Modified: x`, `ETag: "b"`, rule.Mismatch},
		{`Last-Modified: x`, `Last-Modified: x`, rule.Matches},
		{`Last-Modified: x`, `Last-Modified: y`, rule.Mismatch},
		{`ETag: "a" | Last-Modified: x`, `ETag: "a" | Last-Modified: y`, rule.Matches},
		{`ETag: a`, `ETag: a`, rule.Matches},
	} {
		if got := rule.MatchNotModified(g.fields(c.stored), g.fields(c.newer)); got != c.want {
			t.Errorf("%s by %s: %v, want %v", c.stored, c.newer, got, c.want)
		}
	}
}

func TestMatchHead(t *testing.T) {
	g := &stage{}
	for _, c := range []struct {
		stored, newer string
		status        int
		size          int64
		want          rule.Match
	}{
		{`ETag: "a"`, `ETag: "a"`, 200, 5, rule.Matches},
		{`ETag: "a"`, `ETag: "b"`, 200, 5, rule.Mismatch},
		{`ETag: "a"`, `ETag: "b"`, 404, 5, rule.Unrelated},
		{`Last-Modified: x`, `Last-Modified: y`, 200, 5, rule.Mismatch},
		{`Last-Modified: x`, ``, 200, 5, rule.Matches},
		{``, `Last-Modified: y`, 200, 5, rule.Matches},
		{`ETag: "a"`, ``, 200, 5, rule.Matches},
		{``, `Content-Length: 5`, 200, 5, rule.Matches},
		{``, `Content-Length: 6`, 200, 5, rule.Mismatch},
		{``, `Content-Length: 6`, 200, -1, rule.Matches},
		{``, `Content-Length: x`, 200, 5, rule.Mismatch},
	} {
		x := &rule.Exchange{Method: "HEAD", Status: c.status, Response: g.fields(c.newer)}
		if got := rule.MatchHead(g.fields(c.stored), c.size, x); got != c.want {
			t.Errorf("%s by %s: %v, want %v", c.stored, c.newer, got, c.want)
		}
	}
	if got := rule.MatchHead(nil, 5, &rule.Exchange{Method: "GET", Status: 200}); got != rule.Unrelated {
		t.Errorf("GET: %v", got)
	}
}

// TestFreshenForOneUser: a validation by a request whose answer may not be shared leaves the stored response to the caller.
func TestFreshenForOneUser(t *testing.T) {
	g := &stage{clock: noon}
	p := rule.DefaultPolicy()
	stored := g.fields(`Cache-Control: max-age=2 | ETag: "a" | X: 1`)
	for req, want := range map[string]rule.Reason{"Authorization: x": rule.RequestAuthorized, "Cache-Control: no-store": rule.RequestNoStore} {
		x := &rule.Exchange{Method: "GET", Status: 304, Request: g.fields(req), Response: g.fields(`ETag: "a" | X: 2`), RequestTime: g.clock, ResponseTime: g.clock}
		v := rule.Freshen(stored, 200, x, &p)
		if v.Store || v.Reason != want || v.Header.Get("X") != "2" || stored.Get("X") != "1" {
			t.Errorf("%s: %+v", req, v)
		}
	}
}

// TestFreshenKeepsTheStrongTag: a 304 that names the stored strong tag weakly does not weaken it.
func TestFreshenKeepsTheStrongTag(t *testing.T) {
	g := &stage{}
	p := rule.DefaultPolicy()
	x := &rule.Exchange{Method: "GET", Status: 304, Request: http.Header{}, Response: g.fields(`ETag: W/"a" | Cache-Control: max-age=9`)}
	v := rule.Freshen(g.fields(`ETag: "a"`), 200, x, &p)
	if !v.Store || v.Header.Get("Etag") != `"a"` || v.Life.Flags&rule.FlagStrong == 0 {
		t.Errorf("%+v", v)
	}
}

func TestSetConditions(t *testing.T) {
	g := &stage{}
	req := g.fields(`If-None-Match: "x" | If-Match: "x" | Range: bytes=0-1 | If-Range: "x" | If-Modified-Since: z | If-Unmodified-Since: z | A: 1`)
	if rule.SetConditions(req, g.fields("A: 2")) || len(req) != 7 {
		t.Errorf("without a validator: %v", req)
	}
	if !rule.SetConditions(req, g.fields(`ETag: W/"s" | Last-Modified: lm`)) || len(req) != 3 ||
		req.Get("If-None-Match") != `W/"s"` || req.Get("If-Modified-Since") != "lm" {
		t.Errorf("%v", req)
	}
}

func TestInvalidate(t *testing.T) {
	target, _ := url.Parse("http://h.example/a/b?q")
	for _, c := range []struct {
		method string
		status int
		resp   string
		want   []string
		groups []string
	}{
		{"POST", 200, "", []string{"/a/b?q"}, nil},
		{"M-SEARCH", 301, "", []string{"/a/b?q"}, nil},
		{"GET", 200, "Location: /x", nil, nil},
		{"POST", 404, "", nil, nil},
		{"POST", 500, "", nil, nil},
		{"PUT", 201, "Location: c#frag | Content-Location: http://H.example:80/d", []string{"/a/b?q", "/a/c", "/d"}, nil},
		{"PUT", 201, "Location: //other.example/c | Content-Location: https://h.example/d", []string{"/a/b?q"}, nil},
		{"PUT", 201, "Location: http://h.example:8080/c", []string{"/a/b?q"}, nil},
		{"PUT", 200, "Content-Location: /a/b?q", []string{"/a/b?q"}, nil},
		{"PUT", 200, "Location: :::", []string{"/a/b?q"}, nil},
		{"POST", 204, `Cache-Group-Invalidation: "one", "Two";x=1`, []string{"/a/b?q"}, []string{"one", "Two"}},
		{"GET", 200, `Cache-Group-Invalidation: "one"`, nil, nil},
		{"POST", 500, `Cache-Group-Invalidation: "one"`, nil, nil},
	} {
		g := &stage{}
		inv := rule.Invalidate(c.method, target, c.status, g.fields(c.resp))
		var got []string
		for _, u := range inv.URLs {
			got = append(got, u.RequestURI())
		}
		if !slices.Equal(got, c.want) || !slices.Equal(inv.Groups, c.groups) {
			t.Errorf("%s %d %s: %v %v, want %v %v", c.method, c.status, c.resp, got, inv.Groups, c.want, c.groups)
		}
	}
	if target.String() != "http://h.example/a/b?q" {
		t.Errorf("the target was changed to %v", target)
	}
}

func TestCacheGroups(t *testing.T) {
	for in, want := range map[string][]string{
		`"a", "b c";x, "A"`: {"a", "b c", "A"},
		`"a", token`:        nil,
		`"a", (1 2)`:        nil,
		`"a`:                nil,
		``:                  nil,
		`""`:                {""},
	} {
		if got := rule.CacheGroups(http.Header{"Cache-Groups": {in}}); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
}

func TestCacheGroupLimits(t *testing.T) {
	var list []string
	for i := range 129 {
		list = append(list, fmt.Sprintf("%q", fmt.Sprint("g", i)))
	}
	if got := rule.CacheGroups(http.Header{"Cache-Groups": {strings.Join(list, ", ")}}); len(got) != 128 || got[127] != "g127" {
		t.Errorf("%d groups", len(got))
	}
	long := strings.Repeat("x", 128)
	if got := rule.CacheGroups(http.Header{"Cache-Groups": {`"` + long + `", "` + long + `y", "z"`}}); !slices.Equal(got, []string{long, "z"}) {
		t.Errorf("%q", got)
	}
}

// TestOnce: what may not be stored still reaches the request that caused it.
func TestOnce(t *testing.T) {
	g := &stage{clock: noon}
	strip := rule.DefaultPolicy()
	strip.Cookies = rule.CookieStrip
	plain := rule.DefaultPolicy()
	for _, c := range []struct {
		policy *rule.Policy
		resp   string
		once   string
	}{
		{&plain, "Cache-Control: max-age=9 | A: 1", ""},
		{&plain, `Cache-Control: max-age=9, no-cache="set-cookie, a, none" | A: 1 | Set-Cookie: a=b`, "A: 1 | Set-Cookie: a=b"},
		{&plain, `Cache-Control: max-age=9, private=A | A: 1`, "A: 1"},
		{&strip, "Cache-Control: max-age=9 | A: 1 | Set-Cookie: a=b | Set-Cookie: c=d", "Set-Cookie: a=b | Set-Cookie: c=d"},
	} {
		v := rule.Judge(&rule.Exchange{Method: "GET", Status: 200, Request: http.Header{}, Response: g.fields(c.resp)}, c.policy)
		want := g.fields(c.once)
		if !v.Store || len(v.Once) != len(want) {
			t.Errorf("%s: %+v", c.resp, v)
		}
		for name := range want {
			if !slices.Equal(v.Once[name], want[name]) || v.Header[name] != nil {
				t.Errorf("%s: %s once %q, stored %q", c.resp, name, v.Once[name], v.Header[name])
			}
		}
	}
	x := &rule.Exchange{Method: "GET", Status: 304, Request: http.Header{}, Response: g.fields(`ETag: "a" | Set-Cookie: u=1`), RequestTime: noon, ResponseTime: noon}
	v := rule.Freshen(g.fields(`Cache-Control: max-age=9 | ETag: "a" | Set-Cookie: old=1`), 200, x, &strip)
	if v.Once.Get("Set-Cookie") != "u=1" || v.Header["Set-Cookie"] != nil {
		t.Errorf("304: once %v, stored %v", v.Once, v.Header)
	}
}

func TestEndToEnd(t *testing.T) {
	g := &stage{}
	in := g.fields("Connection: close, x-a , X-B, | Connection: cache-control, Vary | X-A: 1 | X-B: 1 | X-C: 1 | Cache-Control: private | Vary: X | Te: x | Keep-Alive: 1")
	got := rule.EndToEnd(in)
	if len(got) != 3 || got.Get("X-C") != "1" || got.Get("Cache-Control") != "private" || got.Get("Vary") != "X" {
		t.Errorf("%v", got)
	}
	if got.Set("X-C", "2"); len(in) != 8 || in.Get("X-C") != "1" {
		t.Errorf("the input was changed: %v", in)
	}
	if got := rule.EndToEnd(nil); got == nil || len(got) != 0 {
		t.Errorf("nil gives %v", got)
	}
}

func TestStrip(t *testing.T) {
	p := rule.DefaultPolicy()
	h := http.Header{"Cdn-Cache-Control": {"max-age=1"}, "Cache-Control": {"no-store"}}
	if p.Strip(h); len(h) != 2 {
		t.Errorf("stripped without being asked: %v", h)
	}
	p.StripTargeted = true
	if p.Strip(h); len(h) != 1 || h.Get("Cache-Control") == "" {
		t.Errorf("%v", h)
	}
}
