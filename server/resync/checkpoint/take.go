package checkpoint

import (
	"maps"
	"net/netip"
	"time"
)

// Ask is a request of a client that goes on with something.
type Ask struct {
	Client netip.Addr
	VIP    netip.Addr
	Object Object // its Size may be 0; without URL: the server is not ours
	Offset uint64 // where it goes on; 0: it begins, and goes on with nothing
}

// How much more than its rate says a client may have got since its last
// checkpoint, such as in slow start, and how much less than its kernel has
// acknowledged it may have kept, when the connection broke before it had read
// all: what it gets in a second, within these.
const (
	leastWindow = 1 << 20
	mostWindow  = 4 << 20
)

// mostAge bounds for how long a flow may have got on unseen while its POP
// speaks, which tells each second, or at most ten, what has moved.
const mostAge = 10 * time.Second

// Take gives the flow that a client goes on with here, and gives it only once:
// of one checkpoint there is one jump. Many clients may have one address (NAT),
// and the same object: it is the flow whose offset is nearest below the asked
// one, or else nearest above, among those that can be where the client goes
// on; what is far away is another client's. Where a POP does not know objects
// it is the flow that has got nearest to as much, or else the slowest: what no
// client of that address has exceeded. Of the flows of one connection the first
// gets the rate of all.
func (b *Book) Take(a Ask, now time.Time) (Known, bool) {
	if a.Offset == 0 {
		return Known{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	var best *entry
	for e := range b.clients[a.Client.Unmap()] {
		if !e.used && b.fresh(e.page, now) && a.fits(e, now) && (best == nil || a.better(e, best, now)) {
			best = e
		}
	}
	if best == nil {
		return Known{}, false
	}
	best.used = true
	k := Known{Flow: best.Flow, POP: best.page.pop, At: best.moved}
	if k.Spent = !best.page.rate(best, b.opt.Flows, now); k.Spent {
		k.Rate = 0
	} else {
		k.Rate *= uint64(max(k.Streams, 1))
	}
	return k, true
}

// fits reports whether a request may be what a flow goes on with.
func (a Ask) fits(e *entry, now time.Time) bool {
	if e.VIP.Addr() != a.VIP.Unmap() {
		return false
	}
	return e.Object == (Object{}) || e.Object.URL == a.Object.URL && e.Object.ETag == a.Object.ETag && a.near(e, now)
}

// near reports whether a request begins where a flow may have got.
func (a Ask) near(e *entry, now time.Time) bool {
	window := min(max(e.Rate, leastWindow), mostWindow)
	age := max(0, min(now.Sub(e.moved), now.Sub(e.page.heard)+mostAge))
	return a.Offset+window >= e.Offset && a.Offset <= e.Offset+window+uint64(2*float64(e.Rate)*age.Seconds())
}

// better says which of two flows that fit is meant.
func (a Ask) better(e, than *entry, now time.Time) bool {
	if known, other := e.Object != (Object{}), than.Object != (Object{}); known != other {
		return known
	}
	near, other := a.near(e, now), a.near(than, now)
	if near != other {
		return near
	}
	below := e.Offset <= a.Offset
	switch {
	case near && below != (than.Offset <= a.Offset):
		return below
	case near && e.Offset != than.Offset:
		return below == (e.Offset > than.Offset)
	case e.Rate != than.Rate:
		return e.Rate < than.Rate
	}
	return e.Client.Compare(than.Client) < 0
}

// place is where a flow is and what of, whatever number it has.
type place struct {
	client, vip netip.AddrPort
	url         [16]byte
}

func (f *Flow) place() place { return place{f.Client, f.VIP, f.Object.URL} }

// uses are what was given away of what a POP has said: flows, noted when that
// POP begins to say everything anew, for it may long not know that a client is
// gone; and the rates of connections.
type uses struct {
	flows map[place]time.Time
	rates map[place]time.Time // without a URL
}

// spend remembers the flows of a page that were given away.
func (p *page) spend(most int, now time.Time) {
	for _, e := range p.flows {
		if e.used && len(p.uses.flows) < most {
			p.uses.flows[e.place()] = now
		}
	}
}

// given reports whether a flow that is said was given away before, as old,
// which had its number, or before the POP's connection began.
func (p *page) given(f *Flow, old *entry) bool {
	_, ok := p.uses.flows[f.place()]
	return ok || old != nil && old.used && old.place() == f.place()
}

// rate gives away the rate of a flow's connection; false: it was given away.
func (p *page) rate(e *entry, most int, now time.Time) bool {
	at := place{client: e.Client, vip: e.VIP}
	if _, ok := p.uses.rates[at]; ok || len(p.uses.rates) >= most {
		return false
	}
	p.uses.rates[at] = now
	return true
}

// forgive forgets what was given away before a time.
func (p *page) forgive(before time.Time) {
	for _, m := range []map[place]time.Time{p.uses.flows, p.uses.rates} {
		maps.DeleteFunc(m, func(_ place, at time.Time) bool { return at.Before(before) })
	}
}
