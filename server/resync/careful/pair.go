package careful

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// FromClient is the former POP of a flow that nobody has measured: what is
// known of it is the client's own word.
const FromClient = "client"

// Pair is the POP that flows come from, and the one that they come to.
type Pair struct{ From, To string }

func (b Between) pair() Pair { return Pair{b.From, b.To} }

// A pair of POPs earns as networks do, but slower and less, for those networks
// that have not jumped yet: where what one POP has measured was right at the
// other for nearly all networks so far, it is likely to be right for the next.
// It begins with first, as RFC 9959 has it, and comes back to it at once.
const (
	mostFirst = 0.75 // the most that a network begins with
	voters    = 32   // the networks that jumped last are asked, each by its last jump
	rights    = 20   // so many of them must have shown the part to be right
	wrongs    = 1    // and no more may have come too far
	maxPairs  = 1024 // kept; others begin with first
)

// PairKeep is for how long after its last voice what a pair of POPs has earned is
// good for Restore.
const PairKeep = 7 * 24 * time.Hour

type pair struct {
	part  float64
	votes []vote // the latest last
	at    time.Time
}

type vote struct {
	net   netip.Prefix
	right bool
}

// begins is what a network that has not jumped yet begins with.
func (e *Earned) begins(p Pair) float64 {
	if v := e.pairs[p]; v != nil {
		return v.part
	}
	return first
}

// vote counts a jump for its pair of POPs, if it says something of what
// networks begin with. A client's own word earns nothing for others.
func (e *Earned) vote(b Between, x End, now time.Time) {
	if b.From == FromClient {
		return
	}
	right := x.shows(e.begins(b.pair()))
	if !right && x.Phase != Retreated {
		return
	}
	v := e.pairs[b.pair()]
	if v == nil {
		if len(e.pairs) >= maxPairs {
			return
		}
		v = &pair{part: first}
		e.pairs[b.pair()] = v
	}
	v.at = now
	v.votes = slices.DeleteFunc(v.votes, func(o vote) bool { return o.net == b.Net })
	v.votes = append(v.votes, vote{b.Net, right})
	v.votes = v.votes[max(0, len(v.votes)-voters):]
	v.count()
}

// count makes of the votes what they are enough for; each step needs votes of
// its own.
func (v *pair) count() {
	right := v.right()
	switch {
	case len(v.votes)-right > wrongs:
		v.part, v.votes = first, nil
	case right >= rights && v.part < mostFirst:
		v.part, v.votes = min(mostFirst, v.part*raise), nil
	}
}

func (v *pair) right() (n int) {
	for _, o := range v.votes {
		if o.right {
			n++
		}
	}
	return n
}

// LearnedPair is what was earned by a pair of POPs for networks that have not
// jumped yet.
type LearnedPair struct {
	Pair
	Part     float64   // of a former rate that they begin with
	Networks int       // that jumped last, since the part is what it is
	Right    int       // of them
	At       time.Time // when one of them jumped last
}

// Pairs is what pairs of POPs have earned, in order.
func (e *Earned) Pairs() (out []LearnedPair) {
	for p, v := range e.pairs {
		out = append(out, LearnedPair{p, v.part, len(v.votes), v.right(), v.at})
	}
	slices.SortFunc(out, func(a, b LearnedPair) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
	})
	return out
}

// Restore takes over what pairs of POPs had earned in a former life of this POP,
// as Pairs has said it, but no more than can be earned, and nothing that is old.
// Voices begin anew.
func (e *Earned) Restore(all []LearnedPair, now time.Time) {
	for _, l := range all {
		age := now.Sub(l.At)
		if l.From == "" || l.From == FromClient || !(l.Part > first) || age < 0 || age > PairKeep || e.pairs[l.Pair] != nil || len(e.pairs) >= maxPairs {
			continue
		}
		e.pairs[l.Pair] = &pair{part: min(l.Part, mostFirst), at: l.At}
	}
}
