package checkpoint

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Peer is a POP that gets our flows.
type Peer struct {
	POP  string
	Addr string // host:port, where its Exchange listens
}

// ExchangeOptions are what an Exchange needs.
type ExchangeOptions struct {
	Book *Book
	Log  *slog.Logger
	// Listener takes the connections of other POPs; nil: none come.
	Listener net.Listener
	// Server and Client are for each connection anew, so that certificates may
	// change. Both must ask for a certificate of the other side and verify it.
	Server, Client func() (*tls.Config, error)
	// Name is the POP that a verified certificate is of.
	Name func(tls.ConnectionState) (string, error)
	// Known reports whether a POP may speak to us; nil: each that Name names.
	Known func(pop string) bool
	// Flows are those to tell of, and Peers whom: those that would get the
	// clients. Both are asked each time and must not block.
	Flows func() []Flow
	Peers func() []Peer
	// Every is the time from one word on flows to the next; 1 s.
	Every time.Duration
	// Beat is the time between two signs of life; 100 ms, and at most Every.
	Beat time.Duration
	// Recheck is after how long the certificate of the other side is judged
	// again while a connection lasts: it may have been revoked; 30 s.
	Recheck time.Duration
}

// Exchange tells other POPs of our flows and writes what they say into the
// book.
type Exchange struct {
	opt  ExchangeOptions
	life sync.WaitGroup

	mu    sync.Mutex
	lines map[Peer]*line
	heard map[net.Conn]string // of which POP; "": it has not shown a certificate

	refused atomic.Uint64
	told    time.Time // when one that was refused was logged
	said    moving
}

// moving is what is about to move.
type moving struct {
	n    int // counts what was said of it; 0: nothing yet
	all  bool
	vips []netip.Addr
}

// line is the connection to a POP.
type line struct {
	stop context.CancelFunc
	kick chan struct{} // size one: speak now
	now  Line          // under Exchange.mu
}

// Line is how the connection to a POP is.
type Line struct {
	Peer
	Up    bool
	Since time.Time // of Up, or of its end
	Err   error     // why it is not up; nil: it is, or is tried for the first time
	Flows int       // told of with the last word
	Bytes uint64    // said, in all
}

// Bounds of connections.
const (
	maxHeard   = 256              // connections that are taken at once
	maxStrange = 8                // of them, of one address without a certificate yet
	handshake  = 5 * time.Second  // for the handshake, and for each write
	seldom     = 10 * time.Second // between two lines of log on who was refused
	silence    = 10 * time.Second // without a word a connection is dead
)

// NewExchange makes an Exchange; Run does the work.
func NewExchange(o ExchangeOptions) *Exchange {
	o.Every = cmp.Or(o.Every, time.Second)
	o.Beat, o.Recheck = min(cmp.Or(o.Beat, 100*time.Millisecond), o.Every), cmp.Or(o.Recheck, 30*time.Second)
	return &Exchange{opt: o, lines: map[Peer]*line{}, heard: map[net.Conn]string{}}
}

// Drain tells all peers at once what is known now, and that all of our flows
// are about to move.
func (x *Exchange) Drain() { x.move(true, nil) }

// Moving tells all peers at once what is known now, and which VIPs' flows are
// about to move: all that do now. None: nothing moves any more.
func (x *Exchange) Moving(vips []netip.Addr) { x.move(false, slices.Clone(vips)) }

func (x *Exchange) move(all bool, vips []netip.Addr) {
	x.mu.Lock()
	x.said = moving{x.said.n + 1, all, vips}
	x.mu.Unlock()
	x.Kick()
}

// Kick tells all peers at once what is known now.
func (x *Exchange) Kick() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range x.lines {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
}

// Lines tells how the connections to other POPs are, by name.
func (x *Exchange) Lines() (out []Line) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range x.lines {
		out = append(out, l.now)
	}
	slices.SortFunc(out, func(a, b Line) int { return cmp.Or(cmp.Compare(a.POP, b.POP), cmp.Compare(a.Addr, b.Addr)) })
	return out
}

// note changes what Lines says of a line.
func (x *Exchange) note(l *line, f func(*Line)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f(&l.now)
}

// Run speaks and listens until ctx ends. The listener is closed then.
func (x *Exchange) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer func() {
		cancel()
		x.life.Wait()
	}()
	failed := make(chan error, 1)
	if x.opt.Listener != nil {
		x.life.Go(func() { failed <- x.listen(ctx) })
		defer context.AfterFunc(ctx, x.hangUp)()
	}
	tick := time.NewTicker(x.opt.Every)
	defer tick.Stop()
	for {
		x.connect(ctx)
		x.opt.Book.Expire(time.Now())
		select {
		case <-ctx.Done():
			x.hangUp()
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case <-tick.C:
		}
	}
}

// hangUp ends what is heard.
func (x *Exchange) hangUp() {
	if x.opt.Listener != nil {
		x.opt.Listener.Close()
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for c := range x.heard {
		c.Close()
	}
}

// connect makes the lines those that are wanted.
func (x *Exchange) connect(ctx context.Context) {
	want := map[Peer]bool{}
	for _, p := range x.opt.Peers() {
		want[p] = true
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for p, l := range x.lines {
		if !want[p] {
			l.stop()
			delete(x.lines, p)
		}
	}
	for p := range want {
		if x.lines[p] != nil {
			continue
		}
		own, stop := context.WithCancel(ctx)
		l := &line{stop: stop, kick: make(chan struct{}, 1), now: Line{Peer: p, Since: time.Now()}}
		x.lines[p] = l
		x.life.Go(func() { x.speak(own, p, l) })
	}
}

// speak keeps a connection to a POP and tells it of our flows.
func (x *Exchange) speak(ctx context.Context, p Peer, l *line) {
	wait, troubled := min(x.opt.Every, time.Second), false
	for ctx.Err() == nil {
		began := time.Now()
		err := x.call(ctx, p, l)
		if ctx.Err() != nil {
			return
		}
		x.note(l, func(n *Line) {
			if n.Up {
				n.Up, n.Since = false, time.Now()
			}
			n.Err = err
		})
		if time.Since(began) > time.Minute { // it was well
			wait, troubled = min(x.opt.Every, time.Second), false
		}
		if !troubled {
			x.opt.Log.Warn("checkpoints do not reach a POP; it is tried again until they do", "pop", p.POP, "address", p.Addr, "err", err)
			troubled = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			wait = min(2*wait, 5*time.Second)
		}
	}
}

// call makes one connection and speaks on it until it ends.
func (x *Exchange) call(ctx context.Context, p Peer, l *line) error {
	conf, err := x.opt.Client()
	if err != nil {
		return err
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: handshake}, Config: conf}
	dialling, cancel := context.WithTimeout(ctx, handshake)
	raw, err := d.DialContext(dialling, "tcp", p.Addr)
	cancel()
	if err != nil {
		return err
	}
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	conn := raw.(*tls.Conn)
	if name, err := x.opt.Name(conn.ConnectionState()); err != nil {
		return err
	} else if name != p.POP {
		return fmt.Errorf("it is %s, not %s", name, p.POP)
	}
	return x.tell(ctx, conn, l, x.judge(x.opt.Client, conn))
}

// judge makes what judges the certificate of the other side of a connection
// again, if that was not done for a while, by what is known now. Files that
// cannot be read at the moment end no connection.
func (x *Exchange) judge(config func() (*tls.Config, error), c *tls.Conn) func() error {
	last := time.Now()
	return func() error {
		if time.Since(last) < x.opt.Recheck {
			return nil
		}
		last = time.Now()
		conf, err := config()
		if err != nil || conf.VerifyConnection == nil {
			return nil
		}
		return conf.VerifyConnection(c.ConnectionState())
	}
}

// tell speaks on a connection until it ends: of flows at times, and in between
// only that we live.
func (x *Exchange) tell(ctx context.Context, conn net.Conn, l *line, judge func() error) error {
	x.note(l, func(n *Line) { n.Up, n.Since, n.Err = true, time.Now(), nil })
	e, buf := NewEncoder(), []byte(nil)
	tick := time.NewTicker(x.opt.Beat)
	defer tick.Stop()
	said, last := 0, time.Time{}
	for kicked := false; ; {
		if err := judge(); err != nil {
			return err
		}
		buf = buf[:0]
		if kicked || time.Since(last) >= x.opt.Every-x.opt.Beat/2 {
			last = time.Now()
			x.mu.Lock()
			move := x.said
			x.mu.Unlock()
			flows := x.opt.Flows()
			buf = e.Append(buf, flows)
			if move.n != said {
				buf, said = move.append(e, buf), move.n
			}
			x.note(l, func(n *Line) { n.Flows = len(flows) })
		}
		buf = e.Beat(buf)
		_ = conn.SetWriteDeadline(time.Now().Add(handshake))
		if _, err := conn.Write(buf); err != nil {
			return err
		}
		x.note(l, func(n *Line) { n.Bytes += uint64(len(buf)) })
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			kicked = false
		case <-l.kick:
			kicked = true
		}
	}
}

func (m *moving) append(e *Encoder, b []byte) []byte {
	if m.all {
		return e.Drain(b)
	}
	return e.Moving(b, m.vips)
}

// listen takes connections until the listener is closed.
func (x *Exchange) listen(ctx context.Context) error {
	for {
		c, err := x.opt.Listener.Accept()
		if err != nil {
			if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
				continue
			}
			return fmt.Errorf("checkpoint: listen: %w", err)
		}
		if !x.admit(c) || ctx.Err() != nil {
			x.refused.Add(1)
			c.Close()
			continue
		}
		x.life.Go(func() { x.hear(ctx, c) })
	}
}

// admit takes a connection among those that are heard, if there is room: who
// has not shown a certificate gets half of it, and one address little of that.
func (x *Exchange) admit(c net.Conn) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	strangers, same := 0, 0
	for other, pop := range x.heard {
		if pop == "" {
			strangers++
			if host(other) == host(c) {
				same++
			}
		}
	}
	if len(x.heard) >= maxHeard || strangers >= maxHeard/2 || same >= maxStrange {
		return false
	}
	x.heard[c] = ""
	return true
}

// hears notes whose connection it is. A POP has one: what there was of it before
// is closed, so that no POP takes the room of others.
func (x *Exchange) hears(c net.Conn, pop string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for other, of := range x.heard {
		if of == pop {
			other.Close()
		}
	}
	x.heard[c] = pop
}

func host(c net.Conn) netip.Addr {
	if a, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// Refused is how many connections were closed unheard: without a certificate
// of a POP of the fleet, for want of room, or of another protocol.
func (x *Exchange) Refused() uint64 { return x.refused.Load() }

// hear reads what one POP says.
func (x *Exchange) hear(ctx context.Context, c net.Conn) {
	defer func() {
		c.Close()
		x.mu.Lock()
		delete(x.heard, c)
		x.mu.Unlock()
	}()
	name, err := x.hearFrom(ctx, c)
	if err != nil && ctx.Err() == nil {
		level := slog.LevelInfo
		if name == "" && !x.worth(time.Now()) {
			level = slog.LevelDebug
		}
		x.opt.Log.Log(ctx, level, "a connection with checkpoints has ended", "pop", name, "from", c.RemoteAddr(), "err", err)
	}
}

// worth reports whether to log that somebody was refused: anybody can call again
// and again, and all are counted.
func (x *Exchange) worth(now time.Time) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if now.Sub(x.told) < seldom {
		return false
	}
	x.told = now
	return true
}

func (x *Exchange) hearFrom(ctx context.Context, c net.Conn) (name string, err error) {
	conf, err := x.opt.Server()
	if err != nil {
		return "", err
	}
	t := tls.Server(c, conf)
	_ = t.SetDeadline(time.Now().Add(handshake))
	if err = t.HandshakeContext(ctx); err == nil {
		name, err = x.opt.Name(t.ConnectionState())
	}
	if err == nil && x.opt.Known != nil && !x.opt.Known(name) {
		err = fmt.Errorf("checkpoint: %s is no other POP of this fleet", name)
	}
	if err != nil {
		x.refused.Add(1)
		return name, err
	}
	x.hears(c, name)
	_ = t.SetDeadline(time.Time{})
	if err = x.opt.Book.Read(name, patient{t, x.judge(x.opt.Server, t)}, time.Now); errors.Is(err, errVersion) {
		x.refused.Add(1)
	}
	return name, err
}

// patient reads with a deadline for each read, as long as who speaks may.
type patient struct {
	net.Conn
	judge func() error
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.judge(); err != nil {
		return 0, err
	}
	_ = p.SetReadDeadline(time.Now().Add(silence))
	return p.Conn.Read(b)
}
