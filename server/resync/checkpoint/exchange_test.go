package checkpoint

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// authority issues certificates of POPs.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	a := &authority{cert, key, x509.NewCertPool()}
	a.pool.AddCert(cert)
	return a
}

func (a *authority) config(t *testing.T, pop string) func() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: pop}, NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return func() (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: a.pool, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert}, nil
	}
}

func name(s tls.ConnectionState) (string, error) {
	if len(s.VerifiedChains) == 0 {
		return "", errors.New("not verified")
	}
	return s.PeerCertificates[0].Subject.CommonName, nil
}

// node is a POP of a test.
type node struct {
	book  *Book
	addr  string
	x     *Exchange
	log   lockedBuffer
	flows atomic.Pointer[[]Flow]
	peers atomic.Pointer[[]Peer]
	stop  func()
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func startNode(t *testing.T, a *authority, pop string) *node {
	return startNodeWith(t, a.config(t, pop), pop, 0)
}

func startNodeWith(t *testing.T, conf func() (*tls.Config, error), pop string, recheck time.Duration) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &node{book: NewBook(Options{VIP: ours}), addr: l.Addr().String()}
	n.flows.Store(new([]Flow))
	n.peers.Store(new([]Peer))
	n.x = NewExchange(ExchangeOptions{Book: n.book, Log: slog.New(slog.NewTextHandler(&n.log, nil)), Listener: l, Server: conf, Client: conf, Name: name,
		Flows: func() []Flow { return *n.flows.Load() }, Peers: func() []Peer { return *n.peers.Load() }, Every: 20 * time.Millisecond, Recheck: recheck})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.x.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s: %v", pop, err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for stop := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(stop) {
			t.Fatal(what)
		}
	}
}

func clients(n int) []Flow {
	var out []Flow
	for i := range n {
		out = append(out, Flow{Client: netip.AddrPortFrom(netip.MustParseAddr("203.0.113.9"), uint16(i+1)), VIP: vip4, Object: object(1), Offset: 1 << 20})
	}
	return out
}

// TestExchange: what POPs know of each other, through starts, ends and drains.
func TestExchange(t *testing.T) {
	a := newAuthority(t)
	lon, fra := startNode(t, a, "LON"), startNode(t, a, "FRA")
	flows := clients(100)
	lon.flows.Store(&flows)
	lon.peers.Store(&[]Peer{{"FRA", fra.addr}})
	eventually(t, "FRA hears of LON's flows", func() bool { return len(fra.book.Flows("LON", time.Now())) == 100 })
	fewer := clients(40)
	lon.flows.Store(&fewer)
	eventually(t, "FRA hears that some have ended", func() bool { return len(fra.book.Flows("LON", time.Now())) == 40 })
	lon.x.Drain()
	eventually(t, "FRA hears of the drain", func() bool { return !fra.book.POPs()[0].Drain.IsZero() })
	lon.stop()
	eventually(t, "FRA notices that LON is gone", func() bool { return !fra.book.POPs()[0].Talking })
	if n := len(fra.book.Flows("LON", time.Now())); n != 40 {
		t.Errorf("%d flows stay", n)
	}
	if len(lon.book.POPs()) != 0 {
		t.Errorf("LON has heard of %+v", lon.book.POPs())
	}
}

// TestExchangeRefuses: whoever has no certificate of the authority says
// nothing, and a POP that is another than it should be is told nothing.
func TestExchangeRefuses(t *testing.T) {
	a := newAuthority(t)
	lon, fra := startNode(t, a, "LON"), startNode(t, a, "FRA")
	mallory := startNode(t, newAuthority(t), "LON")
	flows := clients(3)
	lon.flows.Store(&flows)
	mallory.flows.Store(&flows)
	lon.peers.Store(&[]Peer{{"AMS", fra.addr}})
	mallory.peers.Store(&[]Peer{{"FRA", fra.addr}})
	eventually(t, "LON sees that FRA is not AMS", func() bool { return strings.Contains(lon.log.String(), "it is FRA, not AMS") })
	eventually(t, "FRA refuses who is not of its authority", func() bool {
		return strings.Contains(fra.log.String(), "bad certificate") || strings.Contains(fra.log.String(), "unknown authority")
	})
	if p := fra.book.POPs(); len(p) != 0 {
		t.Errorf("FRA has heard %+v", p)
	}
	if fra.x.Refused() == 0 {
		t.Error("it is not counted")
	}
	c, err := net.Dial("tcp", fra.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte(preface))
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	c.Read(make([]byte, 100)) // an alert
	if _, err := c.Read(make([]byte, 100)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who speaks no TLS is answered: %v", err)
	}
}

// TestRevoked: a POP whose certificate is no good any more is not heard any more
// and told nothing more, though its connections are there; one that calls again
// and again fills no log.
func TestRevoked(t *testing.T) {
	a := newAuthority(t)
	lon := startNode(t, a, "LON")
	var revoked atomic.Bool
	own := a.config(t, "FRA")
	conf := func() (*tls.Config, error) {
		c, err := own()
		c.VerifyConnection = func(tls.ConnectionState) error {
			if revoked.Load() {
				return errors.New("revoked")
			}
			return nil
		}
		return c, err
	}
	fra := startNodeWith(t, conf, "FRA", 20*time.Millisecond)
	flows := clients(3)
	for _, n := range []*node{lon, fra} {
		n.flows.Store(&flows)
	}
	lon.peers.Store(&[]Peer{{"FRA", fra.addr}})
	fra.peers.Store(&[]Peer{{"LON", lon.addr}})
	eventually(t, "they hear each other", func() bool {
		return len(fra.book.Flows("LON", time.Now())) == 3 && len(lon.book.Flows("FRA", time.Now())) == 3
	})
	revoked.Store(true)
	eventually(t, "FRA hears LON no more, and tells it nothing", func() bool {
		heard, told := fra.book.POPs(), fra.x.Lines()
		return !heard[0].Talking && len(told) == 1 && !told[0].Up && told[0].Err != nil && strings.Contains(told[0].Err.Error(), "revoked")
	})
	refused := fra.x.Refused()
	for range 5 {
		c, err := net.Dial("tcp", fra.addr)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	eventually(t, "all are counted", func() bool { return fra.x.Refused() >= refused+5 })
	fra.stop()
	if n := strings.Count(fra.log.String(), "pop=\"\""); n != 1 {
		t.Errorf("%d lines on who was refused:\n%s", n, fra.log.String())
	}
}

// TestOneConnection: a POP that calls again and again has the room of one
// connection, and the last one counts.
func TestOneConnection(t *testing.T) {
	a := newAuthority(t)
	fra := startNode(t, a, "FRA")
	conf, err := a.config(t, "LON")()
	if err != nil {
		t.Fatal(err)
	}
	var last *tls.Conn
	for range 5 {
		if last, err = tls.Dial("tcp", fra.addr, conf); err != nil {
			t.Fatal(err)
		}
		defer last.Close()
		eventually(t, "FRA hears it, and no other", func() bool {
			fra.x.mu.Lock()
			defer fra.x.mu.Unlock()
			for c, pop := range fra.x.heard {
				if len(fra.x.heard) == 1 && pop == "LON" && c.RemoteAddr().String() == last.LocalAddr().String() {
					return true
				}
			}
			return false
		})
	}
	e := NewEncoder()
	if _, err := last.Write(e.Beat(e.Append(nil, clients(3)))); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what it says counts", func() bool { return len(fra.book.Flows("LON", time.Now())) == 3 })
}

// recorder keeps what a connection's one side has said.
type recorder struct {
	net.Conn
	said *lockedBuffer
}

func (r recorder) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.said.Write(b[:n])
	return n, err
}

// TestReplay: what a POP has said, said again by who has only heard it, is
// refused, counted, and changes nothing.
func TestReplay(t *testing.T) {
	a := newAuthority(t)
	lon, fra := startNode(t, a, "LON"), startNode(t, a, "FRA")
	flows := clients(3)
	lon.flows.Store(&flows)
	// Between the two sits somebody who hears everything.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var said lockedBuffer
	var life sync.WaitGroup
	defer life.Wait()
	life.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d, err := net.Dial("tcp", fra.addr)
			if err != nil {
				c.Close()
				return
			}
			life.Go(func() { io.Copy(c, d); c.Close() })
			life.Go(func() { io.Copy(d, recorder{c, &said}); d.Close() })
		}
	})
	lon.peers.Store(&[]Peer{{"FRA", l.Addr().String()}})
	eventually(t, "FRA has heard LON", func() bool { return len(fra.book.Flows("LON", time.Now())) == 3 })
	lon.stop()
	l.Close()
	eventually(t, "LON is not talking", func() bool { p := fra.book.POPs(); return len(p) == 1 && !p[0].Talking })
	before, refused := fra.book.POPs()[0], fra.x.Refused()
	c, err := net.Dial("tcp", fra.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte(said.String()))
	eventually(t, "it is refused", func() bool { return fra.x.Refused() == refused+1 })
	if after := fra.book.POPs()[0]; after.Heard != before.Heard || after.Talking || after.Counts != before.Counts {
		t.Errorf("%+v, was %+v", after, before)
	}
}

// TestStrangers: who opens connections and says nothing takes no room from
// POPs.
func TestStrangers(t *testing.T) {
	a := newAuthority(t)
	lon, fra := startNode(t, a, "LON"), startNode(t, a, "FRA")
	x := NewExchange(ExchangeOptions{})
	conn := func(ip byte) net.Conn { return &stranger{addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, ip)}} }
	for ip := range byte(40) {
		for i := range maxStrange + 1 {
			want := i < maxStrange && len(x.heard) < maxHeard/2
			if got := x.admit(conn(ip)); got != want {
				t.Fatalf("connection %d of %d: %v", i, ip, got)
			}
		}
	}
	var all []net.Conn
	for range maxStrange * 2 {
		c, err := net.Dial("tcp", fra.addr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	eventually(t, "some are refused", func() bool { return fra.x.Refused() >= maxStrange })
	for _, c := range all {
		c.Close()
	}
	flows := clients(3)
	lon.flows.Store(&flows)
	lon.peers.Store(&[]Peer{{"FRA", fra.addr}})
	eventually(t, "FRA hears LON when they are gone", func() bool { return len(fra.book.Flows("LON", time.Now())) == 3 })
}

// stranger is a connection of which only the address is asked.
type stranger struct {
	net.Conn
	addr net.Addr
}

func (s stranger) RemoteAddr() net.Addr { return s.addr }
