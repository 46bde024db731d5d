package api

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options are what a Server needs.
type Options struct {
	Socket   string       // path of the Unix socket
	Mode     fs.FileMode  // of the socket; 0: 0660
	Group    string       // name or number: owns the socket and may change things; empty: nobody more
	Listen   string       // host:port of the same over TCP with mutual TLS; empty: none
	TLS      *TLS         // of Listen and of the gRPC server's TCP listener; nil: none
	Page     http.Handler // what Listen serves beside /v1/; nil: nothing
	Backend  Backend
	Core     Core     // nil: the POP has none
	Ingress  Ingress  // nil: the POP tells no ingress routers what to use
	Cache    Cache    // nil: the POP has no cache server
	Resync   Resync   // nil: flows do not go on elsewhere
	DNS      DNS      // nil: there is no DNS server
	Slowness Slowness // nil: client networks are not measured
	Cost     Cost     // nil: no books are kept of what traffic costs
	Logger   *slog.Logger
	// PlainChange lets those change things who connect to the gRPC server by
	// TCP without TLS.
	PlainChange bool
}

// Server answers on the control socket, and on TCP where that is configured.
type Server struct {
	opt   Options
	group int           // number of opt.Group; 0: none
	certs *certificates // nil: no TLS
	ready chan struct{}
	addr  net.Addr // of Listen, once ready
}

// New makes a Server; Run starts it.
func New(o Options) (*Server, error) {
	if o.Socket == "" {
		return nil, errors.New("control API: no path for the socket (api.socket)")
	}
	if o.Mode == 0 {
		o.Mode = 0o660
	}
	s := &Server{opt: o, ready: make(chan struct{})}
	var err error
	if o.Group != "" {
		if s.group, err = groupID(o.Group); err != nil {
			return nil, fmt.Errorf("control API: %w", err)
		}
	}
	if o.TLS != nil {
		if s.certs, err = loadCertificates(*o.TLS, o.Logger); err != nil {
			return nil, fmt.Errorf("control API: api.tls: %w", err)
		}
	} else if o.Listen != "" {
		return nil, errors.New("control API: api.listen needs api.tls")
	}
	return s, nil
}

// Group is the number of the group that may change things; 0: none.
func (s *Server) Group() int { return s.group }

func (s *Server) String() string { return "control API" }

// Ready is closed when the listeners answer.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is where the TCP listener is, once Ready; nil without one.
func (s *Server) Addr() net.Addr { return s.addr }

// Run answers until the context ends, then lets calls that are under way
// finish for a moment and removes the socket. A listener that cannot be had
// is an error at once.
func (s *Server) Run(ctx context.Context) error {
	var listeners []net.Listener
	defer func() {
		for _, l := range listeners {
			l.Close() // closed already is fine
		}
	}()
	unix, err := listen(ctx, s.opt.Socket, s.opt.Mode, s.opt.Group)
	if err != nil {
		return err
	}
	listeners = append(listeners, unix)
	servers := []*http.Server{s.http(ctx, s.Handler())}
	if s.opt.Listen != "" {
		tcp, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.opt.Listen)
		if err != nil {
			return fmt.Errorf("control API: api.listen: %w", err)
		}
		s.addr = tcp.Addr()
		listeners = append(listeners, tls.NewListener(tcp, s.certs.config()))
		servers = append(servers, s.http(ctx, s.withPage()))
	}
	close(s.ready)
	return serve(ctx, servers, listeners)
}

// serve runs each server on its listener until ctx ends or one fails.
func serve(ctx context.Context, servers []*http.Server, listeners []net.Listener) error {
	var wg sync.WaitGroup
	done := make(chan error, len(servers))
	for i, srv := range servers {
		wg.Go(func() { done <- srv.Serve(listeners[i]) })
	}
	defer wg.Wait()
	var failed error
	select {
	case err := <-done:
		failed = fmt.Errorf("control API: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	for _, srv := range servers {
		if err := srv.Shutdown(end); err != nil {
			srv.Close()
		}
	}
	return failed
}

func (s *Server) http(ctx context.Context, h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       s.connected,
		ErrorLog:          slog.NewLogLogger(s.opt.Logger.Handler(), slog.LevelDebug),
	}
}

// connected notes who opened a connection. With TLS that is known only once
// the handshake is over: see withPage.
func (s *Server) connected(ctx context.Context, c net.Conn) context.Context {
	if u, ok := c.(*net.UnixConn); ok {
		return withCaller(ctx, processOf(u, s.opt.Group))
	}
	return ctx
}

// withPage is what the TCP listener serves: the API for the holders of
// certificates, and the page. A browser sends its certificate with whatever
// another site makes it ask, so changes from other origins are refused.
func (s *Server) withPage() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", s.Handler())
	if s.opt.Page != nil {
		mux.Handle("/", s.opt.Page)
	}
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.TLS != nil {
			from, _ := net.ResolveTCPAddr("tcp", r.RemoteAddr)
			r = r.WithContext(withCaller(r.Context(), s.certs.holder(*r.TLS, from)))
		}
		guarded.ServeHTTP(w, r)
	})
}
