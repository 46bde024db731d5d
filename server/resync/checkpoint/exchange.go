package checkpoint

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
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
	// Flows are those to tell of, and Peers whom: those that would get the
	// clients. Both are asked each time and must not block.
	Flows func() []Flow
	Peers func() []Peer
	// Every is the time from one word to the next; 1 s.
	Every time.Duration
}

// Exchange tells other POPs of our flows and writes what they say into the
// book.
type Exchange struct {
	opt  ExchangeOptions
	life sync.WaitGroup

	mu    sync.Mutex
	lines map[Peer]*line
	heard map[net.Conn]bool
}

// line is the connection to a POP.
type line struct {
	stop context.CancelFunc
	kick chan struct{} // size one: speak now, of a drain
}

// Bounds of connections.
const (
	maxHeard  = 256              // connections that are taken at once
	handshake = 5 * time.Second  // for the handshake, and for each write
	silence   = 10 * time.Second // without a word a connection is dead
)

// NewExchange makes an Exchange; Run does the work.
func NewExchange(o ExchangeOptions) *Exchange {
	o.Every = cmp.Or(o.Every, time.Second)
	return &Exchange{opt: o, lines: map[Peer]*line{}, heard: map[net.Conn]bool{}}
}

// Drain tells all peers at once what is known now, and that all of our flows
// are about to move.
func (x *Exchange) Drain() {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, l := range x.lines {
		select {
		case l.kick <- struct{}{}:
		default:
		}
	}
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
		l := &line{stop, make(chan struct{}, 1)}
		x.lines[p] = l
		x.life.Go(func() { x.speak(own, p, l) })
	}
}

// speak keeps a connection to a POP and tells it of our flows.
func (x *Exchange) speak(ctx context.Context, p Peer, l *line) {
	wait, troubled := x.opt.Every, false
	for ctx.Err() == nil {
		began := time.Now()
		err := x.call(ctx, p, l)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Minute { // it was well
			wait, troubled = x.opt.Every, false
		}
		if !troubled {
			x.opt.Log.Warn("checkpoints do not reach a POP; it is tried again until they do", "pop", p.POP, "address", p.Addr, "err", err)
			troubled = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
			wait = min(2*wait, 30*time.Second)
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
	e, buf := NewEncoder(), []byte(nil)
	tick := time.NewTicker(x.opt.Every)
	defer tick.Stop()
	for drain := false; ; {
		buf = e.Beat(e.Append(buf[:0], x.opt.Flows()))
		if drain {
			buf = e.Drain(buf)
		}
		_ = conn.SetWriteDeadline(time.Now().Add(handshake))
		if _, err := conn.Write(buf); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			drain = false
		case <-l.kick:
			drain = true
		}
	}
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
		x.mu.Lock()
		full := len(x.heard) >= maxHeard || ctx.Err() != nil
		if !full {
			x.heard[c] = true
		}
		x.mu.Unlock()
		if full {
			c.Close()
			continue
		}
		x.life.Go(func() { x.hear(ctx, c) })
	}
}

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
		x.opt.Log.Info("a connection with checkpoints has ended", "pop", name, "from", c.RemoteAddr(), "err", err)
	}
}

func (x *Exchange) hearFrom(ctx context.Context, c net.Conn) (name string, err error) {
	conf, err := x.opt.Server()
	if err != nil {
		return "", err
	}
	t := tls.Server(c, conf)
	_ = t.SetDeadline(time.Now().Add(handshake))
	if err := t.HandshakeContext(ctx); err != nil {
		return "", err
	}
	if name, err = x.opt.Name(t.ConnectionState()); err != nil {
		return "", err
	}
	_ = t.SetDeadline(time.Time{})
	return name, x.opt.Book.Read(name, patient{t}, time.Now)
}

// patient reads with a deadline for each read.
type patient struct{ net.Conn }

func (p patient) Read(b []byte) (int, error) {
	_ = p.SetReadDeadline(time.Now().Add(silence))
	return p.Conn.Read(b)
}
