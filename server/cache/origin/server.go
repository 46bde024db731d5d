package origin

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// server is one Server with its connections and its health.
type server struct {
	Server
	base      *url.URL
	tier      Tier
	rank      int
	log       *slog.Logger
	limits    Timeouts
	forward   Forward
	identity  *Identity
	transport *http.Transport
	health    health

	busy               atomic.Int64
	requests, failures atomic.Uint64
}

// common is what the servers of an upstream share.
type common struct {
	timeouts Timeouts
	health   Health
	forward  Forward
	identity *Identity
	header   int64
	env      Env
	resolver *resolver
}

func newServer(s Server, tier Tier, rank int, c common) (*server, error) {
	base, err := s.parse()
	if err != nil {
		return nil, err
	}
	s.Name = s.name()
	def(&s.Weight, 1)
	def(&s.MaxIdle, 64)
	d := &dialer{resolver: c.resolver, dial: c.env.Dial, stagger: c.env.Stagger, timeout: c.timeouts.Connect}
	out := &server{
		Server: s, base: base, tier: tier, rank: rank, limits: c.timeouts,
		forward: c.forward, identity: c.identity,
		log:    c.env.Log.With("server", s.Name),
		health: health{cfg: c.health},
	}
	out.transport = &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        s.tlsConfig(base),
		TLSHandshakeTimeout:    c.timeouts.Connect,
		DisableCompression:     true,
		MaxIdleConns:           s.MaxIdle,
		MaxIdleConnsPerHost:    s.MaxIdle,
		MaxConnsPerHost:        s.MaxConns,
		IdleConnTimeout:        c.timeouts.KeepAlive,
		ResponseHeaderTimeout:  c.timeouts.FirstByte,
		MaxResponseHeaderBytes: c.header,
		WriteBufferSize:        4 << 10,
		ReadBufferSize:         64 << 10,
		Protocols:              s.protocols(base),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	return out, nil
}

func (s Server) protocols(base *url.URL) *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(s.Protocol != HTTP2)
	p.SetHTTP2(s.Protocol != HTTP1 && base.Scheme == "https")
	p.SetUnencryptedHTTP2(s.Protocol == HTTP2 && base.Scheme == "http")
	return &p
}

func (s Server) tlsConfig(base *url.URL) *tls.Config {
	name := s.TLS.ServerName
	if name == "" && s.Host != "" {
		name = (&url.URL{Host: s.Host}).Hostname()
	}
	if name == "" {
		name = base.Hostname()
	}
	return &tls.Config{
		ServerName:         name,
		RootCAs:            s.TLS.CAs,
		InsecureSkipVerify: s.TLS.Insecure,
		Certificates:       s.TLS.Certificates,
		MinVersion:         tls.VersionTLS12,
		ClientSessionCache: tls.NewLRUClientSessionCache(32),
	}
}

// url is the address of r at this server.
func (s *server) url(r *url.URL) *url.URL {
	u := &url.URL{
		Scheme: s.base.Scheme, Host: s.base.Host, Path: r.Path, RawPath: r.RawPath,
		RawQuery: r.RawQuery, ForceQuery: r.ForceQuery,
	}
	if prefix := strings.TrimSuffix(s.base.Path, "/"); prefix != "" && r.Path != "*" {
		u.Path = prefix + r.Path
		u.RawPath = strings.TrimSuffix(s.base.EscapedPath(), "/") + r.EscapedPath()
	}
	return u
}

// request makes what is sent.
func (s *server) request(ctx context.Context, r *Request) (*http.Request, error) {
	u := s.url(r.URL)
	if s.tier != Origin && u.Path == TellPath {
		return nil, &Error{Kind: KindProtocol, Upstream: s.Name, Err: errors.New("a client's request under the path of our own messages")}
	}
	out := (&http.Request{
		Method: r.Method, URL: u, Host: r.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: cleanRequest(r.Header),
	}).WithContext(ctx)
	if s.Host != "" {
		out.Host = s.Host
	}
	if out.Host == "" {
		out.Host = s.base.Host
	}
	r.send(out)
	if s.tier == Origin {
		forwardFields(out.Header, s.forward, r.client(), r.scheme(), r.Host)
	}
	delete(out.Header, hopField)
	if s.identity != nil {
		if s.identity.looped(r.Header) {
			return nil, s.identity.loopError("CDN-Loop names this node")
		}
		s.identity.sign(out.Header, s.forward.NoVia, r.proto())
		s.identity.mark(out.Header, r, s.tier, out.Host, u.RequestURI())
	}
	return out, nil
}

// attempt is what one round trip showed.
type attempt struct {
	from      From
	connected atomic.Bool
	head      bool // the response's header has come
	reused    bool
	addr      netip.AddrPort
}

// do asks once.
func (s *server) do(ctx context.Context, r *Request, upstream string) (*Response, *Error) {
	parent := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	a := &attempt{from: From{Tier: s.tier, Name: s.Name, Rank: s.rank}}
	// No longer than name, connection and handshake may take each.
	queue := time.AfterFunc(3*s.limits.Connect, func() {
		if !a.connected.Load() {
			cancel(errQueue)
		}
	})
	defer queue.Stop()
	trial := s.health.begin(time.Now())
	s.busy.Add(1)
	s.requests.Add(1)
	ended := func(err error) error { return s.ended(ctx, parent, a, trial, upstream, err) }

	req, err := s.request(httptrace.WithClientTrace(ctx, a.trace(r)), r)
	if err != nil {
		cancel(errDone)
		return nil, s.ended(ctx, parent, a, trial, upstream, err).(*Error)
	}
	sent := time.Now()
	resp, err := s.transport.RoundTrip(req)
	if err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body.Close()
		err = errors.New("switched protocols without being asked")
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		err = ended(err)
		cancel(errDone)
		return nil, err.(*Error)
	}
	return s.response(ctx, parent, cancel, r, resp, a, sent, ended), nil
}

// response makes ours of the library's.
func (s *server) response(ctx, parent context.Context, cancel context.CancelCauseFunc, r *Request, resp *http.Response,
	a *attempt, sent time.Time, ended func(error) error) *Response {
	cleanResponse(resp.Header)
	a.from.Reused, a.from.Addr, a.head = a.reused, a.addr, true
	out := &Response{
		Status: resp.StatusCode, Proto: resp.Proto, Header: resp.Header, Trailer: resp.Trailer,
		Length: resp.ContentLength, From: a.from, Sent: sent, Received: time.Now(),
		Framed: resp.ContentLength >= 0 || resp.ProtoMajor >= 2 || slices.Contains(resp.TransferEncoding, "chunked"),
	}
	if r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified {
		out.Length, out.Framed = 0, true
	}
	out.Body = &body{
		rc: resp.Body, ctx: ctx, cancel: cancel, limits: s.limits, left: out.Length,
		ended: func(err error) error {
			out.Trailer = resp.Trailer
			if err == nil && s.counted(resp.StatusCode) {
				err = errStatus
			}
			return ended(err)
		},
	}
	return out
}

var errStatus = errors.New("status counts as a failure")

func (s *server) counted(status int) bool {
	return slices.Contains(s.health.cfg.Statuses, status)
}

// ended notes how a request ended and gives err its type.
func (s *server) ended(ctx, parent context.Context, a *attempt, trial bool, upstream string, err error) error {
	s.busy.Add(-1)
	now := time.Now()
	if err == nil {
		s.health.good(trial, now)
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		connected := a.connected.Load()
		e = &Error{Kind: classify(err, connected, parent.Err() != nil), Err: err}
		if a.head && e.Kind == KindReset {
			e.Kind = KindTruncated
		}
	}
	e.Upstream, e.From = upstream, a.from
	if !e.Kind.failure() {
		s.health.forget(trial)
		return e
	}
	s.failures.Add(1)
	if s.health.bad(trial, e, now) {
		s.log.Warn("upstream: server is taken out", "upstream", upstream, "error", e)
	}
	if err == errStatus {
		return nil
	}
	return e
}

// trace watches the connection and hands 1xx responses on.
func (a *attempt) trace(r *Request) *httptrace.ClientTrace {
	t := &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			a.reused = info.Reused
			if info.Conn != nil && info.Conn.RemoteAddr() != nil {
				a.addr, _ = netip.ParseAddrPort(info.Conn.RemoteAddr().String())
			}
			a.connected.Store(true)
		},
	}
	if r.Interim != nil {
		t.Got1xxResponse = func(code int, h textproto.MIMEHeader) error {
			if code == http.StatusContinue || code == http.StatusSwitchingProtocols {
				return nil
			}
			header := http.Header(h).Clone()
			cleanResponse(header)
			r.Interim(code, header)
			return nil
		}
	}
	return t
}
