package front

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Front is the client side of a cache server.
type Front struct {
	opts     Options
	handler  http.Handler
	hitter   Hitter
	log      *slog.Logger
	rules    rules
	roomMax  int           // largest read buffer
	lazyIdle time.Duration // how far an idle deadline may be off

	certs   Certs
	tlsConf *tls.Config

	stats    counters
	sender   sender
	reg      *registry
	handlers tally
	draining atomic.Bool
	closed   atomic.Bool
	leaving  atomic.Pointer[map[netip.Addr]bool] // see Leave
	refusing atomic.Pointer[map[netip.Addr]bool] // see Refuse
	inside   string                              // device by which this host's own connections come
	now      atomic.Pointer[dateLine]

	mu     sync.Mutex
	ports  []*port
	served bool
	plain  *handoff // HTTP/1.1 connections on their way to net/http
	srv    *http.Server
	h3     *h3Server
	wg     sync.WaitGroup // accept loops and connections
	stop   chan struct{}
	once   sync.Once
}

// SetConns sets how many connections there may be, of all clients and of one
// (as Limits.Conns and Limits.ConnsClient). Those that are open stay.
func (f *Front) SetConns(all, client int) {
	l := Options{Limits: Limits{Conns: all, ConnsClient: client}}.filled().Limits
	f.reg.most.Store(int64(l.Conns))
	f.reg.mostClient.Store(int64(l.ConnsClient))
}

// New makes a Front from its options; h serves what the fast path does not, hit answers the fast path and may be nil. It
// opens nothing and starts nothing.
func New(opts Options, h http.Handler, hit Hitter, log *slog.Logger) (*Front, error) {
	opts = opts.filled()
	if err := opts.check(); err != nil {
		return nil, err
	}
	if h == nil || log == nil {
		return nil, errors.New("front: handler and logger are needed")
	}
	f := &Front{opts: opts, handler: h, hitter: hit, log: log, reg: newRegistry(), inside: "lo", stop: make(chan struct{})}
	f.SetConns(opts.Limits.Conns, opts.Limits.ConnsClient)
	f.rules.Limits = opts.Limits
	f.roomMax = max(room, opts.Limits.HeadBytes)
	f.lazyIdle = opts.Limits.IdleTime / 4
	for _, n := range opts.SlowNames {
		if !isToken(n) {
			return nil, errors.New("front: header name " + n)
		}
		f.rules.slow = append(f.rules.slow, strings.ToLower(n))
	}
	f.tlsConf = f.newTLS()
	f.plain = newHandoff(&net.TCPAddr{})
	f.srv = f.newServer()
	return f, nil
}

// Serve accepts and serves until ctx ends, or Drain or Close was called; then it waits for all it started. A listener that
// breaks ends it with an error.
func (f *Front) Serve(ctx context.Context) error {
	f.mu.Lock()
	if f.served || len(f.ports) == 0 {
		f.mu.Unlock()
		return errors.New("front: Serve needs Listen before, and is for once")
	}
	f.served = true
	ports := f.ports
	var servers sync.WaitGroup
	servers.Go(func() { f.srv.Serve(f.plain) })
	errs := make(chan error, 2*len(ports))
	for _, p := range ports {
		if p.door != nil && p.door.inside != nil {
			f.takeInside(p)
		}
		f.wg.Go(func() {
			if err := f.accept(p); err != nil {
				errs <- err
			}
		})
		if p.packet != nil {
			servers.Go(func() {
				if err := f.h3.serve(p.packet); err != nil {
					errs <- err
				}
			})
		}
	}
	f.mu.Unlock()
	var err error
	select {
	case <-ctx.Done():
	case err = <-errs:
	case <-f.stop:
	}
	f.Close()
	f.wg.Wait()
	servers.Wait()
	<-f.reg.none()
	<-f.handlers.none()
	return err
}

// Drain ends the service in good order: no new connections, idle ones are closed, the others get Connection: close or GOAWAY
// (RFC 9112 §9.6, RFC 9113 §6.8, RFC 9114 §5.2) and end with what they have at work. When ctx ends first, the rest is closed;
// cut is how many connections that hit in the middle of a request. Serve returns afterwards.
func (f *Front) Drain(ctx context.Context) (cut int, err error) {
	f.draining.Store(true)
	open := f.reg.len()
	f.closeListeners()
	for c := range f.Conns() {
		c.interrupt()
	}
	f.srv.SetKeepAlivesEnabled(false) // answers whose head is not written yet say Connection: close
	// The servers must not cut by themselves when ctx ends: it would not be counted.
	sctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	if f.h3 != nil {
		wg.Go(func() { f.h3.shutdown(sctx) })
	}
	select {
	case <-f.reg.none():
	case <-ctx.Done():
		err = ctx.Err()
	}
	left := f.reg.len()
	if left < open {
		f.stats.drained.Add(uint64(open - left))
	}
	cut = f.close()
	cancel()
	wg.Wait()
	return cut, err
}

// Close ends everything at once.
func (f *Front) Close() error {
	f.close()
	return nil
}

// close ends everything and says how many connections had a request at work.
func (f *Front) close() (cut int) {
	f.once.Do(func() {
		f.draining.Store(true)
		f.closed.Store(true) // take and register look after they have added a connection
		f.closeListeners()
		f.plain.Close()
		for c := range f.Conns() {
			if c.Busy() {
				cut++
			}
			c.finish()
		}
		f.stats.cut.Add(uint64(cut))
		close(f.stop) // not before: the UDP sockets go with it
		f.srv.Close()
		if f.h3 != nil {
			f.h3.close()
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, p := range f.ports {
			if !f.served && p.packet != nil {
				p.packet.Close()
			}
		}
	})
	return cut
}

// closeListeners stops accepting; the UDP sockets stay, their connections live on them.
func (f *Front) closeListeners() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.ports {
		p.tcp.Close()
		if p.door == nil {
			continue
		}
		if p.door.inside != nil {
			p.door.inside.close()
		}
		p.door.open(nil)
	}
}

// dateLine is the Date field of one second.
type dateLine struct {
	second int64
	line   []byte
}

// date gives the Date line of this second; it must not be changed.
func (f *Front) date() []byte {
	now := time.Now()
	if d := f.now.Load(); d != nil && d.second == now.Unix() {
		return d.line
	}
	d := &dateLine{second: now.Unix(), line: appendDate(nil, now)}
	f.now.Store(d)
	return d.line
}
