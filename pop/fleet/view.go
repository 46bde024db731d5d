package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/policy"
)

// Sources of a peer in a view.
const (
	SourceStatus = "status"
	SourceRIB    = "rib"
	SourceTree   = "relay"
)

// View is what policy may judge by at now. It is a pure function of the state;
// the maps in it are shared with other views and must not be changed.
//
// Every configured peer is in it, with zero Heard if it never answered.
func (s *State) View(now time.Time) policy.Fleet {
	f := policy.Fleet{Configured: s.tree || len(s.Peers) > 0, Peers: make([]policy.Peer, 0, len(s.Peers))}
	seen := sync.OnceValue(s.routes) // only where a memo is gone
	for i := range s.Peers {
		p := &s.Peers[i]
		v := policy.Peer{POP: p.POP, Capacity: p.Capacity, Source: SourceStatus, Heard: p.Heard, Asked: p.Asked, Turn: p.turn}
		fresh := !p.Heard.IsZero() && (s.Stale <= 0 || now.Sub(p.Heard) <= s.Stale)
		switch {
		case p.Tree && !p.Status:
			v.Source = SourceTree
		case !p.Status:
			v.Source = SourceRIB
		}
		if p.RIB && p.shown && !fresh {
			v.Source, v.Heard, v.Asked = SourceRIB, now, time.Time{}
			v.Slices = made(&p.memo.rib, func() map[policy.SliceID]policy.PeerSlice { return p.bySight(seen()[p.POP]) })
		} else {
			v.Slices = made(&p.memo.status, func() map[policy.SliceID]policy.PeerSlice { return p.byStatus(seen()[p.POP]) })
		}
		f.Peers = append(f.Peers, v)
	}
	return f
}

// made is what was made before, or is made now.
func made[T any](kept *map[policy.SliceID]T, build func() map[policy.SliceID]T) map[policy.SliceID]T {
	if *kept == nil {
		*kept = build()
	}
	return *kept
}

// sight is what the RIB shows of a POP for a slice.
type sight struct {
	since time.Time // of the oldest fresh route
	drain bool      // every fresh route says GRACEFUL_SHUTDOWN (RFC 8326)
	stale bool      // only kept by graceful restart: it may or may not be so
}

// routes sums up the RIB by POP and slice.
func (s *State) routes() map[policy.POPID]map[policy.SliceID]sight {
	all := map[policy.POPID]map[policy.SliceID]sight{}
	for key, r := range s.paths {
		of, id := all[r.pop], policy.SliceID(key.prefix)
		if of == nil {
			of = map[policy.SliceID]sight{}
			all[r.pop] = of
		}
		now := sight{since: r.since, drain: r.drain, stale: r.stale}
		if before, ok := of[id]; ok {
			now = before.and(now)
		}
		of[id] = now
	}
	return all
}

func (a sight) and(b sight) sight {
	switch {
	case a.stale:
		return b
	case b.stale:
		return a
	}
	if b.since.Before(a.since) {
		a.since = b.since
	}
	a.drain = a.drain && b.drain
	return a
}

// byStatus is the POP as it says itself, less what the RIB denies.
func (p *PeerState) byStatus(seen map[policy.SliceID]sight) map[policy.SliceID]policy.PeerSlice {
	out := make(map[policy.SliceID]policy.PeerSlice, len(p.claims))
	for id, c := range p.claims {
		ps := c.slice()
		ps.DownSince = c.downSince
		if p.disagrees(c, seen) {
			ps.Stance = policy.Stance{}
		}
		out[id] = ps
	}
	return out
}

// slice is a claim in the words of policy.
func (c Claim) slice() policy.PeerSlice {
	return policy.PeerSlice{Stance: c.Stance, Verdict: c.Verdict, Leaving: c.Leaving, Failing: c.Failing}
}

// disagrees reports whether the POP says that it announces what the RIB should
// show and does not.
func (p *PeerState) disagrees(c claim, seen map[policy.SliceID]sight) bool {
	_, there := seen[c.Slice]
	return c.Stance.Announced() && p.beside[c.Slice] && !there
}

// bySight is the POP as only the RIB shows it. A last word of its own that is
// weaker holds, unless the route appeared after it.
func (p *PeerState) bySight(seen map[policy.SliceID]sight) map[policy.SliceID]policy.PeerSlice {
	out := make(map[policy.SliceID]policy.PeerSlice, len(seen))
	for id := range p.lost {
		out[id] = policy.PeerSlice{}
	}
	for id, r := range seen {
		if r.stale {
			continue
		}
		ps := policy.PeerSlice{Stance: policy.Stance{Action: policy.Announce}}
		if r.drain {
			ps.Stance.Action = policy.Drain
		}
		if c, ok := p.claims[id]; ok && !r.since.After(p.Told) {
			if last := c.last.slice(); last.Stance.Less(ps.Stance) || last.Verdict == policy.Down || last.Leaving {
				ps = last
			}
		}
		out[id] = ps
	}
	return out
}

// Disagreement is a POP that says it announces what our RIB does not show.
type Disagreement struct {
	POP   policy.POPID
	Slice policy.SliceID
	Since time.Time // when the RIB lost it
}

func (d Disagreement) String() string {
	return fmt.Sprintf("%s says that it announces %v, but its route is gone from our RIB: it does not count", d.POP, d.Slice)
}

// Disagreements lists them, by peer. One that is younger than a few seconds
// may only be a withdraw whose message is on its way.
func (s *State) Disagreements() []Disagreement {
	var out []Disagreement
	seen := s.routes()
	for i := range s.Peers {
		p := &s.Peers[i]
		if len(p.beside) == 0 {
			continue
		}
		for id, c := range p.claims {
			if p.disagrees(c, seen[p.POP]) {
				out = append(out, Disagreement{POP: p.POP, Slice: id, Since: p.lost[id]})
			}
		}
	}
	slices.SortFunc(out, func(a, b Disagreement) int {
		return cmp.Or(cmp.Compare(a.POP, b.POP), a.Slice.Prefix().Compare(b.Slice.Prefix()))
	})
	return out
}

// back is when the last of its slices was announced in full again, or for the
// first time.
func (p *PeerState) back() (at time.Time) {
	for _, c := range p.claims {
		if c.backAt.After(at) {
			at = c.backAt
		}
	}
	return at
}

// words are the last words of the POP itself, by prefix.
func (p *PeerState) words() []Claim {
	if p.memo.words == nil {
		for _, c := range p.claims {
			p.memo.words = append(p.memo.words, c.last)
		}
		slices.SortFunc(p.memo.words, func(a, b Claim) int { return a.Slice.Prefix().Compare(b.Slice.Prefix()) })
	}
	return p.memo.words
}
