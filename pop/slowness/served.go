package slowness

import (
	"net/netip"
	"sync"
	"time"

	"github.com/catchment/catchment/server/cache/front"
)

// Conn is a connection of our cache server (front.Conn).
type Conn interface {
	ID() uint64
	Remote() netip.AddrPort
	Busy() bool
	Info() (front.TCPInfo, bool)
	AtEnd(func())
}

// Served makes samples of transfers of our own cache server: each of them is
// looked at when it begins and when it or its connection ends, long ones each
// Every in between. Connections over HTTP/3 give none, since the kernel knows
// nothing of them. Its methods may be called from any goroutine.
type Served struct {
	Store *Store
	Every time.Duration // DefaultPiece if zero
	Most  int           // connections that are looked at; 100,000 if zero

	mu   sync.Mutex
	open map[uint64]*serving
}

// serving is a connection with a transfer.
type serving struct {
	conn  Conn
	from  counters
	at    time.Time
	looks looks
	bytes uint64 // taken by the kernel in all, at from
}

const defaultMost = 100_000

// Begin is told of a transfer before its first byte is sent. A connection that
// has one under way goes on with that.
func (s *Served) Begin(c Conn, now time.Time) {
	i, ok := c.Info()
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	most := s.Most
	if most == 0 {
		most = defaultMost
	}
	if s.open[c.ID()] != nil || len(s.open) >= most {
		return
	}
	if s.open == nil {
		s.open = map[uint64]*serving{}
	}
	x := &serving{conn: c}
	x.again(&i, now)
	s.open[c.ID()] = x
	c.AtEnd(func() { s.end(c) })
}

// again lets what follows begin here.
func (x *serving) again(i *front.TCPInfo, now time.Time) {
	x.from, x.bytes, x.at = countersOf(i), i.BytesSent, now
	x.looks.begin(x.from, now)
}

func countersOf(i *front.TCPInfo) counters {
	return counters{i.BytesAcked, uint64(i.Retrans), i.Busy, i.RwndLimited}
}

// see is a look at a connection.
func (x *serving) see(i *front.TCPInfo, now time.Time) {
	x.looks.see(countersOf(i), i.DeliveryRate, uint64(i.SndWnd), now)
}

// Pass looks at the connections; call it about once a second.
func (s *Served) Pass(now time.Time) {
	every := s.Every
	if every <= 0 {
		every = DefaultPiece
	}
	for _, x := range s.all() {
		i, ok := x.conn.Info()
		switch {
		case !ok:
			s.drop(x)
		case !x.conn.Busy() && i.NotSent == 0 && i.Unacked == 0: // the client has all of it
			s.drop(x)
			s.sample(x, &i, now)
		case now.Sub(x.at) >= every:
			s.sample(x, &i, now)
			s.mu.Lock()
			x.again(&i, now)
			s.mu.Unlock()
		default:
			s.mu.Lock()
			x.see(&i, now)
			s.mu.Unlock()
		}
	}
}

func (s *Served) all() []*serving {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*serving, 0, len(s.open))
	for _, x := range s.open {
		out = append(out, x)
	}
	return out
}

// drop forgets a connection; false: somebody else has.
func (s *Served) drop(x *serving) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[x.conn.ID()] != x {
		return false
	}
	delete(s.open, x.conn.ID())
	return true
}

// end gives the sample of a connection that ends.
func (s *Served) end(c Conn) {
	s.mu.Lock()
	x := s.open[c.ID()]
	delete(s.open, c.ID())
	s.mu.Unlock()
	if x == nil {
		return
	}
	if i, ok := c.Info(); ok {
		s.sample(x, &i, time.Now())
	}
}

// Following is how many connections are looked at now.
func (s *Served) Following() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// sample gives what happened on a connection since it was looked at last.
func (s *Served) sample(x *serving, i *front.TCPInfo, now time.Time) {
	s.mu.Lock()
	x.see(i, now)
	out := x.looks.sample(&x.from, x.at)
	out.Client, out.Elapsed = x.conn.Remote().Addr(), now.Sub(x.at)
	sent := i.BytesSent - min(i.BytesSent, x.bytes)
	s.mu.Unlock()
	if out.Bytes == 0 {
		return
	}
	out.RTT, out.MinRTT, out.AppLimited, out.Pace = i.RTT, i.MinRTT, i.AppLimited, i.Pace
	if i.MSS > 0 {
		out.Sent = max(sent, out.Bytes)/uint64(i.MSS) + 1
	}
	s.Store.Add(&out, now)
}
