package slowness

import (
	"net/netip"
	"time"

	"github.com/catchment/catchment/server/resync/flow"
)

// DefaultPiece is how long a transfer under way goes on before it gives a
// sample, and each further one.
const DefaultPiece = 10 * time.Second

// Follow makes samples of the flows of the kernel's table: of servers that are
// not ours. Call Pass after each pass of the table, from one goroutine. A flow
// gives a sample each Every, and one for the rest when it is gone.
type Follow struct {
	Store *Store
	Every time.Duration // DefaultPiece if zero
	// Skip, if not nil, says of which of our addresses and ports nothing is
	// followed: those of our own cache server, which Served looks after.
	Skip func(ours netip.AddrPort) bool

	seen map[flow.Key]*followed
}

// followed is what is kept of a flow: its counters at the last sample and at
// the last pass.
type followed struct {
	from, last  counters
	at, now     time.Time // of from, and when last got on
	first       time.Time // when the table saw it first
	peak        uint64
	rtt, minRTT time.Duration
	mss         uint32
	limited     bool
	pace        uint64
}

// counters are those of tcp_info that only grow.
type counters struct {
	acked, again   uint64
	busy, receiver time.Duration
}

// Pass takes the flows of one pass.
func (f *Follow) Pass(flows []flow.Flow, now time.Time) {
	if f.seen == nil {
		f.seen = map[flow.Key]*followed{}
	}
	every := f.Every
	if every <= 0 {
		every = DefaultPiece
	}
	there := 0
	for i := range flows {
		x := &flows[i]
		if f.Skip != nil && f.Skip(x.VIP) {
			continue
		}
		there++
		p := f.seen[x.Key]
		if p == nil || x.Acked < p.last.acked || !x.First.Equal(p.first) { // another connection of the same ports
			f.finish(x.Client.Addr(), p)
			// What it did before it was seen is in its counters from zero on.
			p = &followed{at: now.Add(-x.Busy), first: x.First}
			f.seen[x.Key] = p
		}
		p.take(x, now)
		if now.Sub(p.at) >= every {
			f.finish(x.Client.Addr(), p)
			p.from, p.at, p.peak = p.last, now, 0
		}
	}
	if len(f.seen) > there {
		f.forget(flows)
	}
}

// take notes how far a flow has come.
func (p *followed) take(x *flow.Flow, now time.Time) {
	if x.Acked > p.last.acked {
		p.now = now
	}
	p.last = counters{x.Acked, uint64(x.Retrans), x.Busy, x.Receiver}
	p.peak, p.rtt, p.minRTT, p.mss, p.limited, p.pace = max(p.peak, x.Rate), x.RTT, x.MinRTT, x.MSS, x.AppLimited, x.Pace
}

// forget ends the flows that are not in the pass.
func (f *Follow) forget(flows []flow.Flow) {
	there := make(map[flow.Key]bool, len(flows))
	for i := range flows {
		there[flows[i].Key] = true
	}
	for k, p := range f.seen {
		if !there[k] {
			f.finish(k.Client.Addr(), p)
			delete(f.seen, k)
		}
	}
}

// finish gives the sample of a flow since its last one.
func (f *Follow) finish(client netip.Addr, p *followed) {
	if p == nil || p.last.acked <= p.from.acked || !p.now.After(p.at) {
		return
	}
	s := p.last.since(&p.from)
	s.Client, s.Elapsed, s.Peak, s.RTT, s.MinRTT, s.AppLimited, s.Pace = client, p.now.Sub(p.at), p.peak, p.rtt, p.minRTT, p.limited, p.pace
	if p.mss > 0 {
		s.Sent = s.Bytes/uint64(p.mss) + 1 + s.Again
	}
	f.Store.Add(&s, p.now)
}

// since is what happened from one reading of counters to the next.
func (c *counters) since(from *counters) Sample {
	return Sample{
		Bytes: c.acked - min(c.acked, from.acked), Again: c.again - min(c.again, from.again),
		Busy: max(0, c.busy-from.busy), Receiver: max(0, c.receiver-from.receiver),
	}
}
