package dns

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// running is a server on sockets; the test ends it.
type running struct {
	*Server
	at   []string
	done chan error
	end  context.CancelFunc
}

func start(t testing.TB, change func(*Options)) *running {
	t.Helper()
	s := newServer(t, func(o *Options) {
		o.Listen = []Listen{{Address: "127.0.0.1:0"}, {Address: "[::1]:0"}}
		o.Workers = 2
		if change != nil {
			change(o)
		}
	})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	r := &running{Server: s, done: make(chan error, 1)}
	for _, a := range s.Addresses() {
		r.at = append(r.at, a.String())
	}
	ctx, cancel := context.WithCancel(context.Background())
	r.end = cancel
	go func() { r.done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	})
	return r
}

func question(name string, typ uint16) *dns.Msg {
	m := new(dns.Msg)
	return m.SetQuestion(name, typ)
}

// exchange asks over a network; no answer for five seconds is an error.
func exchange(t testing.TB, network, at string, q *dns.Msg) *dns.Msg {
	t.Helper()
	c := &dns.Client{Net: network, Timeout: 5 * time.Second, TLSConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // our own certificate
	m, _, err := c.Exchange(q, at)
	if err != nil {
		t.Fatalf("%s %s: %v", network, at, err)
	}
	return m
}

func certificate(t *testing.T) *tls.Config {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ns1.example.org"}, DNSNames: []string{"ns1.example.org"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}

// Both families, all transports.
func TestTransports(t *testing.T) {
	s := start(t, func(o *Options) {
		o.Listen = append(o.Listen, Listen{Address: "127.0.0.1:0", TLS: certificate(t)}, Listen{Address: "[::1]:0", TLS: certificate(t)})
	})
	for i, at := range s.at {
		networks := []string{"udp", "tcp"}
		if i >= 2 {
			networks = []string{"tcp-tls"}
		}
		for _, network := range networks {
			if got := brief(exchange(t, network, at, question("mail.example.org.", dns.TypeA))); got != "NOERROR aa mail A 192.0.2.25" {
				t.Errorf("%s %s: %s", network, at, got)
			}
			want := map[bool]int{true: 0, false: 5}[network == "udp"]
			if m := exchange(t, network, at, question("big.example.org.", dns.TypeTXT)); m.Truncated != (network == "udp") || len(m.Answer) != want {
				t.Errorf("%s %s: %v", network, at, m)
			}
		}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(s)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			seen[f.GetName()] += m.GetCounter().GetValue()
		}
	}
	if seen["catchment_dns_queries_total"] != 12 || seen["catchment_dns_answers_total"] != 12 || seen["catchment_dns_truncated_total"] != 2 || seen["catchment_dns_connections_total"] != 8 {
		t.Errorf("metrics: %v", seen)
	}
}

// On a socket for all addresses the answer leaves from the one that was asked.
func TestAnyAddress(t *testing.T) {
	v6 := netip.MustParseAddr("2001:db8:5::1")
	if err := sandbox.Address(v6); err != nil {
		t.Fatal(err)
	}
	s := start(t, func(o *Options) { o.Listen = []Listen{{Address: "0.0.0.0:0"}, {Address: "[::]:0"}} })
	for i, hosts := range [][]string{{"127.0.0.1", "127.0.0.9", "127.3.2.1"}, {"::1", v6.String()}} {
		_, port, _ := net.SplitHostPort(s.at[i])
		for _, host := range hosts { // the client's socket is connected: an answer from elsewhere is lost
			if got := brief(exchange(t, "udp", net.JoinHostPort(host, port), question("mail.example.org.", dns.TypeA))); got != "NOERROR aa mail A 192.0.2.25" {
				t.Errorf("%s: %s", host, got)
			}
		}
	}
}

// zoneFile writes a zone with a serial and more lines, renamed into place.
func zoneFile(t testing.TB, path string, serial int, more string) {
	t.Helper()
	text := fmt.Sprintf("@ 3600 IN SOA ns h %d 2 3 4 60\n@ 3600 IN NS ns\nns 60 IN A 192.0.2.1\n%s\n", serial, more)
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A new file is taken while questions are answered, a bad one is not, and the
// error says where it is wrong. No question is lost.
func TestLiveReload(t *testing.T) {
	path := filepath.Join(t.TempDir(), "reload.zone")
	zoneFile(t, path, 1, "www 60 IN TXT 1")
	s := start(t, func(o *Options) { o.Zones = []Zone{{Name: "example.org", File: path}}; o.Watch = time.Hour })
	var lost atomic.Int32
	var asking sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	asking.Go(func() {
		for ctx.Err() == nil {
			c := &dns.Client{Timeout: 5 * time.Second}
			if m, _, err := c.Exchange(question("www.example.org.", dns.TypeTXT), s.at[0]); err != nil || len(m.Answer) != 1 {
				lost.Add(1)
			}
		}
	})
	text := func() string {
		return exchange(t, "udp", s.at[0], question("www.example.org.", dns.TypeTXT)).Answer[0].(*dns.TXT).Txt[0]
	}
	for i := 2; i < 30; i++ {
		zoneFile(t, path, i, fmt.Sprintf("www 60 IN TXT %d", i))
		if err := s.Reload(); err != nil {
			t.Fatal(err)
		}
		if got := text(); got != fmt.Sprint(i) {
			t.Fatalf("%s after %d", got, i)
		}
	}
	zoneFile(t, path, 30, "www 60 IN TXT 30\nbad IN A nonsense")
	if err := s.Reload(); err == nil || !strings.Contains(err.Error(), path+":5: ") {
		t.Errorf("%v", err)
	}
	if err := s.Reload(); err != nil {
		t.Errorf("said twice: %v", err)
	}
	if got := text(); got != "29" {
		t.Errorf("%s after a bad file", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.Reload(); err == nil || text() != "29" {
		t.Errorf("without a file: %v", err)
	}
	zoneFile(t, path, 31, "www 60 IN TXT 31")
	if err := s.Reload(); err != nil || text() != "31" {
		t.Errorf("%v", err)
	}
	stop()
	asking.Wait()
	if lost.Load() > 0 {
		t.Errorf("%d questions lost", lost.Load())
	}
}

// A drain ends idle connections, and takes no new ones; what was asked before
// is answered; then the sockets are closed.
func TestDrain(t *testing.T) {
	s := start(t, nil)
	idle, err := dns.Dial("tcp", s.at[0])
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if err := idle.WriteMsg(question("mail.example.org.", dns.TypeA)); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.ReadMsg(); err != nil {
		t.Fatal(err)
	}
	u, err := dns.Dial("udp", s.at[1])
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	for range 20 {
		if err := u.WriteMsg(question("mail.example.org.", dns.TypeA)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-s.done; err != nil {
		t.Fatal(err)
	}
	s.done <- nil
	_ = u.SetDeadline(time.Now().Add(5 * time.Second))
	for i := range 20 {
		if _, err := u.ReadMsg(); err != nil {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	_ = idle.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := idle.ReadMsg(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the idle connection: %v", err)
	}
	if c, err := net.Dial("tcp", s.at[0]); err == nil {
		c.Close()
		t.Error("a new connection was taken")
	}
}

// A drain that may not take long leaves what does not end.
func TestDrainDeadline(t *testing.T) {
	s := start(t, func(o *Options) { o.Limits.QueryTime = time.Hour })
	c, err := net.Dial("tcp", s.at[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{0}); err != nil {
		t.Fatal(err)
	}
	for busy := false; !busy; { // until the server has read the octet
		s.mu.Lock()
		for c := range s.conns {
			busy = busy || c.busy.Load()
		}
		s.mu.Unlock()
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// No socket is left when one cannot be bound.
func TestListenTwice(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newServer(t, func(o *Options) {
		o.Listen = []Listen{{Address: "127.0.0.1:5353"}, {Address: l.Addr().String()}}
	})
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), l.Addr().String()) {
		t.Fatalf("%v", err)
	}
	again, err := net.Listen("tcp", "127.0.0.1:5353")
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

// What is wrong in options is said before anything runs.
func TestBadOptions(t *testing.T) {
	for want, o := range map[string]Options{
		`listen "localhost:53"`: {Listen: []Listen{{Address: "localhost:53"}}},
		"identity":              {Identity: strings.Repeat("x", 256)},
		"algorithm":             {Keys: []TSIGKey{{Name: "k", Algorithm: "hmac-md5", Secret: "YQ=="}}},
		"not base64":            {Keys: []TSIGKey{{Name: "k", Secret: "!"}}},
		"no key k":              {Zones: []Zone{{Name: "x", Transfer: []Transfer{{Key: "k"}}}}},
		"needs networks":        {Zones: []Zone{{Name: "x", Transfer: []Transfer{{}}}}},
		"twice":                 {Zones: []Zone{{Name: "example.org", File: "testdata/example.zone"}, {Name: "Example.org.", File: "testdata/example.zone"}}},
		"no such file":          {Zones: []Zone{{Name: "x", File: "testdata/none"}}},
	} {
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}
