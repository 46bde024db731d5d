package steer

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/catchment/catchment/policy"
)

// grade says how good a choice a POP is now.
type grade uint8

const (
	dead     grade = iota // down, or no way to send anybody there
	doubtful              // draining, withdrawn, or nothing is known of it
	full                  // no headroom
	usable
)

// Live is a Chooser and the state of the POPs, compiled: steps 3 and 4.
type Live struct {
	c      *Chooser
	slow   *Slow
	state  []POPState
	grades []grade
	why    []string  // of the grade, in words
	shares [][]Share // by Place
	tier   []int     // that they are from, by Place
}

// Share is the part of the clients of a Place that goes to a POP.
type Share struct {
	POP   int // index in Config.POPs
	Share float64
	// From is the POP that these clients are taken over from by reservation; -1: none.
	From int
}

// With gives the choice under a state; POPs that are missing in it are unknown.
// Slow may be nil. The state's slices are kept.
func (c *Chooser) With(s State, slow *Slow) *Live {
	l := &Live{c: c, slow: slow, state: make([]POPState, len(c.cfg.POPs))}
	copy(l.state, s.POPs)
	for i := range l.state {
		g, why := c.grade(i, &l.state[i])
		l.grades, l.why = append(l.grades, g), append(l.why, why)
	}
	l.shares, l.tier = make([][]Share, 1, 1+2*len(c.dests)), make([]int, 1, 1+2*len(c.dests))
	for _, d := range c.dests {
		for _, tiers := range [][][]weighted{d.normal, d.cheap} {
			tier, list := l.best(tiers)
			l.shares, l.tier = append(l.shares, l.hand(list)), append(l.tier, tier)
		}
	}
	return l
}

// grade judges one POP and says why.
func (c *Chooser) grade(i int, s *POPState) (grade, string) {
	up := func(c Cache) bool { return !c.Down }
	switch {
	case c.cfg.POPs[i].Name == "" && len(s.Caches) == 0:
		return dead, "no cache and no name"
	case s.Health == policy.Down:
		return dead, "down"
	case len(s.Caches) > 0 && !slices.ContainsFunc(s.Caches, up):
		return dead, "no cache is up"
	case s.Health == policy.Unknown:
		return doubtful, "not known"
	case s.Stance == policy.Withdraw:
		return doubtful, "withdrawn"
	case s.Stance == policy.Drain:
		return doubtful, "draining"
	case s.Room && !(s.Headroom >= c.cfg.Headroom):
		return full, fmt.Sprintf("full: %s %% free, %s %% wanted", percent(s.Headroom), percent(c.cfg.Headroom))
	case s.Room:
		return usable, fmt.Sprintf("%v, %s %% free", s.Health, percent(s.Headroom))
	}
	return usable, s.Health.String()
}

// percent writes a share as a percentage of three digits.
func percent(f float64) string { return fmt.Sprintf("%.3g", 100*f) }

// best finds the first tier that has POPs of the best grade there is, and gives
// these with their weights now. Where all are dead that is the whole first
// tier: an answer that may not work is better than none.
func (l *Live) best(tiers [][]weighted) (tier int, list []weighted) {
	for g := usable; ; g-- {
		for t, pops := range tiers {
			for _, w := range pops {
				if l.grades[w.pop] < g {
					continue
				}
				if s := l.state[w.pop].Scale; s > 0 && !math.IsInf(s, 0) {
					w.weight *= s
				}
				list = append(list, w)
			}
			if len(list) > 0 {
				return t, list
			}
		}
	}
}

// hand makes weights shares, and gives away what is offered.
func (l *Live) hand(list []weighted) []Share {
	var out []Share
	sum := 0.0
	for _, w := range list {
		sum += w.weight
	}
	for _, w := range list {
		own, left := w.weight/sum, 1.0
		for _, o := range l.state[w.pop].Offers {
			to, ok := l.c.pops[o.To]
			if !ok || to == w.pop || l.grades[to] != usable || !(o.Share > 0) {
				continue
			}
			part := min(o.Share, left)
			left -= part
			out = append(out, Share{to, own * part, w.pop})
		}
		out = append(out, Share{w.pop, own * left, -1})
	}
	out = slices.DeleteFunc(out, func(s Share) bool { return s.Share <= 0 })
	slices.SortStableFunc(out, func(a, b Share) int { return cmp.Compare(b.Share, a.Share) })
	return out
}

// Shares tells where the clients of a Place go, the largest first: what is
// needed to make answers in advance. The slice must not be changed.
func (l *Live) Shares(p Place) []Share { return l.shares[p] }

// Places is how many Places there are: they go from 1 (Nowhere is none).
func (l *Live) Places() int { return len(l.shares) - 1 }

// Of gives the answer that sends the asker of q to a POP, by its number: what
// Choose gives once the POP is chosen.
func (l *Live) Of(q *Question, p Place, pop int) Answer {
	a := Answer{Place: p, Index: pop}
	d := dice{q.Seed}
	_ = d.float()
	l.fill(&a, q, &d)
	return a
}

// POPs are those of the configuration, in its order.
func (c *Chooser) POPs() []policy.POPID {
	out := make([]policy.POPID, len(c.cfg.POPs))
	for i := range out {
		out[i] = c.cfg.POPs[i].ID
	}
	return out
}

// Chooser gives what l was made of.
func (l *Live) Chooser() *Chooser { return l.c }
