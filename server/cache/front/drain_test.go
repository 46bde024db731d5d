package front

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// drainStand serves /big from a file and waits in /wait until released.
func drainStand(t *testing.T) (s *stand, data []byte, entered, release chan bool) {
	release, entered = make(chan bool), make(chan bool, 10)
	data = pattern(32 << 20)
	var hits shelf
	hits.putFile(t, "/big", data)
	s = start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			entered <- true
			<-release
		}
		io.WriteString(w, "done")
	}, &hits, allProtocols)
	return s, data, entered, release
}

func fetch(c *http.Client, url string, answers chan<- string) {
	r, err := c.Get(url)
	if err != nil {
		answers <- err.Error()
		return
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		b = []byte(err.Error())
	}
	answers <- string(b)
}

// TestDrain: idle connections end at once, those with a request at work end after it with Connection: close or GOAWAY, on
// every protocol; nothing is cut and nobody new is taken.
func TestDrain(t *testing.T) {
	s, data, entered, release := drainStand(t)
	idle, idleTLS, idleGeneral, fresh := s.dial(), s.dialTLS(), s.dial(), s.dial()
	for c, path := range map[net.Conn]string{idle: "/big", idleTLS: "/big", idleGeneral: "/g"} {
		ask(t, c, bufio.NewReader(c), "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n", "GET")
	}
	// At work: a big answer of the fast path whose client reads later, general ones of each protocol.
	slow, h1 := s.dial(), s.dial()
	io.WriteString(slow, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	io.WriteString(h1, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n")
	answers := make(chan string, 3)
	h3 := s.client3()
	go fetch(s.client2(), "https://"+s.secure+"/wait", answers)
	go fetch(s.clientH2C(), "http://"+s.addr+"/wait", answers)
	go fetch(h3, "https://"+s.secure+"/wait", answers)
	for range 4 {
		<-entered
	}
	until(t, "the big one is at work", func() bool {
		for c := range s.Conns() {
			if tr := c.Transfer(); tr != nil && tr.Target == "/big" {
				return true
			}
		}
		return false
	})
	type result struct {
		cut int
		err error
	}
	done := make(chan result, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		cut, err := s.Drain(ctx)
		done <- result{cut, err}
	}()
	for name, c := range map[string]net.Conn{"idle": idle, "idle TLS": idleTLS, "idle general": idleGeneral, "fresh": fresh} {
		if b, ok := ended(c); !ok || len(b) > 0 {
			t.Errorf("%s: not ended, %q", name, b)
		}
	}
	if c, err := net.Dial("tcp", s.addr); err == nil {
		c.Close()
		t.Error("a new connection is taken")
	}
	close(release)
	checkDrained(t, answers, h1, slow, data)
	h3.CloseIdleConnections()
	if x := <-done; x.err != nil || x.cut != 0 {
		t.Errorf("drain: %+v", x)
	}
	if st := s.Stats(); st.Cut != 0 || st.Open != 0 || st.Drained < 6 {
		t.Errorf("%+v", st)
	}
}

// checkDrained reads what was at work when Drain began. The head of h1's answer was not written yet: it says close, and the
// request behind it is left to be asked again.
func checkDrained(t *testing.T, answers chan string, h1, slow net.Conn, data []byte) {
	t.Helper()
	for range cap(answers) {
		if a := <-answers; a != "done" {
			t.Errorf("answer during drain: %q", a)
		}
	}
	b, err := io.ReadAll(h1)
	if n := strings.Count(string(b), "HTTP/1.1 200 OK"); err != nil || n != 1 || strings.Count(string(b), "Connection: close") != 1 {
		t.Errorf("h1: %q %v", b, err)
	}
	r, err := http.ReadResponse(bufio.NewReader(slow), nil)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r.Body); n != int64(len(data)) || err != nil {
		t.Errorf("the big one: %d bytes, %v", n, err)
	}
}

// TestDrainCuts: what is not done by the deadline is closed and counted.
func TestDrainCuts(t *testing.T) {
	entered := make(chan bool, 10)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done()
	}, nil, allProtocols)
	c, d := s.dial(), s.dialTLS()
	io.WriteString(c, get(""))
	io.WriteString(d, get(""))
	go s.client2().Get("https://" + s.secure + "/")
	go s.client3().Get("https://" + s.secure + "/")
	s.dial()
	for range 4 {
		<-entered
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if cut, err := s.Drain(ctx); cut != 4 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cut %d, %v", cut, err)
	}
	if n := s.Stats().Cut; n != 4 {
		t.Errorf("%d counted", n)
	}
}

// TestSocketOptions: what is asked is set on listeners, and accepted connections inherit it.
func TestSocketOptions(t *testing.T) {
	s := start(t, nil, nil, func(o *Options) {
		o.ReusePort, o.DeferAccept, o.UserTimeout, o.NotSentLow = true, 3*time.Second, 7*time.Second, 12345
		o.Listen[1].H3, o.H3 = true, true
	})
	again, err := New(Options{Listen: []Listen{{Address: s.addr}}, ReusePort: true}, http.NotFoundHandler(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Listen(t.Context()); err != nil {
		t.Errorf("the same port again: %v", err)
	}
	again.Close()
	c := s.dial()
	ask(t, c, bufio.NewReader(c), get(""), "GET")
	for x := range s.Conns() {
		err := x.Control(func(fd uintptr) {
			user, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
			low, _ := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
			if user != 7000 || low != 12345 {
				t.Errorf("user timeout %d, not-sent low %d", user, low)
			}
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// TestListenFails: when one address cannot be had, none stays open, and Serve says so.
func TestListenFails(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer free.Close()
	f, err := New(Options{Listen: []Listen{{Address: "127.0.0.1:0"}, {Address: free.Addr().String()}}}, http.NotFoundHandler(), nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Listen(t.Context()); err == nil || !strings.Contains(err.Error(), free.Addr().String()) {
		t.Errorf("listen: %v", err)
	}
	if f.Addrs() != nil {
		t.Error("listeners left")
	}
	if err := f.Serve(t.Context()); err == nil {
		t.Error("Serve without a listener")
	}
	for name, o := range map[string]Options{
		"none": {}, "nothing": {Listen: []Listen{{}}}, "h3 without TLS": {H3: true, Listen: []Listen{{Address: ":0", H3: true}}},
		"h3 off": {Listen: []Listen{{Address: ":0", H3: true, TLS: true}}}, "head": {Listen: []Listen{{Address: ":0"}}, Limits: Limits{HeadBytes: 1 << 20}},
		"name": {Listen: []Listen{{Address: ":0"}}, SlowNames: []string{"a b"}},
	} {
		if _, err := New(o, http.NotFoundHandler(), nil, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

// TestInherited serves from a listener opened elsewhere.
func TestInherited(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	again, err := net.FileListener(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, nil, nil, func(o *Options) { o.Listen = []Listen{{Listener: again.(*net.TCPListener)}} })
	c := s.dial()
	if r := ask(t, c, bufio.NewReader(c), get(""), "GET")[0]; body(r) != "general GET /g" {
		t.Error(r)
	}
}

// TestRegistry: who looks from outside sees the transfer at work, how far it is, and what the kernel knows of it.
func TestRegistry(t *testing.T) {
	hits := &shelf{told: make(chan Sent, 1)}
	hits.putFile(t, "/big", pattern(64<<20))
	s := start(t, nil, hits, nil)
	c := s.dial()
	io.WriteString(c, "GET /big HTTP/1.1\r\nHost: name\r\nRange: bytes=1000-\r\n\r\n")
	var found *Conn
	until(t, "a transfer", func() bool {
		for x := range s.Conns() {
			if tr := x.Transfer(); tr != nil && x.Out() > 1000 {
				found = x
			}
		}
		return found != nil
	})
	tr := found.Transfer()
	if tr.Host != "name" || tr.Target != "/big" || tr.First != 1000 || tr.Length != 64<<20-1000 || !found.Busy() || found.Requests() != 1 {
		t.Errorf("%+v", tr)
	}
	if found.Remote().String() != c.LocalAddr().String() || found.Local().String() != c.RemoteAddr().String() || found.In() == 0 {
		t.Errorf("%v %v", found.Remote(), found.Local())
	}
	if i, ok := found.Info(); !ok || i.BytesSent == 0 || i.Cwnd == 0 || i.MSS == 0 {
		t.Errorf("%v %+v", ok, i)
	}
	found.Close()
	if x := <-hits.told; x.Err == nil || x.Slow {
		t.Errorf("%+v", x)
	}
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("still open")
	}
	if _, ok := found.Info(); ok {
		t.Error("Info of a closed connection")
	}
}

// TestSlowNames: configured names go to the general path, others stay.
func TestSlowNames(t *testing.T) {
	var hits shelf
	hits.put(t, "/g", []byte("hit"), nil)
	s := start(t, nil, &hits, func(o *Options) { o.SlowNames = []string{"X-Token"} })
	c := s.dial()
	br := bufio.NewReader(c)
	for lines, want := range map[string]string{"x-token: 1\r\n": "general GET /g", "X-Other: 1\r\n": "hit", "Cache-Control: no-cache\r\n": "general GET /g",
		"Authorization: x\r\n": "general GET /g", "Range: bytes=0-0\r\nRange: bytes=1-1\r\n": "general GET /g", "Connection: keep-alive\r\n": "hit", "Connection: te\r\n": "general GET /g"} {
		if r := ask(t, c, br, get(lines), "GET")[0]; body(r) != want {
			t.Errorf("%q: want %s", lines, want)
		}
	}
}
