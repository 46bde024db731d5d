package steer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
)

// network is one line of a map, for the oracle.
type network struct {
	p   netip.Prefix
	loc string
}

// slowly finds the longest prefix by looking at all.
func slowly(nets []network, a netip.Addr) string {
	best, loc := -1, ""
	for _, n := range nets {
		if n.p.Contains(a) && n.p.Bits() > best {
			best, loc = n.p.Bits(), n.loc
		}
	}
	return loc
}

// coarsest is the shortest prefix around a within which everything has the
// location of a: a wider prefix is right if no network inside it, and none that
// holds it, says otherwise anywhere. It looks at the addresses where answers
// can change: the first of each network and the one after its last.
func coarsest(nets []network, a netip.Addr) int {
	want := slowly(nets, a)
	for bits := 0; bits < a.BitLen(); bits++ {
		p := netip.PrefixFrom(a, bits).Masked()
		if slowly(nets, p.Addr()) != want {
			continue
		}
		same := true
		for _, n := range nets {
			for _, edge := range []netip.Addr{n.p.Addr(), last(n.p).Next()} {
				if edge.IsValid() && p.Contains(edge) && slowly(nets, edge) != want {
					same = false
				}
			}
		}
		if same {
			return bits
		}
	}
	return a.BitLen()
}

func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// randomNets are overlapping networks of both families, many in few bits, so
// that they nest, touch and cover one another.
func randomNets(r *rand.Rand, n, locations int) []network {
	seen := map[netip.Prefix]bool{}
	var out []network
	for len(out) < n {
		var p netip.Prefix
		switch r.IntN(4) {
		case 0:
			b := [16]byte{0x20, 0x01, 0xd, 0xb8, 0, byte(r.IntN(2)), 0, byte(r.IntN(8)), byte(r.IntN(4)), byte(r.IntN(256))}
			p = netip.PrefixFrom(netip.AddrFrom16(b), 60+r.IntN(20))
		case 1:
			b := [16]byte{0x20, 0x01, 0xd, 0xb8, byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}
			p = netip.PrefixFrom(netip.AddrFrom16(b), r.IntN(65))
		default:
			b := [4]byte{byte(r.IntN(4)), byte(r.IntN(256)), byte(r.IntN(256)), byte(r.IntN(256))}
			p = netip.PrefixFrom(netip.AddrFrom4(b), r.IntN(33))
		}
		if p = p.Masked(); !seen[p] {
			seen[p] = true
			loc := ""
			if k := r.IntN(locations + 1); k > 0 {
				loc = fmt.Sprint("l", k)
			}
			out = append(out, network{p, loc})
		}
	}
	return out
}

func build(t testing.TB, nets []network) *Nets {
	t.Helper()
	b := NewBuilder()
	for i, n := range nets {
		if err := b.Add(n.p, n.loc, i+1); err != nil {
			t.Fatal(err)
		}
	}
	m, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// probes are addresses in and around networks.
func probes(r *rand.Rand, nets []network, n int) []netip.Addr {
	var out []netip.Addr
	for range n {
		p := nets[r.IntN(len(nets))].p
		switch r.IntN(4) {
		case 0:
			out = append(out, p.Addr())
		case 1:
			out = append(out, last(p))
		case 2:
			if a := last(p).Next(); a.IsValid() {
				out = append(out, a)
			}
		default:
			out = append(out, within(r, p))
		}
	}
	return out
}

// within is a random address of a network.
func within(r *rand.Rand, p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		if r.IntN(2) == 0 {
			b[i/8] |= 0x80 >> (i % 8)
		}
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

func TestFindIsTheLongestPrefixAndTheCoarsestScope(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	for round := range 60 {
		nets := randomNets(r, 1+r.IntN(60), 1+r.IntN(4))
		m := build(t, nets)
		for _, a := range probes(r, nets, 40) {
			loc, scope := m.Find(a)
			if want := slowly(nets, a); loc != want {
				t.Fatalf("round %d: %v is %q, want %q\n%v", round, a, loc, want, nets)
			}
			want := coarsest(nets, a)
			// A /64 with networks inside is not joined with its neighbours.
			if scope < want || scope > want && !near(nets, a) {
				t.Fatalf("round %d: scope of %v is %d, want %d\n%v", round, a, scope, want, nets)
			}
		}
	}
}

// near reports whether networks longer than /64 exist in the family of a.
func near(nets []network, a netip.Addr) bool {
	for _, n := range nets {
		if a.Is6() && n.p.Addr().Is6() && n.p.Bits() > 64 {
			return true
		}
	}
	return false
}

func TestOver(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 2))
	for range 40 {
		top, bottom := randomNets(r, 20, 2), randomNets(r, 20, 3)
		m, err := build(t, top).Over(build(t, bottom))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range probes(r, append(top, bottom...), 60) {
			want := slowly(top, a)
			if want == "" {
				want = slowly(bottom, a)
			}
			if got, _ := m.Find(a); got != want {
				t.Fatalf("%v is %q, want %q", a, got, want)
			}
		}
	}
}

func TestMappedAddressesAreIPv4(t *testing.T) {
	m := build(t, []network{{netip.MustParsePrefix("::ffff:192.0.2.0/120"), "x"}})
	for _, a := range []string{"192.0.2.1", "::ffff:192.0.2.1"} {
		if got, scope := m.Find(netip.MustParseAddr(a)); got != "x" || scope != 24 {
			t.Errorf("%s: %q /%d", a, got, scope)
		}
	}
}

func TestBuilderRefuses(t *testing.T) {
	b := NewBuilder()
	for _, c := range []struct {
		p    netip.Prefix
		want string
	}{
		{netip.Prefix{}, "no network"},
		{netip.PrefixFrom(netip.MustParseAddr("192.0.2.1"), 24), "192.0.2.0/24 is meant"},
		{netip.MustParsePrefix("::ffff:0:0/90"), "wider"},
	} {
		if err := b.Add(c.p, "x", 1); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.p, err, c.want)
		}
	}
	for line, n := range []network{
		{netip.MustParsePrefix("2001:db8::/80"), "a"}, {netip.MustParsePrefix("2001:db8::/64"), "b"}, {netip.MustParsePrefix("2001:db8::/80"), "c"},
	} {
		if err := b.Add(n.p, n.loc, line+1); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.Build()
	if want := `network 2001:db8::/80: location "c", and "a" before (line 1)`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if b.Len() != 0 {
		t.Error("the builder is not empty after an error")
	}
	same := NewBuilder()
	for range 2 {
		if err := same.Add(netip.MustParsePrefix("192.0.2.0/24"), "x", 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := same.Build(); err != nil {
		t.Errorf("the same line twice: %v", err)
	}
	many := NewBuilder()
	var full error
	for i := 0; i < MaxLocations+2 && full == nil; i++ {
		full = many.Add(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i)}), 24).Masked(), fmt.Sprint(i), 0)
	}
	if full == nil || many.Len() != MaxLocations {
		t.Errorf("%d locations: %v", many.Len(), full)
	}
}
