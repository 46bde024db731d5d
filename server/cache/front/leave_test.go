package front

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// TestLeave: connections to an address that is being left are let go, on both paths and by TLS; those to others are not; who
// comes anew is served; and afterwards all is as before.
func TestLeave(t *testing.T) {
	hit := &shelf{}
	hit.put(t, "/hit", pattern(100), nil)
	slow, begun := make(chan struct{}), make(chan struct{})
	s := start(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-slow
		}
		fmt.Fprint(w, "general")
	}, hit, func(o *Options) { o.Listen = append(o.Listen, Listen{Address: "127.0.0.2:0"}) })
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n" }
	type client struct {
		net.Conn
		br *bufio.Reader
	}
	open := func(addr string) client {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return client{c, bufio.NewReader(c)}
	}
	other := s.Addrs()[2].String()
	kept, idle, fresh, busy := open(other), open(s.addr), open(s.addr), open(s.addr)
	secure := s.dialTLS()
	for _, c := range []client{kept, idle, {secure, bufio.NewReader(secure)}} {
		if r := ask(t, c, c.br, get("/hit")+get("/general"), "GET", "GET"); r[0].Close || r[1].Close {
			t.Fatal("closed before anything is left")
		}
	}
	until(t, "every connection to be there", func() bool { return s.Stats().Open == 5 })
	io.WriteString(busy, get("/slow"))
	<-begun

	s.Leave([]netip.Addr{netip.MustParseAddr("127.0.0.1")})
	for name, c := range map[string]net.Conn{"idle": idle, "idle by TLS": secure} {
		if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%s: %d bytes, %v, want the end", name, n, err)
		}
	}
	close(slow)
	if r := ask(t, busy, busy.br, "", "GET"); body(r[0]) != "general" {
		t.Errorf("at work: %q", body(r[0]))
	}
	if n, err := busy.br.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("at work: %d bytes after it, %v, want the end", n, err)
	}
	for name, c := range map[string]client{"connected before": fresh, "new": open(s.addr)} {
		if r := ask(t, c, c.br, get("/hit"), "GET"); len(body(r[0])) != 100 || !r[0].Close {
			t.Errorf("%s: close %v", name, r[0].Close)
		}
	}
	c := open(s.addr)
	if r := ask(t, c, c.br, get("/general"), "GET"); body(r[0]) != "general" || !r[0].Close {
		t.Errorf("general path: close %v", r[0].Close)
	}
	h2 := &http.Client{Transport: &http.Transport{TLSClientConfig: s.tlsConfig(), ForceAttemptHTTP2: true}}
	defer h2.CloseIdleConnections()
	for range 2 { // each on a connection of its own
		resp, err := h2.Get("https://" + s.secure + "/hit")
		if err != nil || resp.ProtoMajor != 2 {
			t.Fatal(resp, err)
		}
		resp.Body.Close()
		until(t, "the connection of HTTP/2 to end", func() bool { return s.Stats().Open == 1 })
	}
	if r := ask(t, kept, kept.br, get("/hit")+get("/general"), "GET", "GET"); r[0].Close || r[1].Close {
		t.Error("a connection to another address is let go")
	}

	s.Leave(nil)
	c = open(s.addr)
	if r := ask(t, c, c.br, strings.Repeat(get("/hit"), 2)+get("/general"), "GET", "GET", "GET"); r[0].Close || r[1].Close || r[2].Close {
		t.Error("let go although nothing is left any more")
	}
}

// TestListenBeforeTheAddress: listening does not wait for an address that comes later, of either family.
func TestListenBeforeTheAddress(t *testing.T) {
	s := start(t, nil, nil, func(o *Options) {
		o.Listen = append(o.Listen, Listen{Address: "192.0.2.77:0"}, Listen{Address: "[2001:db8:77::1]:0"})
	})
	for i, want := range []string{"192.0.2.77", "2001:db8:77::1"} {
		if a := netip.MustParseAddrPort(s.Addrs()[2+i].String()); a.Addr().String() != want {
			t.Errorf("listens at %v, want %s", a, want)
		}
	}
}
