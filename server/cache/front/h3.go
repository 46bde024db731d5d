package front

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// h3Server is HTTP/3 on all UDP sockets of a Front.
type h3Server struct {
	front *Front
	conf  *tls.Config
	srv   *http3.Server
}

// prepareH3 makes the HTTP/3 server when a port wants one, and what Alt-Svc says (RFC 7838 §3).
func (f *Front) prepareH3() error {
	for _, p := range f.ports {
		if p.packet == nil {
			continue
		}
		u, ok := p.packet.LocalAddr().(*net.UDPAddr)
		if !ok {
			return fmt.Errorf("front: HTTP/3 on %s: not UDP", p.packet.LocalAddr())
		}
		p.altSvc = `h3=":` + strconv.Itoa(u.Port) + `"; ma=86400`
		p.altSvcLine = "Alt-Svc: " + p.altSvc + "\r\n"
		if f.h3 == nil {
			f.h3 = f.newH3()
		}
	}
	return nil
}

func (f *Front) newH3() *h3Server {
	l := &f.opts.Limits
	h := &h3Server{front: f, conf: http3.ConfigureTLSConfig(f.tlsConf)}
	h.srv = &http3.Server{
		Handler:        http.HandlerFunc(f.serveHTTP),
		TLSConfig:      h.conf,
		MaxHeaderBytes: l.HeadBytes,
		IdleTimeout:    max(l.IdleTime, 0),
		ConnContext:    h.register,
	}
	return h
}

// quicConfig are the limits as quic-go has them, of the socket with that address, and whether it takes clients. There is no 0-RTT: its
// requests can be replayed.
func (h *h3Server) quicConfig(local net.Addr) *quic.Config {
	l := &h.front.opts.Limits
	c := &quic.Config{
		HandshakeIdleTimeout: max(l.HandshakeTime, 0),
		MaxIdleTimeout:       max(l.IdleTime, 0),
		MaxIncomingStreams:   int64(l.Streams),
	}
	each := c.Clone()
	c.GetConfigForClient = func(who *quic.ClientInfo) (*quic.Config, error) {
		if h.front.refuses(addrPort(local).Addr(), addrPort(who.RemoteAddr).Addr()) {
			h.front.stats.refusedLeft.Add(1)
			return nil, errRefused
		}
		return each, nil
	}
	return c
}

// errRefused makes quic-go answer CONNECTION_REFUSED.
var errRefused = errors.New("front: the address is not for new connections")

// resetIDLength is how long connection IDs are where packets of unknown connections are answered: too long to be guessed, for who
// has one can ask for the token that ends the connection (RFC 9000 §21.11).
const resetIDLength = 8

// resetKey makes of a secret what all who share it know the tokens of all connections by.
func resetKey(secret []byte) (*quic.StatelessResetKey, error) {
	b, err := hkdf.Key(sha256.New, secret, nil, "catchment quic stateless reset 1", len(quic.StatelessResetKey{}))
	if err != nil {
		return nil, err
	}
	return (*quic.StatelessResetKey)(b), nil
}

// serve accepts QUIC connections on one socket until the server is closed.
func (h *h3Server) serve(pc net.PacketConn) error {
	tr := &quic.Transport{Conn: pc}
	defer pc.Close()
	if secret := h.front.opts.ResetSecret; len(secret) > 0 {
		key, err := resetKey(secret)
		if err != nil {
			return fmt.Errorf("front: HTTP/3 at %s: %w", pc.LocalAddr(), err)
		}
		tr.StatelessResetKey, tr.ConnectionIDLength = key, resetIDLength
	}
	defer tr.Close()
	ln, err := tr.Listen(h.conf, h.quicConfig(pc.LocalAddr()))
	if err != nil {
		return fmt.Errorf("front: HTTP/3 at %s: %w", pc.LocalAddr(), err)
	}
	defer ln.Close()
	err = h.srv.ServeListener(&quicDoor{ln, h.front})
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		err = nil
	}
	// Nobody new, but the connections live on this socket: it stays until they are gone.
	ln.Close()
	<-h.front.stop
	return err
}

// quicDoor lets in what the limits allow.
type quicDoor struct {
	*quic.Listener
	front *Front
}

// Accept gives the next admitted connection.
func (d *quicDoor) Accept(ctx context.Context) (*quic.Conn, error) {
	for {
		qc, err := d.Listener.Accept(ctx)
		if err != nil {
			return nil, err
		}
		f := d.front
		f.stats.accepted.Add(1)
		if f.refuses(addrPort(qc.LocalAddr()).Addr(), addrPort(qc.RemoteAddr()).Addr()) { // of a socket with several addresses
			f.stats.refusedLeft.Add(1)
			qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
			continue
		}
		o := f.reg.admit(addrPort(qc.RemoteAddr()).Addr())
		if o == overNone {
			return qc, nil
		}
		if o == overAll {
			f.stats.refusedAll.Add(1)
		} else {
			f.stats.refusedClient.Add(1)
		}
		qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "")
	}
}

// register makes the Conn of an admitted QUIC connection.
func (h *h3Server) register(ctx context.Context, qc *quic.Conn) context.Context {
	f := h.front
	c := &Conn{
		front: f, remote: addrPort(qc.RemoteAddr()), local: addrPort(qc.LocalAddr()), began: time.Now(), secure: true,
		closer: func() { qc.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "") },
	}
	c.proto.Store(&protoH3)
	f.stats.handshakes.Add(1)
	f.reg.add(c)
	context.AfterFunc(qc.Context(), c.finish)
	if f.closed.Load() {
		c.finish()
	}
	return context.WithValue(ctx, connKey{}, c)
}

func (h *h3Server) shutdown(ctx context.Context) error { return h.srv.Shutdown(ctx) }

func (h *h3Server) close() { h.srv.Close() }
