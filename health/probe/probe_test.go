package probe

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/lab/sandbox"
)

func TestMain(m *testing.M) { sandbox.Main(m) }

// vips are two addresses on the loopback device, one a family.
var vips = []string{"192.0.2.1", "2001:db8::1"}

func addVIPs(t *testing.T) {
	t.Helper()
	for _, a := range vips {
		if err := sandbox.Address(netip.MustParseAddr(a)); err != nil {
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

// Whatever hangs ends with its context, and that is a fail; but for a plugin,
// which is then what hangs.
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
			want := health.Fail
			if c.Type == Exec {
				want = health.CannotTell
			}
			if got.Outcome != want || got.Conclusive || !strings.Contains(got.Detail, "timeout") {
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
