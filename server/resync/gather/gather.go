// Package gather puts together what this POP knows of its own flows: those of
// our cache server, with what is downloaded and how far, and those of any other
// server on our addresses, by what the kernel says of their sockets.
//
// It decides which are told to other POPs: the largest, up to a bound, each
// once. It owns nothing and changes no socket.
package gather

import (
	"cmp"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/flow"
)

// Cache is our cache server (cache.Server).
type Cache interface {
	Flows(least int64, yield func(cache.Flow) bool)
	ClientConnections(yield func(client, local netip.AddrPort, busy bool) bool)
}

// Table is what the kernel says of all sockets (flow.Table).
type Table interface{ Flows() []flow.Flow }

// Options are what a Gatherer needs.
type Options struct {
	Cache func() Cache // nil, or what returns nil: there is none now
	Table Table        // nil: no other server's flows are known
	// VIP reports whether an address is one whose flows count.
	VIP   func(netip.Addr) bool
	Least int64 // bytes that an answer has at least
	Max   int   // flows; the largest stay
	// Every is how old what All gives may be; 500 ms.
	Every time.Duration
}

// Gatherer gathers. Its methods may be called from any goroutine.
type Gatherer struct {
	opt Options

	mu  sync.Mutex
	at  time.Time
	all []Flow
	out uint64 // flows left out for want of room
}

// Flow is one flow, for people too.
type Flow struct {
	checkpoint.Flow
	// Left is how much is still to be sent, where that is known; -1 else.
	Left int64
	// Own: it is of our cache server.
	Own bool
}

// New makes a Gatherer.
func New(o Options) *Gatherer {
	o.Every = cmp.Or(o.Every, 500*time.Millisecond)
	return &Gatherer{opt: o}
}

// Forget has the next call look anew.
func (g *Gatherer) Forget() {
	g.mu.Lock()
	g.at = time.Time{}
	g.mu.Unlock()
}

// Flows are those to tell of.
func (g *Gatherer) Flows() []checkpoint.Flow {
	all, _ := g.All()
	out := make([]checkpoint.Flow, len(all))
	for i := range all {
		out[i] = all[i].Flow
	}
	return out
}

// All are the flows to tell of, the largest first where there are more than
// the bound, and how many were left out so far.
func (g *Gatherer) All() ([]Flow, uint64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); now.Sub(g.at) >= g.opt.Every {
		g.all, g.at = g.look(), now
	}
	return g.all, g.out
}

func (g *Gatherer) look() (out []Flow) {
	own := map[flow.Key]bool{}
	var c Cache
	if g.opt.Cache != nil {
		c = g.opt.Cache()
	}
	if c != nil {
		s := sockets{}
		c.Flows(g.opt.Least, func(f cache.Flow) bool {
			if x, ok := s.flow(&f); ok && g.opt.VIP(x.VIP.Addr()) {
				out = append(out, x)
				own[flow.Key{Client: x.Client, VIP: x.VIP}] = true
			}
			return true
		})
		out = share(out)
	}
	if g.opt.Table != nil {
		others := g.opt.Table.Flows()
		if len(others) > 0 && c != nil {
			// Of what passes through our cache server unstored no more is known
			// than of others' flows; a connection that waits is no download.
			c.ClientConnections(func(client, local netip.AddrPort, busy bool) bool {
				if !busy {
					own[flow.Key{Client: plain(client), VIP: plain(local)}] = true
				}
				return true
			})
		}
		for i := range others {
			if f := &others[i]; !own[f.Key] && !f.Closing && g.opt.VIP(f.VIP.Addr()) {
				out = append(out, ofKernel(f))
			}
		}
	}
	if over := len(out) - g.opt.Max; g.opt.Max > 0 && over > 0 {
		slices.SortFunc(out, func(a, b Flow) int { return cmp.Or(cmp.Compare(b.Left, a.Left), cmp.Compare(b.Offset, a.Offset)) })
		out = out[:g.opt.Max]
		g.out += uint64(over)
	}
	return out
}

func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}

// sockets remembers what the kernel has said of the last connection: those that
// have many flows give them one after the other.
type sockets struct {
	conn  *front.Conn
	info  front.TCPInfo
	stamp uint32
	held  int64
	ok    bool
}

func (s *sockets) ask(c *front.Conn) {
	if s.conn == c {
		return
	}
	*s = sockets{conn: c}
	s.held = int64(c.Held()) // before the kernel is asked: then it is nowhere missed
	if s.info, s.ok = c.Info(); s.ok && s.info.Stamps {
		s.stamp, _ = c.Stamp()
	}
}

// flow is a flow of our cache server; false for those that no other POP can go
// on with: HTTP/3, and what has just ended.
func (s *sockets) flow(f *cache.Flow) (Flow, bool) {
	s.ask(f.Conn)
	i := &s.info
	if !s.ok || f.Length == 0 {
		return Flow{}, false
	}
	out := Flow{Own: true, Left: f.Length, Flow: checkpoint.Flow{
		Client: plain(f.Client), VIP: plain(f.Local), Offset: uint64(f.First) + uint64(s.has(f)), Rate: i.DeliveryRate, RTT: i.RTT,
		ClientLimited: i.Busy > 0 && 2*i.RwndLimited > i.Busy, Stamp: s.stamp, Stream: f.Stream,
	}}
	if f.ETag != "" && f.Digest != ([32]byte{}) {
		out.Object = checkpoint.Object{URL: [16]byte(f.Digest[:16]), ETag: f.ETag, Link: f.URL}
	}
	if f.Length >= 0 {
		out.Left = max(0, f.Length-s.has(f))
	}
	return out, true
}

// share takes flows of one connection, which follow one another, and lets each
// have its part of the rate, which is the connection's. Of more than can be told
// those stay that have most left.
func share(all []Flow) []Flow {
	out := all[:0]
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Stream != 0 && all[n].Client == all[0].Client && all[n].VIP == all[0].VIP {
			n++
		}
		of := all[:n]
		all = all[n:]
		if n > checkpoint.MaxStreams {
			slices.SortFunc(of, func(a, b Flow) int { return cmp.Or(cmp.Compare(b.Left, a.Left), cmp.Compare(a.Stream, b.Stream)) })
			n = checkpoint.MaxStreams
		}
		if n > 1 {
			for i := range of[:n] {
				of[i].Streams, of[i].Rate = n, of[i].Rate/uint64(n)
			}
		}
		out = append(out, of[:n]...)
	}
	return out
}

// overhead is how many bytes of each 1,024 that are sent TLS and HTTP/2 take at
// most: a client must never be said to have more than it has.
const overhead = 16

// has is how much of the body the client has got, at least: what was taken by
// the kernel and is not on its way any more, less what TLS and HTTP/2 add. What
// is on its way may be all of one stream.
func (s *sockets) has(f *cache.Flow) int64 {
	n := f.Sent - int64(s.info.NotSent) - int64(s.info.Unacked)*int64(s.info.MSS)
	if f.Stream != 0 {
		return min(max(0, n-s.held), f.Length)
	}
	if f.Conn.TLS() {
		n -= n / 1024 * overhead
	}
	const head = 4 << 10
	n = max(0, n-head)
	if f.Length >= 0 {
		n = min(n, f.Length)
	}
	return n
}

// ofKernel is a flow of another server.
func ofKernel(f *flow.Flow) Flow {
	return Flow{Left: -1, Flow: checkpoint.Flow{
		Client: f.Client, VIP: f.VIP, Offset: f.Acked, Rate: max(f.Rate, f.Speed), RTT: f.RTT, ClientLimited: f.Limited() > 0.5,
	}}
}
