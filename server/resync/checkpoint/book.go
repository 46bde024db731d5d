package checkpoint

import (
	"cmp"
	"net/netip"
	"sync"
	"time"
)

// Options bound a Book. Zero fields mean the defaults.
type Options struct {
	// VIP reports whether an address is one of ours; flows of others are not
	// kept. It must be fast and may be called at any time.
	VIP func(netip.Addr) bool
	// Flows is how many flows are kept of one POP; 50,000.
	Flows int
	// Keep is for how long what a POP said is good after its last word; 60 s.
	Keep time.Duration
	// Linger is for how long a flow that has ended there may still be gone on
	// with here: the client's request comes after its POP has seen the end of
	// it. 15 s.
	Linger time.Duration
	// Told hears of each connection that a POP tells of for the first time, or
	// anew. It is called with locks held and must not block; nil: nobody does.
	Told func(client, vip netip.AddrPort)
}

// Book keeps what other POPs have said. Its methods may be called from any
// goroutine.
type Book struct {
	opt Options

	mu      sync.Mutex
	expired uint64
	pops    map[string]*page
	clients map[netip.Addr]map[*entry]struct{}
}

// page is what one POP has said.
type page struct {
	pop     string
	flows   map[ID]*entry
	over    []ID // of flows, those that have ended there, the oldest first
	uses    uses
	heard   time.Time
	life    uint64 // of the connection that writes here
	talking bool
	drain   time.Time
	moving  []netip.Addr // nil with drain: all
	counts  Counts
}

type entry struct {
	Flow
	page  *page
	moved time.Time // when Offset and Rate were said
	over  time.Time // when it ended there; zero: it has not
	used  bool      // Take has given it away
}

// Counts tell what became of what a POP said.
type Counts struct {
	Frames  uint64
	Foreign uint64 // flows of addresses that are not ours
	Full    uint64 // flows beyond the bound
	Broken  uint64 // connections that ended for what was said on them
}

// NewBook makes an empty book.
func NewBook(o Options) *Book {
	o.Flows, o.Keep, o.Linger = cmp.Or(o.Flows, 50_000), cmp.Or(o.Keep, time.Minute), cmp.Or(o.Linger, 15*time.Second)
	return &Book{opt: o, pops: map[string]*page{}, clients: map[netip.Addr]map[*entry]struct{}{}}
}

// Known is a flow of another POP.
type Known struct {
	Flow
	POP string
	// At is when the POP said what Offset and Rate are.
	At time.Time
	// Spent is set by Take where another flow of the same connection was given
	// away before, and its rate with it: Rate is 0. Else Take gives the rate of
	// the whole connection.
	Spent bool
}

// begin starts a connection of a POP: what it said before is forgotten with
// its first word, for the new one says all that is still true.
func (b *Book) begin(pop string, now time.Time) (p *page, life uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if p = b.pops[pop]; p == nil {
		p = &page{pop: pop, flows: map[ID]*entry{}, uses: uses{map[place]time.Time{}, map[place]time.Time{}}}
		b.pops[pop] = p
	}
	p.life++
	p.spend(b.opt.Flows, now)
	p.heard, p.talking, p.drain, p.moving = now, true, time.Time{}, nil
	b.clear(p)
	return p, p.life
}

// end notes that a connection has ended; what was said stays until it expires.
func (b *Book) end(p *page, life uint64, broken bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if broken {
		p.counts.Broken++
	}
	if p.life == life {
		p.talking = false
	}
}

func (b *Book) clear(p *page) {
	for id, e := range p.flows {
		b.drop(p, id, e)
	}
	p.over = nil
}

// end notes that a flow has ended there.
func (p *page) end(id ID, now time.Time) {
	if e := p.flows[id]; e != nil && e.over.IsZero() {
		e.over = now
		p.over = append(p.over, id)
	}
}

// ended reports whether a flow has ended there, but is not forgotten yet. Its
// number is not given to another: over would grow with each.
func (p *page) ended(id ID) bool {
	e := p.flows[id]
	return e != nil && !e.over.IsZero()
}

// sweep forgets flows that ended before a time, and one more where there must
// be room.
func (b *Book) sweep(p *page, before time.Time, room bool) {
	for len(p.over) > 0 {
		id := p.over[0]
		e := p.flows[id]
		if e != nil && !e.over.IsZero() {
			if e.over.After(before) && !room {
				return
			}
			room = false
			b.drop(p, id, e)
		}
		p.over = p.over[1:]
	}
}

func (b *Book) drop(p *page, id ID, e *entry) {
	delete(p.flows, id)
	of := b.clients[e.Client.Addr()]
	if delete(of, e); len(of) == 0 {
		delete(b.clients, e.Client.Addr())
	}
}

// set writes a flow of a POP.
func (b *Book) set(p *page, id ID, f Flow, now time.Time) {
	if !b.opt.VIP(f.VIP.Addr()) {
		p.counts.Foreign++
		return
	}
	old := p.flows[id]
	if old != nil {
		b.drop(p, id, old)
	} else if len(p.flows) >= b.opt.Flows {
		if b.sweep(p, now.Add(-b.opt.Linger), true); len(p.flows) >= b.opt.Flows {
			p.counts.Full++
			return
		}
	}
	if b.opt.Told != nil && (old == nil || old.Client != f.Client || old.VIP != f.VIP) {
		b.opt.Told(f.Client, f.VIP)
	}
	e := &entry{Flow: f, page: p, moved: now, used: p.given(&f, old)}
	p.flows[id] = e
	of := b.clients[f.Client.Addr()]
	if of == nil {
		of = map[*entry]struct{}{}
		b.clients[f.Client.Addr()] = of
	}
	of[e] = struct{}{}
}

// fresh reports whether what a POP said is still good.
func (b *Book) fresh(p *page, now time.Time) bool { return now.Sub(p.heard) <= b.opt.Keep }

// Flows are those of a POP that are still good.
func (b *Book) Flows(pop string, now time.Time) []Known {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pops[pop]
	if p == nil || !b.fresh(p, now) {
		return nil
	}
	out := make([]Known, 0, len(p.flows))
	for _, e := range p.flows {
		if e.over.IsZero() {
			out = append(out, Known{Flow: e.Flow, POP: pop, At: e.moved})
		}
	}
	return out
}

// Expire forgets what is no longer good. Whoever owns the book calls it now
// and then.
func (b *Book) Expire(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, p := range b.pops {
		p.forgive(now.Add(-b.opt.Keep))
		b.sweep(p, now.Add(-b.opt.Linger), false)
		if !p.talking && !b.fresh(p, now) {
			b.expired += uint64(p.live())
			b.clear(p)
			delete(b.pops, name)
		}
	}
}

// Expired is how many flows were forgotten because their POP was not heard any
// more.
func (b *Book) Expired() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.expired
}

// Report is what is known of a POP, for people and metrics.
type Report struct {
	POP     string
	Flows   int
	Heard   time.Time // its last word
	Talking bool      // its connection is there
	Drain   time.Time // when it said that flows of it are about to move; zero: it has not
	// Moving are the VIPs that it said so of; empty: all.
	Moving []netip.Addr
	Counts Counts
}

// live is how many flows have not ended.
func (p *page) live() int { return max(0, len(p.flows)-len(p.over)) }

// POPs reports on all.
func (b *Book) POPs() []Report {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []Report
	for name, p := range b.pops {
		out = append(out, Report{name, p.live(), p.heard, p.talking, p.drain, p.moving, p.counts})
	}
	return out
}
