package rpki_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/catchment/catchment/bgp/rpki"
)

func vrp(prefix string, longest int, as uint32) rpki.VRP {
	return rpki.VRP{Prefix: netip.MustParsePrefix(prefix), MaxLength: longest, AS: as}
}

// TestValidate: the cases of RFC 6811 section 2, and of RFC 6483 (AS 0).
func TestValidate(t *testing.T) {
	const as, other = 64500, 64501
	for _, c := range []struct {
		name   string
		vrps   []rpki.VRP
		prefix string
		origin uint32
		want   rpki.State
		why    string
	}{
		{"no VRP at all", nil, "192.0.2.0/24", as, rpki.NotFound, "no ROA covers it"},
		{"none that covers", []rpki.VRP{vrp("198.51.100.0/24", 24, as)}, "192.0.2.0/24", as, rpki.NotFound, "no ROA"},
		{"a more specific does not cover", []rpki.VRP{vrp("192.0.2.0/25", 25, as)}, "192.0.2.0/24", as, rpki.NotFound, "no ROA"},
		{"of the other family", []rpki.VRP{vrp("::/0", 128, as)}, "192.0.2.0/24", as, rpki.NotFound, "no ROA"},
		{"matched", []rpki.VRP{vrp("192.0.2.0/24", 24, as)}, "192.0.2.0/24", as, rpki.Valid, "allowed by 192.0.2.0/24 AS 64500"},
		{"matched, less specific", []rpki.VRP{vrp("192.0.0.0/16", 24, as)}, "192.0.2.0/24", as, rpki.Valid, "192.0.0.0/16-24 AS 64500"},
		{"too long", []rpki.VRP{vrp("192.0.0.0/16", 23, as)}, "192.0.2.0/24", as, rpki.Invalid, "longer than its ROA allows AS 64500: 192.0.0.0/16-23 AS 64500"},
		{"no max-length stands for the prefix's own", []rpki.VRP{vrp("192.0.0.0/16", 16, as)}, "192.0.2.0/24", as, rpki.Invalid, "192.0.0.0/16 AS 64500"},
		{"another origin", []rpki.VRP{vrp("192.0.2.0/24", 24, other)}, "192.0.2.0/24", as, rpki.Invalid, "not for AS 64500: 192.0.2.0/24 AS 64501"},
		{"another origin, and too long", []rpki.VRP{vrp("192.0.0.0/16", 16, other)}, "192.0.2.0/24", as, rpki.Invalid, "not for AS 64500"},
		{"one of several matches", []rpki.VRP{vrp("192.0.2.0/24", 24, other), vrp("192.0.0.0/16", 16, as), vrp("192.0.2.0/24", 24, as)},
			"192.0.2.0/24", as, rpki.Valid, "allowed by 192.0.2.0/24 AS 64500"},
		{"several, none matches", []rpki.VRP{vrp("192.0.2.0/24", 24, other), vrp("192.0.0.0/16", 16, as)}, "192.0.2.0/24", as, rpki.Invalid,
			"longer than its ROA allows AS 64500: 192.0.0.0/16 AS 64500, 192.0.2.0/24 AS 64501"},
		{"for nobody", []rpki.VRP{vrp("192.0.2.0/24", 24, 0)}, "192.0.2.0/24", as, rpki.Invalid, "AS 0"},
		{"no origin (AS_SET)", []rpki.VRP{vrp("192.0.2.0/24", 24, as)}, "192.0.2.0/24", 0, rpki.Invalid, "not for AS 0"},
		{"no origin, for nobody", []rpki.VRP{vrp("192.0.2.0/24", 24, 0)}, "192.0.2.0/24", 0, rpki.Invalid, "AS 0"},
		{"no origin, nothing covers", nil, "192.0.2.0/24", 0, rpki.NotFound, "no ROA"},
		{"nobody and somebody", []rpki.VRP{vrp("192.0.2.0/24", 24, 0), vrp("192.0.2.0/24", 24, as)}, "192.0.2.0/24", as, rpki.Valid, "AS 64500"},
		{"default route", []rpki.VRP{vrp("0.0.0.0/0", 24, as)}, "192.0.2.0/24", as, rpki.Valid, "0.0.0.0/0-24"},
		{"IPv6", []rpki.VRP{vrp("2001:db8::/32", 48, as)}, "2001:db8:100::/48", as, rpki.Valid, "2001:db8::/32-48"},
		{"IPv6, too long", []rpki.VRP{vrp("2001:db8::/32", 47, as)}, "2001:db8:100::/48", as, rpki.Invalid, "longer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := rpki.Validate(c.vrps, netip.MustParsePrefix(c.prefix), c.origin)
			if got.State != c.want || !strings.Contains(got.Why(), c.why) {
				t.Errorf("%v, %s; want %v, %s", got.State, got.Why(), c.want, c.why)
			}
		})
	}
}

// TestFilter: it wants exactly the VRPs that make a difference.
func TestFilter(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	prefix := func() netip.Prefix {
		a := netip.AddrFrom4([4]byte{10, byte(rng.IntN(4)), byte(rng.IntN(4)) << 6, 0})
		return netip.PrefixFrom(a, rng.IntN(27)).Masked()
	}
	wanted := 0
	for range 20_000 {
		var own []netip.Prefix
		for range rng.IntN(6) {
			own = append(own, prefix())
		}
		p := prefix()
		v := rpki.VRP{Prefix: p, MaxLength: p.Bits(), AS: 1}
		want := slices.ContainsFunc(own, v.Covers)
		if got := rpki.NewFilter(own).Wants(v); got != want {
			t.Fatalf("%v, own %v: %v, want %v", v, own, got, want)
		}
		if want {
			wanted++
		}
	}
	if wanted < 1000 {
		t.Errorf("%d of 20,000 were wanted: tries nothing", wanted)
	}
}

func TestPrivate(t *testing.T) {
	for as, want := range map[uint32]bool{64511: false, 64512: true, 65534: true, 65535: false, 4199999999: false, 4200000000: true, 4294967294: true, 4294967295: false, 1: false} {
		if rpki.Private(as) != want {
			t.Errorf("AS %d: %v", as, !want)
		}
	}
}
