package cache_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/cache/site"
)

// These tests look at the whole server from outside, as customers do: who is
// served, what the origin gets to see, and that a purge holds.

// source is an origin that says in each answer how often it was asked.
type source struct {
	*httptest.Server
	asked   atomic.Int64
	version atomic.Int64
	mu      sync.Mutex
	seen    []string // request targets with their host
	header  http.Header
	// gate, if set, holds answers back after their version is fixed.
	gate chan struct{}
	held chan struct{}
	look func(r *http.Request) // sees each request first
}

func newSource(t testing.TB) *source {
	o := &source{header: http.Header{"Cache-Control": {"max-age=3600"}}}
	o.Server = httptest.NewServer(o)
	t.Cleanup(o.Close)
	return o
}

func (o *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if o.look != nil {
		o.look(r)
	}
	o.asked.Add(1)
	o.mu.Lock()
	o.seen = append(o.seen, r.Host+r.RequestURI)
	for k, v := range o.header {
		w.Header()[k] = v
	}
	gate, held := o.gate, o.held
	o.mu.Unlock()
	version := o.version.Load()
	if gate != nil {
		held <- struct{}{}
		<-gate
	}
	if etag := fmt.Sprintf(`"%d"`, version); r.Header.Get("If-None-Match") == etag {
		w.Header().Set("Etag", etag)
		w.WriteHeader(http.StatusNotModified)
		return
	} else {
		w.Header().Set("Etag", etag)
	}
	fmt.Fprintf(w, "%d", version)
}

func (o *source) last() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.seen) == 0 {
		return ""
	}
	return o.seen[len(o.seen)-1]
}

// customer is a site for hosts that the origin stands behind.
func (o *source) customer(name string, hosts ...string) site.Config {
	return site.Config{Name: name, Hosts: hosts, Upstream: site.Upstream{Origins: []site.Origin{{URL: o.URL}}}}
}

// start runs a server until the test ends.
func start(t testing.TB, c cache.Config) *cache.Server {
	t.Helper()
	s, stop := startStop(t, c)
	t.Cleanup(stop)
	return s
}

// startStop is start for who ends the server himself.
func startStop(t testing.TB, c cache.Config) (*cache.Server, func()) {
	t.Helper()
	if c.Store.RAM == 0 {
		c.Store.RAM = 16 << 20
	}
	s, err := cache.New(cache.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	return s, running(t, s)
}

// serve runs a server until the test ends.
func serve(t testing.TB, s *cache.Server) { t.Cleanup(running(t, s)) }

func running(t testing.TB, s *cache.Server) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Serve(ctx); err != nil {
			t.Error(err)
		}
	})
	return func() { cancel(); wg.Wait() }
}

type answer struct {
	status int
	header http.Header
	body   string
}

// do sends one request through the general path, from 192.0.2.1.
func do(s *cache.Server, method, rawURL string, fields ...string) answer {
	r := httptest.NewRequest(method, rawURL, nil)
	u, _ := url.Parse(rawURL)
	r.RequestURI = u.RequestURI()
	r.RemoteAddr = "192.0.2.1:4000"
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

// doBody is do with a body.
func doBody(s *cache.Server, method, rawURL, body string) answer {
	r := httptest.NewRequest(method, rawURL, strings.NewReader(body))
	r.RequestURI = r.URL.RequestURI()
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return answer{w.Code, w.Header(), w.Body.String()}
}

func TestUnknownIsNeverProxied(t *testing.T) {
	o := newSource(t)
	part := o.customer("part", "part.example")
	part.Paths = []string{"/only"}
	s := start(t, cache.Config{Sites: []site.Config{o.customer("a", "a.example", "*.b.example"), part}})
	at := strings.TrimPrefix(o.URL, "http://")
	for rawURL, want := range map[string]int{
		"http://a.example/x": 200, "http://c.b.example/x": 200, "http://part.example/only/x": 200,
		"http://other.example/": 421, "http://b.example/": 421, "http://" + at + "/": 421, "http://localhost/": 421,
		"http://part.example/": 404, "http://part.example/only/../x": 404, "http://part.example/onlyx": 404,
	} {
		before := o.asked.Load()
		got := do(s, "GET", rawURL)
		if got.status != want || want != 200 && o.asked.Load() != before {
			t.Errorf("%s: %d after %d questions to the origin, want %d", rawURL, got.status, o.asked.Load()-before, want)
		}
	}
	for _, host := range []string{"", "a.example@b", "a.example, other.example", "a.example:99999", "[::1", "a..example"} {
		r := httptest.NewRequest("GET", "/x", nil)
		r.Host = host
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		if w.Code != 400 {
			t.Errorf("host %q: %d", host, w.Code)
		}
	}
}

// What is not in the key is not sent, and what is the same is fetched once.
func TestKeyIsWhatTheOriginSees(t *testing.T) {
	o := newSource(t)
	c := o.customer("a", "a.example", "alias.example")
	c.Key = site.KeyRules{Host: "a.example", Query: site.QueryRules{Mode: "drop", Names: []string{"utm_*"}, Sort: true}}
	c.RequestHeaders.Set = []site.Header{{Name: "X-Edge", Value: "1"}}
	c.ResponseHeaders = site.HeaderEdits{Remove: []string{"Etag"}, Set: []site.Header{{Name: "X-By", Value: "us"}}}
	s := start(t, cache.Config{Sites: []site.Config{c}})
	for i, rawURL := range []string{
		"http://a.example/a/../b%7e?z=1&utm_source=x&a=2", "http://ALIAS.example:80/b~?a=2&z=1", "http://a.example./%62~?utm_x&a=2&z=1",
	} {
		got := do(s, "GET", rawURL)
		if got.status != 200 || o.asked.Load() != 1 || o.last() != "a.example/b~?a=2&z=1" {
			t.Fatalf("%d: %d, the origin was asked %d times, last for %s", i, got.status, o.asked.Load(), o.last())
		}
		if got.header.Get("X-By") != "us" || got.header.Get("Etag") != "" {
			t.Errorf("%d: %v", i, got.header)
		}
	}
}

func TestTokensAtTheServer(t *testing.T) {
	const secret = "0123456789abcdef"
	o := newSource(t)
	c := o.customer("a", "a.example")
	c.Token.Keys = []site.TokenKey{{ID: "k", Secret: secret}}
	s := start(t, cache.Config{Sites: []site.Config{c}})
	sign := func(expires time.Duration, path string) string {
		token, err := site.Sign([]byte(secret), site.Token{Expires: time.Now().Add(expires), KeyID: "k"}, path)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	for i, c := range []struct {
		url  string
		want int
	}{
		{"http://a.example/v", 403},
		{"http://a.example/v?token=" + sign(time.Hour, "/v"), 200},
		{"http://a.example/v?token=" + sign(2*time.Hour, "/v"), 200},
		{"http://a.example/v", 403}, // stored by now
		{"http://a.example/v?token=" + sign(-time.Hour, "/v"), 403},
		{"http://a.example/w?token=" + sign(time.Hour, "/v"), 403},
	} {
		if got := do(s, "GET", c.url); got.status != c.want || got.status == 403 && !strings.Contains(got.header.Get("Cache-Control"), "no-store") {
			t.Errorf("%d: %+v, want %d", i, got, c.want)
		}
	}
	if o.asked.Load() != 1 || o.last() != "a.example/v" {
		t.Errorf("the origin was asked %d times, last for %s", o.asked.Load(), o.last())
	}
}

func TestRatesAndMethodsAtTheServer(t *testing.T) {
	o := newSource(t)
	c := o.customer("a", "a.example")
	c.Methods = []string{"GET", "HEAD"}
	c.Limits.Client = site.Rate{Requests: 0.01, Burst: 3}
	s := start(t, cache.Config{Sites: []site.Config{c}})
	if got := do(s, "POST", "http://a.example/"); got.status != 405 || got.header.Get("Allow") != "GET, HEAD" || o.asked.Load() != 0 {
		t.Errorf("POST: %+v", got)
	}
	for i := range 4 {
		got := do(s, "GET", "http://a.example/")
		want := 200
		if i == 3 {
			want = 429
		}
		if after, _ := strconv.Atoi(got.header.Get("Retry-After")); got.status != want || (want == 429) != (after > 0) {
			t.Errorf("request %d: %+v, want %d", i, got, want)
		}
	}
}

// A reload takes sites and access log as one, or nothing of them.
func TestReloadOfSitesAndLog(t *testing.T) {
	o := newSource(t)
	path := filepath.Join(t.TempDir(), "access.log")
	c := cache.Config{Sites: []site.Config{o.customer("a", "a.example")}}
	s, stop := startStop(t, c)
	c.Store.RAM = 16 << 20 // as startStop has it
	bad := c
	bad.Sites = []site.Config{o.customer("a", "a.example"), o.customer("b", "a.example")}
	bad.AccessLog.Path = path + ".bad"
	if err := s.Reload(bad); err == nil || !strings.Contains(err.Error(), `site "b"`) {
		t.Errorf("two sites for one host: %v", err)
	}
	wrong := c
	wrong.Sites = []site.Config{o.customer("b", "b.example")}
	wrong.AccessLog.Path = "relative"
	if err := s.Reload(wrong); err == nil || !strings.Contains(err.Error(), "access-log: path") {
		t.Errorf("a wrong access log: %v", err)
	}
	if got := do(s, "GET", "http://a.example/"); got.status != 200 {
		t.Errorf("after reloads that were refused: %+v", got)
	}
	c.Sites = []site.Config{o.customer("b", "b.example")}
	c.AccessLog.Path = path
	if err := s.Reload(c); err != nil {
		t.Fatal(err)
	}
	if got := do(s, "GET", "http://a.example/x"); got.status != 421 {
		t.Errorf("a site that is gone: %+v", got)
	}
	if got := do(s, "GET", "http://b.example/y"); got.status != 200 {
		t.Errorf("a new site: %+v", got)
	}
	stop()
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), `"uri":"/y"`) || !strings.Contains(string(text), `"status":421`) {
		t.Errorf("%s, %v", text, err)
	}
	if _, err := os.Stat(path + ".bad"); err == nil {
		t.Error("a reload that was refused has made a log")
	}
}
