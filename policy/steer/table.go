package steer

import (
	"cmp"
	"math/bits"
	"slices"
)

// key is the part of an address that a table is sorted by: all of an IPv4
// address, or half of an IPv6 one.
type key interface{ ~uint32 | ~uint64 }

// span is a network on its way into a table. Of spans with the same first and
// last address the one with the highest value counts.
type span[K key] struct {
	first, last K
	line        uint32
	val         uint16
}

// stride is how many ranges share one entry of the upper level: 32 of them fill
// a few cache lines, and the upper level of a million fits a core's cache.
const stride = 32

// table is a longest-prefix map flattened into ranges: range i goes from
// starts[i] to starts[i+1]-1 (the last one to the end), and ranges that touch
// have different values. starts[0] is 0. Six bytes a range for IPv4, ten for
// the upper half of IPv6.
type table[K key] struct {
	starts []K
	vals   []uint16
	top    []K // every stride-th start
}

// before orders spans as flatten wants them: the wider first.
func before[K key](a, b span[K]) int {
	return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(b.last, a.last), cmp.Compare(a.val, b.val))
}

// flatten sorts the spans of networks (nested or disjoint, never crossing) and
// gives their table; rest is the value where there is no network.
func flatten[K key](spans []span[K], rest uint16) table[K] {
	slices.SortFunc(spans, before)
	s := sweep[K]{rest: rest}
	s.t.starts, s.t.vals = make([]K, 0, len(spans)+1), make([]uint16, 0, len(spans)+1)
	s.emit(0, rest)
	for _, e := range spans {
		s.close(e.first, false)
		s.emit(e.first, e.val)
		s.open = append(s.open, e)
	}
	s.close(0, true)
	s.t.starts, s.t.vals = slices.Clip(s.t.starts), slices.Clip(s.t.vals)
	s.t.index()
	return s.t
}

// sweep walks over sorted spans; open are those around the present address.
type sweep[K key] struct {
	t    table[K]
	open []span[K]
	rest uint16
}

// emit starts a range of value v.
func (s *sweep[K]) emit(at K, v uint16) {
	t := &s.t
	if n := len(t.starts); n > 0 && t.starts[n-1] == at {
		t.starts, t.vals = t.starts[:n-1], t.vals[:n-1]
	}
	if n := len(t.vals); n > 0 && t.vals[n-1] == v {
		return
	}
	t.starts, t.vals = append(t.starts, at), append(t.vals, v)
}

// close ends the open spans that end before at, or all.
func (s *sweep[K]) close(at K, all bool) {
	for n := len(s.open); n > 0 && (all || s.open[n-1].last < at); n = len(s.open) {
		end := s.open[n-1].last
		s.open = s.open[:n-1]
		if end == ^K(0) {
			continue // nothing comes after it
		}
		v := s.rest
		if n > 1 {
			v = s.open[n-2].val
		}
		s.emit(end+1, v)
	}
}

func (t *table[K]) index() {
	t.top = make([]K, 0, len(t.starts)/stride+1)
	for i := 0; i < len(t.starts); i += stride {
		t.top = append(t.top, t.starts[i])
	}
}

// find gives the range of x.
func (t *table[K]) find(x K) int {
	lo := (upper(t.top, x) - 1) * stride
	hi := min(lo+stride, len(t.starts))
	return lo + upper(t.starts[lo:hi], x) - 1
}

// upper counts the elements of a sorted slice that are not above x.
func upper[K key](s []K, x K) int {
	lo, hi := 0, len(s)
	for lo < hi {
		if m := int(uint(lo+hi) >> 1); s[m] <= x {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return lo
}

// get gives the value of x and the shortest prefix length around x within which
// every address has it.
func (t *table[K]) get(x K) (v uint16, scope int) {
	if len(t.starts) == 0 {
		return 0, 0
	}
	i := t.find(x)
	return t.vals[i], t.scope(x, i)
}

// walk is how many ranges to each side a look through a view goes.
const walk = 512

// through is get for what f makes of the values: ranges that touch may have the
// same answer then. It looks at a bounded number of them, so that on a map of
// very many the scope may be longer than need be; it never covers another answer.
func (t *table[K]) through(x K, f []Place) (p Place, scope int) {
	if len(t.starts) == 0 {
		return f[0], 0
	}
	i := t.find(x)
	p = f[t.vals[i]]
	lo, hi := i, i+1
	is := func(v uint16) bool { return v != deep && f[v] == p }
	for lo > 0 && i-lo < walk && is(t.vals[lo-1]) {
		lo--
	}
	for hi < len(t.vals) && hi-i < walk && is(t.vals[hi]) {
		hi++
	}
	return p, t.between(x, lo, hi)
}

// scope: a prefix around x may reach neither the last address before the range
// nor the first one after it, so it must be longer than what x shares with them.
func (t *table[K]) scope(x K, i int) int { return t.between(x, i, i+1) }

// between is scope for the ranges from lo to before hi.
func (t *table[K]) between(x K, lo, hi int) int {
	p := 0
	if first := t.starts[lo]; first > 0 {
		p = common(x, first-1) + 1
	}
	if hi < len(t.starts) {
		p = max(p, common(x, t.starts[hi])+1)
	}
	return p
}

// width is how many bits a key has.
func width[K key]() int { return bits.Len64(uint64(^K(0))) }

// common counts the leading bits that a and b share.
func common[K key](a, b K) int {
	return width[K]() - bits.Len64(uint64(a^b))
}

// project gives the table of f's values.
func (t *table[K]) project(f func(uint16) uint16) table[K] {
	s := sweep[K]{}
	for i, at := range t.starts {
		s.emit(at, f(t.vals[i]))
	}
	s.t.starts, s.t.vals = slices.Clone(s.t.starts), slices.Clone(s.t.vals)
	s.t.index()
	return s.t
}

// over gives the table of f's values of two tables, address by address.
func over[K key](a, b *table[K], f func(a, b uint16) uint16) table[K] {
	s := sweep[K]{}
	for i, j := 0, 0; i < len(a.starts) || j < len(b.starts); {
		var at K
		switch {
		case j == len(b.starts) || i < len(a.starts) && a.starts[i] < b.starts[j]:
			at = a.starts[i]
			i++
		case i == len(a.starts) || b.starts[j] < a.starts[i]:
			at = b.starts[j]
			j++
		default:
			at = a.starts[i]
			i++
			j++
		}
		s.emit(at, f(a.vals[i-1], b.vals[j-1]))
	}
	s.t.index()
	return s.t
}

// bytes is what the table occupies.
func (t *table[K]) bytes() int {
	return (cap(t.starts)+cap(t.top))*width[K]()/8 + 2*cap(t.vals)
}
