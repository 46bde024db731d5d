package probe

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/catchment/catchment/health"
)

func TestHTTP(t *testing.T) {
	eachFamily(t, func(t *testing.T, ip string) {
		l := listen(t, ip)
		conns := 0
		srv := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Health", "fine "+r.Header.Get("X-Ask"))
				code, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
				if code == 301 {
					w.Header().Set("Location", "/500")
				}
				w.WriteHeader(max(code, 200))
				fmt.Fprintf(w, "%s host=%s from=%s", r.Method, r.Host, r.RemoteAddr)
			}),
			ConnState: func(_ net.Conn, s http.ConnState) {
				if s == http.StateNew {
					conns++
				}
			},
		}
		go srv.Serve(l)
		defer srv.Close()
		base := Config{Type: HTTP, URL: "http://" + l.Addr().String() + "/"}
		at := func(path string) string { return "http://" + l.Addr().String() + path }
		rows := []row{
			{"plain", Config{}, health.Pass, "HTTP 200"},
			{"again, by a connection of its own", Config{}, health.Pass, "HTTP 200"},
			{"status", Config{URL: at("/503")}, health.Fail, "HTTP 503"},
			{"wanted status", Config{URL: at("/503"), Status: []string{"200", "5xx"}}, health.Pass, "HTTP 503"},
			{"range", Config{URL: at("/204"), Status: []string{"205-299"}}, health.Fail, "HTTP 204"},
			{"redirects are not followed", Config{URL: at("/301"), Status: []string{"301"}}, health.Pass, "HTTP 301"},
			{"header", Config{Headers: []string{"x-health: fine"}}, health.Pass, ""},
			{"header there", Config{Headers: []string{"X-Health:"}}, health.Pass, ""},
			{"header value", Config{Headers: []string{"X-Health: ill"}}, health.Fail, `header X-Health: want "ill"`},
			{"no header", Config{Headers: []string{"X-Other:"}}, health.Fail, "X-Other"},
			{"request header", Config{RequestHeaders: []string{"X-Ask: please"}, Headers: []string{"X-Health: please"}}, health.Pass, ""},
			{"host", Config{Host: "www.example.com", Body: "host=www.example.com"}, health.Pass, ""},
			{"method", Config{Method: "POST", Body: "POST"}, health.Pass, ""},
			{"body", Config{Body: "goodbye"}, health.Fail, `want "goodbye"`},
			{"regexp", Config{BodyRegexp: "^GET .*from="}, health.Pass, ""},
			{"regexp fails", Config{BodyRegexp: "^PUT"}, health.Fail, "does not match"},
			{"slow", Config{MaxLatency: 1}, health.Warn, "slower than 1ns"},
			{"source", Config{Source: ip, Body: "from=" + strings.Trim(net.JoinHostPort(ip, ""), ":")}, health.Pass, ""},
			{"device", Config{Device: "lo"}, health.Pass, ""},
			{"no such device", Config{Device: "eth99"}, health.CannotTell, "bind to device eth99"},
			{"source that is not here", Config{Source: map[bool]string{true: "192.0.2.99", false: "2001:db8::99"}[ip == vips[0]]}, health.CannotTell, "cannot assign requested address"},
			{"a name that does not resolve", Config{URL: "http://nothing.invalid/"}, health.CannotTell, "nothing.invalid"},
		}
		checkRows(t, base, rows)
		srv.Close()
		if want := len(rows) - 3; conns != want {
			t.Errorf("%d connections, want %d", conns, want)
		}
	})
}

// certificate makes a self-signed one for name, valid for so many days, and
// returns the file that holds it.
func certificate(t *testing.T, name string, days int) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Duration(days)*24*time.Hour + time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

var tlsRows = func(ca string) []row {
	return []row{
		{"verified", Config{CAFile: ca, ServerName: "www.example.com"}, health.Pass, ""},
		{"wrong name", Config{CAFile: ca, ServerName: "www.example.org"}, health.Fail, "www.example.org"},
		{"unknown authority", Config{ServerName: "www.example.com"}, health.Fail, "unknown authority"},
		{"unverified", Config{Insecure: true}, health.Pass, ""},
		{"days enough", Config{Insecure: true, WarnDays: 7, MinDays: 3}, health.Pass, ""},
		{"warn days", Config{Insecure: true, WarnDays: 30, MinDays: 3}, health.Warn, "in 10 days"},
		{"min days", Config{Insecure: true, WarnDays: 30, MinDays: 14}, health.Fail, "in 10 days"},
	}
}

func TestTLS(t *testing.T) {
	eachFamily(t, func(t *testing.T, ip string) {
		cert, ca := certificate(t, "www.example.com", 10)
		l := tls.NewListener(listen(t, ip), &tls.Config{Certificates: []tls.Certificate{cert}})
		srv := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0)}
		go srv.Serve(l)
		defer srv.Close()
		checkRows(t, Config{Type: TLS, Address: l.Addr().String()}, append(tlsRows(ca), row{
			"talk", Config{Insecure: true, Send: "GET / HTTP/1.0\r\n\r\n", Expect: "404 Not Found"}, health.Pass, "answered"}))
		checkRows(t, Config{Type: HTTP, URL: "https://" + l.Addr().String() + "/", Status: []string{"404"}}, append(tlsRows(ca), row{
			"name from host", Config{CAFile: ca, Host: "www.example.com"}, health.Pass, "HTTP 404"}))
	})
	if _, err := New(Config{Type: TLS, Address: "192.0.2.1:1", CAFile: "/nonexistent"}); err == nil || !strings.HasPrefix(err.Error(), "ca-file: ") {
		t.Errorf("missing CA file: %v", err)
	}
}

func TestGRPC(t *testing.T) {
	eachFamily(t, func(t *testing.T, ip string) {
		hs := grpchealth.NewServer()
		hs.SetServingStatus("ill", healthpb.HealthCheckResponse_NOT_SERVING)
		l, bare := listen(t, ip), listen(t, ip)
		srv, none := grpc.NewServer(), grpc.NewServer()
		healthpb.RegisterHealthServer(srv, hs)
		go srv.Serve(l)
		go none.Serve(bare)
		defer srv.Stop()
		defer none.Stop()
		checkRows(t, Config{Type: GRPC, Address: l.Addr().String()}, []row{
			{"server", Config{Source: ip}, health.Pass, "SERVING"},
			{"service", Config{Service: "ill"}, health.Fail, "NOT_SERVING"},
			{"unknown service", Config{Service: "what"}, health.Fail, "NotFound"},
			{"no health", Config{Address: bare.Addr().String()}, health.Fail, "no grpc.health.v1"},
		})
		cert, ca := certificate(t, "www.example.com", 10)
		sl := listen(t, ip)
		secure := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&cert)))
		healthpb.RegisterHealthServer(secure, hs)
		go secure.Serve(sl)
		defer secure.Stop()
		checkRows(t, Config{Type: GRPC, TLS: true, Address: sl.Addr().String()}, tlsRows(ca))
	})
}

func TestDNS(t *testing.T) {
	eachFamily(t, func(t *testing.T, ip string) {
		handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			m := new(dns.Msg).SetReply(q)
			m.Authoritative = true
			switch q.Question[0].Name {
			case "www.example.com.":
				rr, _ := dns.NewRR("www.example.com. 60 IN A 192.0.2.80")
				m.Answer = append(m.Answer, rr)
			case "lies.example.com.": // a reply to another question, then one with another identifier
				other := m.Copy()
				other.Question[0].Name = "other.example.com."
				w.WriteMsg(other)
				other = m.Copy()
				other.Id++
				w.WriteMsg(other)
			default:
				m.Rcode = dns.RcodeNameError
			}
			w.WriteMsg(m)
		})
		pc, err := net.ListenPacket("udp", net.JoinHostPort(ip, "0"))
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", pc.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*dns.Server{{PacketConn: pc, Handler: handler}, {Listener: l, Handler: handler}} {
			go s.ActivateAndServe()
			defer s.Shutdown()
		}
		for _, transport := range []string{"udp", "tcp"} {
			checkRows(t, Config{Type: DNS, Address: l.Addr().String(), Query: "www.example.com", Transport: transport}, []row{
				{"plain", Config{}, health.Pass, "NOERROR, 1 answers"},
				{"answer", Config{Answer: "192.0.2.80"}, health.Pass, ""},
				{"the name is no answer", Config{Answer: "example"}, health.Fail, `none has "example"`},
				{"flag", Config{Flags: []string{"aa"}}, health.Pass, ""},
				{"flags", Config{Flags: []string{"AA", "ra"}}, health.Fail, "without flag ra"},
				{"rcode", Config{Query: "no.example.com"}, health.Fail, "NXDOMAIN, want NOERROR"},
				{"wanted rcode", Config{Query: "no.example.com", RCode: "nxdomain"}, health.Pass, "NXDOMAIN"},
				{"lies", Config{Query: "lies.example.com", QType: "AAAA"}, health.Pass, "NOERROR, 0 answers"},
				{"slow", Config{MaxLatency: 1}, health.Warn, "slower"},
			})
		}
	})
}
