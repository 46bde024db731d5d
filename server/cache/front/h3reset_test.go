package front

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// moving is a client's UDP socket whose route moves: what it sends goes to
// another address, and what comes from there seems to come from the first.
type moving struct {
	net.PacketConn
	first, second net.Addr
	moved         atomic.Bool
	gone          sync.WaitGroup // done with the first packet that goes to the second
	once          sync.Once
}

func (m *moving) WriteTo(p []byte, _ net.Addr) (int, error) {
	if !m.moved.Load() {
		return m.PacketConn.WriteTo(p, m.first)
	}
	n, err := m.PacketConn.WriteTo(p, m.second)
	m.once.Do(m.gone.Done)
	return n, err
}

func (m *moving) ReadFrom(p []byte) (int, net.Addr, error) {
	n, _, err := m.PacketConn.ReadFrom(p)
	return n, m.first, err
}

// TestH3Moves: a client of HTTP/3 whose packets come to another server than
// before hears at once that its connection is not there, if both share a
// secret; else its connection lives on, and does when its route is back.
func TestH3Moves(t *testing.T) {
	secret, other := []byte("0123456789abcdef0123456789abcdef"), []byte("another one of the same length..")
	for name, c := range map[string]struct {
		first, second []byte
		told          bool
	}{"the same secret": {secret, secret, true}, "different secrets": {secret, other, false}, "no secret": {nil, nil, false}, "a secret at the first alone": {secret, nil, false}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			with := func(secret []byte) *stand {
				return start(t, nil, nil, func(o *Options) {
					allProtocols(o)
					o.ResetSecret = secret
				})
			}
			s, second := with(c.first), with(c.second)
			pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			udp := func(s *stand) net.Addr {
				a, err := net.ResolveUDPAddr("udp4", s.secure)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			m := &moving{PacketConn: pc, first: udp(s), second: udp(second)}
			m.gone.Add(1)
			tr := &quic.Transport{Conn: m}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			var conn *quic.Conn
			h := &http3.Transport{TLSClientConfig: s.tlsConfig(), Dial: func(ctx context.Context, _ string, conf *tls.Config, q *quic.Config) (*quic.Conn, error) {
				q.KeepAlivePeriod = 50 * time.Millisecond // so that a client that waits sends, as browsers do
				conn, err = tr.Dial(ctx, m.first, conf, q)
				return conn, err
			}}
			defer func() { h.Close(); tr.Close(); pc.Close() }()
			get := func() (string, error) {
				req, err := http.NewRequestWithContext(ctx, "GET", "https://"+s.secure+"/x", nil)
				if err != nil {
					return "", err
				}
				resp, err := h.RoundTrip(req)
				if err != nil {
					return "", err
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				return string(b), err
			}
			if b, err := get(); b != "general GET /x" || err != nil {
				t.Fatalf("%q, %v", b, err)
			}
			m.moved.Store(true)
			if c.told {
				select {
				case <-conn.Context().Done():
				case <-ctx.Done():
				}
				if why := new(quic.StatelessResetError); !errors.As(context.Cause(conn.Context()), &why) {
					t.Errorf("the client hears %v", context.Cause(conn.Context()))
				}
				return
			}
			m.gone.Wait() // a packet has gone to the second
			m.moved.Store(false)
			before := conn
			if b, err := get(); b != "general GET /x" || err != nil || conn != before || conn.Context().Err() != nil {
				t.Errorf("back at the first: %q, %v, %v", b, err, conn.Context().Err())
			}
		})
	}
}

// TestResetKey: who has the same secret has the same key, and it is not the
// secret.
func TestResetKey(t *testing.T) {
	a, err := resetKey([]byte("0123456789abcdef0123456789abcdef"))
	b, _ := resetKey([]byte("0123456789abcdef0123456789abcdef"))
	c, _ := resetKey([]byte("0123456789abcdef0123456789abcdeF"))
	if err != nil || *a != *b || *a == *c || string(a[:]) == "0123456789abcdef0123456789abcdef" {
		t.Errorf("%x %x %x %v", *a, *b, *c, err)
	}
}
