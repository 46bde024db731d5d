package bfd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Options of a Manager.
type Options struct {
	Sessions []SessionConfig
	Logger   *slog.Logger // nil: nothing is logged
	// OnChange is called for each change of state, in order for one session,
	// from that session's goroutine: it must not block, and must not call Set.
	OnChange func(Event)
	// Resume has what the last life handed over; those of no session are
	// left alone, and their neighbors find out by themselves.
	Resume []Handover
}

// Manager holds the sessions of one daemon.
type Manager struct {
	opts Options
	net  network

	mu        sync.Mutex
	sessions  map[key]*session
	byNumber  map[uint32]*session // by our discriminator
	listening map[listener]func() // value closes it
	refused   map[Refusal]uint64
	run       context.Context // nil: not running
	fail      context.CancelCauseFunc
	wg        sync.WaitGroup
	ran       bool
}

// Refusal is why a packet was thrown away.
type Refusal string

// Refusals, as they appear in Refused.
const (
	RefusedMalformed Refusal = "malformed"  // RFC 5880 section 6.8.6
	RefusedAuth      Refusal = "auth"       // the A bit
	RefusedTTL       Refusal = "ttl"        // RFC 5881 section 5, or below MinTTL
	RefusedUnknown   Refusal = "no-session" // no session of ours
	RefusedSource    Refusal = "source"     // our discriminator, but another neighbor, device or port
)

// network is where packets come from and go to; tests put their own in.
type network interface {
	// listen opens a socket and hands each datagram to deliver until the
	// returned function was called, which joins the reader. An error of the
	// socket later on goes to failed.
	listen(l listener, deliver func(datagram), failed func(error)) (stop func(), err error)
	// dial makes the sender of a session; it opens nothing before the first
	// packet, so that a device may come up later.
	dial(c SessionConfig) transmitter
}

type listener struct {
	multihop, v6 bool
}

type datagram struct {
	payload  []byte // valid until deliver returns
	from, to netip.Addr
	device   string
	ttl      int
	multihop bool
}

// New checks the sessions and starts nothing.
func New(o Options) (*Manager, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.OnChange == nil {
		o.OnChange = func(Event) {}
	}
	m := &Manager{opts: o, net: sockets{}, sessions: map[key]*session{}, byNumber: map[uint32]*session{},
		listening: map[listener]func(){}, refused: map[Refusal]uint64{}}
	return m, m.Set(o.Sessions)
}

// Run opens the sockets and runs the sessions until ctx ends; then every
// neighbor is told AdminDown, unless HandOver was called.
// The error is that of a socket; an ended ctx is none.
func (m *Manager) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := m.start(ctx, cancel); err != nil {
		return err
	}
	<-ctx.Done()
	m.mu.Lock()
	m.run = nil
	stops := slices.Collect(maps.Values(m.listening))
	clear(m.listening)
	m.mu.Unlock()
	m.wg.Wait()
	for _, stop := range stops {
		stop()
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

func (m *Manager) start(ctx context.Context, fail context.CancelCauseFunc) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ran {
		return errors.New("bfd: Run was called twice")
	}
	m.ran, m.fail = true, fail
	for _, s := range m.sessions {
		if err := m.listen(s.id); err != nil {
			for _, stop := range m.listening {
				stop()
			}
			return err
		}
	}
	m.run = ctx
	for _, s := range m.sessions {
		m.launch(s)
	}
	return nil
}

// listen opens the socket that a session needs, if it is not open. With mu held.
func (m *Manager) listen(k key) error {
	l := listener{k.multihop, k.neighbor.Is6()}
	if _, ok := m.listening[l]; ok {
		return nil
	}
	stop, err := m.net.listen(l, m.deliver, func(err error) { m.fail(err) })
	if err != nil {
		return fmt.Errorf("bfd session %v: %w", k.neighbor, err)
	}
	m.listening[l] = stop
	return nil
}

// launch starts a session's goroutine. With mu held.
func (m *Manager) launch(s *session) {
	var ctx context.Context
	ctx, s.stop = context.WithCancel(m.run)
	m.wg.Go(func() { s.run(ctx) })
}

// Set makes configs the whole set of sessions. A session that stays as it is
// is not touched; changed timers are negotiated by a poll sequence without
// leaving Up; a removed session tells its neighbor AdminDown. After an error
// nothing has changed.
func (m *Manager) Set(configs []SessionConfig) error {
	wanted, err := normalized(configs)
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run != nil {
		for k := range wanted {
			if err := m.listen(k); err != nil {
				return err
			}
		}
	}
	for k, s := range m.sessions {
		if _, ok := wanted[k]; !ok {
			m.remove(k, s)
		}
	}
	for k, c := range wanted {
		if s, ok := m.sessions[k]; !ok {
			m.add(k, c)
		} else if s.current() != c {
			s.configure(c)
		}
	}
	return nil
}

func normalized(configs []SessionConfig) (map[key]SessionConfig, error) {
	wanted := make(map[key]SessionConfig, len(configs))
	for _, c := range configs {
		c, err := c.normalize()
		if err != nil {
			return nil, err
		}
		if _, ok := wanted[c.key()]; ok {
			return nil, fmt.Errorf("bfd session %v: configured twice", c.Neighbor)
		}
		wanted[c.key()] = c
	}
	return wanted, nil
}

// add makes a session and starts it if Run is running. With mu held.
func (m *Manager) add(k key, c SessionConfig) {
	number := rand.Uint32()
	for number == 0 || m.byNumber[number] != nil {
		number = rand.Uint32()
	}
	machine := newMachine(number, c.timers(), rand.Float64)
	if h, ok := m.resumable(k); ok {
		machine.resume(h, time.Now())
	}
	s := newSession(c, machine, m.net.dial(c), m.opts.OnChange, m.opts.Logger)
	m.sessions[k], m.byNumber[machine.local] = s, s
	if m.run != nil {
		m.launch(s)
	}
}

// resumable takes what the last life left of a session. With mu held.
func (m *Manager) resumable(k key) (Handover, bool) {
	i := slices.IndexFunc(m.opts.Resume, func(h Handover) bool { return h.key() == k })
	if i < 0 {
		return Handover{}, false
	}
	h := m.opts.Resume[i]
	m.opts.Resume = slices.Delete(slices.Clone(m.opts.Resume), i, i+1)
	return h, m.byNumber[h.LocalDiscriminator] == nil
}

// remove forgets a session; its goroutine ends by itself after the goodbye.
// With mu held.
func (m *Manager) remove(k key, s *session) {
	delete(m.sessions, k)
	delete(m.byNumber, s.m.local)
	if s.stop != nil {
		s.stop()
	}
}

// deliver finds the session of a datagram, RFC 5880 section 6.3: by our
// discriminator where the neighbor knows it, else by addresses.
func (m *Manager) deliver(d datagram) {
	p, err := ParsePacket(d.payload)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case errors.Is(err, ErrAuth):
		m.refused[RefusedAuth]++
		return
	case err != nil:
		m.refused[RefusedMalformed]++
		return
	case !d.multihop && d.ttl != 255:
		m.refused[RefusedTTL]++
		return
	}
	s, why := m.find(p, d)
	if s != nil && s.current().MinTTL > d.ttl {
		s, why = nil, RefusedTTL
	}
	if s == nil {
		m.refused[why]++
		return
	}
	s.deliver(p)
}

func (m *Manager) find(p Packet, d datagram) (*session, Refusal) {
	if p.YourDiscriminator != 0 {
		s := m.byNumber[p.YourDiscriminator]
		switch {
		case s == nil:
			return nil, RefusedUnknown
		case !s.id.matches(d): // not asked for by the RFC; it keeps strangers from guessing
			return nil, RefusedSource
		}
		return s, ""
	}
	for _, k := range []key{ // the one that names more wins
		{d.from, d.to, d.device, d.multihop}, {d.from, d.to, "", d.multihop},
		{d.from, netip.Addr{}, d.device, d.multihop}, {d.from, netip.Addr{}, "", d.multihop},
	} {
		if s := m.sessions[k]; s != nil {
			return s, ""
		}
	}
	return nil, RefusedUnknown
}

// matches reports whether a datagram can be one of the session k.
func (k key) matches(d datagram) bool {
	return k.neighbor == d.from && k.multihop == d.multihop &&
		(k.device == "" || k.device == d.device) && (!k.local.IsValid() || k.local == d.to)
}

// Sessions returns the state of all sessions, sorted by neighbor.
func (m *Manager) Sessions() []Status {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Status, 0, len(m.sessions))
	for _, s := range m.sessions {
		all = append(all, s.status())
	}
	slices.SortFunc(all, func(a, b Status) int {
		return cmp.Or(a.Neighbor.Compare(b.Neighbor), a.Local.Compare(b.Local), cmp.Compare(a.Device, b.Device),
			cmp.Compare(fmt.Sprint(a.Multihop), fmt.Sprint(b.Multihop)))
	})
	return all
}

// Refused counts the packets that no session saw, by reason.
func (m *Manager) Refused() map[Refusal]uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.refused)
}
