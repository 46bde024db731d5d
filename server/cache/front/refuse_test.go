package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"golang.org/x/sys/unix"
)

// otherDevice is a device by which no connection of this host comes: for a
// Front that takes it for the loopback device, the clients of a test are not of
// this host.
func otherDevice(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 {
			return i.Name
		}
	}
	t.Skip("this host has the loopback device alone")
	return ""
}

// otherSource is an address of this host that is no loopback address.
func otherSource(t *testing.T) netip.Addr {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		if p, err := netip.ParsePrefix(x.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			return p.Addr()
		}
	}
	t.Skip("this host has loopback addresses alone")
	return netip.Addr{}
}

// freePort is an address with a port that nobody has there.
func freePort(t *testing.T, host string) string {
	t.Helper()
	ln, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// served asks for something on a connection of its own, from an address of this
// host.
func served(addr string, from netip.Addr) error {
	d := net.Dialer{Timeout: 10 * time.Second}
	if from.IsValid() {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))
	}
	c, err := d.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	return asked(c)
}

// asked asks on a connection.
func asked(c net.Conn) error {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := fmt.Fprint(c, "GET /x HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return err
}

// TestRefuse: at an address that is refused who is elsewhere is refused, by the
// kernel where it can; who is connected, and who comes to another address, is
// served; and when it is over everybody is.
func TestRefuse(t *testing.T) {
	const host, other = "127.66.1.1", "127.66.1.2"
	elsewhere := otherSource(t)
	for name, tc := range map[string]struct {
		listen func(t *testing.T) Listen
		kernel bool
	}{
		"an address":   {func(t *testing.T) Listen { return Listen{Address: freePort(t, host)} }, true},
		"any address":  {func(t *testing.T) Listen { return Listen{Address: "0.0.0.0:0"} }, false},
		"a port taken": {func(t *testing.T) Listen { return Listen{Address: host + ":0"} }, false},
		"inherited": {func(t *testing.T) Listen {
			ln, err := net.Listen("tcp", host+":0")
			if err != nil {
				t.Fatal(err)
			}
			return Listen{Listener: ln.(*net.TCPListener)}
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var second string
			s := start(t, nil, nil, func(o *Options) {
				second = freePort(t, other)
				o.Listen = append(o.Listen, tc.listen(t), Listen{Address: second})
			})
			addr := s.Addrs()[2].String()
			if name == "any address" {
				addr = host + addr[strings.LastIndex(addr, ":"):]
			}
			if tc.kernel {
				s.inside = otherDevice(t)
			}
			want := syscall.ECONNRESET
			if tc.kernel {
				want = syscall.ECONNREFUSED
			}
			kept, err := net.Dial("tcp", addr)
			if err == nil {
				err = asked(kept)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer kept.Close()
			for range 3 {
				s.Refuse([]netip.Addr{netip.MustParseAddr(host)})
				if err := served(addr, elsewhere); !errors.Is(err, want) {
					t.Errorf("refused: %v, want %v", err, want)
				}
				if err := served(second, elsewhere); err != nil {
					t.Errorf("another address: %v", err)
				}
				if err := asked(kept); err != nil {
					t.Errorf("connected before: %v", err)
				}
				if err := served(addr, netip.Addr{}); !tc.kernel && err != nil {
					t.Errorf("from this host: %v", err)
				}
				s.Refuse(nil)
				if err := served(addr, elsewhere); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			}
			if n, want := s.Stats().RefusedLeft, map[bool]uint64{true: 0, false: 3}[tc.kernel]; n != want {
				t.Errorf("%d counted, want %d", n, want)
			}
		})
	}
}

// TestRefuseNotThisHost: while others are refused, and when that begins again
// and ends, who is on this host always finds somebody.
func TestRefuseNotThisHost(t *testing.T) {
	const host = "127.66.2.1"
	addr := freePort(t, host)
	s := start(t, nil, nil, func(o *Options) { o.Listen = append(o.Listen, Listen{Address: addr}) })
	refused := []netip.Addr{netip.MustParseAddr(host)}
	s.Refuse(refused)
	if !s.ports[2].door.shut() || s.ports[2].door.resets.Load() {
		t.Fatal("the kernel does not refuse")
	}
	stop := make(chan struct{})
	var asking sync.WaitGroup
	asking.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := served(addr, netip.Addr{}); err != nil {
				t.Errorf("ask %d: %v", i, err)
				return
			}
		}
	})
	for range 50 {
		for _, addrs := range [][]netip.Addr{nil, refused} {
			s.Refuse(addrs)
			if err := served(addr, netip.Addr{}); err != nil {
				t.Errorf("with %v refused: %v", addrs, err)
			}
		}
	}
	close(stop)
	asking.Wait()
	s.Refuse(nil)
}

// TestRefuseAgainAndAgain: who has been let in after a refusal is served,
// however often it was begun and ended.
func TestRefuseAgainAndAgain(t *testing.T) {
	const host = "127.66.3.1"
	addr := freePort(t, host)
	s := start(t, nil, nil, func(o *Options) { o.Listen = append(o.Listen, Listen{Address: addr}) })
	s.inside = otherDevice(t)
	var asking sync.WaitGroup
	defer asking.Wait()
	for i := range 200 {
		s.Refuse([]netip.Addr{netip.MustParseAddr(host)})
		if i%3 == 0 {
			asking.Go(func() { _ = served(addr, netip.Addr{}) }) // comes in between, or does not
		}
		s.Refuse(nil)
		if i%10 == 0 {
			if err := served(addr, netip.Addr{}); err != nil {
				t.Fatalf("turn %d: %v", i, err)
			}
		}
	}
}

// TestRefuseServesWhoWaits: connections that wait to be accepted when the
// refusal begins are served; and what is refused before it serves stays so.
func TestRefuseServesWhoWaits(t *testing.T) {
	const host = "127.66.4.1"
	addr := freePort(t, host)
	general := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "here") })
	f, err := New(Options{Listen: []Listen{{Address: addr}}}, general, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	f.inside = otherDevice(t)
	refused := []netip.Addr{netip.MustParseAddr(host)}
	f.Refuse(refused)
	if err := f.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := served(addr, netip.Addr{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("refused before it listens: %v", err)
	}
	f.Refuse(nil)
	var waiting []net.Conn
	for range 5 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		waiting = append(waiting, c)
	}
	f.Refuse(refused)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx) }()
	for i, c := range waiting {
		if err := asked(c); err != nil {
			t.Errorf("client %d that waits: %v", i, err)
		}
	}
	if err := served(addr, netip.Addr{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("who comes later: %v", err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestDrainWhileRefused: a server that refuses ends as any other.
func TestDrainWhileRefused(t *testing.T) {
	const host = "127.66.5.1"
	s := start(t, nil, nil, func(o *Options) { o.Listen = append(o.Listen, Listen{Address: freePort(t, host)}) })
	s.Refuse([]netip.Addr{netip.MustParseAddr(host)})
	if _, err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Refuse(nil)
	if err := served(s.Addrs()[2].String(), netip.Addr{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("after the drain: %v", err)
	}
	s.done <- <-s.done // it ends by itself
}

// TestRefuseForGood: a listener that cannot listen again ends Serve with an
// error, for whoever runs it to start another.
func TestRefuseForGood(t *testing.T) {
	const host = "127.66.6.1"
	s := start(t, nil, nil, func(o *Options) { o.Listen = append(o.Listen, Listen{Address: freePort(t, host)}) })
	s.Refuse([]netip.Addr{netip.MustParseAddr(host)})
	device := otherDevice(t)
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return control(raw, func(fd int) error { return unix.BindToDevice(fd, device) })
	}}
	thief, err := lc.Listen(t.Context(), "tcp", s.Addrs()[2].String())
	if err != nil {
		t.Fatal(err)
	}
	defer thief.Close()
	s.Refuse(nil)
	if err := <-s.done; err == nil || !strings.Contains(err.Error(), "again") {
		t.Errorf("Serve: %v", err)
	}
	s.done <- nil
}

// TestRefuseH3: a client of HTTP/3 is told at once, by a socket that has the
// address alone and by one that has all; one of this host is served.
func TestRefuseH3(t *testing.T) {
	const host = "127.66.7.1"
	elsewhere := otherSource(t)
	for name, listen := range map[string]string{"an address": host, "any address": "0.0.0.0"} {
		t.Run(name, func(t *testing.T) {
			s := start(t, nil, nil, func(o *Options) {
				o.H3 = true
				o.Listen = append(o.Listen, Listen{Address: listen + ":0", TLS: true, H3: true})
			})
			addr := s.Addrs()[2].String()
			addr = host + addr[strings.LastIndex(addr, ":"):]
			get := func(from netip.Addr) error {
				pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)))
				if err != nil {
					t.Fatal(err)
				}
				tr := &quic.Transport{Conn: pc}
				h := &http3.Transport{TLSClientConfig: s.tlsConfig()}
				h.Dial = func(ctx context.Context, _ string, conf *tls.Config, q *quic.Config) (*quic.Conn, error) {
					return tr.Dial(ctx, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)), conf, q)
				}
				defer func() { h.Close(); tr.Close(); pc.Close() }()
				req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+addr+"/x", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := h.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
				}
				return err
			}
			loopback := netip.MustParseAddr("127.0.0.1")
			if err := get(elsewhere); err != nil {
				t.Fatal(err)
			}
			s.Refuse([]netip.Addr{netip.MustParseAddr(host)})
			var why *quic.TransportError
			if err := get(elsewhere); err == nil || listen == host && !(errors.As(err, &why) && why.ErrorCode == quic.ConnectionRefused) {
				t.Errorf("refused: %v", err)
			}
			if err := get(loopback); err != nil {
				t.Errorf("from this host: %v", err)
			}
			if n := s.Stats().RefusedLeft; n == 0 { // a client may ask by two packets, and again
				t.Error("not counted")
			}
			s.Refuse(nil)
			if err := get(elsewhere); err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}
