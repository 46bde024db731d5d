package steer

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
)

// deep marks an upper half of IPv6 (a /64) of which parts have values of their
// own. It is the only value that is no location.
const deep = math.MaxUint16

// MaxLocations is how many locations a map may have.
const MaxLocations = deep - 1

// Nets is a longest-prefix map from networks of both families to locations,
// flattened and immutable.
type Nets struct {
	names []string // of values; names[0] is "": no location
	m     lpm
}

// lpm is the map behind Nets and behind what is made of them.
type lpm struct {
	v4   table[uint32]
	v6   table[uint64]            // by the upper half
	long map[uint64]table[uint64] // by the lower half, where v6 says deep
}

// Builder collects networks. Use one for each file.
type Builder struct {
	names []string
	ids   map[string]uint16
	v4    []span[uint32]
	v6    []span[uint64]
	long  []longSpan
}

type longSpan struct {
	hi   uint64
	span span[uint64]
}

// NewBuilder makes an empty builder.
func NewBuilder() *Builder {
	return &Builder{names: []string{""}, ids: map[string]uint16{"": 0}}
}

// Add adds one network. The empty location says that nothing is known of the
// network: a hole in a wider one. The line is told where Build finds the
// network twice; 0: none. An error says that the network is none (bits after
// its length, an invalid one) or that there are too many locations.
func (b *Builder) Add(p netip.Prefix, location string, line int) error {
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return fmt.Errorf("network %v: wider than the IPv4 addresses it is written in", p)
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if !p.IsValid() {
		return fmt.Errorf("no network: %v", p)
	}
	if p != p.Masked() {
		return fmt.Errorf("network %v: bits are set after its length: %v is meant?", p, p.Masked())
	}
	id, ok := b.ids[location]
	if !ok {
		if len(b.names) > MaxLocations {
			return fmt.Errorf("more than %d locations: %q is one too many", MaxLocations, location)
		}
		id = uint16(len(b.names))
		b.names = append(b.names, location)
		b.ids[location] = id
	}
	b.add(p, id, uint32(line))
	return nil
}

func (b *Builder) add(p netip.Prefix, id uint16, line uint32) {
	if p.Addr().Is4() {
		first := v4Key(p.Addr())
		b.v4 = append(b.v4, span[uint32]{first, first | tail[uint32](p.Bits()), line, id})
		return
	}
	hi, lo := v6Key(p.Addr())
	if n := p.Bits(); n > 64 {
		b.long = append(b.long, longSpan{hi, span[uint64]{lo, lo | tail[uint64](n-64), line, id}})
		return
	}
	b.v6 = append(b.v6, span[uint64]{hi, hi | tail[uint64](p.Bits()), line, id})
}

// tail is the mask of what comes after n bits.
func tail[K key](n int) K { return ^K(0) >> n }

// Len is how many networks were added.
func (b *Builder) Len() int { return len(b.v4) + len(b.v6) + len(b.long) }

// Build gives the map and leaves the builder empty. The error names a network
// that was added twice with different locations, and the two lines.
func (b *Builder) Build() (*Nets, error) {
	n := &Nets{names: b.names}
	err := cmp.Or(twice(b.v4, b.names, v4Net), twice(b.v6, b.names, v6Net))
	n.m.v4 = flatten(b.v4, 0)
	n.m.v6 = flatten(b.v6, 0)
	if len(b.long) > 0 {
		if e := b.buildLong(&n.m); err == nil {
			err = e
		}
	}
	*b = *NewBuilder()
	if err != nil {
		return nil, err
	}
	return n, nil
}

// buildLong makes the tables of the /64s that have networks inside.
func (b *Builder) buildLong(m *lpm) error {
	slices.SortStableFunc(b.long, func(x, y longSpan) int { return cmp.Compare(x.hi, y.hi) })
	m.long = map[uint64]table[uint64]{}
	for rest := b.long; len(rest) > 0; {
		hi := rest[0].hi
		var spans []span[uint64]
		for len(rest) > 0 && rest[0].hi == hi {
			spans = append(spans, rest[0].span)
			rest = rest[1:]
		}
		err := twice(spans, b.names, func(s span[uint64]) netip.Prefix { return longNet(hi, s) })
		if err != nil {
			return err
		}
		v, _ := m.v6.get(hi)
		m.long[hi] = flatten(spans, v)
	}
	for hi := range m.long {
		b.v6 = append(b.v6, span[uint64]{hi, hi, 0, deep})
	}
	m.v6 = flatten(b.v6, 0)
	return nil
}

// twice finds a network that is there twice and has two locations.
func twice[K key](spans []span[K], names []string, net func(span[K]) netip.Prefix) error {
	slices.SortFunc(spans, before)
	for i := 1; i < len(spans); i++ {
		a, b := spans[i-1], spans[i]
		if a.line > b.line {
			a, b = b, a
		}
		if a.first == b.first && a.last == b.last && a.val != b.val {
			return &Duplicate{Network: net(b), First: names[a.val], Second: names[b.val], FirstLine: int(a.line), Line: int(b.line)}
		}
	}
	return nil
}

// Duplicate is the error of a network that has two locations in one file.
type Duplicate struct {
	Network         netip.Prefix
	First, Second   string // locations
	FirstLine, Line int    // 0: not known
}

func (d *Duplicate) Error() string {
	at := ""
	if d.FirstLine > 0 {
		at = fmt.Sprintf(" (line %d)", d.FirstLine)
	}
	return fmt.Sprintf("network %v: location %q, and %q before%s", d.Network, d.Second, d.First, at)
}

// Find gives the location of an address ("": none) and the shortest prefix
// length around it within which every address has the same.
func (n *Nets) Find(a netip.Addr) (location string, scope int) {
	v, scope := n.m.get(a)
	return n.names[v], scope
}

// Locations lists the names of the locations, sorted.
func (n *Nets) Locations() []string {
	l := slices.Clone(n.names[1:])
	slices.Sort(l)
	return l
}

// Ranges is how many ranges of equal answers the map has, and Bytes what they
// occupy in memory.
func (n *Nets) Ranges() int { return n.m.ranges() }

// Bytes see Ranges.
func (n *Nets) Bytes() int { return n.m.bytes() }

// Over lays n over below: where n has no location, below's counts. It is how an
// operator's networks go before those of a database, whatever their lengths.
func (n *Nets) Over(below *Nets) (*Nets, error) {
	out := &Nets{names: slices.Clone(n.names)}
	ids := map[string]uint16{}
	for i, name := range n.names {
		ids[name] = uint16(i)
	}
	to := make([]uint16, len(below.names))
	for i, name := range below.names {
		id, ok := ids[name]
		if !ok {
			if len(out.names) > MaxLocations {
				return nil, fmt.Errorf("more than %d locations: %q is one too many", MaxLocations, name)
			}
			id = uint16(len(out.names))
			out.names = append(out.names, name)
		}
		to[i] = id
	}
	out.m = lay(&n.m, &below.m, func(a, b uint16) uint16 {
		if a != 0 {
			return a
		}
		return to[b]
	})
	return out, nil
}

// Rename gives the map with other locations; "" makes a hole.
func (n *Nets) Rename(f func(location string) string) *Nets {
	out, ids := &Nets{names: []string{""}}, map[string]uint16{"": 0}
	to := make([]uint16, len(n.names))
	for i, name := range n.names[1:] {
		name = f(name)
		id, ok := ids[name]
		if !ok {
			id = uint16(len(out.names))
			ids[name], out.names = id, append(out.names, name)
		}
		to[i+1] = id
	}
	out.m = n.m.project(func(v uint16) uint16 { return to[v] })
	return out
}
