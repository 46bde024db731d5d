package origin

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTLS: what is checked, and which protocol is spoken.
func TestTLS(t *testing.T) {
	newServer := func(h2 bool, change func(*tls.Config)) *httptest.Server {
		srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Seen", r.Proto+" "+r.TLS.ServerName)
			io.WriteString(w, "x")
		}))
		srv.EnableHTTP2 = h2
		srv.Config.ErrorLog = log.New(io.Discard, "", 0)
		srv.TLS = &tls.Config{}
		if change != nil {
			change(srv.TLS)
		}
		srv.StartTLS()
		t.Cleanup(srv.Close)
		return srv
	}
	plain, h2 := newServer(false, nil), newServer(true, nil)
	pool := x509.NewCertPool()
	pool.AddCert(plain.Certificate())
	mutual := newServer(true, func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, pool })
	ours := plain.TLS.Certificates // httptest's certificate is good for servers only, so it is not verified as ours
	asks := newServer(true, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	for _, test := range []struct {
		name   string
		server Server
		want   string // protocol and SNI, or the error's kind
	}{
		{"no CA", Server{URL: h2.URL}, "tls"},
		{"insecure", Server{URL: h2.URL, TLS: TLS{Insecure: true, ServerName: "any.example"}}, "HTTP/2.0 any.example"},
		{"CA, another name", Server{URL: h2.URL, TLS: TLS{CAs: pool, ServerName: "other.test"}}, "tls"},
		{"CA and name", Server{URL: h2.URL, TLS: TLS{CAs: pool, ServerName: "example.com"}}, "HTTP/2.0 example.com"},
		{"name by host", Server{URL: h2.URL, Host: "example.com:8443", TLS: TLS{CAs: pool}}, "HTTP/2.0 example.com"},
		{"HTTP/1.1 only", Server{URL: h2.URL, Protocol: HTTP1, TLS: TLS{CAs: pool, ServerName: "example.com"}}, "HTTP/1.1 example.com"},
		{"server without 2", Server{URL: plain.URL, TLS: TLS{CAs: pool, ServerName: "example.com"}}, "HTTP/1.1 example.com"},
		{"HTTP/2 only, server without", Server{URL: plain.URL, Protocol: HTTP2, TLS: TLS{CAs: pool, ServerName: "example.com"}}, "tls"},
		{"a certificate is asked for", Server{URL: mutual.URL, Protocol: HTTP1, TLS: TLS{CAs: pool, ServerName: "example.com"}}, "tls"},
		{"a certificate is given", Server{URL: asks.URL, TLS: TLS{CAs: pool, ServerName: "example.com", Certificates: ours}}, "HTTP/2.0 example.com"},
		{"no TLS there", Server{URL: "https://" + plainHTTP(t)}, "tls"},
	} {
		t.Run(test.name, func(t *testing.T) {
			u := upstream(t, Config{Origins: []Server{test.server}, Retry: Retry{Attempts: 1}})
			resp, err := u.Do(t.Context(), get("/"))
			got := ""
			if err != nil {
				got = KindOf(err).String()
			} else {
				got = resp.Header.Get("X-Seen")
				resp.Body.Close()
			}
			if got != test.want {
				t.Errorf("%s, want %s (%v)", got, test.want, err)
			}
		})
	}
}

func plainHTTP(t *testing.T) string {
	srv := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// TestHTTP2: bodies, breaks and connection reuse over HTTP/2, without TLS.
func TestHTTP2(t *testing.T) {
	big := bytes.Repeat([]byte("0123456789"), 50_000)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/short" {
			w.Header().Set("Content-Length", "600000")
			w.Write(big)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		w.Header().Set("Trailer", "X-Sum")
		w.Write(big)
		w.Header().Set("X-Sum", r.Proto)
	}))
	var p http.Protocols
	p.SetUnencryptedHTTP2(true)
	srv.Config.Protocols = &p
	srv.Start()
	defer srv.Close()
	u := upstream(t, Config{Origins: []Server{{URL: srv.URL, Protocol: HTTP2}}})
	for i := range 2 {
		resp, err := u.Do(t.Context(), get("/"))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !bytes.Equal(b, big) || resp.Proto != "HTTP/2.0" || !resp.Framed || resp.From.Reused != (i > 0) || resp.Trailer.Get("X-Sum") != "HTTP/2.0" {
			t.Errorf("%d bytes, %v, %+v", len(b), err, resp)
		}
	}
	resp, err := u.Do(t.Context(), get("/short"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	var e *Error
	if !bytes.Equal(b, big[:len(b)]) || !errors.As(err, &e) || e.Kind != KindTruncated {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestUnframed: HTTP/1.0 bodies end with the connection, and that is told.
func TestUnframed(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if r.URL.Path == "/junk" {
			io.WriteString(c, "SMTP 1\r\n\r\n")
			return
		}
		io.WriteString(c, "HTTP/1.0 200 OK\r\nX: y\r\n\r\nbody")
	}))
	defer srv.Close()
	u := upstream(t, Config{Origins: []Server{{URL: srv.URL}}, Retry: Retry{Attempts: 1}})
	resp, err := u.Do(t.Context(), get("/"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(b) != "body" || err != nil || resp.Framed || resp.Length != -1 || resp.Proto != "HTTP/1.0" {
		t.Errorf("%q, %v, %+v", b, err, resp)
	}
	if _, err := u.Do(t.Context(), get("/junk")); KindOf(err) != KindProtocol {
		t.Error(err)
	}
}

func TestHead(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "GET" {
			w.WriteHeader(304)
			return
		}
		w.Header().Set("Content-Length", "1000")
	}))
	defer srv.Close()
	u := upstream(t, Config{Origins: []Server{{URL: srv.URL}}})
	for _, method := range []string{"HEAD", "GET"} {
		r := get("/")
		r.Method = method
		resp, err := u.Do(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if len(b) != 0 || err != nil || resp.Length != 0 || !resp.Framed || method == "HEAD" && resp.Header.Get("Content-Length") != "1000" {
			t.Errorf("%s: %q, %v, %+v", method, b, err, resp)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, test := range []struct {
		cfg  Config
		want string
	}{
		{Config{Name: "u"}, "upstream u: no origin and no parent"},
		{Config{Name: "u", Origins: []Server{{URL: "ftp://x"}}}, `upstream u: server x: URL "ftp://x" must begin with http:// or https://`},
		{Config{Name: "u", Origins: []Server{{URL: "http://"}}}, `URL "http://" has no host`},
		{Config{Name: "u", Origins: []Server{{URL: "http://x?y"}}}, `may have host, port and path only`},
		{Config{Name: "u", Origins: []Server{{URL: "http://x", Weight: -1}}}, `must not be negative`},
		{Config{Name: "u", Origins: []Server{{URL: "http://x"}, {URL: "http://x"}}}, `server x: named twice`},
		{Config{Name: "u", Parents: [][]Server{{{URL: "http://x"}}}, Bypass: true}, `bypass of parents without an origin`},
		{Config{Name: "u", Origins: []Server{{URL: "http://x"}}}, ""},
	} {
		err := test.cfg.Validate()
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v, want %q", err, test.want)
		}
		if _, other := New(test.cfg, Env{}); (other == nil) != (err == nil) {
			t.Errorf("New: %v", other)
		}
	}
}
