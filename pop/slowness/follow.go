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
	// OnSample, if not nil, is told of each sample and its class.
	OnSample func(*Sample, Class)

	seen map[flow.Key]*followed
}

// followed is what is kept of a flow: its counters at the last sample and at
// the last pass.
type followed struct {
	from        counters
	at          time.Time // of from
	pieces      int       // samples given
	first       time.Time // when the table saw it first
	looks       looks
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
		if p == nil || x.Acked < p.looks.last.acked || !x.First.Equal(p.first) { // another connection of the same ports
			f.rest(x.Client.Addr(), p)
			// What it did before it was seen is in its counters from zero on.
			p = &followed{at: now.Add(-x.Busy), first: x.First}
			p.looks.begin(p.from, p.at)
			f.seen[x.Key] = p
		}
		p.take(x, now)
		if now.Sub(p.at) >= every {
			f.finish(x.Client.Addr(), p)
			p.from, p.at = p.looks.last, now
			p.pieces++
			p.looks.begin(p.from, now)
		}
	}
	if len(f.seen) > there {
		f.forget(flows)
	}
}

// take notes how far a flow has come.
func (p *followed) take(x *flow.Flow, now time.Time) {
	p.looks.see(counters{x.Acked, uint64(x.Retrans), x.Busy, x.Receiver}, x.Rate, uint64(x.Window), now)
	p.rtt, p.minRTT, p.mss, p.limited, p.pace = x.RTT, x.MinRTT, x.MSS, x.AppLimited, x.Pace
}

// forget ends the flows that are not in the pass.
func (f *Follow) forget(flows []flow.Flow) {
	there := make(map[flow.Key]bool, len(flows))
	for i := range flows {
		there[flows[i].Key] = true
	}
	for k, p := range f.seen {
		if !there[k] {
			f.rest(k.Client.Addr(), p)
			delete(f.seen, k)
		}
	}
}

// rest gives the sample of what is left of a flow that has ended. A short one
// says little beside those before.
func (f *Follow) rest(client netip.Addr, p *followed) {
	if p != nil && (p.pieces == 0 || p.looks.n >= enough) {
		f.finish(client, p)
	}
}

// finish gives the sample of a flow since its last one.
func (f *Follow) finish(client netip.Addr, p *followed) {
	if p.looks.last.acked <= p.from.acked || !p.looks.moved.After(p.at) {
		return
	}
	s := p.looks.sample(&p.from, p.at)
	s.Client, s.RTT, s.MinRTT, s.AppLimited, s.Pace = client, p.rtt, p.minRTT, p.limited, p.pace
	if p.mss > 0 {
		s.Sent = s.Bytes/uint64(p.mss) + 1 + s.Again
	}
	c := f.Store.Add(&s, p.looks.moved)
	if f.OnSample != nil {
		f.OnSample(&s, c)
	}
}

// since is what happened from one reading of counters to the next.
func (c *counters) since(from *counters) Sample {
	return Sample{
		Bytes: c.acked - min(c.acked, from.acked), Again: c.again - min(c.again, from.again),
		Busy: max(0, c.busy-from.busy), Receiver: max(0, c.receiver-from.receiver),
	}
}
