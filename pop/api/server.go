package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Options are what a Server needs.
type Options struct {
	Socket  string      // path of the Unix socket
	Mode    fs.FileMode // of the socket; 0: 0660
	Group   string      // name or number: owns the socket and may change things; empty: nobody more
	Backend Backend
	Logger  *slog.Logger
}

// Server answers on the control socket.
type Server struct {
	opt   Options
	ready chan struct{}
}

// New makes a Server; Run starts it.
func New(o Options) (*Server, error) {
	if o.Socket == "" {
		return nil, errors.New("control API: no path for the socket (api.socket)")
	}
	if o.Group != "" {
		if _, err := groupID(o.Group); err != nil {
			return nil, fmt.Errorf("control API: %w", err)
		}
	}
	if o.Mode == 0 {
		o.Mode = 0o660
	}
	return &Server{opt: o, ready: make(chan struct{})}, nil
}

func (s *Server) String() string { return "control API" }

// Ready is closed when the socket answers.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run answers until the context ends, then lets calls that are under way
// finish for a moment and removes the socket. A socket that cannot be had is
// an error at once.
func (s *Server) Run(ctx context.Context) error {
	l, err := listen(ctx, s.opt.Socket, s.opt.Mode, s.opt.Group)
	if err != nil {
		return err
	}
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ConnContext:       withCaller,
		ErrorLog:          slog.NewLogLogger(s.opt.Logger.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	close(s.ready)
	select {
	case err := <-done:
		return fmt.Errorf("control API: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if err := srv.Shutdown(end); err != nil {
		srv.Close()
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("control API: %w", err)
	}
	return nil
}
