package web

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeaders(t *testing.T) {
	d := start(t, atNight(), "", false)
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/main.js": "text/javascript; charset=utf-8", "/style.css": "text/css; charset=utf-8",
		"/icon.svg": "image/svg+xml", "/land.json": "application/json", "/v1/rights": "application/json", "/v1/status": "application/json",
	} {
		res := d.get(path, nil)
		if res.StatusCode != 200 || res.Header.Get("Content-Type") != kind {
			t.Errorf("%s: %s, %s", path, res.Status, res.Header.Get("Content-Type"))
		}
		for key, want := range map[string]string{
			"Content-Security-Policy": contentPolicy, "X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin",
			"Referrer-Policy": "no-referrer", "Access-Control-Allow-Origin": "",
		} {
			if got := res.Header.Get(key); got != want {
				t.Errorf("%s: %s: %q, want %q", path, key, got, want)
			}
		}
	}
	for _, strict := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} {
		if !strings.Contains(contentPolicy, strict) {
			t.Errorf("the policy does not say %s", strict)
		}
	}
	if strings.Contains(contentPolicy, "unsafe") {
		t.Errorf("policy: %s", contentPolicy)
	}
	first := d.get("/main.js", nil)
	again := d.get("/main.js", func(r *http.Request) { r.Header.Set("If-None-Match", first.Header.Get("Etag")) })
	if again.StatusCode != http.StatusNotModified {
		t.Errorf("the same file again: %s", again.Status)
	}
	if res := d.get("/../server.go", nil); res.StatusCode != 404 {
		t.Errorf("a file beside the page: %s", res.Status)
	}
}

// TestNothingFromElsewhere: no inline script or style, and no address of
// another host in what is served.
func TestNothingFromElsewhere(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\sstyle=|\son[a-z]+="|javascript:`)
	abroad := regexp.MustCompile(`(?i)(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}|@import`)
	err := fs.WalkDir(files, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := files.ReadFile(name)
		if strings.HasSuffix(name, ".html") && inline.Match(text) {
			t.Errorf("%s: inline: %s", name, inline.Find(text))
		}
		for _, m := range abroad.FindAll(text, -1) {
			if !bytes.HasSuffix(m, []byte("www.w3.org")) { // the name of SVG's namespace
				t.Errorf("%s: %s", name, m)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestHosts(t *testing.T) {
	d := start(t, atNight(), "", true)
	for host, want := range map[string]int{
		"127.0.0.1": 200, "127.0.0.1:9797": 200, "localhost": 200, "LOCALHOST:8080": 200, "[::1]:9797": 200, "[::1]": 200, "192.0.2.1:80": 200,
		"evil.example": 421, "localhost.evil.example:9797": 421, "127.0.0.1.evil.example": 421, "": 400,
	} {
		for _, path := range []string{"/", "/v1/status", "/v1/rights"} {
			res := d.get(path, func(r *http.Request) { r.Host = host })
			if host == "" {
				continue // the client would fill it in
			}
			if res.StatusCode != want {
				t.Errorf("Host %q %s: %s, want %d", host, path, res.Status, want)
			}
		}
	}
}

// TestRights: nothing is changed unless web.change allows it, and never for
// another site.
func TestRights(t *testing.T) {
	for _, c := range []struct {
		name   string
		change bool
		header map[string]string
		want   int
	}{
		{"read-only", false, nil, 403},
		{"allowed", true, map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		{"allowed, no browser", true, nil, 200},
		{"another site", true, map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}, 403},
		{"another site, old browser", true, map[string]string{"Origin": "http://evil.example"}, 403},
		{"another port", true, map[string]string{"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:1"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := atNight()
			d := start(t, b, "", c.change)
			r, err := http.NewRequest(http.MethodPost, d.url()+"v1/drain", strings.NewReader(`{"service":"web","why":"a test"}`))
			if err != nil {
				t.Fatal(err)
			}
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			said, _ := io.ReadAll(res.Body)
			if b.Lock(); res.StatusCode != c.want || (len(b.Intents) == 1) != (c.want == 200) {
				t.Errorf("%s, %d intents: %s", res.Status, len(b.Intents), said)
			}
			b.Unlock()
			rights, _ := io.ReadAll(d.get("/v1/rights", nil).Body)
			if want := `"change":false`; strings.Contains(string(rights), want) == c.change {
				t.Errorf("rights: %s", rights)
			}
		})
	}
}

// TestPortTaken: a failure where somebody asked for the port, a warning where
// nobody did.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var said bytes.Buffer
	o := Options{Listen: l.Addr().String(), API: http.NotFoundHandler(), Logger: slog.New(slog.NewTextHandler(&said, nil))}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "web.listen "+o.Listen) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("run: %v", err)
	}
	o.Optional = true
	if s, err = New(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	<-s.Ready()
	if s.Addr() != nil {
		t.Errorf("is at %v", s.Addr())
	}
	cancel()
	if err := <-done; err != nil || !strings.Contains(said.String(), "level=WARN") || !strings.Contains(said.String(), "web.listen") {
		t.Errorf("%v; said %s", err, &said)
	}
}

func TestNew(t *testing.T) {
	for listen, ok := range map[string]bool{"127.0.0.1:9797": true, "9797": false} {
		if _, err := New(Options{Listen: listen, API: http.NotFoundHandler()}); (err == nil) != ok {
			t.Errorf("%s: %v", listen, err)
		}
	}
	if _, err := New(Options{Listen: "127.0.0.1:9797"}); err == nil {
		t.Error("a page with nothing to show")
	}
}

// TestStreamEndsWithTheDaemon: a browser that watches does not hold the end up.
func TestStreamEndsWithTheDaemon(t *testing.T) {
	d := start(t, atNight(), "", false)
	res := d.get("/v1/watch", func(r *http.Request) { r.Header.Set("Accept", "text/event-stream") })
	if got := res.Header.Get("Content-Type"); got != "text/event-stream" {
		t.Fatalf("watch answers %s, %s", res.Status, got)
	}
	events := bufio.NewScanner(res.Body)
	for seen := false; !seen; seen = events.Text() == "event: status" { // it may not be the first
		if !events.Scan() {
			t.Fatalf("the stream ended before a status came: %v", events.Err())
		}
	}
	began := time.Now()
	d.stop()
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// TestManyLookers: who opens more connections than that waits, and nobody's
// stream costs the daemon anything until one of the others ends.
func TestManyLookers(t *testing.T) {
	d := start(t, atNight(), "", false)
	watch := func() net.Conn {
		c, err := net.Dial("tcp", d.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := io.WriteString(c, "GET /v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		return c
	}
	answered := func(c net.Conn, within time.Duration) bool {
		_ = c.SetReadDeadline(time.Now().Add(within))
		_, err := c.Read(make([]byte, 1))
		return err == nil
	}
	var all []net.Conn
	for range mostConnections {
		c := watch()
		if !answered(c, patience) {
			t.Fatalf("%d are served, want %d", len(all), mostConnections)
		}
		all = append(all, c)
	}
	more := watch()
	if answered(more, 200*time.Millisecond) {
		t.Errorf("more than %d are served", mostConnections)
	}
	all[0].Close()
	if !answered(more, patience) {
		t.Error("who waited is not served once another has gone")
	}
}

// TestInTurn: few answers are made at a time; changes, plans and streams wait
// for none of them.
func TestInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at atomic.Int32
		end := make(chan struct{})
		h := inTurn(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			at.Add(1)
			<-end
			at.Add(-1)
		}))
		ctx, gone := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		ask := func(ctx context.Context, method, path string) {
			wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, method, path, nil)) })
			synctest.Wait()
		}
		for _, c := range []struct {
			method, path string
			want         int32
		}{
			{"GET", "/v1/status", 1}, {"GET", "/v1/explain/192.0.2.0/24", 2}, {"GET", "/v1/journal", 2}, {"GET", "/v1/journal?follow=0", 2},
			{"GET", "/v1/watch", 3}, {"GET", "/v1/journal?follow=1", 4}, {"POST", "/v1/plan", 5}, {"POST", "/v1/drain", 6},
		} {
			if ask(ctx, c.method, c.path); at.Load() != c.want {
				t.Errorf("%s %s: %d are at work, want %d", c.method, c.path, at.Load(), c.want)
			}
		}
		gone() // those who wait are not waited for
		synctest.Wait()
		for range 6 {
			end <- struct{}{}
		}
		wg.Wait()
		ask(t.Context(), "GET", "/v1/status")
		if at.Load() != 1 {
			t.Error("no turn was given back")
		}
		close(end)
		wg.Wait()
	})
}
