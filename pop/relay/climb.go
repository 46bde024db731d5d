package relay

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/pop/lapse"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// Times of looking for a parent.
const (
	stagger    = 300 * time.Millisecond // until the next parent is tried beside one that does not answer
	firstPause = 200 * time.Millisecond // between two rounds in vain
	mostPause  = 3 * time.Second
)

// climb keeps the node with a parent until the context ends.
func (n *Node) climb(ctx context.Context) {
	wait := firstPause
	var lately string // the parent that was lost last: tried last
	for ctx.Err() == nil {
		s := n.find(ctx, n.candidates(lately))
		if s == nil {
			if !lapse.Of(ctx, wait/2+rand.N(wait)) {
				return
			}
			wait, lately = min(2*wait, mostPause), ""
			continue
		}
		began := time.Now()
		for s != nil && ctx.Err() == nil {
			lately = s.parent.POP
			s, _ = n.ride(ctx, s)
		}
		if s != nil {
			s.up.Close()
		}
		if time.Since(began) > n.opt.Silence {
			wait = firstPause
		} else if !lapse.Of(ctx, wait/2+rand.N(wait)) { // it let us in and threw us out
			return
		}
	}
}

// candidate is a parent with its place in the list.
type candidate struct {
	Parent
	rank int
}

// candidates are the parents in their order, the one lost last at the end.
func (n *Node) candidates(lately string) []candidate {
	var out, late []candidate
	for i, p := range n.opt.Parents {
		if p.POP == lately {
			late = append(late, candidate{p, i})
		} else {
			out = append(out, candidate{p, i})
		}
	}
	return append(out, late...)
}

// attempt is what became of an attach.
type attempt struct {
	candidate
	s   *session
	err error
}

// find tries candidates, the next whenever one has failed or is slow, and
// returns the first that is rooted, or else the one that stands best; nil:
// none has answered. Who is full tells of others, which come next.
func (n *Node) find(ctx context.Context, list []candidate) *session {
	ctx, cancel := context.WithTimeout(ctx, n.opt.Silence+time.Duration(len(list))*stagger)
	defer cancel()
	results, tried, open := make(chan attempt), map[Parent]bool{}, 0
	var best *session
	for len(list) > 0 || open > 0 {
		var next <-chan time.Time
		if len(list) > 0 {
			c := list[0]
			list = list[1:]
			if !tried[c.Parent] {
				tried[c.Parent] = true
				open++
				go func() { s, err := n.attach(ctx, c.Parent, c.rank); results <- attempt{c, s, err} }()
			}
			next = time.After(stagger)
			if len(list) == 0 {
				next = nil
			}
		}
		for waiting := open > 0; waiting; {
			select {
			case <-next:
				waiting = false
			case a := <-results:
				open--
				list = n.tried(a, list)
				best = better(best, a.s)
				waiting = false
			}
		}
		if best != nil && best.standing == pb.Standing_ROOTED {
			break
		}
	}
	cancel()
	for ; open > 0; open-- {
		if a := <-results; a.s != nil {
			a.s.up.Close()
		}
	}
	return best
}

// tried notes an attempt, and adds those that a full parent names.
func (n *Node) tried(a attempt, list []candidate) []candidate {
	if a.err == nil {
		return list
	}
	n.log.Debug("relay: parent not to be had", "parent", a.POP, "address", a.Address, "err", a.err)
	var r *redirected
	if errors.As(a.err, &r) && a.rank < len(n.opt.Parents) { // and they send us no further
		for _, p := range r.to {
			if p.POP != n.opt.POP && validName(p.POP) {
				list = append(list, candidate{p, len(n.opt.Parents)})
			}
		}
	}
	return list
}

// better keeps the one of two sessions that stands better, or else is earlier
// in the list, and ends the other.
func better(a, b *session) *session {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case b.standing > a.standing || b.standing == a.standing && b.rank < a.rank:
		a, b = b, a
	}
	b.up.Close()
	return a
}

// look tries to get to a better parent than the one that is followed, at
// random times, until it has one or the context ends.
func (n *Node) look(ctx context.Context, now *session, found chan<- *session) {
	for {
		wait := n.opt.Back/2 + rand.N(n.opt.Back)
		if _, standing := n.above(); standing != pb.Standing_ROOTED {
			wait = n.opt.Silence + rand.N(n.opt.Silence) // the parent may be on its way back
		}
		rung := n.bell.wait()
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-t.C:
		case <-rung: // it stands otherwise: another pause
			t.Stop()
			continue
		}
		t.Stop()
		if ctx.Err() != nil {
			return
		}
		if s := n.improve(ctx, now); s != nil {
			found <- s
			return
		}
	}
}

// improve looks once. While we stand well only earlier parents count.
func (n *Node) improve(ctx context.Context, now *session) *session {
	_, standing := n.above()
	list := n.candidates("")
	list = slices.DeleteFunc(list, func(c candidate) bool {
		return c.Parent == now.parent || standing == pb.Standing_ROOTED && c.rank >= now.rank
	})
	if len(list) == 0 {
		return nil
	}
	s := n.find(ctx, list)
	if s == nil {
		return nil
	}
	_, standing = n.above()
	if s.standing > standing || s.standing == standing && standing == pb.Standing_ROOTED && s.rank < now.rank {
		return s
	}
	s.up.Close()
	return nil
}

// rates is a token bucket for each POP that requests are passed on for.
type rates struct {
	rate, burst float64
	most        int
	mu          sync.Mutex
	pops        map[string]bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newRates(l Limits) *rates {
	return &rates{rate: l.Rate, burst: float64(l.Burst), most: l.POPs, pops: map[string]bucket{}}
}

// take takes one token, or says how long until there is one.
func (r *rates) take(pop string) (time.Duration, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	b, ok := r.pops[pop]
	if !ok {
		if len(r.pops) >= r.most {
			clear(r.pops)
		}
		b = bucket{r.burst, now}
	}
	b.left = min(r.burst, b.left+r.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.left < 1 {
		r.pops[pop] = b
		return time.Duration((1 - b.left) / r.rate * float64(time.Second)), false
	}
	b.left--
	r.pops[pop] = b
	return 0, true
}
