package probe

import (
	"container/heap"
	"net/netip"
	"time"
)

type key struct{ client, vip netip.AddrPort }

type job struct {
	Flow
	sent, due time.Time
	slow      time.Time // from when on gaps grow
	gap       time.Duration
	until     time.Time // it is let go of
	syn       time.Time // when the last segment with SYN was sent
	doubt     bool      // nobody says that its POP is gone
	again     bool      // it has been woken before, in vain
	done      bool
}

// synGaps is in how many gaps a flow that gets segments with stamps gets one
// with SYN too.
const synGaps = 4

// Wake puts flows of a POP that is gone into the queue and returns how many it
// took.
func (p *Prober) Wake(flows []Flow, now time.Time) int {
	taken := 0
	p.mu.Lock()
	for _, f := range flows {
		p.counts.Asked++
		if p.take(f, now, false) {
			taken++
		}
	}
	heap.Init(&p.again) // what was in doubt may be due earlier
	p.mu.Unlock()
	p.stir()
	return taken
}

// Doubt puts flows into the queue of a POP that has fallen silent and may be
// gone, those that can be asked without harm to a later Wake. It returns how
// many it took.
func (p *Prober) Doubt(flows []Flow, now time.Time) int {
	taken := 0
	p.mu.Lock()
	for _, f := range flows {
		if f.Stamp != 0 && p.take(f, now, true) {
			taken++
		}
	}
	p.counts.Doubted += uint64(taken)
	p.mu.Unlock()
	p.stir()
	return taken
}

// take puts a flow into the queue, or has one that is there out of doubt.
func (p *Prober) take(f Flow, now time.Time, doubt bool) bool {
	k := key{f.Client, f.VIP}
	old := p.known[k]
	switch age := now.Sub(f.At); {
	case !f.Client.IsValid() || f.Client.Port() == 0 || f.VIP.Port() == 0 || f.Client.Addr().Is4() != f.VIP.Addr().Is4() || !p.opt.VIP(f.VIP.Addr()):
		p.counts.Foreign++
	case age > p.opt.Age || age < -time.Second:
		p.counts.Stale++
	case old != nil && (doubt || !old.doubt):
		p.counts.Repeat++
	case old != nil:
		old.set(f, now, &p.opt, doubt)
		return true
	case doubt && now.Before(p.pasts.of(k).calm):
		p.counts.Calm++
	case len(p.fresh)+len(p.again) >= p.opt.Queue:
		p.counts.Full++
	default:
		j := &job{again: !doubt && p.pasts.of(k).woken}
		j.set(f, now, &p.opt, doubt)
		if doubt {
			p.pasts.asked(k, now)
		}
		p.known[k] = j
		p.fresh = append(p.fresh, j)
		return true
	}
	return false
}

// beyond is how much more than a quarter of a round trip is from one segment of
// a flow to the next: whenever the route comes, an answer is there within that
// time, and the reset half a round trip later. That is a quarter less than a
// round trip: what a POP says of a round trip is often longer than it is, for
// clients wait before they acknowledge (RFC 9293 §3.8.6.3) and lines were full.
const beyond = 25 * time.Millisecond

// set begins the waking of a flow.
func (j *job) set(f Flow, now time.Time, o *Options, doubt bool) {
	j.Flow, j.due, j.doubt = f, now, doubt
	j.gap = min(max(f.RTT/4+beyond, o.Gap), 5*o.Gap)
	j.slow, j.until = now.Add(o.Fast), now.Add(o.Until)
	if j.again {
		j.slow, j.gap = now, o.Fast/4
	}
	if doubt {
		j.until = j.slow
	}
}

// stir has Run look at the queue.
func (p *Prober) stir() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// next takes a flow that is due. wait is the time until there may be one.
func (p *Prober) next(now time.Time) (t turn, wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		var j *job
		switch {
		case len(p.fresh) > 0:
			j, p.fresh = p.fresh[0], p.fresh[1:]
		case len(p.again) == 0:
			return turn{}, time.Hour, false
		case p.again[0].due.After(now):
			return turn{}, p.again[0].due.Sub(now), false
		default:
			j = heap.Pop(&p.again).(*job)
		}
		switch {
		case j.done: // and not in known any more
			continue
		case !p.opt.VIP(j.VIP.Addr()): // withdrawn meanwhile
			p.counts.Foreign++
			delete(p.known, j.key())
			continue
		case !now.Before(j.until):
			delete(p.known, j.key())
			if !j.doubt {
				x := p.pasts.of(j.key())
				x.woken = true
				p.pasts.set(j.key(), x, now)
			}
			if !j.sent.IsZero() {
				continue
			}
		default:
			p.later(j, now)
		}
		t := turn{j.Flow, j.Stamp != 0, j.Stamp == 0 || !j.doubt && now.Sub(j.syn) >= synGaps*j.gap}
		if t.syn {
			j.syn = now
		}
		return t, 0, true
	}
}

// The longest gaps: of a flow that is woken, and of one that has been before.
const (
	slowest = time.Second
	seldom  = 8 * time.Second
)

// later says when a flow gets its next segment, after one now.
func (p *Prober) later(j *job, now time.Time) {
	if !now.Before(j.slow) {
		most := slowest
		if j.again {
			most = seldom
		}
		j.gap = min(2*j.gap, max(most, p.opt.Gap))
	}
	j.sent, j.due = now, now.Add(j.gap)
	heap.Push(&p.again, j)
}

// Done says that the client of a flow has come back: it is left alone. It
// reports whether it was being woken.
func (p *Prober) Done(client, vip netip.AddrPort) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pasts.forget(key{client, vip})
	j := p.known[key{client, vip}]
	if j == nil {
		return false
	}
	j.done = true
	delete(p.known, j.key())
	p.counts.Done++
	return true
}

// Hurry says that a route has just come here: who was not sent anything for
// half a gap is sent something now, and gaps are short again.
func (p *Prober) Hurry(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Sub(p.hurry) < p.opt.Gap/2 {
		return
	}
	p.hurry = now
	for _, j := range p.fresh {
		if j.again {
			j.gap, j.slow = p.opt.Gap, now.Add(p.opt.Fast/4)
		}
	}
	for _, j := range p.again {
		j.gap = p.opt.Gap
		if slow := now.Add(p.opt.Fast / 4); j.slow.Before(slow) {
			j.slow = slow
		}
		if now.Sub(j.sent) >= p.opt.Gap/2 {
			j.due, j.syn = now, time.Time{}
		} else if next := j.sent.Add(j.gap); next.Before(j.due) {
			j.due = next
		}
	}
	heap.Init(&p.again)
	p.stir()
}

func (p *Prober) forget() {
	p.mu.Lock()
	p.fresh, p.again, p.known = nil, nil, map[key]*job{}
	p.mu.Unlock()
}

func (j *job) key() key { return key{j.Client, j.VIP} }

// jobs is a heap (container/heap).
type jobs []*job

func (h jobs) Len() int           { return len(h) }
func (h jobs) Less(a, b int) bool { return h[a].due.Before(h[b].due) }
func (h jobs) Swap(a, b int)      { h[a], h[b] = h[b], h[a] }
func (h *jobs) Push(j any)        { *h = append(*h, j.(*job)) }
func (h *jobs) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
