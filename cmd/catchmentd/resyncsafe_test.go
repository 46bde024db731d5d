package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/lab/sandbox"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/server/resync/checkpoint"
)

// lone is a daemon, LON, to which the test speaks as other POPs.
type lone struct {
	*pair
	client netip.Addr // whom probes would go to
	listen string
}

// newLone starts it: of each POP it keeps three flows, for a second.
func newLone(t *testing.T) *lone {
	w := newWorld(t)
	l := &lone{pair: &pair{world: w, vip: netip.AddrFrom4([4]byte{192, 0, 2, byte(w.n)})}}
	l.client, l.listen = netip.AddrFrom4([4]byte{203, 0, 113, byte(w.n)}), fmt.Sprintf("%s:9792", w.us4)
	if err := sandbox.Address(l.client); err != nil {
		t.Fatal(err)
	}
	origin := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Cache-Control", "max-age=3600")
		out.Header().Set("Etag", `"version-1"`)
		http.ServeContent(out, r, "", time.Unix(1e9, 0), strings.NewReader(strings.Repeat("x", 16<<20)))
	}))
	t.Cleanup(origin.Close)
	l.certificates("LON", "FRA", "EVE")
	w.write("secret", strings.Repeat("0123456789abcdef", 4))
	w.sections["fleet"] = fmt.Sprintf(`{secret-file: %s, poll: 1s, peers: [{pop: FRA, url: "http://%s:9799/"}]}`, w.file("secret"), w.us4)
	w.sections["cache"] = fmt.Sprintf(`{listen: ["%s:8080"], store: {ram: 16MiB, disk: %s, size: 256MiB}, sites: [{name: www, hosts: [www.example.com], upstream: {origins: [{url: "%s"}]}}]}`, l.vip, w.file("store"), origin.URL)
	w.sections["resync"] = fmt.Sprintf(`{listen: "%s", interval: 100ms, flows: 3, keep: 1s, tls: {certificate: %s, key: %s, ca: %s}}`, l.listen, w.file("LON.pem"), w.file("LON.key"), w.file("ca.pem"))
	w.configure(l.service())
	w.up("web")
	w.start(nil).says("msg=ready")
	l.here = w.client()
	l.resyncs(l.here, "LON announces", func(s api.ResyncStatus) bool { return slices.Contains(s.Announced, l.vip.String()) })
	return l
}

// taped is a connection of which all that is written is kept.
type taped struct {
	net.Conn
	mu   sync.Mutex
	said []byte
}

func (c *taped) Write(b []byte) (int, error) {
	c.mu.Lock()
	c.said = append(c.said, b...)
	c.mu.Unlock()
	return c.Conn.Write(b)
}

// say connects with the certificate in folder of a POP and says b. What is
// wrong with the certificate only the daemon may notice.
func (l *lone) say(cert string, b []byte) *taped {
	l.t.Helper()
	pair, err := tls.LoadX509KeyPair(l.file(cert+".pem"), l.file(cert+".key"))
	if err != nil {
		l.t.Fatal(err)
	}
	raw, err := net.Dial("tcp", l.listen)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { raw.Close() })
	tape := &taped{Conn: raw}
	text, err := os.ReadFile(l.file("ca.pem"))
	if err != nil {
		l.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	c := tls.Client(tape, &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, RootCAs: roots})
	if err := c.Handshake(); err != nil {
		l.t.Fatal(err)
	}
	c.Write(b)                // may fail: it was refused meanwhile
	go io.Copy(io.Discard, c) // an alert
	return tape
}

// flow is one of a client at a port, from a VIP, whose time stamps are known.
func (l *lone) flow(port uint16, vip netip.Addr) checkpoint.Flow {
	return checkpoint.Flow{Client: netip.AddrPortFrom(l.client, port), VIP: netip.AddrPortFrom(vip, 8080), Offset: 1 << 20, Rate: 1e6, RTT: 20 * time.Millisecond, Stamp: 1 << 30}
}

// probed collects the client's ports to which any segment goes.
func (l *lone) probed() (has func(port uint16) bool, all func() []uint16) {
	l.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		l.t.Fatal(err)
	}
	unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 20_000})
	var mu sync.Mutex
	ports, stop := map[uint16]bool{}, make(chan struct{})
	var life sync.WaitGroup
	life.Go(func() {
		defer unix.Close(fd)
		for b := make([]byte, 1<<16); ; {
			select {
			case <-stop:
				return
			default:
			}
			n, _, err := unix.Recvfrom(fd, b, 0)
			if err == nil && n >= 40 && [4]byte(b[16:20]) == l.client.As4() {
				mu.Lock()
				ports[binary.BigEndian.Uint16(b[22:])] = true
				mu.Unlock()
			}
		}
	})
	l.t.Cleanup(func() { close(stop); life.Wait() })
	return func(port uint16) bool {
			mu.Lock()
			defer mu.Unlock()
			return ports[port]
		}, func() (out []uint16) {
			mu.Lock()
			defer mu.Unlock()
			for p := range ports {
				out = append(out, p)
			}
			slices.Sort(out)
			return out
		}
}

// TestResyncRefuses: what is forged, of no POP of the fleet, in our own name,
// of foreign addresses, too much, out of range, replayed or old is refused and
// counted, and no segment goes out for it; one that is right is probed.
func TestResyncRefuses(t *testing.T) {
	l := newLone(t)
	// An authority of the same name that is another.
	other, err := core.OpenCA(l.file("mallory"), "lab")
	if err != nil {
		t.Fatal(err)
	}
	key, text, err := core.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := other.Issue(key.Public(), core.Subject{Name: "FRA"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	l.write("forged.pem", string(cert))
	l.write("forged.key", string(text))
	has, all := l.probed()
	words := func(flows ...checkpoint.Flow) []byte {
		e := checkpoint.NewEncoder()
		return e.Beat(e.Append(nil, flows))
	}
	status := func(what string, ok func(api.ResyncStatus) bool) { t.Helper(); l.resyncs(l.here, what, ok) }
	fra := func(s *api.ResyncStatus) (p api.ResyncPOP) {
		for _, x := range s.POPs {
			if x.POP == "FRA" {
				p = x
			}
		}
		return p
	}
	for i, cert := range []string{"forged", "EVE", "LON"} {
		l.say(cert, words(l.flow(uint16(1+i), l.vip)))
		status(cert+" is refused", func(s api.ResyncStatus) bool { return s.Refused == uint64(1+i) && fra(&s).Known == 0 })
	}
	l.say("FRA", append(words(), 4, 3 /* a flow */, 1, 77 /* of a VIP that there is not */, 0))
	status("what is out of range is refused", func(s api.ResyncStatus) bool { p := fra(&s); return p.Broken == 1 && !p.Talking })

	right := l.say("FRA", words(l.flow(10, netip.MustParseAddr("198.51.100.1")), l.flow(11, l.vip), l.flow(12, l.vip), l.flow(13, l.vip), l.flow(14, l.vip), l.flow(15, l.vip)))
	status("of six flows three are kept", func(s api.ResyncStatus) bool {
		p := fra(&s)
		return p.Known == 3 && p.Foreign == 1 && p.Full == 2
	})
	status("FRA is silent and its clients are asked", func(api.ResyncStatus) bool { return has(11) && has(12) && has(13) })
	metrics := l.scrape()
	for _, line := range []string{
		"catchment_resync_connections_refused_total 3", `catchment_resync_refused_total{pop="FRA",reason="foreign"} 1`,
		`catchment_resync_refused_total{pop="FRA",reason="full"} 2`, `catchment_resync_refused_total{pop="FRA",reason="broken"} 1`, "catchment_resync_doubts_total 1",
	} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	right.Close()
	status("what FRA said has expired", func(s api.ResyncStatus) bool { return s.Expired == 3 && fra(&s).Known == 0 })

	again, err := net.Dial("tcp", l.listen)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	go io.Copy(io.Discard, again)
	right.mu.Lock()
	again.Write(right.said)
	right.mu.Unlock()
	status("what FRA said is refused when it is said again", func(s api.ResyncStatus) bool { return s.Refused == 4 && fra(&s).Known == 0 })
	if got := all(); !slices.Equal(got, []uint16{11, 12, 13}) {
		t.Errorf("segments went to the ports %v", got)
	}
}

// TestResyncBound: clients that open many flows make nobody keep more of them
// than the bound.
func TestResyncBound(t *testing.T) {
	l := newLone(t)
	for range 6 {
		resp := l.get(8080, 0)
		if _, err := io.ReadFull(resp.Body, make([]byte, 1<<20)); err != nil {
			t.Fatal(resp.Status, err)
		}
	}
	l.resyncs(l.here, "three are told of", func(s api.ResyncStatus) bool { return s.Flows == 3 && s.LeftOut > 0 })
	if n := strings.Count(l.scrape(), "catchment_resync_flows 3\n"); n != 1 {
		t.Errorf("the metrics say otherwise")
	}
}
