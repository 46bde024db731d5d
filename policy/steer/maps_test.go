package steer

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/catchment/catchment/policy"
)

// TestTwice: a network that has two locations in one file is named in both
// families, with the lines.
func TestTwice(t *testing.T) {
	for _, n := range []string{"192.0.2.0/24", "0.0.0.0/0", "2001:db8::/48", "2001:db8::/64", "2001:db8:0:0:8000::/66", "2001:db8::1/128"} {
		b := NewBuilder()
		for line, loc := range []string{"a", "a", "b"} {
			if err := b.Add(netip.MustParsePrefix(n), loc, line+7); err != nil {
				t.Fatal(err)
			}
		}
		_, err := b.Build()
		if want := fmt.Sprintf(`network %s: location "b", and "a" before (line 8)`, n); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// TestRename: locations are joined and taken away, address by address as if the
// networks had been given so; a hole stays a hole.
func TestRename(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 9))
	to := func(loc string) string {
		switch loc {
		case "":
			t.Error("a hole was renamed")
		case "l3":
			return ""
		case "l1", "l2":
			return "joined"
		}
		return loc
	}
	for range 40 {
		nets := randomNets(r, 30, 4)
		m := build(t, nets)
		names := map[string]bool{}
		for i := range nets {
			if nets[i].loc != "" {
				nets[i].loc = to(nets[i].loc)
			}
			names[nets[i].loc] = true
		}
		delete(names, "")
		got, want := m.Rename(to), build(t, nets)
		for _, a := range probes(r, nets, 60) {
			x, scope := got.Find(a)
			y, same := want.Find(a)
			if x != y || scope != same {
				t.Fatalf("%v is %q /%d, want %q /%d", a, x, scope, y, same)
			}
		}
		for _, l := range got.Locations() {
			if !names[l] && l != "joined" {
				t.Errorf("location %q has come", l)
			}
		}
		if !slices.IsSorted(got.Locations()) || slices.Contains(got.Locations(), "l3") {
			t.Errorf("locations %v", got.Locations())
		}
		if got.Ranges() > m.Ranges() {
			t.Errorf("%d ranges, %d before", got.Ranges(), m.Ranges())
		}
		if got.Bytes() <= 0 || got.Bytes() < 6*got.Ranges() {
			t.Errorf("%d ranges in %d bytes", got.Ranges(), got.Bytes())
		}
	}
}

// TestOverTooMany: two maps with as many locations as one can have do not fit
// into one, and the one too many is named.
func TestOverTooMany(t *testing.T) {
	full := func(prefix string) *Nets {
		b := NewBuilder()
		for i := range MaxLocations {
			if err := b.Add(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24), fmt.Sprint(prefix, i), 0); err != nil {
				t.Fatal(err)
			}
		}
		m, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	a := full("a")
	if _, err := a.Over(a); err != nil {
		t.Errorf("over itself: %v", err)
	}
	if _, err := a.Over(full("b")); err == nil || !strings.Contains(err.Error(), `"b0" is one too many`) {
		t.Errorf("%v", err)
	}
}

// TestNoAddress: what is no address is nowhere, whether a name has overrides or
// not, and so is everybody without a map.
func TestNoAddress(t *testing.T) {
	cfg, nets, slow := world()
	_, all := states()
	for name, m := range map[string]*Nets{"with a map": build(t, nets), "without": nil} {
		c, err := New(cfg, m)
		if err != nil {
			t.Fatal(err)
		}
		if c.Rules() != len(cfg.Rules) || m == nil && c.Bytes() > 1000 {
			t.Errorf("%s: %d rules, %d bytes", name, c.Rules(), c.Bytes())
		}
		l := c.With(all[0], NewSlow(build(t, slow)))
		if l.Chooser() != c || l.Places() < len(cfg.Destinations) {
			t.Errorf("%s: %d places", name, l.Places())
		}
		for _, host := range []string{"www.example.net", "img.example.net", "a.example.net"} {
			rule, _, ok := c.Rule(host)
			if !ok {
				t.Fatal(host)
			}
			got := l.Choose(&Question{Rule: rule})
			v := c.views[c.rule[rule].view]
			if got.Place != v.asked.place || got.Scope != 0 || got.POP == "" {
				t.Errorf("%s: %s: %+v, want place %d", name, host, got, v.asked.place)
			}
			mapped := netip.MustParseAddr("::ffff:10.4.0.1")
			p1, s1 := c.get(&v, mapped)
			p2, s2 := c.get(&v, mapped.Unmap())
			if p1 != p2 || s1 != s2 || (m == nil) != (p1 == Nowhere) {
				t.Errorf("%s: %s: an IPv4 address in IPv6 is at %d /%d, itself at %d /%d", name, host, p1, s1, p2, s2)
			}
		}
	}
}

// TestOf: to be sent to a POP is what Choose answers once that POP is chosen.
func TestOf(t *testing.T) {
	cfg, nets, _ := world()
	c, err := New(cfg, build(t, nets))
	if err != nil {
		t.Fatal(err)
	}
	_, all := states()
	l := c.With(all[0], nil)
	for seed := range uint64(50) {
		q := Question{Client: netip.MustParsePrefix("10.0.0.0/24"), Seed: seed}
		want := l.Choose(&q)
		got := l.Of(&q, want.Place, want.Index)
		if got.POP != want.POP || got.Target != want.Target || !slices.Equal(got.Addresses(), want.Addresses()) {
			t.Fatalf("seed %d: %+v, want %+v", seed, got, want)
		}
	}
}

// TestRounding: shares of which the sum is a little below one still send every
// client somewhere.
func TestRounding(t *testing.T) {
	cfg, nets, _ := world()
	c, err := New(cfg, build(t, nets))
	if err != nil {
		t.Fatal(err)
	}
	_, all := states()
	l := c.With(all[0], nil)
	l.shares[1] = []Share{{POP: 2, Share: 0.3, From: -1}, {POP: 1, Share: 0.3, From: -1}}
	for u, want := range map[float64]int{0: 2, 0.29: 2, 0.31: 1, 0.61: 1, 0.999999: 1} {
		if got := l.pick(1, u); got != want {
			t.Errorf("%v: POP %d, want %d", u, got, want)
		}
	}
}

// TestNames: a wildcard needs a label, and a name without any is none.
func TestNames(t *testing.T) {
	cfg, _, _ := world()
	c, err := New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"example.net": false, "net": false, "": false, ".": false, "slowpop.": false, "slowpop.net": false, "a.b.example.net": true, "slowpop.a.example.net": true} {
		if _, _, ok := c.Rule(name); ok != want {
			t.Errorf("%q: %v", name, ok)
		}
	}
}

// TestExplainNoFamily: who asks for a family that no cache has is told so.
func TestExplainNoFamily(t *testing.T) {
	cfg, nets, _ := world()
	c, err := New(cfg, build(t, nets))
	if err != nil {
		t.Fatal(err)
	}
	l := c.With(State{POPs: []POPState{{Health: policy.Up, Stance: policy.Announce, Caches: []Cache{{Addr: netip.MustParseAddr("198.51.100.1")}}}}}, nil)
	a, tr := l.Explain(&Question{Client: netip.MustParsePrefix("10.0.0.0/24"), V6: true}, build(t, nets))
	if len(a.Addresses()) > 0 || !strings.Contains(tr.String(), "LON: no address of this family") {
		t.Errorf("%v\n%s", a.Addresses(), tr)
	}
	// A location that no destination is for counts as none.
	_, tr = l.Explain(&Question{Client: netip.MustParsePrefix("172.16.0.0/24")}, build(t, nets))
	if !strings.Contains(tr.String(), "elsewhere, which has no destination") {
		t.Errorf("%s", tr)
	}
}

// TestAll: the networks of a set are disjoint, in order, those that were put
// in, and as wide as can be (IPv6 but for those around networks longer than /64).
func TestAll(t *testing.T) {
	if n := len(slices.Collect((*Slow)(nil).All())); n != 0 {
		t.Errorf("nil has %d", n)
	}
	r := rand.New(rand.NewPCG(5, 5))
	for range 100 {
		b := NewBuilder()
		var in []netip.Prefix
		for range r.IntN(30) {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(r.IntN(4)), byte(r.IntN(4) << 6), byte(r.IntN(4) << 6)}), 14+r.IntN(19)).Masked()
			if r.IntN(3) == 0 {
				p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 7: byte(r.IntN(4)), 15: byte(r.IntN(8))}), 30+r.IntN(99)).Masked()
			}
			in = append(in, p)
			if err := b.Add(p, "slow", 0); err != nil {
				t.Fatal(err)
			}
		}
		n, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		s := NewSlow(n)
		all := slices.Collect(s.All())
		for i, p := range all {
			if p != p.Masked() || !slices.ContainsFunc(in, func(x netip.Prefix) bool { return x.Contains(p.Addr()) }) {
				t.Fatalf("%v is none of %v", p, in)
			}
			if up := netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked(); i > 0 && (all[i-1].Overlaps(p) || all[i-1].Addr().Is4() == p.Addr().Is4() && all[i-1].Addr().Compare(p.Addr()) >= 0 || p.Addr().Is4() && up.Contains(all[i-1].Addr()) && all[i-1].Bits() == p.Bits()) {
				t.Fatalf("%v after %v", p, all[i-1])
			}
		}
		for _, x := range in {
			for _, a := range []netip.Addr{x.Addr(), lastOf(x)} {
				if !slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a) }) {
					t.Fatalf("%v of %v is missing in %v", a, x, all)
				}
			}
		}
	}
}
