package cache

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// scripted is an origin whose answers a test sets, and which counts what it is asked and what it sends.
type scripted struct {
	*httptest.Server
	mu    sync.Mutex
	serve http.HandlerFunc
	seen  []*http.Request
	sent  atomic.Int64 // body bytes
}

func newScripted(t testing.TB) *scripted {
	t.Helper()
	o := &scripted{}
	o.Server = httptest.NewServer(http.HandlerFunc(o.handle))
	t.Cleanup(o.Close)
	return o
}

func (o *scripted) handle(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	o.seen = append(o.seen, r)
	serve := o.serve
	o.mu.Unlock()
	if serve == nil {
		http.Error(w, "the test expects no request", http.StatusTeapot)
		return
	}
	serve(&counted{w, o}, r)
}

// counted counts body bytes.
type counted struct {
	http.ResponseWriter
	o *scripted
}

func (w *counted) Write(p []byte) (int, error) {
	w.o.sent.Add(int64(len(p))) // before they are gone, so that who has them sees them counted
	return w.ResponseWriter.Write(p)
}
func (w *counted) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// answer sets what requests get from now on.
func (o *scripted) answer(f http.HandlerFunc) {
	o.mu.Lock()
	o.serve = f
	o.mu.Unlock()
}

// asked gives the requests since the last call.
func (o *scripted) asked() []*http.Request {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := o.seen
	o.seen = nil
	return out
}

// text answers with a status, "Name: value" fields and a body.
func reply(status int, body string, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		setFields(w.Header(), fields)
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			io.WriteString(w, body)
		}
	}
}

func setFields(h http.Header, fields []string) {
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
}

// file answers with content as a file server does: ranges, conditions, HEAD.
func file(content []byte, fields ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		setFields(w.Header(), fields)
		if w.Header().Get("Content-Type") == "" {
			w.Header().Set("Content-Type", "application/octet-stream")
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

// content is n bytes that differ at every place, and from seed to seed.
func content(n int, seed uint64) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := 0; i+8 <= n; i += 8 {
		v := r.Uint64()
		for j := range 8 {
			b[i+j] = byte(v >> (8 * j))
		}
	}
	return b
}

// rig is a cache on loopback before a scripted origin.
type rig struct {
	t      testing.TB
	s      *Server
	origin *scripted
	url    string
	client *http.Client
	cancel context.CancelFunc
	done   chan struct{}
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// newRig starts a cache; change may alter its configuration.
func newRig(t testing.TB, change func(*Config)) *rig {
	t.Helper()
	return newRigWith(t, newScripted(t), change)
}

func newRigWith(t testing.TB, o *scripted, change func(*Config)) *rig {
	t.Helper()
	return newRigSteered(t, o, change, nil)
}

// newRigSteered starts one that knows of other POPs.
func newRigSteered(t testing.TB, o *scripted, change func(*Config), steering *Steering) *rig {
	t.Helper()
	cfg := Config{
		Name:  "test",
		Front: front.Options{Listen: []front.Listen{{Address: "127.0.0.1:0"}}},
		Store: store.Options{RAM: 256 << 20},
		Sites: []site.Config{{
			Name: "all", Hosts: []string{"*"},
			Upstream: site.Upstream{Origins: []site.Origin{{URL: o.URL}}, Attempts: 1},
			Debug:    site.Access{Networks: loopback}, Purge: site.Access{Networks: loopback},
		}},
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(Options{Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})), Config: cfg, Steering: steering})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := s.Listen(ctx); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, s: s, origin: o, url: "http://" + s.Addrs()[0].String(), cancel: cancel, done: make(chan struct{})}
	r.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       30 * time.Second,
	}
	go func() {
		defer close(r.done)
		if err := s.Serve(ctx); err != nil {
			t.Errorf("Serve: %v", err)
		}
	}()
	t.Cleanup(r.stop)
	return r
}

func (r *rig) stop() {
	r.client.CloseIdleConnections()
	r.cancel()
	<-r.done
}

// testWriter sends the log to the test's until that ends.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	if w.t.Context().Err() == nil {
		w.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// got is an answer with its body read.
type got struct {
	*http.Response
	body []byte
	err  error // of reading
}

func (g got) hit() bool { return strings.Contains(g.Header.Get("Cache-Status"), "; hit") }

// do sends one request, fields as "Name: value".
func (r *rig) do(method, path string, body io.Reader, fields ...string) got {
	r.t.Helper()
	req, err := http.NewRequest(method, r.url+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	setFields(req.Header, fields)
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
		req.Header.Del("Host")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return got{resp, b, err}
}

func (r *rig) get(path string, fields ...string) got {
	r.t.Helper()
	return r.do(http.MethodGet, path, nil, fields...)
}

// cost is how many body bytes the origin has sent, once nothing is fetched any more.
func (r *rig) cost() int64 {
	r.t.Helper()
	eventually(r.t, "no fetch under way", func() bool { return r.s.fills.Stats().Running == 0 })
	return r.origin.sent.Load()
}

// eventually waits for a condition that other goroutines bring about.
func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

// check reports fields that are not as wanted: "Name: value", "Name~part", "!Name".
func (g got) check(t testing.TB, want ...string) {
	t.Helper()
	for _, w := range want {
		if name, ok := strings.CutPrefix(w, "!"); ok {
			if v := g.Header.Values(name); len(v) > 0 {
				t.Errorf("%s is there: %q", name, v)
			}
			continue
		}
		if name, part, ok := strings.Cut(w, "~"); ok && !strings.Contains(name, ":") {
			if v := strings.Join(g.Header.Values(name), " | "); !strings.Contains(v, part) {
				t.Errorf("%s is %q, without %q", name, v, part)
			}
			continue
		}
		name, value, _ := strings.Cut(w, ": ")
		if v := strings.Join(g.Header.Values(name), ", "); v != value {
			t.Errorf("%s is %q, not %q", name, v, value)
		}
	}
}

// raw sends bytes on a connection of its own and gives all that comes until it ends.
func (r *rig) raw(text string) string {
	r.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, text)
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	b, _ := io.ReadAll(c)
	return string(b)
}
