package cache

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/quic-go/quic-go/http3"

	"github.com/catchment/catchment/policy/redirect"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/site"
)

// protocol is what players speak to a cache.
type protocol struct {
	name, proto string // as people and as an answer call it
	tls         bool
	client      func(*http.Transport)
}

var protocols = []protocol{
	{"HTTP/1.1", "HTTP/1.1", false, func(*http.Transport) {}},
	{"HTTP/1.1 over TLS", "HTTP/1.1", true, func(*http.Transport) {}},
	{"HTTP/2 over TLS", "HTTP/2.0", true, func(t *http.Transport) { t.ForceAttemptHTTP2 = true }},
	{"HTTP/2 in the clear", "HTTP/2.0", false, func(t *http.Transport) {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	}},
	{"HTTP/3", "HTTP/3.0", true, nil},
}

// serve has a cache speak it.
func (p *protocol) serve(t *testing.T, c *Config) {
	t.Helper()
	c.Front.HTTP2, c.Front.H2C = true, true
	if !p.tls {
		return
	}
	c.Front.H3 = p.client == nil
	c.Front.Listen[0].TLS, c.Front.Listen[0].H3 = true, p.client == nil
	cert, err := front.SelfSigned("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	f := front.CertFile{Cert: filepath.Join(t.TempDir(), "cert"), Key: filepath.Join(t.TempDir(), "key")}
	for name, b := range map[string]*pem.Block{f.Cert: {Type: "CERTIFICATE", Bytes: cert.Certificate[0]}, f.Key: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.Certificates = []front.CertFile{f}
}

// transport has one connection to each POP.
func (p *protocol) transport(t *testing.T) http.RoundTripper {
	conf := &tls.Config{InsecureSkipVerify: true}
	if p.client == nil {
		tr := &http3.Transport{TLSClientConfig: conf}
		t.Cleanup(func() { tr.Close() })
		return tr
	}
	tr := &http.Transport{MaxConnsPerHost: 1, TLSClientConfig: conf}
	p.client(tr)
	return tr
}

// url is that of the near POP.
func (p *pops) url() string {
	if p.over.tls {
		return strings.Replace(p.near.url, "http:", "https:", 1)
	}
	return p.near.url
}

func TestAFullBufferIsPacedThenRedirected(t *testing.T) {
	t.Parallel()
	for _, over := range protocols {
		if over.client == nil {
			continue
		}
		t.Run(over.name, func(t *testing.T) {
			t.Parallel()
			fullBuffer(t, newPOPsOver(t, over, nil))
		})
	}
}

func fullBuffer(t *testing.T, p *pops) {
	v := p.viewer(t)
	if !v.until(30) {
		t.Fatalf("never redirected: %q, %+v, %+v", p.steers(), p.near.s.sessions.Totals(), p.near.s.sessions.Sessions(3))
	}
	if len(v.hops) != 1 || !strings.HasPrefix(v.hops[0], p.cheap.s.Addrs()[0].String()+"?catchment-via=LON.m") {
		t.Errorf("%q", v.hops)
	}
	all := p.near.s.sessions.Totals()
	if all.Paced == 0 || all.Redirected == 0 {
		t.Errorf("%+v", all)
	}
	eventually(t, "the cheap POP tells that the client came", func() bool { return p.notes(&p.seen) == p.notes(&p.sent) })

	if v.proto != p.over.proto {
		t.Errorf("it spoke %s, want %s", v.proto, p.over.proto)
	}
	v.next = 37 // a seek
	if v.segment() {
		t.Error("redirected on a seek")
	}
	if c := p.near.s.sessions.Sessions(10); len(c) != 1 || c[0].Pace != 0 || c[0].Why != "seek" {
		t.Errorf("%+v", c)
	}
}

// TestOverHTTP3 says what happens there: the kernel knows nothing of such a
// connection, so its players are served as fast as it goes, and stay.
func TestOverHTTP3(t *testing.T) {
	t.Parallel()
	p := newPOPsOver(t, protocols[len(protocols)-1], nil)
	v := p.viewer(t)
	v.cmcd = func() string { return "bl=30000" } // even if they say so
	if v.until(12) {
		t.Error("redirected")
	}
	if s := p.near.s.Steered(); v.proto != p.over.proto || s.Paced+s.Redirected > 0 || s.Sessions > 0 {
		t.Errorf("%s, %+v", v.proto, s)
	}
}

// TestOneConnectionTwoStreams: of two streams of one HTTP/2 connection each has
// a buffer of its own, and one that has begun before a player's request does not
// wait for its pace.
func TestOneConnectionTwoStreams(t *testing.T) {
	for _, over := range protocols[2:4] {
		t.Run(over.name, func(t *testing.T) {
			t.Parallel()
			p := newPOPsOver(t, over, func(s *site.Steer) { s.Redirect = false })
			v := p.viewer(t)
			v.cmcd = func() string { return "bl=30000" }
			if v.until(3); !paced(t, p) {
				t.Fatalf("a player alone is not held to a pace: %q", p.steers())
			}

			// Another object of the same connection: the client does not read it.
			other, err := v.client.Get(p.url() + "/large")
			if err != nil {
				t.Fatal(err)
			}
			defer other.Body.Close()
			eventually(t, "it goes as fast as it can", func() bool { return !paced(t, p) })
			if v.until(3); paced(t, p) {
				t.Errorf("another stream waits for the player's pace: %q", p.steers())
			}
			if s := p.near.s.Playing(1)[0]; s.Pace != 0 || !strings.Contains(s.Why, "not held: the connection has other streams") {
				t.Errorf("%+v", s)
			}
			if n, err := io.Copy(io.Discard, other.Body); n != large || err != nil {
				t.Errorf("%d bytes of the other, %v", n, err)
			}
			if n := len(conns(p)); n != 1 {
				t.Errorf("%d connections", n)
			}
			eventually(t, "alone again", func() bool { return v.until(1) || paced(t, p) })
		})
	}
}

// TestStreamsAtOnce: many segments of several players over one connection at
// once come whole, and nobody's sequence is taken for another's.
func TestStreamsAtOnce(t *testing.T) {
	for _, over := range protocols[2:4] {
		t.Run(over.name, func(t *testing.T) {
			t.Parallel()
			p := newPOPsOver(t, over, nil)
			first := p.viewer(t)
			var life sync.WaitGroup
			for i := range 4 {
				v := *first
				v.header = http.Header{"User-Agent": {fmt.Sprint("player ", i)}}
				v.client = &http.Client{Transport: first.client.Transport, Timeout: first.client.Timeout, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
					v.hops = append(v.hops, r.URL.Host)
					return nil
				}}
				life.Go(func() {
					for range 8 {
						v.segment()
					}
					v.next = 30
					if v.segment() {
						t.Error("redirected on a seek")
					}
				})
			}
			life.Wait()
			all := p.near.s.Playing(10)
			if len(all) != 4 {
				t.Errorf("%d sessions: %+v", len(all), all)
			}
			for _, s := range all {
				if s.Last != redirect.Serve.String() || s.Why != "seek" {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

func conns(p *pops) (out []*front.Conn) {
	for c := range p.near.s.front.Conns() {
		out = append(out, c)
	}
	return out
}
