package rule_test

import (
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/rule"
)

const second = time.Second

// hour is a fresh answer; short one that is stale at the next request.
const (
	hour  = "Cache-Control: max-age=3600 | Date: @0"
	short = "Cache-Control: max-age=2 | Date: @0"
)

func TestStories(t *testing.T) {
	for _, s := range stories {
		t.Run(s.name, s.run)
	}
}

// asked is a fresh answer, then a request with fields of its own.
func asked(resp, req string, want where) []step {
	return []step{{resp: resp}, {wait: 3 * second, req: req, resp: resp, want: want}}
}

var stories = []story{
	{name: "Age grows and Date stays", steps: []step{
		{resp: hour + " | Age: 30"}, {wait: 5 * second, want: cache, has: "Age: 35 | Date: @-5"}}},
	{name: "Date is added", steps: []step{{resp: "Cache-Control: max-age=9"}, {wait: 5 * second, want: cache, has: "Date: @-5"}}},
	{name: "the query is part of the key", steps: []step{{url: "/?a", resp: hour}, {url: "/?b", resp: hour, want: origin}}},

	{name: "request max-age=0", steps: asked(hour, "Cache-Control: max-age=0", origin)},
	{name: "request max-age=0 of an immutable answer", steps: asked("Cache-Control: max-age=99, immutable", "Cache-Control: max-age=0", cache)},
	{name: "request no-cache of an immutable answer", steps: asked("Cache-Control: max-age=99, immutable", "Cache-Control: no-cache", origin)},
	{name: "request max-age too young", steps: asked(hour+" | Age: 1800", "Cache-Control: max-age=600", origin)},
	{name: "request max-age old enough", steps: asked(hour+" | Age: 1800", "Cache-Control: max-age=1900", cache)},
	{name: "request max-age is no number", steps: asked(hour, "Cache-Control: max-age=x", origin)},
	{name: "request max-stale", steps: asked(short, "Cache-Control: max-stale=10", cache)},
	{name: "request max-stale without value", steps: asked(short, "Cache-Control: max-stale", cache)},
	{name: "request max-stale too small", steps: asked(short, "Cache-Control: max-stale=0", origin)},
	{name: "request max-stale against must-revalidate", steps: asked("Cache-Control: max-age=2, must-revalidate", "Cache-Control: max-stale", origin)},
	{name: "request max-stale against s-maxage", steps: asked("Cache-Control: s-maxage=2", "Cache-Control: max-stale", origin)},
	{name: "request min-fresh", steps: asked(hour+" | Age: 1800", "Cache-Control: min-fresh=1900", origin)},
	{name: "request min-fresh met", steps: asked(hour+" | Age: 1800", "Cache-Control: min-fresh=1700", cache)},
	{name: "request no-cache", steps: asked(hour, "Cache-Control: no-cache", origin)},
	{name: "request no-cache validates", steps: asked(hour+` | ETag: "a"`, "Cache-Control: no-cache", validated)},
	{name: "request Pragma", steps: asked(hour, "Pragma: no-cache", origin)},
	{name: "request Pragma beside Cache-Control", steps: asked(hour, "Pragma: no-cache | Cache-Control: x", cache)},
	{name: "request no-store of a stored answer", steps: asked(hour, "Cache-Control: no-store", cache)},
	{name: "request no-store is not stored", steps: []step{{req: "Cache-Control: no-store", resp: hour}, {resp: hour, want: origin}}},
	{name: "only-if-cached", steps: []step{{req: "Cache-Control: only-if-cached", want: failed, code: 504},
		{resp: hour}, {req: "Cache-Control: only-if-cached", want: cache}}},
	{name: "only-if-cached of a stale answer", steps: asked(short, "Cache-Control: only-if-cached", failed)},
	{name: "clients are ignored", policy: func(p *rule.Policy) { p.IgnoreClient = true },
		steps: asked(hour, "Cache-Control: no-cache, max-age=0", cache)},

	{name: "Authorization", steps: []step{{req: "Authorization: x", resp: hour}, {resp: hour, want: origin}}},
	{name: "Authorization, public", steps: []step{{req: "Authorization: x", resp: hour + " | Cache-Control: public"}, {want: cache}}},
	{name: "Authorization, must-revalidate", steps: []step{{req: "Authorization: x", resp: hour + " | Cache-Control: must-revalidate"}, {want: cache}}},
	{name: "Authorization, s-maxage", steps: []step{{req: "Authorization: x", resp: "Cache-Control: s-maxage=60"}, {want: cache}}},
	{name: "Authorization of a later request", steps: asked(hour, "Authorization: x", cache)},

	{name: "stale-while-revalidate and its end", steps: []step{
		{resp: `Cache-Control: max-age=1, stale-while-revalidate=4 | ETag: "a"`},
		{wait: 3 * second, resp: `Cache-Control: no-cache | ETag: "b"`, want: cache, has: `ETag: "a"`},
		{wait: 3 * second, resp: `Cache-Control: no-cache | ETag: "c"`, want: origin, has: `ETag: "c"`}}},
	{name: "stale-while-revalidate after its window", steps: []step{
		{resp: `Cache-Control: max-age=1, stale-while-revalidate=4`}, {wait: 6 * second, want: origin}}},
	{name: "stale-while-revalidate beside s-maxage", steps: fill("Cache-Control: s-maxage=1, stale-while-revalidate=60", cache)},
	{name: "stale-while-revalidate beside must-revalidate", steps: fill("Cache-Control: max-age=1, must-revalidate, stale-while-revalidate=60", origin)},
	{name: "stale-while-revalidate of the policy", policy: func(p *rule.Policy) { p.StaleWhileRevalidate = time.Minute },
		steps: fill(short, cache)},
	{name: "the policy's window gives way to s-maxage", policy: func(p *rule.Policy) { p.StaleWhileRevalidate = time.Minute },
		steps: fill("Cache-Control: s-maxage=2", origin)},
	{name: "origin gone", steps: []step{{resp: short}, {wait: 3 * second, gone: true, want: cache}, {wait: 25 * time.Hour, gone: true, want: failed}}},
	{name: "origin gone, must-revalidate", steps: []step{{resp: "Cache-Control: max-age=2, must-revalidate"}, {wait: 3 * second, gone: true, want: failed, code: 504}}},
	{name: "origin gone, proxy-revalidate", steps: []step{{resp: "Cache-Control: max-age=2, proxy-revalidate"}, {wait: 3 * second, gone: true, want: failed}}},
	{name: "origin gone, s-maxage", steps: []step{{resp: "Cache-Control: max-age=2, s-maxage=2"}, {wait: 3 * second, gone: true, want: failed}}},
	{name: "origin gone, no-cache", steps: []step{{resp: `Cache-Control: max-age=2, no-cache | ETag: "a"`}, {wait: 3 * second, gone: true, want: failed}}},
	{name: "503 without permission", steps: []step{{resp: short}, {wait: 3 * second, status: 503, want: origin, code: 503}}},
	{name: "503 within stale-if-error", steps: []step{{resp: "Cache-Control: max-age=2, stale-if-error=60"}, {wait: 3 * second, status: 503, want: cache, code: 200}, {wait: 60 * second, status: 503, want: origin}}},
	{name: "503 and the request's stale-if-error", steps: []step{{resp: short}, {wait: 3 * second, req: "Cache-Control: stale-if-error=60", status: 503, want: cache}}},
	{name: "404 ends stale-if-error", steps: []step{{resp: "Cache-Control: max-age=2, stale-if-error=60"}, {wait: 3 * second, status: 404, want: origin, code: 404}}},

	{name: "If-None-Match strong", steps: asked(hour+` | ETag: "a"`, `If-None-Match: "x", "a"`, cache)},
	{name: "304 has the ETag", steps: []step{{resp: hour + ` | ETag: "a"`}, {req: `If-None-Match: "a"`, want: cache, code: 304, has: `ETag: "a"`}}},
	{name: "If-None-Match wins over If-Modified-Since", steps: []step{{resp: hour + ` | ETag: "a" | Last-Modified: @-5000`},
		{req: `If-None-Match: "a" | If-Modified-Since: @-10000`, code: 304}, {req: `If-None-Match: "b" | If-Modified-Since: @0`, code: 200}}},
	{name: "If-Modified-Since", steps: []step{{resp: hour + ` | Last-Modified: @-3000`}, {req: `If-Modified-Since: @-3000`, code: 304},
		{req: `If-Modified-Since: @-2000`, code: 304}, {req: `If-Modified-Since: @-3001`, code: 200}}},
	{name: "If-Modified-Since after validation", steps: []step{{resp: "Cache-Control: max-age=2 | Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"},
		{wait: 3 * second, req: "If-Modified-Since: Wed, 01 Jan 2020 00:00:00 GMT", resp: "Cache-Control: max-age=2 | Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT", code: 304, want: validated}}},

	{name: "304 updates fields and lifetime", steps: []step{
		{resp: `Cache-Control: max-age=2 | ETag: "a" | X: 1 | Y: 1 | Content-Encoding: gzip | Content-Length: 10`},
		{wait: 3 * second, resp: `Cache-Control: max-age=60 | ETag: "a" | X: 2 | Content-Encoding: br | Content-Length: 7`, want: validated, has: "X: 2 | Y: 1 | Content-Encoding: gzip | Content-Length: 10"},
		{wait: 50 * second, want: cache, has: "X: 2 | Y: 1 | Age: 50"}}},
	{name: "304 without Date counts from now", steps: []step{
		{resp: `Cache-Control: max-age=2 | ETag: "a" | Date: @0`}, {wait: 30 * second, resp: `ETag: "a"`, want: validated, has: "Date: @0 | Age: 0"}, {wait: second, want: cache}}},
	{name: "304 with no-store ends the storing", steps: []step{
		{resp: `Cache-Control: max-age=2 | ETag: "a"`}, {wait: 3 * second, resp: `Cache-Control: no-store | ETag: "a"`, want: validated}, {resp: hour, want: origin}}},
	{name: "a cookie of a 304 is not shared", steps: []step{
		{resp: `Cache-Control: max-age=2 | ETag: "a"`}, {wait: 3 * second, resp: `ETag: "a" | Set-Cookie: u=1`, want: validated}, {want: cache, has: "-Set-Cookie"}}},

	{name: "a public cookie of a 304 is shared", steps: []step{
		{resp: `Cache-Control: max-age=2 | ETag: "a"`}, {wait: 3 * second, resp: `ETag: "a" | Cache-Control: public, max-age=9 | Set-Cookie: u=1`, want: validated}, {want: cache, has: "Set-Cookie: u=1"}}},
	{name: "HEAD updates", steps: []step{{resp: short + " | A: 1"}, {wait: 3 * second, method: "HEAD", resp: "Cache-Control: max-age=1000 | A: 2", want: origin}, {want: cache, has: "A: 2"}}},
	{name: "HEAD that differs invalidates", steps: []step{{resp: hour + ` | ETag: "a"`}, {method: "HEAD", req: "Cache-Control: no-cache", resp: hour + ` | ETag: "b"`}, {resp: hour, want: origin}}},
	{name: "HEAD that fails changes nothing", steps: []step{{resp: hour + ` | ETag: "a"`}, {method: "HEAD", req: "Cache-Control: no-cache", status: 410, resp: hour + ` | ETag: "b"`}, {want: cache}}},
	{name: "HEAD from the store", steps: []step{{resp: hour}, {method: "HEAD", want: cache, code: 200}}},

	{name: "POST invalidates", steps: []step{{resp: hour}, {method: "POST"}, {resp: hour, want: origin}}},
	{name: "an unknown method invalidates", steps: []step{{resp: hour}, {method: "M-SEARCH"}, {resp: hour, want: origin}}},
	{name: "invalidation beats stale-while-revalidate", steps: []step{{resp: "Cache-Control: max-age=60, stale-while-revalidate=60"}, {method: "PUT"}, {resp: hour, want: origin}}},
	{name: "a failed PUT does not invalidate", steps: []step{{resp: hour}, {method: "PUT", status: 500}, {want: cache}}},
	{name: "OPTIONS does not invalidate", steps: []step{{resp: hour}, {method: "OPTIONS"}, {want: cache}}},
	{name: "Location is invalidated", steps: []step{{url: "/l", resp: hour}, {url: "/", method: "POST", status: 201, resp: "Location: l"}, {url: "/l", resp: hour, want: origin}}},
	{name: "Content-Location is invalidated", steps: []step{{url: "/l", resp: hour}, {url: "/", method: "DELETE", resp: "Content-Location: http://h.example/l"}, {url: "/l", resp: hour, want: origin}}},
	{name: "another origin is not", steps: []step{{url: "/l", resp: hour}, {url: "/", method: "DELETE", resp: "Content-Location: https://h.example/l"}, {url: "/l", want: cache}}},
	{name: "POST for later GETs", steps: []step{{url: "/f", method: "POST", resp: hour + " | Content-Location: /f"}, {url: "/f", want: cache}}},
	{name: "POST for later GETs without a lifetime", steps: []step{
		{url: "/f", method: "POST", resp: "Cache-Control: s-maxage=0 | ETag: \"a\" | Content-Location: /f"}, {url: "/f", resp: `X: 1 | ETag: "a"`, want: origin}}},
	{name: "POST for later GETs by Expires", steps: []step{{url: "/f", method: "POST", resp: "Expires: @60 | Date: @0 | Content-Location: /f"}, {url: "/f", want: cache}}},
	{name: "POST elsewhere", steps: []step{{url: "/f", method: "POST", resp: hour + " | Content-Location: /g"}, {url: "/f", resp: hour, want: origin}}},

	{name: "fields of the connection are not stored", steps: []step{
		{resp: hour + " | Connection: a, B | A: 1 | B: 2 | C: 3 | Keep-Alive: x | Proxy-Authenticate: x | Proxy-Authentication-Info: x | TE: x | Upgrade: x"},
		{want: cache, has: "C: 3 | -A | -B | -Connection | -Keep-Alive | -Proxy-Authenticate | -Proxy-Authentication-Info | -Te | -Upgrade"}}},
	{name: "fields named by no-cache and private are not stored", steps: []step{
		{resp: `Cache-Control: max-age=60, no-cache="a, b" | Cache-Control: private="d" | A: 1 | B: 2 | C: 3 | D: 4`}, {want: cache, has: "C: 3 | -A | -B | -D"}}},
	{name: "cookies stripped", policy: func(p *rule.Policy) { p.Cookies = rule.CookieStrip },
		steps: []step{{resp: hour + " | Set-Cookie: a=b", has: "Set-Cookie: a=b"}, {want: cache, has: "-Set-Cookie"}}},
	{name: "cookies stored", policy: func(p *rule.Policy) { p.Cookies = rule.CookieStore },
		steps: []step{{resp: hour + " | Set-Cookie: a=b"}, {want: cache, has: "Set-Cookie: a=b"}}},
	{name: "cookies never", policy: func(p *rule.Policy) { p.Cookies = rule.CookieNever },
		steps: []step{{resp: hour + " | Cache-Control: public | Set-Cookie: a=b"}, {resp: hour, want: origin}}},
	{name: "a 304 without targeted field goes by the stored one", policy: func(p *rule.Policy) { p.StripTargeted = true }, steps: []step{
		{resp: `CDN-Cache-Control: max-age=2 | Cache-Control: no-store | ETag: "a"`}, {wait: 3 * second, resp: `ETag: "a"`, want: validated}, {want: cache}}},

	{name: "part of a whole", steps: []step{{resp: hour}, {req: "Range: bytes=0-1", want: cache, code: 206, has: "Content-Range: bytes 0-1/10"},
		{req: "Range: bytes=-1", want: cache, code: 206, has: "Content-Range: bytes 9-9/10"}, {req: "Range: bytes=10-", want: cache, code: 416, has: "Content-Range: bytes */10"}}},
	{name: "part of a part", steps: []step{{req: "Range: bytes=10-19", status: 206, resp: hour + " | Content-Range: bytes 10-19/40"},
		{req: "Range: bytes=12-13", want: cache, code: 206, has: "Content-Range: bytes 12-13/40"}, {req: "Range: bytes=0-1", resp: hour, want: origin}, {want: cache}}},
	{name: "a part without a good Content-Range", steps: []step{{status: 206, resp: hour}, {resp: hour, want: origin}}},

	{name: "the policy overrides", policy: func(p *rule.Policy) { p.Override = []rule.StatusTTL{{From: 200, To: 299, TTL: 10 * second}} },
		steps: []step{{resp: hour + " | Age: 7200"}, {wait: 9 * second, want: cache}, {wait: 2 * second, resp: hour, want: origin}}},
	{name: "the policy overrides with nothing", policy: func(p *rule.Policy) { p.Override = []rule.StatusTTL{{From: 200, To: 299}} },
		steps: []step{{resp: hour + ` | ETag: "a"`}, {resp: hour + ` | ETag: "a"`, want: validated}}},
	{name: "the policy never stores a status", policy: func(p *rule.Policy) { p.Override = []rule.StatusTTL{{From: 404, To: 404, TTL: -1}} },
		steps: fillAs(404, hour, origin)},
	{name: "the policy does not override no-store", policy: func(p *rule.Policy) { p.Override = []rule.StatusTTL{{From: 200, To: 299, TTL: time.Hour}} },
		steps: fill("Cache-Control: no-store", origin)},
	{name: "negative lifetime", policy: func(p *rule.Policy) { p.Negative = []rule.StatusTTL{{From: 400, To: 599, TTL: 10 * second}} },
		steps: fillAs(404, "", cache)},
	{name: "negative lifetime gives way to the origin", policy: func(p *rule.Policy) { p.Negative = []rule.StatusTTL{{From: 400, To: 599, TTL: 10 * second}} },
		steps: fillAs(404, "Cache-Control: max-age=1", origin)},
	{name: "default lifetime", policy: func(p *rule.Policy) { p.DefaultTTL = time.Minute }, steps: fill("", cache)},
	{name: "default lifetime needs a status", policy: func(p *rule.Policy) { p.DefaultTTL = time.Minute }, steps: fillAs(403, "", origin)},
	{name: "least lifetime", policy: func(p *rule.Policy) { p.MinTTL = time.Minute }, steps: fill("Cache-Control: max-age=1", cache)},
	{name: "greatest lifetime", policy: func(p *rule.Policy) { p.MaxTTL = second }, steps: fill(hour, origin)},
	{name: "no heuristic", policy: func(p *rule.Policy) { p.Heuristic = 0 }, steps: []step{{resp: "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"}, {wait: second, resp: "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT", want: validated}}},
	{name: "no heuristic cap", policy: func(p *rule.Policy) { p.HeuristicCap = 0 }, steps: []step{
		{resp: "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"}, {wait: 100 * 24 * time.Hour, want: cache}}},
	{name: "heuristic cap", steps: []step{{resp: "Last-Modified: Wed, 01 Jan 2020 00:00:00 GMT"}, {wait: 23 * time.Hour, want: cache}, {wait: 2 * time.Hour, resp: "X: 1", want: origin}}},
}
