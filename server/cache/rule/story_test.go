package rule_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/rule"
)

// step is one request of a story: what the client asks, what the origin would say, and where the answer must come from.
type step struct {
	wait   time.Duration // before the request
	method string        // GET if empty
	url    string
	req    string // fields, separated by " | "; "@N" is the date N seconds from now
	status int    // of the origin, 200 if 0; the origin answers 304 by itself to a condition that its fields meet
	resp   string
	gone   bool // the origin breaks the connection
	want   where
	code   int    // wanted status, 0: not looked at
	has    string // wanted fields of the answer, "-Name" for one that must be missing
}

// where an answer comes from.
type where string

const (
	origin    where = "origin"
	cache     where = "cache"
	validated where = "validated"
	failed    where = "failed"
)

// noon is when all stories begin.
var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// story is a sequence of requests to one empty cache.
type story struct {
	name   string
	policy func(*rule.Policy)
	steps  []step
}

// stage runs stories against the model cache in virtual time.
type stage struct {
	t     *testing.T
	cache modelCache
	clock time.Time
	cur   *step
	seen  []http.Header // requests that reached the origin in this step
}

// fields parses "Name: value | Name: value".
func (g *stage) fields(s string) http.Header {
	h := http.Header{}
	for f := range strings.SplitSeq(s, " | ") {
		name, value, ok := strings.Cut(f, ":")
		if !ok {
			continue
		}
		value = strings.TrimSpace(value)
		if sec, err := strconv.Atoi(strings.TrimPrefix(value, "@")); err == nil && strings.HasPrefix(value, "@") {
			value = g.clock.Add(time.Duration(sec) * time.Second).UTC().Format(http.TimeFormat)
		}
		h.Add(name, value)
	}
	return h
}

// origin answers as the current step says.
func (g *stage) origin(method, _ string, h http.Header, _ []byte) (*answer, error) {
	g.seen = append(g.seen, h)
	if g.cur.gone {
		return nil, errGone
	}
	resp := g.fields(g.cur.resp)
	tag, lm := resp.Get("Etag"), resp.Get("Last-Modified")
	if tag != "" && h.Get("If-None-Match") == tag || tag == "" && lm != "" && h.Get("If-Modified-Since") == lm {
		return &answer{status: 304, header: resp}, nil
	}
	a := &answer{status: g.cur.status, header: resp, body: []byte("0123456789")}
	if a.status == 0 {
		a.status = 200
	}
	return a, nil
}

// play runs one step and checks it.
func (g *stage) play(i int, s *step) {
	g.t.Helper()
	g.clock = g.clock.Add(s.wait)
	g.cur, g.seen = s, nil
	method, url := s.method, "http://h.example"+s.url
	if method == "" {
		method = "GET"
	}
	a := g.cache.do(method, url, g.fields(s.req), nil)
	got := origin
	switch {
	case a.status == 502 || a.status == 504:
		got = failed
	case a.cached:
		got = cache
	case len(g.seen) == 1 && (g.seen[0].Get("If-None-Match") != "" || g.seen[0].Get("If-Modified-Since") != "") && a.header.Get("Age") != "":
		got = validated
	}
	if s.want != "" && got != s.want {
		g.t.Errorf("step %d: answered by %s, want %s (status %d, %v)", i+1, got, s.want, a.status, a.header)
	}
	if s.code != 0 && a.status != s.code {
		g.t.Errorf("step %d: status %d, want %d", i+1, a.status, s.code)
	}
	for f := range strings.SplitSeq(s.has, " | ") {
		if name, missing := strings.CutPrefix(f, "-"); missing {
			if a.header.Get(name) != "" {
				g.t.Errorf("step %d: has %s", i+1, name)
			}
			continue
		}
		name, _, _ := strings.Cut(f, ":")
		if want := g.fields(f); name != "" && a.header.Get(name) != want.Get(name) {
			g.t.Errorf("step %d: %s is %q, want %q", i+1, name, a.header.Get(name), want.Get(name))
		}
	}
}

func (s story) run(t *testing.T) {
	g := &stage{t: t, clock: noon}
	p := rule.DefaultPolicy()
	if s.policy != nil {
		s.policy(&p)
	}
	g.cache = modelCache{policy: p, stored: map[string][]*object{}, origin: g.origin, now: func() time.Time { return g.clock }}
	for i := range s.steps {
		g.play(i, &s.steps[i])
	}
}

// fill is a first request, then whether a second one three seconds later is answered by whom.
func fill(resp string, second where) []step {
	return []step{{resp: resp, want: origin}, {wait: 3 * time.Second, resp: resp, want: second}}
}

// fillAs is fill with a status.
func fillAs(status int, resp string, second where) []step {
	s := fill(resp, second)
	s[0].status, s[1].status = status, status
	if second == origin && status >= 500 { // the model shows 502 and 504 as failed
		s[0].want, s[1].want = "", ""
	}
	return s
}

// quick turns "response fields => who answers the second request" lines into stories.
func quick(t *testing.T, table string) {
	for line := range strings.Lines(table) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		resp, want, ok := strings.Cut(line, "=>")
		if !ok {
			t.Fatalf("bad line %q", line)
		}
		t.Run(line, func(t *testing.T) {
			story{steps: fill(strings.TrimSpace(resp), where(strings.TrimSpace(want)))}.run(t)
		})
	}
}

func TestSecondRequest(t *testing.T) { quick(t, secondRequests) }

// secondRequests are responses, and who answers the same request three seconds later.
const secondRequests = `
# nothing said, nothing to validate
Content-Type: text/plain => origin
# max-age
Cache-Control: max-age=3600 => cache
Cache-Control: max-age=2 => origin
Cache-Control: max-age=0 => origin
Cache-Control: max-age=2147483647 => cache
Cache-Control: max-age=2147483649 => cache
Cache-Control: max-age=99999999999999999999999 => cache
Cache-Control: max-age=003600 => cache
Cache-Control: MAX-age=3600 => cache
Cache-Control: max-age="3600" => cache
Cache-Control: max-age='3600' => origin
Cache-Control: max-age=-3600 => origin
Cache-Control: max-age=3600.0 => origin
Cache-Control: max-age=x3600 => origin
Cache-Control: max-age= 3600 => origin
Cache-Control: max-age =3600 => origin
Cache-Control: max-age => origin
Cache-Control: other, max-age=3600 => cache
Cache-Control: max-age=3600, max-age=1 => cache
Cache-Control: max-age=1, max-age=3600 => origin
Cache-Control: max-age=1 | Cache-Control: max-age=3600 => origin
Cache-Control: other="max-age=3600", max-age=1 => origin
Cache-Control: max-age=1, other="max-age=3600" => origin
Cache-Control: other="a\", max-age=3600", max-age=1 => origin
Cache-Control: ,, max-age=3600 , => cache
# the word of the server beside Expires
Cache-Control: max-age=3600 | Expires: @-7200 | Date: @0 => cache
Cache-Control: max-age=3600 | Expires: 0 => cache
Cache-Control: max-age=0 | Expires: @3600 => origin
Cache-Control: max-age=x | Expires: @3600 => origin
# shared caches
Cache-Control: s-maxage=3600 => cache
Cache-Control: max-age=3600, s-maxage=1 => origin
Cache-Control: s-maxage=1 | Cache-Control: max-age=3600 => origin
Cache-Control: max-age=0, s-maxage=3600 | Expires: @-10 => cache
Cache-Control: max-age=3600, s-maxage=x => origin
# forbidden
Cache-Control: private, max-age=3600 => origin
Cache-Control: No-Store, max-age=3600 | Expires: @3600 => origin
Cache-Control: no-cache, max-age=3600 => origin
Cache-Control: no-cache | ETag: "a" => validated
Cache-Control: no-cache, max-age=3600 | ETag: "a" => validated
Cache-Control: private="x-user", max-age=3600 => cache
Cache-Control: max-age=3600, must-revalidate => cache
Cache-Control: max-age=2, must-revalidate | ETag: "a" => validated
Cache-Control: max-age=2 | ETag: W/"a" => validated
Cache-Control: max-age=2 | Last-Modified: @-5000 => origin
# understanding
Cache-Control: no-store, must-understand, max-age=3600 => cache
# Age
Date: @0 | Cache-Control: max-age=3600 | Age: 7200 => origin
Date: @0 | Cache-Control: max-age=3600 | Age: 7200, 0 => origin
Date: @0 | Cache-Control: max-age=3600 | Age: 0, 7200 => cache
Date: @0 | Cache-Control: max-age=3600 | Age: 7200 | Age: 0 => origin
Date: @0 | Cache-Control: max-age=3600 | Age: 0 | Age: 7200 => cache
Date: @0 | Cache-Control: max-age=3600 | Age: abc => cache
Date: @0 | Cache-Control: max-age=3600 | Age: -7200 => cache
Date: @0 | Cache-Control: max-age=3600 | Age: 7200.0 => cache
Date: @0 | Cache-Control: max-age=3600 | Age: => cache
Date: @0 | Cache-Control: max-age=3600 | Age: 2147483649 => origin
Date: @0 | Cache-Control: max-age=3600 | Age: 99999999999999999999 => origin
Date: @-7200 | Cache-Control: max-age=3600 => origin
# Expires
Expires: @2592000 | Date: @0 => cache
Expires: @-2592000 | Date: @0 => origin
Expires: @300 | Date: @400 => origin
Expires: @10 | Date: nonsense => cache
Expires: @10 | Date: @-10 | Age: 25 => origin
Expires: @20 | Date: @10 | Age: 15 => origin
Expires: 0 | Date: @0 => origin
Expires: Tue, 19 Jan 2038 14:14:08 GMT => cache
Expires: Sun, 21 Nov 2286 04:46:39 GMT => cache
Expires: Thursday, 18-Aug-50 02:01:18 GMT => cache
Expires: Thu Aug  8 02:01:18 2050 => cache
Expires: tHU, 18 aUG 2050 02:01:18 gmt => cache
Expires: Thu, 18 Aug 2050 02:01:18 UTC => origin
Expires: Thu, 18 Aug 50 02:01:18 GMT => origin
Expires: Thu 18 Aug 2050 02:01:18 GMT => origin
Expires: Thu, 18  Aug  2050 02:01:18 GMT => origin
Expires: Thu, 18-Aug-2050 02:01:18 GMT => origin
Expires: Thu, 18 Aug 2050 02.01.18 GMT => origin
Expires: Thu, 18 Aug 2050 2:01:18 GMT => origin
# Vary: * in any company
Cache-Control: max-age=3600 | Vary: * => origin
Cache-Control: max-age=3600 | Vary: , * => origin
Cache-Control: max-age=3600 | Vary: A, * => origin
Cache-Control: max-age=3600 | Vary:  | Vary: * => origin
Cache-Control: max-age=3600 | Vary: A => cache
# targeted
CDN-Cache-Control: max-age=3600 => cache
CDN-Cache-Control: max-age=99999999999 => cache
CDN-Cache-Control: max-age=3600 | Cache-Control: no-store => cache
CDN-Cache-Control: other, max-age=3600 | Expires: @-3600 => cache
CDN-Cache-Control: max-age=0 | Cache-Control: max-age=3600 | Expires: @3600 => origin
CDN-Cache-Control: max-age=3600 | Age: 7200 => origin
CDN-Cache-Control: private | Cache-Control: max-age=3600 => origin
CDN-Cache-Control: no-cache | Cache-Control: max-age=3600 => origin
CDN-Cache-Control: no-store | Cache-Control: max-age=3600 => origin
CDN-Cache-Control: max-age=3600, &&& | Cache-Control: no-store => origin
CDN-Cache-Control: max-age="3600" | Cache-Control: no-store => origin
CDN-Cache-Control: max-age="1" | Cache-Control: max-age=3600 => cache
CDN-Cache-Control: MAX-AGE=3600 | Cache-Control: max-age=1 => origin
CDN-Cache-Control: max-age =3600 | Cache-Control: max-age=1 => origin
CDN-Cache-Control: max-age=-1 | Cache-Control: max-age=3600 => cache
CDN-Cache-Control: no-store=?0, max-age=3600 | Cache-Control: no-store => cache
CDN-Cache-Control: | Cache-Control: max-age=3600 => cache
CDN-Cache-Control: other | Expires: @3600 => origin
# cookies
Cache-Control: max-age=3600 | Set-Cookie: a=b => origin
Cache-Control: public, max-age=3600 | Set-Cookie: a=b => cache
Cache-Control: max-age=3600, no-cache="set-cookie" | Set-Cookie: a=b => cache
CDN-Cache-Control: max-age=3600 | Set-Cookie: a=b => cache
# heuristics
Last-Modified: @-86400 => cache
Last-Modified: @-10 => origin
Last-Modified: @10 => origin
Last-Modified: @-86400 | Cache-Control: no-store => origin
Last-Modified: @-86400 | Expires: 0 => origin
`

func TestStatuses(t *testing.T) {
	for _, s := range []int{200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 503, 599} {
		t.Run(fmt.Sprint(s), func(t *testing.T) {
			story{steps: fillAs(s, "Cache-Control: max-age=3600", cache)}.run(t)
			story{steps: fillAs(s, "Expires: @-3600 | Date: @0", origin)}.run(t)
		})
	}
	for _, s := range []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501} {
		story{name: "heuristic", steps: fillAs(s, "Last-Modified: @-86400 | Date: @0", cache)}.run(t)
	}
	for _, s := range []int{201, 202, 302, 403, 500, 503, 599} {
		story{name: "no heuristic", steps: fillAs(s, "Last-Modified: @-86400 | Date: @0", origin)}.run(t)
	}
	story{steps: fillAs(599, "Last-Modified: @-86400 | Cache-Control: public", cache)}.run(t)
	story{steps: fillAs(599, "Cache-Control: max-age=3600, no-store, must-understand", origin)}.run(t)
}
