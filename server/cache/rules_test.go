package cache

import (
	"net/http"
	"strings"
	"testing"
)

// step is one request of a story: what the origin would say, and what has to come of it.
type step struct {
	do     string // "GET /path", "GET" for /x
	fields []string
	send   string           // request body
	origin http.HandlerFunc // nil: as before
	asked  int              // requests that reach the origin in this step
	saw    []string         // "Name: value" or "!Name" of the last one's header
	status int              // 0: 200
	want   []string         // fields of the answer, as in got.check
	body   string           // "-": not compared
}

// TestRules tells stories of one or more requests to one URL, each with a cache of its own.
func TestRules(t *testing.T) {
	const day = "Cache-Control: max-age=86400"
	gone := reply(503, "down")
	for _, story := range []struct {
		name  string
		steps []step
	}{
		{"fresh is served from the store with its age", []step{
			{origin: reply(200, "one", day, "Age: 7"), asked: 1, body: "one", want: []string{"Cache-Status~fwd=uri-miss", "Cache-Status~stored", "Age: 7"}},
			{body: "one", want: []string{"Cache-Status~test; hit; ttl=863", "Via: 1.1 test", "Date~GMT"}},
		}},
		{"what says nothing is not stored", []step{
			{origin: reply(200, "one"), asked: 1, body: "one", want: []string{"!Age"}},
			{asked: 1, body: "one", want: []string{"Cache-Status~fwd=bypass"}},
		}},
		{"no-store is never kept", []step{
			{origin: reply(200, "one", "Cache-Control: no-store"), asked: 1, body: "one", want: []string{"Cache-Status~detail"}},
			{origin: reply(200, "two", "Cache-Control: no-store"), asked: 1, body: "two"},
		}},
		{"an answer that may be stored ends hit-for-miss", []step{
			{origin: reply(200, "one", "Cache-Control: private"), asked: 1, body: "one"},
			{origin: reply(200, "two", day), asked: 1, body: "two"},
			{asked: 1, body: "two"},
			{body: "two"},
		}},
		{"private cookies are kept apart", []step{
			{origin: reply(200, "mine", day, "Set-Cookie: id=1"), asked: 1, body: "mine", want: []string{"Set-Cookie: id=1"}},
			{asked: 1, body: "mine"},
		}},
		{"Authorization is not shared", []step{
			{fields: []string{"Authorization: x"}, origin: reply(200, "mine", day), asked: 1, body: "mine"},
			{origin: reply(200, "yours", day), asked: 1, body: "yours"},
		}},
		{"Authorization with public is shared", []step{
			{fields: []string{"Authorization: x"}, origin: reply(200, "ours", day+", public"), asked: 1, saw: []string{"Authorization: x"}, body: "ours"},
			{body: "ours"},
		}},
		{"variants", []step{
			{fields: []string{"Accept-Language: de"}, origin: reply(200, "hallo", day, "Vary: Accept-Language"), asked: 1, body: "hallo"},
			{fields: []string{"Accept-Language: en"}, origin: reply(200, "hello", day, "Vary: Accept-Language"), asked: 1, body: "hello", want: []string{"Cache-Status~fwd=vary-miss"}},
			{fields: []string{"Accept-Language: de"}, body: "hallo"},
			{fields: []string{"Accept-Language: EN"}, body: "hello"},
		}},
		{"Vary: * is not reused", []step{
			{origin: reply(200, "one", day, "Vary: *"), asked: 1, body: "one"},
			{asked: 1, body: "one"},
		}},
		{"a stale answer is validated, and the 304 makes it fresh", []step{
			{origin: reply(200, "one", "Cache-Control: max-age=60", "Age: 61", `Etag: "v1"`, "X-A: 1", "X-B: 1"), asked: 1, body: "one"},
			{origin: reply(304, "", "Cache-Control: max-age=60", `Etag: "v1"`, "X-A: 2"), asked: 1, saw: []string{`If-None-Match: "v1"`}, body: "one",
				want: []string{"X-A: 2", "X-B: 1", "Cache-Status~fwd=stale", "Cache-Status~fwd-status=304"}},
			{body: "one", want: []string{"X-A: 2", "X-B: 1", "Cache-Status~hit"}},
		}},
		{"another version replaces the stale one", []step{
			{origin: reply(200, "one", "Cache-Control: max-age=60", "Age: 61", `Etag: "v1"`), asked: 1, body: "one"},
			{origin: reply(200, "two", day, `Etag: "v2"`), asked: 1, body: "two"},
			{body: "two", want: []string{`Etag: "v2"`}},
		}},
		{"no-cache is validated each time", []step{
			{origin: reply(200, "one", "Cache-Control: no-cache", `Etag: "v1"`), asked: 1, body: "one"},
			{origin: reply(304, "", "Cache-Control: no-cache", `Etag: "v1"`), asked: 1, saw: []string{`If-None-Match: "v1"`}, body: "one"},
			{asked: 1, body: "one"},
		}},
		{"the client's no-cache is validated", []step{
			{origin: reply(200, "one", day, `Etag: "v1"`), asked: 1, body: "one"},
			{fields: []string{"Cache-Control: no-cache"}, origin: reply(304, "", day, `Etag: "v1"`), asked: 1, body: "one", want: []string{"Cache-Status~fwd=request"}},
			{fields: []string{"Cache-Control: max-age=1000"}, body: "one"},
		}},
		{"only-if-cached", []step{
			{fields: []string{"Cache-Control: only-if-cached"}, origin: reply(200, "one", day), status: 504, body: "-"},
			{asked: 1, body: "one"},
			{fields: []string{"Cache-Control: only-if-cached"}, body: "one"},
		}},
		{"must-revalidate is not served stale when the origin is gone", []step{
			{origin: reply(200, "one", "Cache-Control: max-age=60, must-revalidate", "Age: 61", `Etag: "v1"`), asked: 1, body: "one"},
			{origin: hangUp, asked: -1, status: 504, body: "-"},
		}},
		{"without it, it is", []step{
			{origin: reply(200, "one", "Cache-Control: max-age=60", "Age: 61", `Etag: "v1"`), asked: 1, body: "one"},
			{origin: hangUp, asked: -1, body: "one", want: []string{"Cache-Status~detail=reset"}},
		}},
		{"stale-if-error covers 503, and not 404", []step{
			{origin: reply(200, "one", "Cache-Control: max-age=60, stale-if-error=3600", "Age: 61", `Etag: "v1"`), asked: 1, body: "one"},
			{origin: gone, asked: 1, body: "one", want: []string{"Cache-Status~fwd-status=503"}},
			{origin: reply(404, "gone"), asked: 1, status: 404, body: "gone"},
		}},
		{"an error without stale-if-error goes to the client", []step{
			{origin: reply(200, "one", "Cache-Control: max-age=60", "Age: 61", `Etag: "v1"`), asked: 1, body: "one"},
			{origin: gone, asked: 1, status: 503, body: "down"},
		}},
		{"negative answers with a lifetime are kept", []step{
			{origin: reply(404, "no", "Cache-Control: max-age=60"), asked: 1, status: 404, body: "no"},
			{status: 404, body: "no", want: []string{"Cache-Status~hit"}},
		}},
		{"redirects too", []step{
			{origin: reply(301, "", "Location: /y", "Cache-Control: max-age=60"), asked: 1, status: 301},
			{status: 301, want: []string{"Location: /y", "Cache-Status~hit"}},
		}},
		{"304 for a client that has it", []step{
			{origin: reply(200, "one", day, `Etag: "v1"`, "Content-Type: text/plain", "Expires: Fri, 01 Jan 2038 01:01:01 GMT"), asked: 1, body: "one"},
			{fields: []string{`If-None-Match: "v0", "v1"`}, status: 304, want: []string{`Etag: "v1"`, "!Content-Type", "Cache-Control: max-age=86400", "Expires~2038"}},
			{fields: []string{`If-None-Match: "v0"`}, body: "one"},
			{fields: []string{`If-None-Match: *`}, status: 304},
		}},
		{"a client's condition does not shrink what is stored", []step{
			{fields: []string{`If-None-Match: "v1"`}, origin: reply(200, "one", day, `Etag: "v1"`), asked: 1, saw: []string{"!If-None-Match"}, status: 304},
			{body: "one"},
		}},
		{"If-Match fails only after the origin was asked", []step{
			{origin: reply(200, "one", day, `Etag: "v1"`), asked: 1, body: "one"},
			{fields: []string{`If-Match: "v2"`}, origin: reply(200, "two", day, `Etag: "v2"`), asked: 1, body: "two"},
			{fields: []string{`If-Match: "v2"`}, body: "two"},
		}},
		{"HEAD from what is stored for GET", []step{
			{origin: reply(200, "one", day), asked: 1, body: "one"},
			{do: "HEAD", want: []string{"Content-Length: 3", "Cache-Status~hit"}},
		}},
		{"HEAD is not stored for GET", []step{
			{do: "HEAD", origin: reply(200, "one", day), asked: 1},
			{asked: 1, body: "one"},
		}},
		{"HEAD refreshes what is stored", []step{
			{origin: reply(200, "one", "Cache-Control: max-age=60", "Age: 61", `Etag: "v1"`, "Content-Length: 3"), asked: 1, body: "one"},
			{do: "HEAD", origin: reply(200, "one", "Cache-Control: max-age=60", `Etag: "v1"`, "Content-Length: 3", "X-A: 2"), asked: 1},
			{body: "one", want: []string{"X-A: 2", "Cache-Status~hit"}},
		}},
		{"HEAD with another length makes it stale", []step{
			{origin: reply(200, "one", day, "Content-Length: 3"), asked: 1, body: "one"},
			{do: "HEAD", fields: []string{"Cache-Control: no-cache"}, origin: reply(200, "four", day, "Content-Length: 4"), asked: 1},
			{asked: 1, body: "four"},
		}},
		{"POST goes through and invalidates", []step{
			{origin: reply(200, "one", day), asked: 1, body: "one"},
			{do: "POST", send: "data", origin: reply(201, "made"), asked: 1, status: 201, body: "made", want: []string{"Cache-Status~fwd=method"}},
			{origin: reply(200, "two", day), asked: 1, body: "two"},
		}},
		{"a failed POST does not", []step{
			{origin: reply(200, "one", day), asked: 1, body: "one"},
			{do: "DELETE", origin: reply(500, "no"), asked: 1, status: 500, body: "no"},
			{body: "one"},
		}},
		{"Location of a POST is invalidated", []step{
			{do: "GET /made", origin: reply(200, "one", day), asked: 1, body: "one"},
			{do: "POST /form", send: "x", origin: reply(303, "", "Location: /made"), asked: 1, status: 303},
			{do: "GET /made", origin: reply(200, "two", day), asked: 1, body: "two"},
		}},
		{"a POST's answer that is the resource is stored", []step{
			{do: "POST", send: "x", origin: reply(200, "one", day, "Content-Location: /x"), asked: 1, body: "one"},
			{body: "one", want: []string{"Cache-Status~hit"}},
		}},
		{"OPTIONS is passed and not stored", []step{
			{do: "OPTIONS", origin: reply(204, "", "Allow: GET", day), asked: 1, status: 204, want: []string{"Allow: GET"}},
			{do: "OPTIONS", asked: 1, status: 204},
		}},
		{"methods that the site does not have", []step{
			{do: "BREW", origin: reply(200, "tea"), status: 405, body: "-", want: []string{"Allow~GET"}},
		}},
		{"PURGE", []step{
			{origin: reply(200, "one", day), asked: 1, body: "one"},
			{do: "PURGE", body: "-"},
			{origin: reply(200, "two", day), asked: 1, body: "two"},
		}},
		{"soft PURGE validates", []step{
			{origin: reply(200, "one", day, `Etag: "v1"`), asked: 1, body: "one"},
			{do: "PURGE", fields: []string{"Catchment-Purge: soft"}, body: "-"},
			{origin: reply(304, "", day, `Etag: "v1"`), asked: 1, saw: []string{`If-None-Match: "v1"`}, body: "one"},
			{body: "one"},
		}},
		{"targeted control outweighs Cache-Control", []step{
			{origin: reply(200, "one", "Cache-Control: no-store", "CDN-Cache-Control: max-age=60"), asked: 1, body: "one"},
			{body: "one", want: []string{"Cache-Status~hit"}},
		}},
		{"Cache-Status of caches behind us stays, but not on hits", []step{
			{origin: reply(200, "one", day, "Cache-Status: FRA; hit"), asked: 1, body: "one", want: []string{"Cache-Status~FRA;hit, test; fwd=uri-miss"}},
			{body: "one", want: []string{"Cache-Status~test; hit; ttl"}},
		}},
		{"Content-Encoding is left as it is", []step{
			{fields: []string{"Accept-Encoding: gzip"}, origin: reply(200, "zip!", day, "Content-Encoding: gzip", "Vary: Accept-Encoding"), asked: 1, saw: []string{"Accept-Encoding: gzip"}, body: "zip!", want: []string{"Content-Encoding: gzip"}},
			{fields: []string{"Accept-Encoding: gzip"}, body: "zip!", want: []string{"Content-Encoding: gzip"}},
			{origin: reply(200, "plain", day, "Vary: Accept-Encoding"), asked: 1, body: "plain", want: []string{"!Content-Encoding"}},
		}},
		{"digest when asked", []step{
			{origin: reply(200, "hello", day), asked: 1, body: "hello", want: []string{"!Repr-Digest"}},
			{fields: []string{"Want-Repr-Digest: sha-256=1"}, body: "hello", want: []string{"Repr-Digest: sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"}},
			{body: "hello", want: []string{"!Repr-Digest"}},
		}},
		{"a wrong digest is not stored", []step{
			{origin: reply(200, "hello", day, "Repr-Digest: sha-256=:AAAAul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:"), asked: -1, status: -1, body: "-"},
			{origin: reply(200, "hello", day), asked: 1, body: "hello"},
		}},
	} {
		t.Run(strings.ReplaceAll(story.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			newRig(t, nil).tell(story.steps)
		})
	}
}

// hangUp ends the connection without an answer.
func hangUp(w http.ResponseWriter, _ *http.Request) {
	c, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		c.Close()
	}
}

func (r *rig) tell(steps []step) {
	t := r.t
	for i, s := range steps {
		if s.origin != nil {
			r.origin.answer(s.origin)
		}
		method, path, _ := strings.Cut(s.do, " ")
		if method == "" {
			method = http.MethodGet
		}
		if path == "" {
			path = "/x"
		}
		var g got
		if s.send != "" {
			g = r.do(method, path, strings.NewReader(s.send), s.fields...)
		} else {
			g = r.do(method, path, nil, s.fields...)
		}
		if s.status == 0 {
			s.status = 200
		}
		asked := r.origin.asked()
		if s.asked >= 0 && len(asked) != s.asked {
			t.Errorf("step %d: the origin was asked %d times, not %d", i, len(asked), s.asked)
		}
		if s.status > 0 && g.StatusCode != s.status {
			t.Errorf("step %d: status %d, not %d (%s)", i, g.StatusCode, s.status, g.Header.Get("Cache-Status"))
		}
		if method != http.MethodHead && s.body != "-" && string(g.body) != s.body {
			t.Errorf("step %d: body %q, not %q", i, g.body, s.body)
		}
		g.check(t, s.want...)
		if len(asked) > 0 {
			got{Response: &http.Response{Header: asked[len(asked)-1].Header}}.check(t, s.saw...)
		}
		if t.Failed() {
			t.Fatalf("step %d failed: %v", i, g.Header)
		}
	}
}
