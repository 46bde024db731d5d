package probe

import (
	"context"
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
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	grpchealth "google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// vips are two addresses on the loopback device, one a family.
var vips = []string{"192.0.2.1", "2001:db8::1"}

func addVIPs(t *testing.T) {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range []string{"192.0.2.1/32", "2001:db8::1/128"} {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := netlink.AddrReplace(lo, addr); err != nil {
			t.Fatal(err)
		}
	}
}

// eachFamily runs a test with an address of either family.
func eachFamily(t *testing.T, f func(t *testing.T, ip string)) {
	addVIPs(t)
	for _, ip := range vips {
		t.Run(ip, func(t *testing.T) { f(t, ip) })
	}
}

func check(t *testing.T, timeout time.Duration, c Config) health.Result {
	t.Helper()
	checker, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return checker.Check(ctx)
}

// row is one question with the answer that is wanted.
type row struct {
	name   string
	config Config
	want   health.Outcome
	detail string // part of it
}

func checkRows(t *testing.T, base Config, rows []row) {
	t.Helper()
	for _, r := range rows {
		c := base
		merge(&c, r.config)
		got := check(t, 5*time.Second, c)
		if got.Outcome != r.want || !strings.Contains(got.Detail, r.detail) || got.Conclusive {
			t.Errorf("%s: %+v, want outcome %d, detail %q", r.name, got, r.want, r.detail)
		}
	}
}

func listen(t *testing.T, ip string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// closedPort returns an address where nobody listens.
func closedPort(t *testing.T, ip string) string {
	l := listen(t, ip)
	defer l.Close()
	return l.Addr().String()
}

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

func TestRefused(t *testing.T) {
	eachFamily(t, func(t *testing.T, ip string) {
		addr := closedPort(t, ip)
		configs := []Config{
			{Type: HTTP, URL: "http://" + addr + "/"},
			{Type: HTTP, URL: "https://" + addr + "/"},
			{Type: TCP, Address: addr},
			{Type: TLS, Address: addr},
			{Type: UDP, Address: addr, Send: "x"},
			{Type: DNS, Address: addr, Query: "example.com"},
			{Type: DNS, Address: addr, Query: "example.com", Transport: "tcp"},
			{Type: GRPC, Address: addr},
		}
		for _, c := range configs {
			got := check(t, 5*time.Second, c)
			if got.Outcome != health.Fail || !got.Conclusive || !strings.Contains(got.Detail, "connect "+addr) || !strings.Contains(got.Detail, "refused") {
				t.Errorf("%s: %+v", c.Target(), got)
			}
			c.Refused = "counted"
			if got := check(t, 5*time.Second, c); got.Outcome != health.Fail || got.Conclusive {
				t.Errorf("%s counted: %+v", c.Target(), got)
			}
		}
	})
}

// A refusal by another host may come from a filter: it is not conclusive.
func TestRefusedByAnother(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1": true, "::1": true, "198.51.100.7": false, "2001:db8:7::7": false} {
		err := &dialError{netip.AddrPortFrom(netip.MustParseAddr(addr), 80), syscall.ECONNREFUSED}
		if got := (dialer{}).judge(t.Context(), err); got.Conclusive != want || got.Outcome != health.Fail {
			t.Errorf("%s: %+v", addr, got)
		}
	}
}

// Whatever hangs ends with its context, and that is a fail.
func TestTimeouts(t *testing.T) {
	eachFamily(t, func(t *testing.T, ip string) {
		l := listen(t, ip) // accepts, never answers
		udp, err := net.ListenPacket("udp", net.JoinHostPort(ip, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		tcp := l.Addr().String()
		for _, c := range []Config{
			{Type: HTTP, URL: "http://" + tcp + "/"},
			{Type: HTTP, URL: "https://" + tcp + "/"},
			{Type: TCP, Address: tcp, Expect: "hello"},
			{Type: TLS, Address: tcp},
			{Type: GRPC, Address: tcp},
			{Type: UDP, Address: udp.LocalAddr().String(), Send: "x"},
			{Type: DNS, Address: udp.LocalAddr().String(), Query: "example.com"},
			{Type: DNS, Address: tcp, Query: "example.com", Transport: "tcp"},
			{Type: Exec, Command: []string{"sh", "-c", "sleep 60 & sleep 60"}},
		} {
			got := check(t, 50*time.Millisecond, c)
			if got.Outcome != health.Fail || got.Conclusive || !strings.Contains(got.Detail, "timeout") {
				t.Errorf("%s: %+v", c.Target(), got)
			}
		}
	})
}

func TestTCP(t *testing.T) {
	eachFamily(t, func(t *testing.T, ip string) {
		l := listen(t, ip)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					buf := make([]byte, 100)
					n, _ := c.Read(buf)
					fmt.Fprintf(c, "you said %s", buf[:n])
				}()
			}
		}()
		checkRows(t, Config{Type: TCP, Address: l.Addr().String()}, []row{
			{"connect", Config{}, health.Pass, "connected"},
			{"expect", Config{Send: "PING", Expect: "said PING"}, health.Pass, "answered"},
			{"wrong", Config{Send: "PING", Expect: "PONG"}, health.Fail, `want "PONG", got "you said PING"`},
			{"slow", Config{MaxLatency: 1}, health.Warn, "slower"},
		})
	})
}

func TestUDP(t *testing.T) {
	eachFamily(t, func(t *testing.T, ip string) {
		pc, err := net.ListenPacket("udp", net.JoinHostPort(ip, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		go func() {
			buf := make([]byte, 100)
			for {
				n, from, err := pc.ReadFrom(buf)
				if err != nil {
					return
				}
				pc.WriteTo(append([]byte("echo "), buf[:n]...), from)
			}
		}()
		checkRows(t, Config{Type: UDP, Address: pc.LocalAddr().String(), Send: "hi"}, []row{
			{"any", Config{}, health.Pass, "answered"},
			{"expect", Config{Expect: "echo hi", Source: ip, Device: "lo"}, health.Pass, "answered"},
		})
		c := Config{Type: UDP, Address: pc.LocalAddr().String(), Send: "hi", Expect: "no"}
		if got := check(t, 50*time.Millisecond, c); got.Outcome != health.Fail || !strings.Contains(got.Detail, `got "echo hi"`) {
			t.Errorf("%+v", got)
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

func TestICMP(t *testing.T) {
	for _, ping := range []bool{false, true} { // a new namespace allows nobody a ping socket
		if ping {
			if err := os.WriteFile("/proc/sys/net/ipv4/ping_group_range", []byte("0 0"), 0); err != nil {
				t.Fatal(err)
			}
		}
		eachFamily(t, func(t *testing.T, ip string) {
			checkRows(t, Config{Type: ICMP, Address: ip}, []row{
				{"plain", Config{}, health.Pass, "echo reply"},
				{"bound", Config{Source: ip, Device: "lo"}, health.Pass, "echo reply"},
				{"no such device", Config{Device: "eth99"}, health.CannotTell, "eth99"},
				{"slow", Config{MaxLatency: 1}, health.Warn, "slower"},
				{"nowhere", Config{Address: map[bool]string{true: "198.51.100.1", false: "2001:db8:1::1"}[ip == vips[0]]}, health.Fail, "unreachable"},
			})
		})
	}
	if err := os.WriteFile("/proc/sys/net/ipv4/icmp_echo_ignore_all", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile("/proc/sys/net/ipv4/icmp_echo_ignore_all", []byte("0"), 0)
	if got := check(t, 50*time.Millisecond, Config{Type: ICMP, Address: "127.0.0.1"}); got.Outcome != health.Fail || !strings.Contains(got.Detail, "timeout") {
		t.Errorf("no reply: %+v", got)
	}
}

func TestExec(t *testing.T) {
	sh := func(s string) []string { return []string{"sh", "-c", s} }
	checkRows(t, Config{Type: Exec, Label: Label{"web", "plugin"}}, []row{
		{"pass", Config{Command: sh("echo OK - fine '| time=1'; echo more")}, health.Pass, "OK - fine"},
		{"warn", Config{Command: sh("echo so so; exit 1")}, health.Warn, "so so"},
		{"fail", Config{Command: sh("echo bad; exit 2")}, health.Fail, "bad"},
		{"unknown", Config{Command: sh("echo what; exit 3")}, health.CannotTell, "exit status 3: what"},
		{"stderr", Config{Command: sh("echo oops >&2; exit 2")}, health.Fail, "oops"},
		{"killed", Config{Command: sh("kill -9 $$")}, health.CannotTell, "killed"},
		{"missing", Config{Command: []string{"/nonexistent/plugin"}}, health.CannotTell, "no such file"},
		{"environment", Config{Command: sh("echo $CATCHMENT_SERVICE $CATCHMENT_CHECK $X"), Env: []string{"X=y"}}, health.Pass, "web plugin y"},
		{"much output", Config{Command: sh("yes | head -c 300000")}, health.Pass, "y"},
		{"slow", Config{Command: sh(":"), MaxLatency: 1}, health.Warn, "slower"},
		{"a child keeps the pipe", Config{Command: sh("sleep 100 & echo done")}, health.Pass, "done"},
	})
	if got := check(t, 5*time.Second, Config{Type: Exec, Command: sh("echo OK '| time=1'")}); got.Detail != "OK" {
		t.Errorf("detail %q", got.Detail)
	}
}

// The whole process group is killed: nothing of a plugin stays.
func TestExecKillsGroup(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	got := check(t, 300*time.Millisecond, Config{Type: Exec, Command: []string{"sh", "-c", "sleep 60 & echo $! > " + pid + "; wait"}})
	if got.Outcome != health.Fail {
		t.Errorf("%+v", got)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the plugin's child still runs: %s", stat)
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drain")
	c := Config{Type: File, Path: path}
	inverted := Config{Type: File, Path: path, Invert: true}
	want := func(c Config, o health.Outcome, detail string) {
		t.Helper()
		got := check(t, time.Second, c)
		if got.Outcome != o || got.Conclusive != (o == health.Fail) || got.Detail != detail {
			t.Errorf("%+v, want outcome %d, detail %q", got, o, detail)
		}
	}
	want(c, health.Pass, path+" does not exist")
	want(inverted, health.Fail, path+" does not exist")
	if err := os.WriteFile(path, []byte("new fans, Ann\nline two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(c, health.Fail, path+": new fans, Ann")
	want(inverted, health.Pass, path+": new fans, Ann")
	want(Config{Type: File, Path: path + "/below"}, health.Pass, path+"/below does not exist")
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	want(Config{Type: File, Path: fifo}, health.Fail, fifo+" exists")
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if got := check(t, time.Second, Config{Type: File, Path: loop}); got.Outcome != health.CannotTell {
		t.Errorf("a link to itself: %+v", got)
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine(" a\tb\x1b[31m\xff\n"); got != "a b [31m?" {
		t.Errorf("%q", got)
	}
	if got := oneLine(strings.Repeat("é", 1000)); len(got) > maxDetail+3 || !strings.HasSuffix(got, "é...") {
		t.Errorf("%q", got)
	}
}

func FuzzParseEchoReply(f *testing.F) {
	to4, to6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, b := range [][]byte{echoRequest(to4, []byte("x")), echoRequest(to6, nil), {0x45}, append(make([]byte, 20), 0, 0, 0, 0)} {
		f.Add(b, false)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, b []byte, v6 bool) {
		payload, ok := parseEchoReply(b, v6)
		if ok && len(payload) > len(b)-echoHeader {
			t.Errorf("%d bytes of payload from %d", len(payload), len(b))
		}
	})
}

func TestParseEchoReply(t *testing.T) {
	header := append([]byte{0x46}, make([]byte, 23)...) // with options
	header[9] = 1
	reply := []byte{0, 0, 0, 0, 0, 1, 0, 1, 'x'}
	for _, tc := range []struct {
		b    []byte
		v6   bool
		want string
	}{
		{reply, false, "x"},
		{append(header, reply...), false, "x"},
		{append([]byte{129, 0, 0, 0, 0, 1, 0, 1}, 'y'), true, "y"},
		{reply, true, "-"},
		{reply[:7], false, "-"},
		{append([]byte{8}, reply[1:]...), false, "-"},
		{header[:10], false, "-"},
		{nil, false, "-"},
	} {
		got, ok := parseEchoReply(tc.b, tc.v6)
		if !ok {
			got = []byte("-")
		}
		if string(got) != tc.want {
			t.Errorf("%v: %q, want %q", tc.b, got, tc.want)
		}
	}
	// A packet with its right checksum sums up to zero.
	if s := checksum(echoRequest(netip.MustParseAddr("192.0.2.1"), []byte("odd"))); s != 0 {
		t.Errorf("checksum %x", s)
	}
}

// merge overwrites what o sets.
func merge(c *Config, o Config) {
	to, from := reflect.ValueOf(c).Elem(), reflect.ValueOf(o)
	for i := range from.NumField() {
		if !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
}
