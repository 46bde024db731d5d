package front

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// ended says whether the server has closed c, without more than what b may get.
func ended(c net.Conn) ([]byte, bool) {
	b, err := io.ReadAll(c)
	return b, !errors.Is(err, os.ErrDeadlineExceeded)
}

func TestRequestsOfAConnection(t *testing.T) {
	var hits shelf
	hits.put(t, "/a", []byte("hello"), nil)
	s := start(t, nil, &hits, func(o *Options) { o.Limits.ConnRequest = 3 })
	for _, paths := range [][]string{{"/a", "/a", "/a"}, {"/b", "/b", "/b"}, {"/a", "/b", "/a"}, {"/b", "/a", "/b"}} {
		c := s.dial()
		br := bufio.NewReader(c)
		for i, p := range paths {
			r := ask(t, c, br, "GET "+p+" HTTP/1.1\r\nHost: x\r\n\r\n", "GET")[0]
			if r.Close != (i == 2) {
				t.Errorf("%v: answer %d: close %v", paths, i, r.Close)
			}
		}
		if _, ok := ended(c); !ok {
			t.Errorf("%v: still open", paths)
		}
	}
}

func TestConnectionLimits(t *testing.T) {
	s := start(t, nil, nil, func(o *Options) { o.Limits.ConnsClient, o.Limits.Conns = 2, 3 })
	a, b := s.dial(), s.dial()
	until(t, "two open", func() bool { return s.Stats().Open == 2 })
	if _, ok := ended(s.dial()); !ok {
		t.Error("a third connection of one client is served")
	}
	local := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := local.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	until(t, "three open", func() bool { return s.Stats().Open == 3 })
	local.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 3)}
	d, err := local.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	d.SetDeadline(time.Now().Add(20 * time.Second))
	if _, ok := ended(d); !ok {
		t.Error("a fourth connection is served")
	}
	if st := s.Stats(); st.RefusedAll != 1 || st.RefusedClient != 1 {
		t.Errorf("%+v", st)
	}
	a.Close()
	until(t, "room again", func() bool { return s.Stats().Open == 2 })
	if r := ask(t, b, bufio.NewReader(b), get(""), "GET")[0]; r.StatusCode != 200 {
		t.Error(r)
	}
	e := s.dial()
	if r := ask(t, e, bufio.NewReader(e), get(""), "GET")[0]; r.StatusCode != 200 {
		t.Error(r)
	}
	s.SetConns(9, 3) // e and b stay, and one more of their client may come
	g := s.dial()
	if r := ask(t, g, bufio.NewReader(g), get(""), "GET")[0]; r.StatusCode != 200 {
		t.Error(r)
	}
	s.SetConns(1, 1)
	if _, ok := ended(s.dial()); !ok {
		t.Error("a connection more than there may be is served")
	}
	if r := ask(t, g, bufio.NewReader(g), get(""), "GET")[0]; r.StatusCode != 200 {
		t.Errorf("one that was open is not served on: %+v", r)
	}
}

// TestTimes: connections that bring no request, or not all of a head, are ended in time; a head gets 408.
func TestTimes(t *testing.T) {
	var hits shelf
	hits.put(t, "/a", []byte("hello"), nil)
	s := start(t, nil, &hits, func(o *Options) {
		o.Limits.HeadTime, o.Limits.IdleTime = 500*time.Millisecond, time.Second
	})
	var wg sync.WaitGroup
	for name, first := range map[string]string{"new": "", "hit": "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", "general": get("")} {
		for rest, status := range map[string]string{"": "", "GET /a HTTP/1.1\r\nHos": "HTTP/1.1 408 Request Timeout"} {
			for kind, dial := range map[string]func() net.Conn{"plain": s.dial, "tls": func() net.Conn { return s.dialTLS() }} {
				one := func(t *testing.T) {
					c := dial()
					br := bufio.NewReader(c)
					if first != "" {
						ask(t, c, br, first, "GET")
					}
					io.WriteString(c, rest)
					b, err := io.ReadAll(br)
					if line, _, _ := strings.Cut(string(b), "\r\n"); line != status || errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%q %v", line, err)
					}
				}
				wg.Go(func() { t.Run(name+kind+status, one) })
			}
		}
	}
	wg.Wait()
	if st := s.Stats(); st.SlowHeads != 6 {
		t.Errorf("%d slow heads, want 6", st.SlowHeads)
	}
}

func TestSlowHandshake(t *testing.T) {
	s := start(t, nil, nil, func(o *Options) { o.Limits.HandshakeTime = 50 * time.Millisecond })
	c, err := net.Dial("tcp", s.secure)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	c.Write([]byte{22, 3, 1})
	if _, ok := ended(c); !ok || s.Stats().BadHandshakes != 1 {
		t.Error("a slow handshake goes on")
	}
}

// TestSlowReaders: a client that takes nothing is cut after the grace on every path; one that takes enough is not.
func TestSlowReaders(t *testing.T) {
	data := pattern(32 << 20)
	hits := &shelf{told: make(chan Sent, 10)}
	o := hits.putFile(t, "/fast", data)
	cut := make(chan error, 10)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		var err error
		if r.URL.Path == "/send" {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.WriteHeader(200)
			_, err = Send(w, r, o.file, 100, int64(len(data)))
		} else {
			_, err = w.Write(data)
		}
		cut <- err
	}, hits, func(o *Options) {
		o.Limits.Grace, o.Limits.SendRate, o.H2C = 100*time.Millisecond, 1000, true
	})
	for kind, dial := range map[string]func() net.Conn{"plain": s.dial, "tls": func() net.Conn { return s.dialTLS() }} {
		for _, path := range []string{"/fast", "/send", "/write"} {
			before := s.Stats().Slow
			c := dial()
			io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
			if path == "/fast" {
				if x := <-hits.told; !x.Slow || x.Err == nil || x.BodyBytes >= int64(len(data)) {
					t.Errorf("%s %s: told %+v", kind, path, x)
				}
			} else if err := <-cut; err == nil {
				t.Errorf("%s %s: not cut", kind, path)
			}
			if got := s.Stats().Slow - before; got != 1 {
				t.Errorf("%s %s: %d slow ones counted", kind, path, got)
			}
			c.Close()
		}
	}
	until(t, "all gone", func() bool { return s.Stats().Open == 0 })
}

// TestSlowBodies: a request body that comes too slowly, or takes too long in all, ends the connection.
func TestSlowBodies(t *testing.T) {
	failed := make(chan error, 1)
	for name, change := range map[string]func(*Limits){
		"rate": func(l *Limits) { l.Grace, l.BodyRate = 50*time.Millisecond, 1000 },
		"time": func(l *Limits) { l.BodyTime, l.BodyRate = 50*time.Millisecond, -1 },
	} {
		s := start(t, func(w http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			failed <- err
		}, nil, func(o *Options) { change(&o.Limits) })
		for _, lines := range []string{"Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n"} {
			c := s.dial()
			io.WriteString(c, post(lines, "5\r\n"))
			if err := <-failed; err == nil {
				t.Errorf("%s: body read whole", name)
			}
			if _, ok := ended(c); !ok {
				t.Errorf("%s: still open", name)
			}
		}
		if n := s.Stats().SlowBodies; n != 2 {
			t.Errorf("%s: %d slow bodies", name, n)
		}
	}
}

func TestMaxBody(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			w.WriteHeader(413)
		}
	}, nil, func(o *Options) { o.Limits.MaxBody = 4 })
	for body, status := range map[string]int{"abcd": 200, "abcde": 413} {
		for _, raw := range []string{post(fmt.Sprintf("Content-Length: %d\r\n", len(body)), body), post("Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body))} {
			c := s.dial()
			if r := ask(t, c, bufio.NewReader(c), raw, "POST")[0]; r.StatusCode != status {
				t.Errorf("%q: %d, want %d", raw, r.StatusCode, status)
			}
		}
	}
}

// TestManySlowReaders measures what stuck clients cost: CATCHMENT_LONG=1 for a thousand of them.
func TestManySlowReaders(t *testing.T) {
	n := 100
	if os.Getenv("CATCHMENT_LONG") != "" {
		n = 1000
	}
	hits := &shelf{}
	hits.putFile(t, "/a", pattern(16<<20))
	s := start(t, nil, hits, nil)
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := memory()
	for range n {
		c := s.dial()
		c.(*net.TCPConn).SetReadBuffer(4 << 10)
		io.WriteString(c, "GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	until(t, "all stuck", func() bool {
		busy := 0
		for c := range s.Conns() {
			if tr := c.Transfer(); c.Busy() && tr != nil && tr.Target == "/a" && c.Out() > 0 {
				busy++
			}
		}
		return busy == n
	})
	each := int64(memory()-before) / int64(n)
	t.Logf("%d bytes of memory for each of %d stuck clients, our side of the test's included", each, n)
	if each > 64<<10 {
		t.Errorf("%d bytes for each", each)
	}
}
