package front

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
)

// client2 is an HTTP/2 client of the stand.
func (s *stand) client2() *http.Client {
	tr := &http.Transport{TLSClientConfig: s.tlsConfig("h2"), ForceAttemptHTTP2: true}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func (s *stand) clientH2C() *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetUnencryptedHTTP2(true)
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

func (s *stand) client3() *http.Client {
	tr := &http3.Transport{TLSClientConfig: s.tlsConfig()}
	s.t.Cleanup(func() { tr.Close() })
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// allProtocols serves everything that front knows, on the first of both families.
func allProtocols(o *Options) {
	o.H2C, o.H3 = true, true
	o.Listen[1].H3 = true
	o.Listen = append(o.Listen, Listen{Address: "[::1]:0", TLS: true, H3: true})
}

func TestProtocols(t *testing.T) {
	data := pattern(300_000)
	var hits shelf
	o := hits.putFile(t, "/x", data)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		c := ConnOf(r.Context())
		w.Header().Set("Proto", fmt.Sprint(c.Proto(), " ", c.TLS(), " ", c.Remote().Addr(), " ", c.Local().Addr(), " ", c.Transfer().Target))
		info, ok := c.Info()
		w.Header().Set("Info", fmt.Sprint(ok, info.RTT > 0))
		switch r.Method {
		case "POST":
			io.Copy(w, r.Body)
		default:
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.WriteHeader(200)
			Send(w, r, o.file, 100, int64(len(data)))
		}
	}, &hits, allProtocols)
	six := s.Addrs()[2].String()
	for _, c := range []struct {
		name        string
		client      *http.Client
		url         string
		proto, info string
		alt         bool
	}{
		{"h1", http.DefaultClient, "http://" + s.addr, "http/1.1 false 127.0.0.1 127.0.0.1 /q?r", "true true", false},
		{"h2c", s.clientH2C(), "http://" + s.addr, "h2 false 127.0.0.1 127.0.0.1 /q?r", "true true", false},
		{"h2", s.client2(), "https://" + s.secure, "h2 true 127.0.0.1 127.0.0.1 /q?r", "true true", true},
		{"h3", s.client3(), "https://" + s.secure, "h3 true 127.0.0.1 127.0.0.1 /q?r", "false false", false},
		{"h2 IPv6", s.client2(), "https://" + six, "h2 true ::1 ::1 /q?r", "true true", true},
		{"h3 IPv6", s.client3(), "https://" + six, "h3 true ::1 ::1 /q?r", "false false", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer c.client.CloseIdleConnections()
			for range 3 {
				r, err := c.client.Get(c.url + "/q?r")
				if err != nil {
					t.Fatal(err)
				}
				b, err := io.ReadAll(r.Body)
				r.Body.Close()
				if err != nil || !bytes.Equal(b, data) || r.Header.Get("Proto") != c.proto || r.Header.Get("Info") != c.info {
					t.Fatalf("%v, %d bytes, %v", err, len(b), r.Header)
				}
				if alt := r.Header.Get("Alt-Svc"); (alt != "") != c.alt || c.alt && !strings.HasPrefix(alt, `h3=":`) {
					t.Errorf("Alt-Svc %q", alt)
				}
				r, err = c.client.Post(c.url+"/p", "text/plain", bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				b, _ = io.ReadAll(r.Body)
				r.Body.Close()
				if !bytes.Equal(b, data) {
					t.Fatalf("%d bytes of %d come back", len(b), len(data))
				}
			}
		})
	}
}

// TestStreamsChecked: HTTP/2 and 3 requests are held to the rules of the parser.
func TestStreamsChecked(t *testing.T) {
	var called atomic.Int32
	s := start(t, func(w http.ResponseWriter, r *http.Request) { called.Add(1) }, nil, func(o *Options) {
		allProtocols(o)
		o.Limits.URLBytes, o.Limits.HeadFields = 1000, 20
	})
	for name, client := range map[string]*http.Client{"h2": s.client2(), "h3": s.client3()} {
		for what, c := range map[string]struct {
			change func(*http.Request)
			status int
		}{
			"host":   {func(r *http.Request) { r.Host = "a_b:x:y" }, 400},
			"length": {func(r *http.Request) { r.URL.Path = "/" + strings.Repeat("a", 1000) }, 414},
			"fields": {func(r *http.Request) {
				for i := range 30 {
					r.Header.Set(fmt.Sprint("X-", i), "v")
				}
			}, 431},
			"good": {func(r *http.Request) {}, 200},
		} {
			r, _ := http.NewRequest("GET", "https://"+s.secure+"/", nil)
			c.change(r)
			before := called.Load()
			resp, err := client.Do(r)
			if err != nil {
				t.Errorf("%s %s: %v", name, what, err)
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != c.status || (called.Load() > before) != (c.status == 200) {
				t.Errorf("%s %s: %d, want %d", name, what, resp.StatusCode, c.status)
			}
		}
	}
}

// TestSlowStreams: a stream that is not read is reset after the grace; the connection goes on.
func TestSlowStreams(t *testing.T) {
	ended := make(chan error, 16) // room for all that clients try again: who waits to tell it would hold up the end of the server
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/small" {
			io.WriteString(w, ConnOf(r.Context()).Proto()+fmt.Sprint(ConnOf(r.Context()).ID()))
			return
		}
		_, err := w.Write(pattern(64 << 20))
		ended <- err
	}, nil, func(o *Options) {
		allProtocols(o)
		o.Limits.Grace = 300 * time.Millisecond
	})
	for name, c := range map[string]struct {
		client *http.Client
		url    string
	}{"h2": {s.client2(), "https://" + s.secure}, "h2c": {s.clientH2C(), "http://" + s.addr}, "h3": {s.client3(), "https://" + s.secure}} {
		t.Run(name, func(t *testing.T) {
			small := func() string {
				r, err := c.client.Get(c.url + "/small")
				if err != nil {
					t.Fatal(err)
				}
				defer r.Body.Close()
				b, _ := io.ReadAll(r.Body)
				return string(b)
			}
			first := small()
			r, err := c.client.Get(c.url + "/big")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			if err := <-ended; err == nil {
				t.Error("the big one was taken whole")
			}
			if got := small(); got != first && name != "h2c" {
				t.Errorf("first on %s, then on %s", first, got)
			}
		})
	}
	if n := s.Stats().Slow; n != 3 {
		t.Errorf("%d slow ones counted", n)
	}
}

// TestRapidReset: a connection of nothing but reset streams is ended.
func TestRapidReset(t *testing.T) {
	var first atomic.Uint64
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		first.CompareAndSwap(0, ConnOf(r.Context()).ID())
		<-r.Context().Done()
	}, nil, func(o *Options) { o.Limits.Resets = 10 })
	client := s.client2()
	for i := 0; s.Stats().Abusers == 0; i++ {
		if i > 100 {
			t.Fatalf("not ended: %+v", s.Stats())
		}
		before := s.Stats()
		ctx, cancel := context.WithCancel(t.Context())
		r, _ := http.NewRequestWithContext(ctx, "GET", "https://"+s.secure+"/", nil)
		go func() {
			for s.Stats().General == before.General && ctx.Err() == nil {
				time.Sleep(100 * time.Microsecond)
			}
			cancel()
		}()
		if _, err := client.Do(r); err == nil {
			t.Error("answered")
		}
		cancel()
	}
	until(t, "closed", func() bool {
		for c := range s.Conns() {
			if c.ID() == first.Load() {
				return false
			}
		}
		return true
	})
}

// TestExpectAndHijack: 100-continue works through the gate, and a handler can take the connection over.
func TestExpectAndHijack(t *testing.T) {
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			b, _ := io.ReadAll(r.Body)
			w.Write(b)
			return
		}
		nc, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer nc.Close()
		rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
		rw.Flush()
		l, _ := rw.ReadString('\n')
		rw.WriteString(l)
		rw.Flush()
	}, nil, nil)
	c := s.dial()
	br := bufio.NewReader(c)
	io.WriteString(c, post("Expect: 100-continue\r\nContent-Length: 3\r\n", ""))
	if l, _ := br.ReadString('\n'); l != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("%q", l)
	}
	br.ReadString('\n')
	if r := ask(t, c, br, "abc", "POST")[0]; body(r) != "abc" {
		t.Fatal(r)
	}
	io.WriteString(c, get("Connection: Upgrade\r\nUpgrade: echo\r\n")+"first\nsecond\n")
	b, err := io.ReadAll(br)
	if err != nil && !errors.Is(err, io.EOF) && len(b) == 0 || !strings.HasSuffix(string(b), "\r\n\r\nfirst\n") {
		t.Errorf("%q %v", b, err)
	}
}

// TestDisconnectSeen: the handler's context ends when the client goes, also behind the gate.
func TestDisconnectSeen(t *testing.T) {
	entered, left := make(chan bool), make(chan bool)
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done()
		left <- true
	}, nil, nil)
	for _, c := range []net.Conn{s.dial(), s.dialTLS()} {
		io.WriteString(c, get(""))
		<-entered
		c.Close()
		<-left
	}
	until(t, "all gone", func() bool { return s.Stats().Open == 0 })
}

func write(t *testing.T, name string, cert tls.Certificate) CertFile {
	t.Helper()
	f := CertFile{Cert: t.TempDir() + "/" + name + ".pem", Key: t.TempDir() + "/" + name + ".key"}
	c, k, err := EncodePEM(cert)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(f.Cert, c, 0o600)
	os.WriteFile(f.Key, k, 0o600)
	return f
}

func TestCertificates(t *testing.T) {
	s := start(t, nil, nil, nil)
	made := map[string]tls.Certificate{}
	var files []CertFile
	for _, names := range [][]string{{"first.test"}, {"a.test", "b.test"}, {"*.wild.test"}, {"x.wild.test"}} {
		c, err := SelfSigned(names...)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range names {
			made[n] = c
		}
		files = append(files, write(t, strings.ReplaceAll(names[0], "*", "any"), c))
	}
	leaf := func(name string) *x509.Certificate {
		c, err := tls.Dial("tcp", s.secure, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0]
	}
	old := s.dialTLS()
	br := bufio.NewReader(old)
	ask(t, old, br, get(""), "GET")
	s.Certs().extra = nil
	if err := s.Certs().Load(files); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"first.test": "first.test", "A.test": "a.test", "b.test": "b.test", "y.wild.test": "*.wild.test",
		"x.wild.test": "x.wild.test", "z.y.wild.test": "first.test", "unknown": "first.test"} {
		if !leaf(name).Equal(made[want].Leaf) {
			t.Errorf("%s does not get the certificate of %s", name, want)
		}
	}
	ask(t, old, br, get(""), "GET") // connections go on through a reload
	if err := s.Certs().Load(append(files[:1:1], CertFile{"nowhere", "nowhere"})); err == nil {
		t.Error("a missing file loads")
	}
	if !leaf("a.test").Equal(made["a.test"].Leaf) {
		t.Error("a failed reload changed something")
	}
}

// TestTicketsShared: with the same keys, a session of one Front resumes at another.
func TestTicketsShared(t *testing.T) {
	a, b := start(t, nil, nil, nil), start(t, nil, nil, nil)
	keys := [][32]byte{{1}, {2}}
	for _, s := range []*stand{a, b} {
		if err := s.SetTicketKeys(keys); err != nil {
			t.Fatal(err)
		}
	}
	conf := a.tlsConfig("http/1.1")
	conf.RootCAs.AddCert(b.cert.Leaf)
	conf.ClientSessionCache = tls.NewLRUClientSessionCache(4)
	for i, s := range []*stand{a, b, a} {
		if i == 2 {
			s.SetTicketKeys([][32]byte{{9}})
		}
		c, err := tls.Dial("tcp", s.secure, conf)
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		ask(t, c, bufio.NewReader(c), get(""), "GET")
		if got := c.ConnectionState().DidResume; got != (i == 1) {
			t.Errorf("connection %d: resumed %v", i, got)
		}
		c.Close()
	}
}

// TestUnreadBodies: a handler that leaves the body alone leaves the connection in step, or closed.
func TestUnreadBodies(t *testing.T) {
	var hits shelf
	hits.put(t, "/hit", []byte("stored"), nil)
	s := start(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "unread") }, &hits, nil)
	chunk := "2710\r\n" + strings.Repeat("x", 10000) + "\r\n"
	hit := "GET /hit HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for name, raw := range map[string]string{
		"short":        post("Content-Length: 3\r\n", "abc"),
		"long":         post("Content-Length: 100000\r\n", strings.Repeat("x", 100000)),
		"too long":     post("Content-Length: 1000000\r\n", strings.Repeat("x", 1000000)),
		"chunks":       post("Transfer-Encoding: chunked\r\n", chunk+"0\r\nA: b\r\n\r\n"),
		"many chunks":  post("Transfer-Encoding: chunked\r\n", strings.Repeat(chunk, 10)+"0\r\n\r\n"),
		"endless ones": post("Transfer-Encoding: chunked\r\n", strings.Repeat(chunk, 100)+"0\r\n\r\n"),
	} {
		for kind, c := range map[string]net.Conn{"plain": s.dial(), "tls": s.dialTLS()} {
			go io.WriteString(c, raw+hit)
			br := bufio.NewReader(c)
			r, err := http.ReadResponse(br, nil)
			if err != nil {
				t.Errorf("%s %s: %v", name, kind, err)
				continue
			}
			if body(r) != "unread" {
				t.Errorf("%s %s: %v", name, kind, r)
			}
			next, err := http.ReadResponse(br, nil)
			if (err == nil) == r.Close {
				t.Errorf("%s %s: close %v, then %v", name, kind, r.Close, err)
			}
			if err == nil && body(next) != "stored" {
				t.Errorf("%s %s: then %v", name, kind, next)
			}
		}
	}
}
