package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// short sends the first part of a body under the length of the whole, and breaks the connection.
func short(body []byte, part int, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		setFields(w.Header(), fields)
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:part])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// TestTruncatedFill: a body that ends early is not a whole object, for the client that sees it and for those after it.
func TestTruncatedFill(t *testing.T) {
	kinds(t, func(t *testing.T, change func(*Config)) {
		r := newRig(t, change)
		body := content(3*mib, 8)
		for _, fields := range [][]string{{"Cache-Control: max-age=3600"}, {"Cache-Control: max-age=3600", `Etag: "v1"`}} {
			path := fmt.Sprintf("/%d", len(fields))
			r.origin.answer(short(body, 2*mib+1000, fields...))
			g := r.get(path)
			if g.err == nil && g.StatusCode == 200 {
				t.Errorf("%v: a short body looks whole: %d bytes", fields, len(g.body))
			}
			r.origin.answer(file(body, fields...))
			if g := r.get(path); !bytes.Equal(g.body, body) || g.err != nil {
				t.Errorf("%v: afterwards %d bytes, %v", fields, len(g.body), g.err)
			}
		}
	})
}

// TestFillGoesOn: with a strong validator a fill that breaks is continued, and no client sees it.
func TestFillGoesOn(t *testing.T) {
	r := newRig(t, nil)
	body := content(3*mib, 9)
	fields := []string{"Cache-Control: max-age=3600", `Etag: "v1"`}
	var n atomic.Int64
	r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
		if n.Add(1) == 1 {
			short(body, mib+1000, fields...)(w, q)
			return
		}
		file(body, fields...)(w, q)
	})
	if g := r.get("/a"); !bytes.Equal(g.body, body) || g.err != nil {
		t.Errorf("%d bytes, %v", len(g.body), g.err)
	}
	if sent := r.origin.sent.Load(); sent > 3*mib+mib {
		t.Errorf("the origin sent %d bytes for %d", sent, len(body))
	}
}

// TestChangedMidway: the object changes at the origin between two parts. Nobody gets a mix.
func TestChangedMidway(t *testing.T) {
	r := newRig(t, nil)
	old, new := content(6*mib, 10), content(6*mib, 11)
	fields := "Cache-Control: max-age=3600"
	r.origin.answer(file(old, fields, `Etag: "old"`))
	if g := r.get("/a", "Range: bytes=0-99"); !bytes.Equal(g.body, old[:100]) {
		t.Fatal("first part")
	}
	r.origin.answer(file(new, fields, `Etag: "new"`))
	g := r.get("/a", "Range: bytes=5000000-5000099")
	if g.StatusCode != 206 || g.Header.Get("Etag") != `"new"` || !bytes.Equal(g.body, new[5000000:5000100]) {
		t.Errorf("after the change: %d, %s", g.StatusCode, g.Header.Get("Etag"))
	}
	if g := r.get("/a"); g.Header.Get("Etag") != `"new"` || !bytes.Equal(g.body, new) {
		t.Errorf("whole: %s, %d bytes", g.Header.Get("Etag"), len(g.body))
	}
}

// TestChangedUnderClient: the version changes while a client reads the old one, of which a part is missing: its connection
// is broken, never filled up with the new one's bytes.
func TestChangedUnderClient(t *testing.T) {
	r := newRig(t, nil)
	old, new := content(4*mib, 12), content(4*mib, 13)
	fields := "Cache-Control: max-age=3600"
	r.origin.answer(file(old, fields, `Etag: "old"`))
	r.get("/a", "Range: bytes=0-99")
	r.origin.answer(file(new, fields, `Etag: "new"`))
	g := r.get("/a")
	switch g.Header.Get("Etag") {
	case `"old"`:
		if g.err == nil || !bytes.HasPrefix(old, g.body) {
			t.Errorf("%d bytes under the old tag, %v", len(g.body), g.err)
		}
	case `"new"`:
		if g.err != nil || !bytes.Equal(g.body, new) {
			t.Errorf("%d bytes under the new tag, %v", len(g.body), g.err)
		}
	}
}

// TestChangedAhead: a part far before a running download meets another version at the origin. Its client gets the new one,
// as all do from then on; the download goes on to the end of the old one.
func TestChangedAhead(t *testing.T) {
	kinds(t, func(t *testing.T, change func(*Config)) {
		r := newRig(t, func(c *Config) { change(c); c.Fill.Jump = 1 })
		old, new := content(6*mib, 20), content(6*mib, 21)
		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		defer open()
		fields := "Cache-Control: max-age=3600"
		r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
			setFields(w.Header(), []string{fields, `Etag: "old"`, fmt.Sprintf("Content-Length: %d", len(old))})
			w.Write(old[:mib])
			http.NewResponseController(w).Flush()
			<-gate
			w.Write(old[mib:])
		})
		running, err := r.client.Get(r.url + "/a")
		if err != nil {
			t.Fatal(err)
		}
		defer running.Body.Close()
		begun := make([]byte, mib/2)
		if _, err := io.ReadFull(running.Body, begun); err != nil {
			t.Fatal(err)
		}
		r.origin.answer(file(new, fields, `Etag: "new"`))
		if g := r.get("/a", "Range: bytes=5000000-5000099"); g.StatusCode != 206 || g.Header.Get("Etag") != `"new"` || !bytes.Equal(g.body, new[5000000:5000100]) {
			t.Errorf("the part: %d, %s, %d bytes", g.StatusCode, g.Header.Get("Etag"), len(g.body))
		}
		if g := r.get("/a"); g.Header.Get("Etag") != `"new"` || !bytes.Equal(g.body, new) {
			t.Errorf("who comes later: %s, %d bytes", g.Header.Get("Etag"), len(g.body))
		}
		open()
		if rest, err := io.ReadAll(running.Body); err != nil || !bytes.Equal(append(begun, rest...), old) {
			t.Errorf("the running download: %d bytes, %v", len(begun)+len(rest), err)
		}
	})
}

// TestDigestOfParts: an object joined from parts has the digest of the whole; one with a wrong digest is thrown away.
func TestDigestOfParts(t *testing.T) {
	r := newRig(t, nil)
	body := content(3*mib, 14)
	r.origin.answer(file(body, `Etag: "v1"`, "Cache-Control: max-age=3600"))
	r.get("/a", "Range: bytes=2500000-")
	r.get("/a")
	sum := sha256.Sum256(body)
	want := "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
	eventually(t, "digest "+want, func() bool { return r.get("/a", "Want-Repr-Digest: sha-256=5").Header.Get("Repr-Digest") == want })
}

// TestFillDeadline: a fill that reaches its deadline before its client has a byte is a timeout of upstream, for client and
// log, and not a client that has gone.
func TestFillDeadline(t *testing.T) {
	stalls := func(after int, fields ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, q *http.Request) {
			if after >= 0 {
				setFields(w.Header(), append(fields, "Cache-Control: max-age=60", "Content-Length: 1000"))
				w.Write(content(after, 1))
				http.NewResponseController(w).Flush()
			}
			<-q.Context().Done()
		}
	}
	for name, test := range map[string]struct {
		serve http.HandlerFunc
		tag   string // of the site
		busy  bool   // another has the only turn
	}{
		"no head":                       {serve: stalls(-1)},
		"no body":                       {serve: stalls(0)},
		"no body, a validator":          {serve: stalls(0, `Etag: "a"`)},
		"waited for whole":              {serve: stalls(500), tag: "content"},
		"waited for whole, a validator": {serve: stalls(500, `Etag: "a"`), tag: "content"},
		"no turn":                       {serve: stalls(-1), busy: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := filepath.Join(t.TempDir(), "access.log")
			r := newRig(t, func(c *Config) {
				c.Fill.Deadline = 300 * time.Millisecond
				c.Sites[0].Cache.ETag = test.tag
				c.AccessLog.Path = log
				if test.busy {
					c.Fill.PerUpstream = 1
				}
			})
			r.origin.answer(test.serve)
			if test.busy { // passed on, which has no deadline
				var other sync.WaitGroup
				defer other.Wait()
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				q, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/other", nil)
				other.Go(func() {
					if resp, err := r.client.Do(q); err == nil {
						t.Errorf("the other got %d", resp.StatusCode)
						resp.Body.Close()
					}
				})
				eventually(t, "the turn is taken", func() bool { return r.s.Status().Fills.Running == 1 })
			}
			g := r.get("/a")
			if g.StatusCode != http.StatusGatewayTimeout {
				t.Errorf("status %d", g.StatusCode)
			}
			g.check(t, "Cache-Status~detail=timeout")
			eventually(t, "a line in the log", func() bool {
				b, _ := os.ReadFile(log)
				return strings.Contains(string(b), `"uri":"/a"`) && strings.Contains(string(b), `"status":504,`) && strings.Contains(string(b), `"reason":"timeout"`)
			})
		})
	}
}

// TestOriginGone: without origin what is stored is served, what is not is a 502 and quick, and the server goes on.
func TestOriginGone(t *testing.T) {
	r := newRig(t, nil)
	r.origin.answer(reply(200, "one", "Cache-Control: max-age=3600"))
	r.get("/a")
	r.origin.Close()
	if g := r.get("/a"); !g.hit() {
		t.Error("a stored object is not served")
	}
	if g := r.get("/b"); g.StatusCode != 502 {
		t.Errorf("status %d", g.StatusCode)
	} else {
		g.check(t, "Cache-Status~detail=connect", "Cache-Control: no-store")
	}
}

// TestShed: above the limit requests are turned away at once, and hits of the fast path are not.
func TestShed(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Limits.Requests = 2 })
	r.origin.answer(reply(200, "one", "Cache-Control: max-age=3600"))
	r.get("/hit")
	gate := make(chan struct{})
	r.origin.answer(func(w http.ResponseWriter, q *http.Request) { <-gate; w.Write([]byte("x")) })
	var all sync.WaitGroup
	for i := range 2 {
		all.Go(func() { r.get(fmt.Sprintf("/%d", i)) })
	}
	eventually(t, "two at work", func() bool { return r.s.active.Load() == 2 })
	g := r.get("/c")
	if g.StatusCode != 503 {
		t.Errorf("status %d", g.StatusCode)
	}
	g.check(t, "Retry-After: 1")
	if g := r.get("/hit"); !g.hit() {
		t.Errorf("the fast path is closed too: %d", g.StatusCode)
	}
	close(gate)
	all.Wait()
}

// TestUnknownHost: what no site has is refused and never proxied.
func TestUnknownHost(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Sites[0].Hosts = []string{"www.example.com"} })
	r.origin.answer(reply(200, "one", "Cache-Control: max-age=3600"))
	if g := r.get("/a", "Host: other.example.com"); g.StatusCode != 421 {
		t.Errorf("status %d", g.StatusCode)
	}
	if g := r.get("/a", "Host: www.example.com"); string(g.body) != "one" {
		t.Errorf("status %d", g.StatusCode)
	}
	if g := r.get(healthPath); g.StatusCode != 200 || string(g.body) != "ok\n" {
		t.Errorf("health: %d %q", g.StatusCode, g.body)
	}
	if n := len(r.origin.asked()); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// TestInterim passes 103 on, to the client that waits, and not from the store.
func TestInterim(t *testing.T) {
	r := newRig(t, nil)
	r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(103)
		w.Header().Del("Link")
		w.Header().Set("Cache-Control", "max-age=60")
		w.Write([]byte("x"))
	})
	for round, want := range []string{"HTTP/1.1 103 Early Hints\r\n", "HTTP/1.1 200 OK\r\n"} {
		text := r.raw("GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(text, want) {
			t.Errorf("round %d begins with %q", round, text[:min(60, len(text))])
		}
		if _, final, _ := strings.Cut(text, "HTTP/1.1 200"); strings.Contains(final, "preload") {
			t.Error("the interim header is in the final answer")
		}
	}
}

// TestTrailers go through with an answer that is not stored.
func TestTrailers(t *testing.T) {
	r := newRig(t, nil)
	r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		w.Header().Set("Cache-Control", "no-store")
		io.WriteString(w, "x")
		http.NewResponseController(w).Flush()
		w.Header().Set("X-Sum", "7")
	})
	resp, err := r.client.Get(r.url + "/a")
	if err != nil {
		t.Fatal(err)
	}
	io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.Trailer.Get("X-Sum") != "7" {
		t.Errorf("trailer %v", resp.Trailer)
	}
}

// TestUpload streams a body through: the origin has the first part before the client has sent the last.
func TestUpload(t *testing.T) {
	r := newRig(t, nil)
	first := make(chan struct{})
	r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
		b := make([]byte, 5)
		io.ReadFull(q.Body, b)
		close(first)
		rest, _ := io.ReadAll(q.Body)
		fmt.Fprintf(w, "%s+%s", b, rest)
	})
	pr, pw := io.Pipe()
	go func() {
		io.WriteString(pw, "first")
		<-first
		io.WriteString(pw, "second")
		pw.Close()
	}()
	if g := r.do("PUT", "/a", pr); string(g.body) != "first+second" {
		t.Errorf("%d %q", g.StatusCode, g.body)
	}
}

// TestStaleWhileRevalidate: the stale one is served at once, one refresh runs, and what it brings is served next.
func TestStaleWhileRevalidate(t *testing.T) {
	r := newRig(t, nil)
	r.origin.answer(reply(200, "one", "Cache-Control: max-age=60, stale-while-revalidate=3600", "Age: 61", `Etag: "v1"`))
	r.get("/a")
	r.origin.asked()
	gate := make(chan struct{})
	r.origin.answer(func(w http.ResponseWriter, q *http.Request) {
		<-gate
		reply(200, "two", "Cache-Control: max-age=60", `Etag: "v2"`)(w, q)
	})
	for range 5 {
		g := r.get("/a")
		if string(g.body) != "one" {
			t.Errorf("body %q", g.body)
		}
		g.check(t, "Cache-Status~stale-while-revalidate")
	}
	close(gate)
	eventually(t, "the new version", func() bool { return string(r.get("/a").body) == "two" })
	if n := len(r.origin.asked()); n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

// TestReloadIsAllOrNothing: a bad configuration changes nothing; a good one is in force when Reload returns, and requests
// under way end under the old one.
func TestReloadIsAllOrNothing(t *testing.T) {
	r := newRig(t, nil)
	r.origin.answer(reply(200, "one", "Cache-Control: max-age=3600"))
	r.get("/a")
	bad := r.s.cfg
	bad.Sites = append(bad.Sites[:1:1], bad.Sites[0])
	if err := r.s.Reload(bad); err == nil {
		t.Error("two sites of one name are taken")
	}
	if !r.get("/a").hit() {
		t.Error("the old configuration is not in force any more")
	}
	other := newScripted(t)
	other.answer(reply(200, "other", "X-Y: 1"))
	good := r.s.cfg
	good.Sites = append(good.Sites[:0:0], good.Sites...)
	good.Sites[0].Upstream.Origins = append(good.Sites[0].Upstream.Origins[:0:0], good.Sites[0].Upstream.Origins...)
	good.Sites[0].Upstream.Origins[0].URL = other.URL
	good.Sites[0].ResponseHeaders.Remove = []string{"X-Y"}
	if err := r.s.Reload(good); err != nil {
		t.Fatal(err)
	}
	g := r.get("/b")
	if string(g.body) != "other" {
		t.Errorf("body %q", g.body)
	}
	g.check(t, "!X-Y")
	if !r.get("/a").hit() {
		t.Error("what is stored was lost")
	}
	good.Fill.Fills, good.Fill.PerUpstream, good.Front.Limits.Conns, good.Front.Limits.ConnsClient = 9, 3, 9, 3
	if err := r.s.Reload(good); err != nil {
		t.Errorf("how many there may be does not change: %v", err)
	}
	wrong := good
	wrong.Front.Limits.URLBytes++
	if err := r.s.Reload(wrong); err == nil || !strings.Contains(err.Error(), "limits") {
		t.Errorf("what one connection may take changes while running: %v", err)
	}
	good.Name = "else"
	if err := r.s.Reload(good); err == nil || !strings.Contains(err.Error(), "name") {
		t.Errorf("a name changes while running: %v", err)
	}
}

// TestNewVersionAfterBreak: an object with a tag of its content is waited for whole. Where its body breaks off and the
// origin has another version by then, the client gets that one, and no error.
func TestNewVersionAfterBreak(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Sites[0].Cache.ETag = "content" })
	older, newer := content(100_000, 1), content(90_000, 2)
	var asked atomic.Int64
	r.origin.answer(func(w http.ResponseWriter, req *http.Request) {
		if asked.Add(1) > 1 {
			file(newer, `Etag: "v2"`, "Cache-Control: max-age=3600")(w, req)
			return
		}
		short(older, 50_000, `Etag: "v1"`, "Cache-Control: max-age=3600")(w, req)
	})
	if g := r.get("/x"); g.StatusCode != 200 || !bytes.Equal(g.body, newer) {
		t.Errorf("%d, %d bytes, %v: %s", g.StatusCode, len(g.body), g.err, g.Header.Get("Cache-Status"))
	}
	if g := r.get("/x"); !g.hit() || !bytes.Equal(g.body, newer) {
		t.Errorf("later: %d, %d bytes: %s", g.StatusCode, len(g.body), g.Header.Get("Cache-Status"))
	}
}

// TestKeptConnectionCloses: the origin closes a connection just as a request comes by it, as many do that keep them for a
// few seconds only. What may be sent twice is, with its body; what may not is an error.
func TestKeptConnectionCloses(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Sites[0].Upstream.Attempts = 2 })
	var closes atomic.Bool
	var bodies atomic.Pointer[string]
	r.origin.answer(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		if closes.Swap(false) {
			if c, _, err := w.(*counted).ResponseWriter.(http.Hijacker).Hijack(); err == nil {
				c.Close()
			}
			return
		}
		got := string(b)
		bodies.Store(&got)
		w.WriteHeader(http.StatusNoContent)
	})
	for _, test := range []struct {
		method, body string
		status       int
	}{
		{"PUT", "some bytes", 204},
		{"PUT", "", 204},
		{"DELETE", "why", 204},
		{"PUT", strings.Repeat("x", keptBody+1), 502}, // too long to be kept
		{"POST", "some bytes", 502},
	} {
		r.do("OPTIONS", "/x", nil) // a connection is there
		closes.Store(true)
		bodies.Store(new(string))
		g := r.do(test.method, "/x", strings.NewReader(test.body))
		if g.StatusCode != test.status {
			t.Errorf("%s with %d bytes: %d, %s", test.method, len(test.body), g.StatusCode, g.Header.Get("Cache-Status"))
		}
		if got := *bodies.Load(); test.status == 204 && got != test.body {
			t.Errorf("%s: the origin got %q", test.method, got)
		}
		closes.Store(false)
	}
}
