package steer

import (
	"iter"
	"math"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/catchment/catchment/policy"
)

// Place is a destination, and whether its cheap POPs are meant: all that step 3
// needs. Clients of one Place get the same answers, but for the dice.
type Place uint16

// Nowhere is the Place of who has no location.
const Nowhere Place = 0

func place(dest int, cheap bool) Place {
	p := Place(2*dest + 1)
	if cheap {
		p++
	}
	return p
}

// Cheap reports whether the cheap POPs of the destination are meant.
func (p Place) Cheap() bool { return p != Nowhere && p&1 == 0 }

// Normal is the Place of the same destination's normal POPs.
func (p Place) Normal() Place {
	if p.Cheap() {
		return p - 1
	}
	return p
}

func (p Place) dest() int { return int(p-1) / 2 }

// Question is what a query says, as far as the choice goes.
type Question struct {
	Rule int // of Chooser.Rule
	// SlowName: the name was asked under the slow label.
	SlowName bool
	// Unicast: the query came to a unicast address of this POP.
	Unicast bool
	// Client is the client subnet of the query; invalid or of length 0: none.
	Client   netip.Prefix
	Resolver netip.Addr
	V6       bool   // AAAA, not A
	Seed     uint64 // chance: the same seed gives the same answer
}

// ecs reports whether the query has a client subnet that says something: length
// 0 asks for an answer without regard to the client (RFC 7871 section 7.1.2).
func (q *Question) ecs() bool { return q.Client.Bits() > 0 }

// Answer is what is answered.
type Answer struct {
	Place Place
	POP   policy.POPID
	// Index of the POP in Config.POPs.
	Index int
	// Target of the CNAME, fully qualified; empty: Addresses, and without any
	// of the family there is no data (RFC 2308).
	Target string
	addrs  [MaxAddresses]netip.Addr
	n      int
	// Scope is the prefix length of RFC 7871 section 7.2.1, 0 without a client
	// subnet. It may be longer than that of the query.
	Scope int
}

// Addresses of the caches, in the order of the answer.
func (a *Answer) Addresses() []netip.Addr { return a.addrs[:a.n] }

// Rule finds the rule of a name in lower case, with or without the dot at the
// end. Under is how the name is asked: under the slow label.
func (c *Chooser) Rule(name string) (rule int, under, ok bool) {
	name = strings.TrimSuffix(name, ".")
	if rest, cut := strings.CutPrefix(name, c.cfg.SlowLabel); cut && len(rest) > 1 && rest[0] == '.' {
		if r, ok := c.find(rest[1:]); ok {
			return r, true, true
		}
	}
	rule, ok = c.find(name)
	return rule, false, ok
}

func (c *Chooser) find(name string) (int, bool) {
	if r, ok := c.rules[name]; ok {
		return r, true
	}
	for {
		_, rest, ok := strings.Cut(name, ".")
		if !ok {
			return 0, false
		}
		var buf [256]byte
		if r, ok := c.rules[string(append(append(buf[:0], "*."...), rest...))]; ok {
			return r, true
		}
		name = rest
	}
}

// Rules is how many rules there are: they are numbered from 0, in the order of
// the configuration.
func (c *Chooser) Rules() int { return len(c.rule) }

// Bytes is what the maps of the Chooser occupy.
func (c *Chooser) Bytes() int {
	n := c.base.Bytes()
	for i := range c.views {
		n += c.views[i].m.bytes()
	}
	return n
}

// Place makes steps 1 and 2, and says whether the client is slow. The scope is
// that of the Place; 0 without a client subnet.
func (c *Chooser) Place(q *Question, slow *Slow) (p Place, scope int) {
	v := &c.views[c.rule[q.Rule].view]
	by := q.Resolver
	if q.ecs() {
		by = q.Client.Addr()
		p, scope = c.get(v, by)
	}
	if p == Nowhere {
		p, _ = c.get(v, q.Resolver)
	}
	if p == Nowhere {
		p = v.asked.place
	}
	switch {
	case p.Cheap():
	case q.SlowName:
		p++
	case slow != nil && c.dests[p.dest()].hasCheap:
		is, reach := slow.Has(by)
		if is {
			p++
		}
		if q.ecs() {
			scope = max(scope, reach)
		}
	}
	return p, scope
}

// Slow is the set of client networks that are slow.
type Slow struct {
	m   lpm
	why *Nets
}

// NewSlow makes the set of the networks that have a location; the location is
// the reason that Explain tells.
func NewSlow(n *Nets) *Slow {
	return &Slow{why: n, m: n.m.project(func(v uint16) uint16 { return min(v, 1) })}
}

// Has reports whether an address is in the set, and the shortest prefix length
// around it within which that is the same for all.
func (s *Slow) Has(a netip.Addr) (is bool, scope int) {
	v, scope := s.m.get(a)
	return v != 0, scope
}

// All are the networks of the set, disjoint, joined where they touch, IPv4
// first, in order. nil has none.
func (s *Slow) All() iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		if s == nil {
			return
		}
		for _, a := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
			for a.IsValid() {
				is, scope := s.Has(a)
				p := netip.PrefixFrom(a, scope) // the widest around its first address, so it begins there
				if is && !yield(p) {
					return
				}
				a = lastOf(p).Next()
			}
		}
	}
}

// lastOf is the last address of a network.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Why is the reason for which an address is in the set; false: it is not. nil
// has none.
func (s *Slow) Why(a netip.Addr) (reason string, ok bool) {
	if s == nil {
		return "", false
	}
	reason, _ = s.why.Find(a)
	return reason, reason != ""
}

// Choose answers a question by the state of l. It allocates nothing.
func (l *Live) Choose(q *Question) (a Answer) {
	a.Place, a.Scope = l.c.Place(q, l.slow)
	d := dice{q.Seed}
	a.Index = l.pick(a.Place, d.float())
	l.fill(&a, q, &d)
	return a
}

func (l *Live) pick(p Place, u float64) int {
	s := l.shares[p]
	for i := range s {
		if u -= s[i].Share; u < 0 {
			return s[i].POP
		}
	}
	return s[len(s)-1].POP // rounding
}

// fill gives the answer of a POP that was chosen.
func (l *Live) fill(a *Answer, q *Question, d *dice) {
	pop, r := &l.c.cfg.POPs[a.Index], &l.c.rule[q.Rule]
	a.POP = pop.ID
	caches := l.state[a.Index].Caches
	own := a.Index == l.c.self
	switch {
	case own && q.SlowName && q.Unicast && pop.Name != "":
		a.Target = pop.Name
	case (own || r.Direct || pop.Name == "") && len(caches) > 0:
		a.n = draw(a.addrs[:0:r.Max], caches, q.V6, d)
	default:
		a.Target = pop.Name
	}
}

// draw takes caches of a family by weight, without putting back, into dst up to
// its capacity: those with the least -ln(u)/weight (Efraimidis and Spirakis).
// Where none is up all of them are taken for it.
func draw(dst []netip.Addr, caches []Cache, v6 bool, d *dice) int {
	var keys [MaxAddresses]float64
	for _, down := range []bool{false, true} {
		for i := range caches {
			c := &caches[i]
			if c.Down != down || c.Addr.Is4() == v6 {
				continue
			}
			w := c.Weight
			if !(w > 0) {
				w = 1
			}
			k := -math.Log(1-d.float()) / w
			at := len(dst)
			for at > 0 && keys[at-1] > k {
				at--
			}
			if at == cap(dst) {
				continue
			}
			if len(dst) < cap(dst) {
				dst = append(dst, netip.Addr{})
			}
			copy(dst[at+1:], dst[at:])
			copy(keys[at+1:len(dst)], keys[at:])
			dst[at], keys[at] = c.Addr, k
		}
		if len(dst) > 0 {
			break
		}
	}
	return len(dst)
}

// dice gives numbers from a seed (splitmix64).
type dice struct{ seed uint64 }

// float gives a number from 0 to below 1.
func (d *dice) float() float64 {
	d.seed += 0x9e3779b97f4a7c15
	z := d.seed
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	hi, _ := bits.Mul64(z^z>>31, 1<<53)
	return float64(hi) / (1 << 53)
}
