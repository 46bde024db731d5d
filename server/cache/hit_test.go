package cache

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/front"
)

// ask runs one request through the fast path without a connection.
func ask(s *Server, r *front.Request, a *front.Answer, sent *front.Sent) bool {
	*a = front.Answer{Age: -1}
	if !s.Hit(r, a) {
		return false
	}
	if a.Done != nil {
		sent.BodyBytes = a.Length
		a.Done.Finish(r, a, sent)
	}
	return true
}

func plainRequest(r *rig, path string) *front.Request {
	return &front.Request{Target: []byte(path), Path: []byte(path), Host: []byte(r.url[len("http://"):])}
}

// TestHitAllocates nothing, for objects in memory, in a file, and parts of them.
func TestHitAllocates(t *testing.T) {
	sent := &front.Sent{Status: 200, Began: time.Now(), Ended: time.Now()}
	for _, dir := range []string{"", t.TempDir()} {
		r := newRig(t, func(c *Config) { c.Store.Dir = dir })
		for _, size := range []int{1000, 100_000, 900_000} {
			path := fmt.Sprintf("/%d", size)
			r.origin.answer(file(content(size, 1), `Etag: "v1"`, "Cache-Control: max-age=3600"))
			r.get(path)
			var a front.Answer
			q := plainRequest(r, path)
			eventually(t, "a hit of the fast path for "+path, func() bool { return ask(r.s, q, &a, sent) })
			part := plainRequest(r, path)
			part.Span = front.Span{Kind: front.SpanFromTo, First: 10, Last: 499}
			same := plainRequest(r, path)
			same.IfNoneMatch = []byte(`"v1"`)
			for name, q := range map[string]*front.Request{"whole": q, "part": part, "unchanged": same} {
				n := 1.0
				for range 5 { // others in the process allocate too: the least of several runs counts
					n = min(n, testing.AllocsPerRun(200, func() { ask(r.s, q, &a, sent) }))
				}
				if n > 0 && !raced { // under the race detector pools lose things on purpose
					t.Errorf("dir %q, %s, %s: %v allocations", dir, path, name, n)
				}
			}
			if !ask(r.s, part, &a, sent) || a.Status != 206 || a.First != 10 || a.Length != 490 || a.Size != int64(size) {
				t.Errorf("%s: part: status %d, %d bytes from %d of %d", path, a.Status, a.Length, a.First, a.Size)
			}
			if !ask(r.s, same, &a, sent) || a.Status != 304 || a.Length != 0 {
				t.Errorf("%s: unchanged: status %d", path, a.Status)
			}
		}
	}
}

// TestFastAndGeneral gives the same answers to the same requests, whichever way they go.
func TestFastAndGeneral(t *testing.T) {
	r := newRig(t, nil)
	body := content(300_000, 2)
	r.origin.answer(file(body, `Etag: "v1"`, "Cache-Control: max-age=3600", "Content-Type: text/css", "X-A: 1", "X-A: 2", "Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT"))
	r.get("/a")
	eventually(t, "whole", func() bool { return r.get("/a").hit() })
	for _, fields := range [][]string{
		{}, {"Range: bytes=5-9"}, {"Range: bytes=-5"}, {"Range: bytes=299999-"}, {"Range: bytes=300000-"}, {"Range: bytes=9-5"},
		{`If-None-Match: "v1"`}, {`If-None-Match: "v0"`}, {`If-None-Match: W/"v1"`}, {"If-Modified-Since: Sat, 01 Jan 2022 00:00:00 GMT"},
		{"If-Modified-Since: Fri, 31 Dec 2021 00:00:00 GMT"}, {"Range: bytes=0-0", `If-Range: "v1"`}, {"Range: bytes=0-0", `If-Range: "v0"`},
		{`If-None-Match: "v0"`, "If-Modified-Since: Sat, 01 Jan 2022 00:00:00 GMT"},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			fast := r.do(method, "/a", nil, fields...)
			general := r.do(method, "/a", nil, append(fields, "Catchment-Debug: 1")...) // never on the fast path
			if fast.StatusCode != general.StatusCode || string(fast.body) != string(general.body) {
				t.Errorf("%s %v: %d with %d bytes, and %d with %d", method, fields, fast.StatusCode, len(fast.body), general.StatusCode, len(general.body))
			}
			for _, name := range []string{"Content-Length", "Content-Range", "Content-Type", "Etag", "Last-Modified", "X-A", "Accept-Ranges", "Date", "Via", "Cache-Control"} {
				if f, g := fast.Header.Values(name), general.Header.Values(name); fmt.Sprint(f) != fmt.Sprint(g) {
					t.Errorf("%s %v: %s is %q, and %q", method, fields, name, f, g)
				}
			}
		}
	}
	if n := r.s.front.Stats().Fast; n < 20 {
		t.Errorf("only %d requests took the fast path", n)
	}
}

// BenchmarkHit is a plain hit from the request's fields to the log record, without the connection.
func BenchmarkHit(b *testing.B) {
	for _, size := range []int{1000, 900_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			r := newRig(b, nil)
			r.origin.answer(file(content(size, 1), "Cache-Control: max-age=3600"))
			sent := &front.Sent{Status: 200, Began: time.Now(), Ended: time.Now()}
			q := plainRequest(r, "/a")
			var a front.Answer
			for !ask(r.s, q, &a, sent) {
				r.get("/a")
			}
			b.ReportAllocs()
			for b.Loop() {
				ask(r.s, q, &a, sent)
			}
		})
	}
}
