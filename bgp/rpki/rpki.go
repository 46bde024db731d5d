// Package rpki judges the origin of routes by what the RPKI says (RFC 6811),
// and reads that from a cache by the RTR protocol (RFC 8210, RFC 6810).
//
// It decides nothing about announcements and keeps no session: validation is
// pure, and Fetch asks a cache once. The daemon's sessions are GoBGP's.
package rpki

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// VRP is a validated ROA payload: the AS may originate the prefix and what is
// in it, down to a length of MaxLength. AS 0 stands for nobody (RFC 6483).
type VRP struct {
	Prefix    netip.Prefix
	MaxLength int
	AS        uint32
}

func (v VRP) String() string {
	if v.MaxLength == v.Prefix.Bits() {
		return fmt.Sprintf("%s AS %d", v.Prefix, v.AS)
	}
	return fmt.Sprintf("%s-%d AS %d", v.Prefix, v.MaxLength, v.AS)
}

// Covers reports whether the VRP speaks of the prefix (RFC 6811 section 2).
func (v VRP) Covers(p netip.Prefix) bool {
	return v.Prefix.Bits() <= p.Bits() && v.Prefix.Contains(p.Addr())
}

// matches reports whether the VRP, which covers the prefix, allows the origin.
func (v VRP) matches(p netip.Prefix, origin uint32) bool {
	return p.Bits() <= v.MaxLength && v.AS == origin && v.AS != 0
}

// State is what RFC 6811 makes of a route.
type State uint8

// States. What nobody has said anything about is not found.
const (
	NotFound State = iota
	Valid
	Invalid
)

func (s State) String() string {
	switch s {
	case Valid:
		return "valid"
	case Invalid:
		return "invalid"
	}
	return "not found"
}

// Verdict is the state of a route, and what led to it.
type Verdict struct {
	State
	Prefix   netip.Prefix
	Origin   uint32
	Covering []VRP // sorted; for Valid the matching ones only
	// TooLong: a VRP of the origin covers the prefix, which is longer than it
	// allows.
	TooLong bool
}

// Why says why the state is what it is, naming VRPs.
func (v Verdict) Why() string {
	var names []string
	for _, r := range v.Covering {
		names = append(names, r.String())
	}
	all := strings.Join(names, ", ")
	switch {
	case v.State == Valid:
		return "allowed by " + all
	case v.State == NotFound:
		return "no ROA covers it"
	case v.TooLong:
		return fmt.Sprintf("it is longer than its ROA allows AS %d: %s", v.Origin, all)
	}
	return fmt.Sprintf("its ROA is not for AS %d: %s", v.Origin, all)
}

// Validate judges a route by all VRPs there are, or by those that cover it.
// An origin of 0, as of a route that ends in an AS_SET, matches nothing.
func Validate(vrps []VRP, p netip.Prefix, origin uint32) Verdict {
	out := Verdict{Prefix: p, Origin: origin}
	var match []VRP
	for _, v := range vrps {
		switch {
		case !v.Covers(p):
			continue
		case v.matches(p, origin):
			match = append(match, v)
		case v.AS == origin && origin != 0:
			out.TooLong = true
		}
		out.Covering = append(out.Covering, v)
	}
	switch {
	case len(match) > 0:
		out.State, out.Covering, out.TooLong = Valid, match, false
	case len(out.Covering) > 0:
		out.State = Invalid
	}
	slices.SortFunc(out.Covering, Compare)
	out.Covering = slices.Compact(out.Covering)
	return out
}

// Compare orders VRPs by prefix, length and AS.
func Compare(a, b VRP) int {
	if c := a.Prefix.Compare(b.Prefix); c != 0 {
		return c
	}
	if a.MaxLength != b.MaxLength {
		return a.MaxLength - b.MaxLength
	}
	switch {
	case a.AS < b.AS:
		return -1
	case a.AS > b.AS:
		return 1
	}
	return 0
}

// Filter tells which VRPs speak of any of some prefixes. A cache has several
// 100,000 VRPs; of those few matter here.
type Filter struct{ sorted []netip.Prefix }

// NewFilter makes a filter for the prefixes.
func NewFilter(prefixes []netip.Prefix) Filter {
	f := Filter{slices.Clone(prefixes)}
	slices.SortFunc(f.sorted, func(a, b netip.Prefix) int {
		if c := a.Addr().Compare(b.Addr()); c != 0 {
			return c
		}
		return b.Bits() - a.Bits() // longer first: whatever covers the shorter covers it
	})
	return f
}

// Wants reports whether the VRP covers one of the prefixes. Those in its
// prefix stand together, from its address on.
func (f Filter) Wants(v VRP) bool {
	i, _ := slices.BinarySearchFunc(f.sorted, v.Prefix.Addr(), func(p netip.Prefix, a netip.Addr) int {
		return p.Addr().Compare(a)
	})
	for ; i < len(f.sorted) && v.Prefix.Contains(f.sorted[i].Addr()); i++ {
		if v.Covers(f.sorted[i]) {
			return true
		}
	}
	return false
}

// Private reports whether the AS is for private use (RFC 6996): what leaves
// such a network for others has another origin, so that no ROA can name it.
func Private(as uint32) bool {
	return as >= 64512 && as <= 65534 || as >= 4200000000 && as <= 4294967294
}
