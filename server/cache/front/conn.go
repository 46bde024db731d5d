package front

import (
	"context"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is one live connection of a client. Its methods may be called from anywhere at any time.
type Conn struct {
	front  *Front
	port   *port // nil for QUIC
	id     uint64
	remote netip.AddrPort
	local  netip.AddrPort
	began  time.Time
	secure bool

	sock   *sock    // nil for QUIC
	stream net.Conn // the sock, or TLS over it
	closer func()   // QUIC only

	proto    atomic.Pointer[string]
	requests atomic.Int64
	in, out  atomic.Int64
	resets   atomic.Int64
	flow     atomic.Pointer[Transfer]
	streams  streams
	busy     atomic.Int32 // requests at work
	live     atomic.Int32 // streams of HTTP/2 that are open
	paced    atomic.Bool  // by Pace
	once     sync.Once
	atEnd    atomic.Pointer[func()]

	dead struct { // the read deadline and who set it
		sync.Mutex
		idle  bool      // waiting for a request
		until time.Time // set on the socket; zero: none
		abort bool      // net/http wants the read in progress back
		gone  bool      // closed
	}
}

// Transfer is one request at work, for those that look from outside (flow table, drain). It does not change.
type Transfer struct {
	Method string
	Host   string
	Target string
	Began  time.Time
	First  int64 // position of the first body byte in the representation, if known
	Length int64 // body bytes to send; -1: not known
	ETag   string
	OutAt  int64  // Conn.Out when it began: the difference is what this transfer has sent, head included
	Stream uint32 // of HTTP/2: tells it from others of the connection, whose bytes are in Conn.Out too; 0: it is the only one

	body *atomic.Int64 // see Body
}

// ID is unique within a Front.
func (c *Conn) ID() uint64 { return c.id }

// Remote is the client's address and port.
func (c *Conn) Remote() netip.AddrPort { return c.remote }

// Local is our address and port: the VIP that was asked.
func (c *Conn) Local() netip.AddrPort { return c.local }

// Began is when the connection was accepted.
func (c *Conn) Began() time.Time { return c.began }

// TLS says whether it is encrypted.
func (c *Conn) TLS() bool { return c.secure }

// Proto is "http/1.1", "h2" or "h3".
func (c *Conn) Proto() string {
	if p := c.proto.Load(); p != nil {
		return *p
	}
	return protoH1
}

var (
	protoH1 = "http/1.1"
	protoH2 = "h2"
	protoH3 = "h3"
)

// Requests is how many requests it has brought.
func (c *Conn) Requests() int64 { return c.requests.Load() }

// In and Out are bytes read and bytes taken by the kernel, TLS records and all; Out is counted after each write, not only at
// the end of a transfer. For HTTP/3 they are bytes of bodies.
func (c *Conn) In() int64  { return c.in.Load() }
func (c *Conn) Out() int64 { return c.out.Load() }

// Busy says whether a request is at work.
func (c *Conn) Busy() bool { return c.busy.Load() > 0 }

// Streams is how many streams of HTTP/2 are open, the one of a request at work among them; 0 for HTTP/1.1 and 3.
func (c *Conn) Streams() int { return int(c.live.Load()) }

// Transfer is the request at work, nil when there is none worth naming: short answers of the fast path are not noted. With
// several streams it is the one that began last.
func (c *Conn) Transfer() *Transfer { return c.flow.Load() }

// Note replaces the transfer, e.g. by one with ETag and position.
func (c *Conn) Note(t *Transfer) {
	if t != nil && t.OutAt == 0 {
		t.OutAt = c.Out()
	}
	c.flow.Store(t)
}

// Info asks the kernel about the connection: one system call. ok is false for HTTP/3 and closed connections.
func (c *Conn) Info() (info TCPInfo, ok bool) {
	c.Control(func(fd uintptr) {
		var err error
		info, err = readTCPInfo(int(fd))
		ok = err == nil
	})
	return info, ok
}

// Control runs f with the socket's file descriptor, for socket options; an error for HTTP/3 and closed connections.
func (c *Conn) Control(f func(fd uintptr)) error {
	if c.sock == nil {
		return net.ErrClosed
	}
	return c.sock.raw.Control(f)
}

// Close ends the connection at once.
func (c *Conn) Close() {
	c.finish()
}

// AtEnd has f called once when the connection ends, before its socket is closed, so that Info still answers; f must not block. A
// later call replaces f. On a connection that has ended it does nothing.
func (c *Conn) AtEnd(f func()) { c.atEnd.Store(&f) }

// finish closes the socket and takes c out of the registry, once.
func (c *Conn) finish() {
	c.once.Do(func() {
		if f := c.atEnd.Load(); f != nil {
			(*f)()
		}
		c.dead.Lock()
		c.dead.gone = true
		c.dead.Unlock()
		if c.closer != nil {
			c.closer()
		}
		if c.sock != nil {
			c.sock.TCPConn.Close()
		}
		c.front.reg.remove(c)
	})
}

// setRead sets the read deadline; it never undoes an abort or the interruption of an idle connection by Drain.
func (c *Conn) setRead(t time.Time, idle bool) {
	c.dead.Lock()
	defer c.dead.Unlock()
	c.dead.idle = idle
	switch {
	case c.dead.abort || idle && c.front.woken(c):
		t = past
	case !t.IsZero() && !c.dead.until.IsZero() && c.dead.until.After(past) && idle &&
		t.Sub(c.dead.until) >= 0 && t.Sub(c.dead.until) < c.front.lazyIdle:
		return // near enough: a timer less
	}
	if t.Equal(c.dead.until) {
		return
	}
	c.dead.until = t
	c.sock.SetReadDeadline(t)
}

// interrupt wakes c when it waits for a request.
func (c *Conn) interrupt() {
	c.dead.Lock()
	defer c.dead.Unlock()
	if c.dead.idle && c.sock != nil {
		c.dead.until = past
		c.sock.SetReadDeadline(past)
	}
}

// setAbort notes that net/http wants its read back, or no longer does.
func (c *Conn) setAbort(on bool) {
	c.dead.Lock()
	defer c.dead.Unlock()
	c.dead.abort = on
	t := time.Time{}
	if on {
		t = past
	}
	if !t.Equal(c.dead.until) {
		c.dead.until = t
		c.sock.SetReadDeadline(t)
	}
}

// past is a deadline that has always been over.
var past = time.Unix(1, 0)

type connKey struct{}

// ConnOf is the connection that a request of the general path came on; nil when it did not come through a Front.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

// connOf finds the Conn under what net/http holds.
func connOf(nc net.Conn) *Conn {
	switch v := nc.(type) {
	case *gate:
		return v.c
	case *tlsGate:
		return v.c
	}
	return nil
}
