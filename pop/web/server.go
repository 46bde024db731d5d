package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/netutil"
)

// mostConnections bounds who looks at the same time: every user of this host can
// connect, and none may thereby take the daemon the time for its checks. More
// wait in the kernel's queue.
const mostConnections = 64

// mostCalls bounds how many answers are made at the same time, for the same
// reason. More wait for their turn.
const mostCalls = 2

// Options are what a Server needs.
type Options struct {
	Listen string // host:port on loopback
	// Optional: a port that cannot be had is a warning, and there is no page.
	// It is for an address that nobody asked for.
	Optional bool
	API      http.Handler // answers what is under /v1/
	Logger   *slog.Logger
}

// Server serves the page at one address.
type Server struct {
	opt   Options
	ready chan struct{}
	addr  net.Addr // before ready is closed
}

// New makes a Server; Run starts it.
func New(o Options) (*Server, error) {
	if o.API == nil {
		return nil, errors.New("page: no API to show")
	}
	if _, _, err := net.SplitHostPort(o.Listen); err != nil {
		return nil, fmt.Errorf("page: web.listen: %w", err)
	}
	return &Server{opt: o, ready: make(chan struct{})}, nil
}

func (s *Server) String() string { return "page" }

// Ready is closed when the page can be had, or when it is known that it
// cannot and that this is no failure.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is where the page is, after Ready; nil where there is none.
func (s *Server) Addr() net.Addr { return s.addr }

// Run serves until ctx ends. An address that cannot be had is an error at
// once, or with Optional a warning.
func (s *Server) Run(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.opt.Listen)
	if err != nil {
		if !s.opt.Optional {
			return fmt.Errorf("page: web.listen %s: %w", s.opt.Listen, err)
		}
		s.opt.Logger.Warn("no page: its address cannot be had; set web.listen to another, or to \"\"", "listen", s.opt.Listen, "err", err)
		close(s.ready)
		<-ctx.Done()
		return nil
	}
	s.addr = l.Addr()
	close(s.ready)
	s.opt.Logger.Info("page", "url", "http://"+l.Addr().String()+"/")
	return s.serve(ctx, l)
}

func (s *Server) serve(ctx context.Context, l net.Listener) error {
	streams, cancel := context.WithCancel(ctx) // a stream ends with the daemon, not after a grace
	defer cancel()
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return streams },
		ErrorLog:          slog.NewLogLogger(s.opt.Logger.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(netutil.LimitListener(l, mostConnections)) }()
	select {
	case err := <-done:
		return fmt.Errorf("page: %w", err)
	case <-ctx.Done():
	}
	grace, end := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer end()
	if srv.Shutdown(grace) != nil {
		srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("page: %w", err)
	}
	return nil
}

// Handler is the page and the API under one roof, with what keeps other sites
// out.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", inTurn(s.opt.API))
	mux.Handle("/", Assets())
	origin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers(w.Header())
		if !local(r.Host) {
			http.Error(w, fmt.Sprintf("the page is not known as %q: ask by address, or as localhost", r.Host), http.StatusMisdirectedRequest)
			return
		}
		origin.Handler(mux).ServeHTTP(w, r)
	})
}

// inTurn lets through so many questions at a time. Streams last, and work
// little; plans take turns of their own; changes wait for nobody.
func inTurn(h http.Handler) http.Handler {
	turns := make(chan struct{}, mostCalls)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		follow, _ := strconv.ParseBool(r.URL.Query().Get("follow"))
		if r.Method == http.MethodGet && r.URL.Path != "/v1/watch" && !follow {
			select {
			case turns <- struct{}{}:
				defer func() { <-turns }()
			case <-r.Context().Done():
				return
			}
		}
		h.ServeHTTP(w, r)
	})
}

// local reports whether a Host header can only be ours: a name might be one
// that somebody else's DNS points here.
func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}
