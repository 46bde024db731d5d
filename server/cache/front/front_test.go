package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// shelf is a Hitter with a few objects in memory and files.
type shelf struct {
	mu      sync.Mutex
	objects map[string]*object
	sent    []Sent
	hosts   []string
	told    chan Sent // gets each Sent, if made
}

type object struct {
	head *Head
	body []byte
	file *os.File
	cut  int64 // > 0: the body is given in parts of this size
}

func (s *shelf) put(t testing.TB, path string, body []byte, fields http.Header) *object {
	t.Helper()
	if fields == nil {
		fields = http.Header{"Content-Type": {"text/plain"}, "Etag": {`"v1"`}}
	}
	h, err := NewHead(200, Header(fields), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	o := &object{head: h, body: body}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.objects == nil {
		s.objects = make(map[string]*object)
	}
	s.objects[path] = o
	return o
}

// putFile stores the body in a file, at an offset of 100.
func (s *shelf) putFile(t testing.TB, path string, body []byte) *object {
	t.Helper()
	o := s.put(t, path, body, nil)
	f, err := os.Create(filepath.Join(t.TempDir(), "object"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	f.Write(make([]byte, 100))
	f.Write(body)
	o.file = f
	return o
}

func (s *shelf) Hit(r *Request, a *Answer) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[string(r.Path)]
	if o == nil {
		return false
	}
	size := o.head.Length()
	first, length := int64(0), size
	a.Head, a.Done, a.CacheStatus, a.Age = o.head, s, []byte("test; hit"), 7
	switch {
	case string(r.IfNoneMatch) == `"v1"`:
		a.Status, length = 304, 0
	case r.Range != nil && !r.Head:
		var ok bool
		if first, length, ok = r.Span.Resolve(size); !ok {
			if r.Span.Kind == SpanOther {
				return false
			}
			a.Status, a.Size, length = 416, size, 0
			break
		}
		a.Status, a.First, a.Size = 206, first, size
	}
	if r.Head {
		return true
	}
	cut := o.cut
	if cut == 0 {
		cut = max(length, 1)
	}
	for at := first; at < first+length; at += cut {
		n := min(cut, first+length-at)
		if o.file != nil {
			a.AddFile(o.file, 100+at, n)
		} else {
			a.AddBytes(o.body[at : at+n])
		}
	}
	return true
}

func (s *shelf) Finish(r *Request, a *Answer, sent *Sent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent = append(s.sent, *sent)
	s.hosts = append(s.hosts, string(r.Host))
	if s.told != nil {
		s.told <- *sent
	}
}

// stand is a Front that serves, and how to reach it.
type stand struct {
	*Front
	t      testing.TB
	addr   string // cleartext
	secure string // TLS
	cert   tls.Certificate
	done   chan error
	cancel context.CancelFunc
}

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// start makes a Front on 127.0.0.1, cleartext and TLS; change may edit the options.
func start(t testing.TB, h http.HandlerFunc, hit Hitter, change func(*Options)) *stand {
	t.Helper()
	o := Options{Listen: []Listen{{Address: "127.0.0.1:0"}, {Address: "127.0.0.1:0", TLS: true}}, HTTP2: true}
	if change != nil {
		change(&o)
	}
	if h == nil {
		h = func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "general %s %s", r.Method, r.RequestURI) }
	}
	f, err := New(o, h, hit, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	s := &stand{Front: f, t: t, done: make(chan error, 1)}
	if s.cert, err = SelfSigned("localhost", "127.0.0.1", "::1"); err != nil {
		t.Fatal(err)
	}
	if err := f.Certs().Add(s.cert); err != nil {
		t.Fatal(err)
	}
	if err := f.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.addr = f.Addrs()[0].String()
	if len(o.Listen) > 1 {
		s.secure = f.Addrs()[1].String()
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	go func() { s.done <- f.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-s.done; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if n := f.reg.len(); n != 0 {
			t.Errorf("%d connections in the registry after Serve", n)
		}
	})
	return s
}

func (s *stand) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

func (s *stand) tlsConfig(protos ...string) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(s.cert.Leaf)
	return &tls.Config{RootCAs: pool, ServerName: "localhost", NextProtos: protos}
}

func (s *stand) dialTLS() *tls.Conn {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.secure, s.tlsConfig("http/1.1"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// ask sends raw bytes and reads n responses to methods.
func ask(t testing.TB, c net.Conn, br *bufio.Reader, raw string, methods ...string) []*http.Response {
	t.Helper()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	var list []*http.Response
	for _, m := range methods {
		resp, err := http.ReadResponse(br, &http.Request{Method: m})
		if err != nil {
			t.Fatalf("response %d to %q: %v", len(list), raw, err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatalf("body %d of %q: %v", len(list), raw, err)
		}
		resp.Body = io.NopCloser(strings.NewReader(string(b)))
		list = append(list, resp)
	}
	return list
}

func body(r *http.Response) string {
	b, _ := io.ReadAll(r.Body)
	return string(b)
}

// until waits by condition.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestBothPathsOnOneConnection(t *testing.T) {
	var hits shelf
	hits.put(t, "/a", []byte("hello"), nil)
	s := start(t, nil, &hits, nil)
	for name, c := range map[string]net.Conn{"plain": s.dial(), "tls": s.dialTLS()} {
		t.Run(name, func(t *testing.T) {
			before := s.Stats()
			br := bufio.NewReader(c)
			get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }
			r := ask(t, c, br, get("/a"), "GET")[0]
			if body(r) != "hello" || r.Header.Get("Age") != "7" || r.Header.Get("Cache-Status") != "test; hit" ||
				r.Header.Get("Date") == "" || r.ContentLength != 5 {
				t.Fatalf("fast: %v", r)
			}
			for range 3 {
				if r := ask(t, c, br, get("/b?q"), "GET")[0]; body(r) != "general GET /b?q" {
					t.Fatalf("general: %v", r)
				}
				if r := ask(t, c, br, get("/a"), "GET")[0]; body(r) != "hello" {
					t.Fatalf("fast after general: %v", r)
				}
			}
			// Pipelined: hits, misses and a body in one write.
			rs := ask(t, c, br, get("/a")+get("/b")+"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"+get("/a")+get("/a")+get("/c"),
				"GET", "GET", "POST", "GET", "GET", "GET")
			var got []string
			for _, r := range rs {
				got = append(got, body(r))
			}
			want := []string{"hello", "general GET /b", "general POST /p", "hello", "hello", "general GET /c"}
			if !slices.Equal(got, want) {
				t.Fatalf("pipelined: %q", got)
			}
			st := s.Stats()
			if fast, general := st.Fast-before.Fast, st.General-before.General; fast != 7 || general != 6 {
				t.Errorf("fast %d, general %d; want 7 and 6", fast, general)
			}
		})
	}
}
