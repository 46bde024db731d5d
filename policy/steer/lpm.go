package steer

import (
	"encoding/binary"
	"net/netip"
)

func v4Key(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

func v6Key(a netip.Addr) (hi, lo uint64) {
	b := a.As16()
	return binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])
}

func v4Net(s span[uint32]) netip.Prefix {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], s.first)
	return netip.PrefixFrom(netip.AddrFrom4(b), common(s.first, s.last))
}

func v6Net(s span[uint64]) netip.Prefix {
	return netip.PrefixFrom(v6Addr(s.first, 0), common(s.first, s.last))
}

func longNet(hi uint64, s span[uint64]) netip.Prefix {
	return netip.PrefixFrom(v6Addr(hi, s.first), 64+common(s.first, s.last))
}

func v6Addr(hi, lo uint64) netip.Addr {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], hi)
	binary.BigEndian.PutUint64(b[8:], lo)
	return netip.AddrFrom16(b)
}

// get gives the value of an address, 0 for none, and its scope.
func (m *lpm) get(a netip.Addr) (v uint16, scope int) {
	switch {
	case a.Is4():
		return m.v4.get(v4Key(a))
	case a.Is4In6():
		return m.v4.get(v4Key(a.Unmap()))
	case !a.IsValid():
		return 0, 0
	}
	hi, lo := v6Key(a)
	v, scope = m.v6.get(hi)
	if v != deep {
		return v, scope
	}
	t := m.long[hi]
	v, scope = t.get(lo)
	return v, 64 + scope
}

// through gives what f makes of the value of an address, and its scope. A /64
// with networks inside is not joined with its neighbours.
func (m *lpm) through(a netip.Addr, f []Place) (p Place, scope int) {
	switch {
	case a.Is4():
		return m.v4.through(v4Key(a), f)
	case a.Is4In6():
		return m.v4.through(v4Key(a.Unmap()), f)
	case !a.IsValid():
		return f[0], 0
	}
	hi, lo := v6Key(a)
	if t, ok := m.long[hi]; ok {
		p, scope = t.through(lo, f)
		return p, 64 + scope
	}
	return m.v6.through(hi, f)
}

func (m *lpm) ranges() int {
	n := len(m.v4.starts) + len(m.v6.starts)
	for _, t := range m.long {
		n += len(t.starts)
	}
	return n
}

func (m *lpm) bytes() int {
	n := m.v4.bytes() + m.v6.bytes()
	for _, t := range m.long {
		n += t.bytes() + 80 // and its place in the map
	}
	return n
}

// project gives the map of f's values.
func (m *lpm) project(f func(uint16) uint16) lpm {
	out := lpm{v4: m.v4.project(f)}
	out.v6 = m.v6.project(func(v uint16) uint16 {
		if v == deep {
			return deep
		}
		return f(v)
	})
	if len(m.long) > 0 {
		out.long = make(map[uint64]table[uint64], len(m.long))
		for hi, t := range m.long {
			out.long[hi] = t.project(f)
		}
	}
	return out
}

// lay gives the map of f's values of two maps, address by address.
func lay(a, b *lpm, f func(a, b uint16) uint16) lpm {
	out := lpm{v4: over(&a.v4, &b.v4, f)}
	out.v6 = over(&a.v6, &b.v6, func(x, y uint16) uint16 {
		if x == deep || y == deep {
			return deep
		}
		return f(x, y)
	})
	if len(a.long)+len(b.long) == 0 {
		return out
	}
	out.long = map[uint64]table[uint64]{}
	for _, m := range []map[uint64]table[uint64]{a.long, b.long} {
		for hi := range m {
			x, y := a.lower(hi), b.lower(hi)
			out.long[hi] = over(&x, &y, f)
		}
	}
	return out
}

// lower gives the lower half of a /64, also where it has one value only.
func (m *lpm) lower(hi uint64) table[uint64] {
	v, _ := m.v6.get(hi)
	if v == deep {
		return m.long[hi]
	}
	t := table[uint64]{starts: []uint64{0}, vals: []uint16{v}}
	t.index()
	return t
}
