package dns

import (
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/catchment/catchment/server/dns/zone"
)

// Server answers questions. Make it with [New], bind with [Server.Listen], run
// with [Server.Serve]. While it runs zones may be set and read anew.
type Server struct {
	opt     Options
	log     *slog.Logger
	table   atomic.Pointer[table]
	loading sync.Mutex       // one change of the table at a time
	bad     map[string]stamp // zone files that did not load; under loading
	limiter *limiter
	secrets []CookieSecret
	keys    keyring
	stats   stats
	notices notices

	mu       sync.Mutex // guards the rest
	packets  []*packetLoop
	streams  []*streamListener
	conns    map[*conn]struct{}
	nets     map[uint64]int // connections of client networks
	draining bool
	sending  atomic.Int32 // transfers
	work     sync.WaitGroup
}

// New makes a server and reads its zones; it binds and starts nothing.
func New(o Options) (*Server, error) {
	o = o.filled()
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	s := &Server{opt: o, log: o.Logger, bad: map[string]stamp{}, conns: map[*conn]struct{}{}, nets: map[uint64]int{},
		limiter: newLimiter(o.Rates, rand.Uint64()), secrets: o.Secrets}
	if len(s.secrets) == 0 {
		s.secrets = make([]CookieSecret, 1)
		_, _ = crand.Read(s.secrets[0][:]) // never fails
	}
	var err error
	if s.keys, err = newKeyring(o.Keys); err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	s.notices.wake = make(chan struct{}, 1)
	s.table.Store(&table{zones: map[string]*served{}})
	if err := s.SetZones(o.Zones); err != nil {
		return nil, fmt.Errorf("dns: %w", err)
	}
	return s, nil
}

// Listen binds all sockets.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.opt.Listen {
		if err := s.listen(l); err != nil {
			s.close()
			return fmt.Errorf("dns: listen on %s: %w", l.Address, err)
		}
	}
	return nil
}

// listen binds one place: the stream socket first, so that with port 0 both
// get the same number.
func (s *Server) listen(l Listen) error {
	stream, err := listenStream(l)
	if err != nil {
		return err
	}
	s.streams = append(s.streams, stream)
	if l.TLS != nil {
		return nil
	}
	at := stream.addr()
	for range s.opt.Workers {
		p, err := s.listenPacket(at)
		if err != nil {
			return err
		}
		s.packets = append(s.packets, p)
	}
	return nil
}

// Addresses are where the server listens, in the order of [Options.Listen].
func (s *Server) Addresses() []netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []netip.AddrPort
	for _, l := range s.streams {
		out = append(out, l.addr())
	}
	return out
}

// close closes all sockets; s.mu is held.
func (s *Server) close() {
	for _, l := range s.streams {
		l.Close()
	}
	for _, p := range s.packets {
		p.abort()
	}
}

// Serve answers until ctx ends or [Server.Drain] is done, and returns when all
// it started has ended.
func (s *Server) Serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.mu.Lock()
	packets, streams := s.packets, s.streams
	s.mu.Unlock()
	var sockets, helpers sync.WaitGroup
	errs := make(chan error, len(packets)+len(streams))
	run := func(f func() error) {
		sockets.Go(func() {
			if err := f(); err != nil && !errors.Is(err, net.ErrClosed) {
				errs <- err
				cancel()
			}
		})
	}
	for _, p := range packets {
		run(p.run)
	}
	for _, l := range streams {
		run(func() error { return s.accept(ctx, l) })
	}
	helpers.Go(func() { s.watch(ctx) })
	helpers.Go(func() { s.notify(ctx) })
	stop := context.AfterFunc(ctx, s.abort)
	sockets.Wait()
	cancel()
	stop()
	s.abort()
	s.work.Wait()
	helpers.Wait()
	close(errs)
	return <-errs
}

// abort closes all sockets and connections.
func (s *Server) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	s.close()
	for c := range s.conns {
		c.Close()
	}
}

// Drain stops taking connections, closes those that are idle, waits for the
// rest, and then answers what is left in the queues of the UDP sockets and
// closes them. It returns early when ctx ends; then cancel Serve's.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	for _, l := range s.streams {
		l.Close()
	}
	for c := range s.conns {
		c.leave()
	}
	packets := s.packets
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.work.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = fmt.Errorf("dns: drain: %w", ctx.Err())
	}
	for _, p := range packets {
		p.drain()
	}
	return err
}

// Zones lists what is served, for status pages.
func (s *Server) Zones() []*zone.Zone {
	var out []*zone.Zone
	for _, z := range s.table.Load().zones {
		out = append(out, z.Zone)
	}
	return out
}
