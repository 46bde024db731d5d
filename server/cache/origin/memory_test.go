package origin

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// memory is a network without a kernel, so that time can be a test's own. Names
// are addresses with ports.
type memory struct {
	mu      sync.Mutex
	servers map[string]*pipes
}

// pipes is a listener of memory.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// serve makes a server at address until the test ends.
func (m *memory) serve(t *testing.T, address string, h http.Handler) {
	p := &pipes{make(chan net.Conn), make(chan struct{})}
	m.mu.Lock()
	if m.servers == nil {
		m.servers = map[string]*pipes{}
	}
	m.servers[address] = p
	m.mu.Unlock()
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { defer close(done); srv.Serve(p) }()
	t.Cleanup(func() { srv.Close(); <-done })
}

func (m *memory) dial(ctx context.Context, network, address string) (net.Conn, error) {
	m.mu.Lock()
	p := m.servers[address]
	m.mu.Unlock()
	if p == nil {
		if strings.HasPrefix(address, "192.0.2.99:") { // nobody answers
			<-ctx.Done()
			return nil, ctx.Err()
		}
		return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
	}
	c, s := net.Pipe()
	select {
	case p.conns <- s:
		return c, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (m *memory) upstream(t *testing.T, cfg Config) *Upstream {
	t.Helper()
	u, err := New(cfg, Env{Dial: m.dial})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, s := range u.all() {
			s.transport.CloseIdleConnections()
		}
	})
	return u
}

// nap waits unless the client goes.
func nap(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	}
}

// late is a server that takes its time, and what comes of it.
type late struct {
	name    string
	address string
	serve   http.HandlerFunc
	pause   time.Duration // of the reader, between reads
	kind    Kind
	head    bool // the response's head comes
	after   time.Duration
	good    bool
}

func lates() []late {
	return []late{
		{name: "refused", address: "192.0.2.1:80", kind: KindConnect},
		{name: "no answer", address: "192.0.2.99:80", kind: KindConnectTimeout, after: 2 * time.Second},
		{name: "no first byte", serve: func(w http.ResponseWriter, r *http.Request) { nap(r, time.Hour) }, kind: KindTimeout, after: 10 * time.Second},
		{name: "first byte late", serve: func(w http.ResponseWriter, r *http.Request) { nap(r, 9*time.Second) }, head: true, good: true, after: 9 * time.Second},
		{name: "stops", serve: func(w http.ResponseWriter, r *http.Request) {
			w.Write(make([]byte, 1000))
			w.(http.Flusher).Flush()
			nap(r, time.Hour)
		}, head: true, kind: KindIdle, after: 5 * time.Second},
		{name: "drips", serve: func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write(make([]byte, 100))
				w.(http.Flusher).Flush()
				nap(r, time.Second)
			}
		}, head: true, kind: KindIdle, after: 20 * time.Second},
		{name: "slow enough", serve: func(w http.ResponseWriter, r *http.Request) {
			for range 60 {
				w.Write(make([]byte, 1100))
				w.(http.Flusher).Flush()
				nap(r, time.Second)
			}
		}, head: true, good: true, after: 60 * time.Second},
		{name: "a reader that takes its time", serve: func(w http.ResponseWriter, r *http.Request) {
			w.Write(make([]byte, 40*1000))
		}, pause: time.Minute, head: true, good: true, after: 41 * time.Minute},
	}
}

func TestTimeouts(t *testing.T) {
	limits := Timeouts{Connect: 2 * time.Second, FirstByte: 10 * time.Second, Idle: 5 * time.Second, MinRate: 1000, RateWindow: 20 * time.Second}
	for _, test := range lates() {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var m memory
				address := test.address
				if address == "" {
					address = "192.0.2.2:80"
					m.serve(t, address, test.serve)
				}
				u := m.upstream(t, Config{Name: "u", Origins: []Server{{URL: "http://" + address}}, Timeouts: limits, Retry: Retry{Attempts: 1}})
				start := time.Now()
				resp, err := u.Do(t.Context(), get("/"))
				if (err == nil) != test.head {
					t.Fatalf("head: %v", err)
				}
				if err == nil {
					b := make([]byte, 1000)
					for err == nil {
						time.Sleep(test.pause)
						_, err = io.ReadFull(resp.Body, b)
					}
					if err == io.ErrUnexpectedEOF {
						err = io.EOF
					}
					resp.Body.Close()
				}
				if test.good && err != io.EOF || !test.good && KindOf(err) != test.kind {
					t.Errorf("error %v", err)
				}
				if d := time.Since(start); d != test.after {
					t.Errorf("after %v, want %v", d, test.after)
				}
				var failures uint64
				if !test.good {
					failures = 1
				}
				if s := u.Status()[0]; s.Failures != failures || s.Busy != 0 {
					t.Errorf("status %+v", s)
				}
			})
		})
	}
}

func TestConnectionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m memory
		m.serve(t, "192.0.2.2:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { nap(r, 15*time.Second) }))
		u := m.upstream(t, Config{Name: "u", Origins: []Server{{URL: "http://192.0.2.2", MaxConns: 1}}, Timeouts: Timeouts{Connect: 4 * time.Second}, Retry: Retry{Attempts: 1}})
		var wg sync.WaitGroup
		ask := func(want string, after time.Duration) {
			wg.Go(func() {
				start := time.Now()
				resp, err := u.Do(t.Context(), get("/"))
				got := "200"
				if err != nil {
					got = KindOf(err).String()
				} else {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if got != want || time.Since(start) != after {
					t.Errorf("%s after %v, want %s after %v", got, time.Since(start), want, after)
				}
			})
			synctest.Wait()
		}
		ask("200", 15*time.Second)
		ask("unavailable", 12*time.Second)
		time.Sleep(5 * time.Second)
		ask("200", 25*time.Second)
		wg.Wait()
		if s := u.Status()[0]; s.Failures != 0 || s.State != Up {
			t.Errorf("status %+v", s)
		}
	})
}

func TestCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m memory
		m.serve(t, "192.0.2.2:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/body" {
				w.Write([]byte("x"))
				w.(http.Flusher).Flush()
			}
			nap(r, time.Hour)
		}))
		u := m.upstream(t, Config{Name: "u", Origins: []Server{{URL: "http://192.0.2.2"}}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := u.Do(ctx, get("/")); KindOf(err) != KindCanceled {
			t.Error(err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		resp, err := u.Do(ctx, get("/body"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(resp.Body); KindOf(err) != KindCanceled || string(b) != "x" {
			t.Errorf("%q, %v", b, err)
		}
		if s := u.Status()[0]; s.Failures != 0 || s.Busy != 0 || s.Requests != 2 {
			t.Errorf("status %+v", s)
		}
		if _, err := u.Do(ctx, get("/")); KindOf(err) != KindCanceled || u.Status()[0].Requests != 2 {
			t.Error(err)
		}
	})
}

func TestInterim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m memory
		m.serve(t, "192.0.2.2:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</a>; rel=preload")
			w.Header().Set("Connection", "X-Hop")
			w.Header().Set("X-Hop", "1")
			w.WriteHeader(103)
			w.WriteHeader(102)
			nap(r, time.Second)
			w.WriteHeader(404)
		}))
		u := m.upstream(t, Config{Name: "u", Origins: []Server{{URL: "http://192.0.2.2"}}})
		start := time.Now()
		var got []int
		r := get("/")
		r.Interim = func(status int, h http.Header) {
			got = append(got, status)
			if h.Get("Link") == "" || h.Get("X-Hop") != "" || time.Since(start) != 0 {
				t.Errorf("%d after %v: %v", status, time.Since(start), h)
			}
		}
		resp, err := u.Do(t.Context(), r)
		if err != nil || resp.Status != 404 || len(got) != 2 || got[0] != 103 || got[1] != 102 {
			t.Fatal(resp, err, got)
		}
		resp.Body.Close()
	})
}

// TestPassiveHealth: failures take a server out, one request tries it again.
func TestPassiveHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m memory
		var mu sync.Mutex
		asked := map[string]int{}
		bad := true
		m.serve(t, "192.0.2.2:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked["a"]++
			if bad {
				w.WriteHeader(500)
			}
		}))
		m.serve(t, "[2001:db8::3]:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			asked["b"]++
		}))
		u := m.upstream(t, Config{
			Name: "u", Origins: []Server{{Name: "a", URL: "http://192.0.2.2"}, {Name: "b", URL: "http://[2001:db8::3]"}},
			Health: Health{Failures: 2, Eject: 10 * time.Second, MaxEject: 30 * time.Second, Statuses: []int{500}},
		})
		want := func(n, a, b int, state State) {
			t.Helper()
			mu.Lock()
			clear(asked)
			mu.Unlock()
			for range n {
				resp, err := u.Do(t.Context(), get("/"))
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			mu.Lock()
			defer mu.Unlock()
			if s := u.Status()[0]; asked["a"] != a || asked["b"] != b || s.State != state {
				t.Fatalf("asked %v, state %s, want a:%d b:%d %s", asked, s.State, a, b, state)
			}
		}
		want(4, 2, 2, Ejected)
		want(4, 0, 4, Ejected)
		time.Sleep(10 * time.Second)
		want(4, 1, 3, Ejected) // one trial, out for twice as long
		time.Sleep(19 * time.Second)
		want(2, 0, 2, Ejected)
		time.Sleep(time.Second)
		want(4, 1, 3, Ejected)
		time.Sleep(29 * time.Second)
		want(2, 0, 2, Ejected)
		mu.Lock()
		bad = false
		mu.Unlock()
		time.Sleep(time.Second)
		want(20, 10, 10, Up)
	})
}

// TestActiveHealth: probes take a server out and bring it back.
func TestActiveHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m memory
		var status, checks atomic.Int32
		status.Store(200)
		m.serve(t, "192.0.2.2:80", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.RequestURI != "/ok?x=1" || r.Host != "health.example" {
				t.Errorf("asked %s of %s", r.RequestURI, r.Host)
			}
			checks.Add(1)
			w.WriteHeader(int(status.Load()))
		}))
		u := m.upstream(t, Config{Name: "u", Origins: []Server{{URL: "http://192.0.2.2"}}, Health: Health{
			Check: &Check{Path: "/ok?x=1", Host: "health.example", Interval: 5 * time.Second, Rise: 2, Fall: 3},
		}})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- u.Run(ctx) }()
		time.Sleep(time.Second) // between two probes
		for _, step := range []struct {
			status int32
			state  State
		}{{200, Up}, {503, Up}, {503, Up}, {200, Up}, {503, Up}, {404, Up}, {503, Down}, {200, Down}, {302, Up}} {
			status.Store(step.status)
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if s := u.Status()[0]; s.State != step.state {
				t.Errorf("after %d: %s", step.status, s.State)
			}
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := checks.Load(); n != 10 {
			t.Errorf("%d checks", n)
		}
	})
}
