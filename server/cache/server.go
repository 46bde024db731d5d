package cache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/server/cache/accesslog"
	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/session"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// Server is the cache of a POP.
type Server struct {
	cfg      Config // as given to New; what Reload may change is in state
	log      *slog.Logger
	clock    func() time.Time
	env      origin.Env
	identity *origin.Identity
	front    *front.Front
	store    *store.Store
	fills    *fill.Group
	purges   *purge.Purges
	peers    *origin.Peers // nil: none
	accesses *accesslog.Log
	spread   spread
	state    atomic.Pointer[state]

	// passes are keys whose answers may not be stored, wholes those that have to be fetched in one piece, invalid those
	// that were just invalidated.
	passes, wholes, invalid *marks

	active  atomic.Int64  // requests on the general path
	serial  atomic.Uint64 // makes keys of fills unique
	metrics metrics
	updates [64]sync.Mutex
	buffers sync.Pool

	bgMu      sync.Mutex
	bgRunning int
	bgClosed  bool
	bgCtx     context.Context
	bgCancel  context.CancelFunc
	bg        sync.WaitGroup

	steering *Steering // nil: nothing is known of other POPs
	sessions *session.Keeper
	rates    *rates

	resume     func(Resuming)
	starts     bool
	hooks      hooks
	hookLogged atomic.Int64 // when, in seconds

	reloading sync.Mutex
	current   Config // the last one taken into use; under reloading
	running   runners
	draining  atomic.Bool
}

// state is what Reload replaces as one.
type state struct {
	table     *site.Table
	upstreams map[string]*upstream
	stats     map[string]*siteStats
	// plain are the sites whose hits need no look at the request's header but by Vary.
	plain  map[*site.Site]bool
	steer  map[*site.Site]*steered // those with steer
	limits Limits
}

// upstream is where a site's content comes from.
type upstream struct {
	origin *origin.Upstream
	config site.Upstream // it was made of
	cancel context.CancelFunc
}

// New makes a server. It judges the whole configuration, opens the store and the journal of purges, but no socket; it
// starts nothing.
func New(o Options) (*Server, error) {
	cfg := o.Config.withDefaults()
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, hooks: o.Hooks, resume: o.Resume, starts: o.Starts, log: log, clock: time.Now, env: o.Env, identity: &cfg.Identity,
		steering: o.Steering, sessions: session.New(nil), rates: newRates(1 << 16),
		passes: newMarks(1 << 16), wholes: newMarks(1 << 14), invalid: newMarks(1 << 16),
	}
	s.spread.wake = make(chan struct{}, 1)
	s.buffers.New = func() any { return new([copySize]byte) }
	s.bgCtx, s.bgCancel = context.WithCancel(context.Background())
	if s.env.Log == nil {
		s.env.Log = log
	}
	if len(cfg.Peers) > 0 {
		s.peers = origin.NewPeers(origin.PeersConfig{Self: cfg.Name, Identity: s.identity}, s.env)
		if err := s.peers.Set(cfg.Peers); err != nil {
			return nil, fmt.Errorf("cache: peers: %w", err)
		}
	}
	st, err := s.makeState(&cfg, nil)
	if err != nil {
		return nil, fmt.Errorf("cache: %w", err)
	}
	s.state.Store(st)
	s.sessions.Set(cfg.Limits.Sessions)
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("cache: %w", err), s.close())
	}
	return s, nil
}

// open opens what is kept on disk and makes the front.
func (s *Server) open() (err error) {
	dir := ""
	if s.cfg.StateDir != "" {
		dir = filepath.Join(s.cfg.StateDir, "cache")
	}
	if s.purges, err = purge.Open(dir, purge.Options{Logger: s.log}); err != nil {
		return err
	}
	so := s.cfg.Store
	so.Log = s.log
	if s.store, err = store.Open(so); err != nil {
		return err
	}
	if err := s.expectPurges(); err != nil {
		return err
	}
	lo := s.cfg.AccessLog
	lo.Logger = s.log
	if s.accesses, err = accesslog.New(lo); err != nil {
		return fmt.Errorf("access-log: %w", err)
	}
	fo := s.cfg.Fill
	fo.Log = s.log
	s.fills = fill.New(fo)
	if len(s.cfg.Front.Listen) == 0 {
		return nil // only Handler is used
	}
	opts := s.cfg.Front
	opts.SlowNames = append(slices.Clone(opts.SlowNames), slowNames...)
	if s.front, err = front.New(opts, s, s, s.log); err != nil {
		return err
	}
	return s.loadTLS(&s.cfg)
}

// expectPurges tells the purges what the stored objects have seen: if their journal was lost, everything is stale now.
func (s *Server) expectPurges() error {
	if s.cfg.Store.Dir == "" {
		return nil
	}
	newest := purge.Epoch(0)
	err := s.store.Walk(context.Background(), func(i store.Info) bool {
		newest = max(newest, purge.Epoch(i.Stamp.Epoch))
		return true
	})
	return errors.Join(err, s.purges.Expect(newest))
}

// loadTLS takes certificates and ticket keys into use.
func (s *Server) loadTLS(c *Config) error {
	if s.front == nil {
		return nil
	}
	if len(c.Certificates) > 0 {
		if err := s.front.Certs().Load(c.Certificates); err != nil {
			return fmt.Errorf("certificates: %w", err)
		}
	}
	if len(c.TicketKeys) > 0 {
		if err := s.front.SetTicketKeys(c.TicketKeys); err != nil {
			return fmt.Errorf("ticket-keys: %w", err)
		}
	}
	return nil
}

func (s *Server) close() error {
	var errs []error
	if s.fills != nil {
		s.fills.Close()
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.purges != nil {
		errs = append(errs, s.purges.Close())
	}
	return errors.Join(errs...)
}

// makeState builds what a configuration says, taking over what is as before.
func (s *Server) makeState(c *Config, old *state) (*state, error) {
	var before *site.Table
	if old != nil {
		before = old.table
	}
	table, err := site.NewTable(c.Sites, before)
	if err != nil {
		return nil, fmt.Errorf("sites: %w", err)
	}
	st := &state{
		table: table, limits: c.Limits,
		upstreams: map[string]*upstream{}, stats: map[string]*siteStats{}, plain: map[*site.Site]bool{}, steer: map[*site.Site]*steered{},
	}
	for _, x := range table.Sites() {
		if x.Config.Steer.On() || len(x.Config.Steer.Targets) > 0 {
			st.steer[x] = newSteered(x, c)
		}
		st.plain[x] = st.steer[x] == nil && !s.hooks.client(x.Name) && !x.Off() && !x.Limited() && !x.NeedsHeaders() && len(x.Config.Token.Keys) == 0 && x.Allows(http.MethodGet) && x.Allows(http.MethodHead)
		st.stats[x.Name] = &siteStats{}
		if old != nil && old.stats[x.Name] != nil {
			st.stats[x.Name] = old.stats[x.Name]
		}
		if old != nil {
			if u := old.upstreams[x.Name]; u != nil && sameUpstream(u.config, x.Config.Upstream) {
				st.upstreams[x.Name] = u
				continue
			}
		}
		oc := x.Upstream()
		oc.Identity, oc.Peers = s.identity, s.peers
		u, err := origin.New(oc, s.env)
		if err != nil {
			return nil, fmt.Errorf("site %s: %w", x.Name, err)
		}
		st.upstreams[x.Name] = &upstream{origin: u, config: x.Config.Upstream}
	}
	return st, nil
}

// Listen opens the listeners.
func (s *Server) Listen(ctx context.Context) error {
	if s.front == nil {
		return errors.New("cache: no listen address")
	}
	return s.front.Listen(ctx)
}

// Addrs are the addresses listened on, in the order of Config.Front.Listen.
func (s *Server) Addrs() []net.Addr {
	if s.front == nil {
		return nil
	}
	return s.front.Addrs()
}

// Serve serves until ctx ends or Drain has finished, and joins all it started. Without listeners it only keeps the
// background at work.
func (s *Server) Serve(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wg sync.WaitGroup
	s.startRunners(inner, &wg)
	wg.Go(func() { _ = s.sessions.Run(inner) })
	err := s.serveFront(ctx)
	s.bgMu.Lock()
	s.bgClosed = true
	s.bgMu.Unlock()
	s.bgCancel()
	s.bg.Wait()
	s.fills.Close()
	cancel()
	s.running.stop()
	wg.Wait()
	return errors.Join(err, s.close())
}

func (s *Server) serveFront(ctx context.Context) error {
	if s.front == nil {
		<-ctx.Done()
		return nil
	}
	return s.front.Serve(ctx)
}

// Leave names the local addresses whose route is on its way elsewhere, all of them at a time: their clients are let go after
// the answer they get, and who still comes is served. Without any all is as usual again.
func (s *Server) Leave(addrs []netip.Addr) {
	if s.front != nil {
		s.front.Leave(addrs)
	}
}

// Refuse names the local addresses at which new connections are refused, all of them at a time; without any all are taken again.
// It may be called before Listen.
func (s *Server) Refuse(addrs []netip.Addr) {
	if s.front != nil {
		s.front.Refuse(addrs)
	}
}

// Drain stops accepting connections, lets the requests under way finish and returns when all are done, or ctx is over;
// then what is left is cut. There is no way back.
func (s *Server) Drain(ctx context.Context) error {
	s.draining.Store(true)
	if s.front == nil {
		return nil
	}
	cut, err := s.front.Drain(ctx)
	if cut > 0 {
		s.log.Warn("requests cut at the end of the drain", "requests", cut)
	}
	return err
}

// Reload takes a new configuration into use: sites, certificates, limits, the access log. If anything is wrong with it, all stays as it
// was. Requests under way go on under the configuration they began with.
func (s *Server) Reload(c Config) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	c = c.withDefaults()
	if err := s.cfg.fixed(&c); err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if err := c.AccessLog.Validate(); err != nil {
		return fmt.Errorf("cache: access-log: %w", err)
	}
	old := s.state.Load()
	next, err := s.makeState(&c, old)
	if err != nil {
		return fmt.Errorf("cache: %w", err)
	}
	if err := s.apply(&c); err != nil {
		return fmt.Errorf("cache: %w", errors.Join(err, s.apply(&s.current)))
	}
	s.current = c
	s.state.Store(next)
	s.sessions.Set(c.Limits.Sessions)
	s.running.swap(old, next)
	return nil
}

// apply takes into use what of a configuration is not in state.
func (s *Server) apply(c *Config) error {
	if err := s.loadTLS(c); err != nil {
		return err
	}
	if s.peers != nil {
		if err := s.peers.Set(c.Peers); err != nil {
			return fmt.Errorf("peers: %w", err)
		}
	}
	if s.front != nil {
		s.front.SetConns(c.Front.Limits.Conns, c.Front.Limits.ConnsClient)
	}
	s.fills.SetLimits(c.Fill.Fills, c.Fill.PerUpstream)
	if err := s.accesses.Set(c.AccessLog); err != nil {
		return fmt.Errorf("access-log: %w", err)
	}
	return nil
}

// Health is nil while the server can serve; the error says why it cannot.
func (s *Server) Health() error {
	if s.draining.Load() {
		return errors.New("draining")
	}
	return nil
}

// Handler is the general path alone, for tests and for other front ends.
func (s *Server) Handler() http.Handler { return s }

// recovered counts and logs a panic; v is what recover gave.
func (s *Server) recovered(where string, v any) {
	if v == nil || v == http.ErrAbortHandler {
		return
	}
	s.metrics.panics.Add(1)
	s.log.Error("panic", "where", where, "panic", v, "stack", string(debug.Stack()))
}

// peer is the address of who sent the request, not of the client before it.
func (x *exchange) peer() netip.Addr {
	ap, _ := netip.ParseAddrPort(x.r.RemoteAddr)
	return ap.Addr().Unmap()
}

// now is the server's time in the unit of rules.
func (s *Server) now() rule.Millis { return rule.At(s.clock()) }
