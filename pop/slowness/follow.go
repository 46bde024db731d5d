package slowness

import (
	"time"

	"github.com/catchment/catchment/server/resync/flow"
)

// Follow makes samples of the flows of the kernel's table: of servers that are
// not ours, and of transfers that are long under way. Call Pass after each pass
// of the table, from one goroutine. A flow gives a sample each Every, and one
// for the rest when it is gone.
type Follow struct {
	Store *Store
	Every time.Duration // 10 s if zero

	seen map[flow.Key]*followed
}

type followed struct {
	from, last flow.Flow // at the last sample, and at the last pass
	at, now    time.Time
	peak       uint64
	pass       int
}

// Pass takes the flows of one pass.
func (f *Follow) Pass(flows []flow.Flow, now time.Time) {
	if f.seen == nil {
		f.seen = map[flow.Key]*followed{}
	}
	every := f.Every
	if every <= 0 {
		every = 10 * time.Second
	}
	for _, x := range flows {
		p := f.seen[x.Key]
		if p == nil || x.Acked < p.last.Acked { // another connection of the same ports
			f.finish(p)
			p = &followed{from: x, at: now}
			f.seen[x.Key] = p
		}
		if x.Acked > p.last.Acked {
			p.now = now
		}
		p.last, p.peak = x, max(p.peak, x.Rate)
		p.pass++
		if now.Sub(p.at) >= every {
			f.finish(p)
			*p = followed{from: x, last: x, at: now, now: now, pass: p.pass}
		}
	}
	f.forget(flows)
}

// forget ends the flows that are not in the pass.
func (f *Follow) forget(flows []flow.Flow) {
	if len(f.seen) == len(flows) {
		return
	}
	there := make(map[flow.Key]bool, len(flows))
	for _, x := range flows {
		there[x.Key] = true
	}
	for k, p := range f.seen {
		if !there[k] {
			f.finish(p)
			delete(f.seen, k)
		}
	}
}

// finish gives the sample of a flow since its last one.
func (f *Follow) finish(p *followed) {
	if p == nil || p.last.Acked <= p.from.Acked || !p.now.After(p.at) {
		return
	}
	s := Sample{
		Client: p.last.Client.Addr(), Bytes: p.last.Acked - p.from.Acked, Elapsed: p.now.Sub(p.at),
		Busy: p.last.Busy - p.from.Busy, Receiver: p.last.Receiver - p.from.Receiver,
		Peak: p.peak, RTT: p.last.RTT, MinRTT: p.last.MinRTT, Again: uint64(p.last.Retrans - p.from.Retrans),
	}
	if p.last.MSS > 0 {
		s.Sent = s.Bytes/uint64(p.last.MSS) + 1 + s.Again
	}
	f.Store.Add(&s, p.now)
}
