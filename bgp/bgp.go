// Package bgp holds our own words for BGP: what is to be announced, to whom,
// and what became of the sessions. It knows no protocol library; bgp/gobgp is
// the speaker behind it, bgp/bfd the liveness protocol beside it, bgp/addr
// puts addresses on devices and bgp/fib writes routes to the kernel.
//
// The set that a caller hands to a speaker is always the whole desired set;
// the speaker sends the difference. No set yet is not the same as an empty
// set: before the first one nothing is announced or withdrawn.
package bgp

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Community is a standard community (RFC 1997).
type Community uint32

// Well-known communities.
const (
	GracefulShutdown Community = 0xFFFF0000 // RFC 8326
	NoExport         Community = 0xFFFFFF01 // RFC 1997
	NoAdvertise      Community = 0xFFFFFF02
	Blackhole        Community = 0xFFFF029A // RFC 7999
	LLGRStale        Community = 0xFFFF0006 // RFC 9494
	NoLLGR           Community = 0xFFFF0007
)

var communityNames = map[string]Community{
	"graceful-shutdown": GracefulShutdown,
	"no-export":         NoExport,
	"no-advertise":      NoAdvertise,
	"blackhole":         Blackhole,
	"llgr-stale":        LLGRStale,
	"no-llgr":           NoLLGR,
}

func (c Community) String() string {
	for n, w := range communityNames {
		if c == w {
			return n
		}
	}
	return fmt.Sprintf("%d:%d", uint32(c)>>16, uint32(c)&0xFFFF)
}

// ParseCommunity reads "64500:120" or a well-known name such as
// "graceful-shutdown".
func ParseCommunity(s string) (Community, error) {
	if c, ok := communityNames[s]; ok {
		return c, nil
	}
	hi, lo, ok := strings.Cut(s, ":")
	h, err1 := strconv.ParseUint(hi, 10, 16)
	l, err2 := strconv.ParseUint(lo, 10, 16)
	if !ok || err1 != nil || err2 != nil {
		return 0, fmt.Errorf("community %q: want AS:VALUE, each 0 to 65535, or a well-known name", s)
	}
	return Community(h<<16 | l), nil
}

// LargeCommunity is a large community (RFC 8092).
type LargeCommunity struct{ Global, Local1, Local2 uint32 }

func (c LargeCommunity) String() string {
	return fmt.Sprintf("%d:%d:%d", c.Global, c.Local1, c.Local2)
}

// Compare orders by the three parts, the first one first.
func (c LargeCommunity) Compare(o LargeCommunity) int {
	return cmp.Or(cmp.Compare(c.Global, o.Global), cmp.Compare(c.Local1, o.Local1), cmp.Compare(c.Local2, o.Local2))
}

// ParseLargeCommunity reads "64500:1:120".
func ParseLargeCommunity(s string) (LargeCommunity, error) {
	parts := strings.Split(s, ":")
	var n [3]uint32
	if len(parts) != 3 {
		return LargeCommunity{}, fmt.Errorf("large community %q: want GLOBAL:LOCAL1:LOCAL2", s)
	}
	for i, p := range parts {
		v, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return LargeCommunity{}, fmt.Errorf("large community %q: %q is not a number of 32 bits", s, p)
		}
		n[i] = uint32(v)
	}
	return LargeCommunity{n[0], n[1], n[2]}, nil
}

// Attributes are the path attributes of an announcement.
type Attributes struct {
	MED              *uint32          // nil: none sent
	LocalPref        *uint32          // iBGP only; nil: the speaker's default
	Prepend          int              // extra times the local AS
	Communities      []Community      // sorted, no duplicates after Normalize
	LargeCommunities []LargeCommunity // likewise
	NextHop          netip.Addr       // zero: the session's own address
}

// Override changes the attributes toward one neighbor (by address).
type Override struct {
	Withhold bool // do not announce to this neighbor at all
	// Whole: the attributes are all there is; what the announcement says
	// otherwise, but for its MED, does not reach this neighbor.
	Whole bool
	Attributes
}

// Announcement is one prefix and how it is announced.
type Announcement struct {
	Prefix netip.Prefix
	Attributes
	// Neighbors holds what differs toward single neighbors, by address. A
	// field left zero there takes the value above, unless it is Whole.
	Neighbors map[netip.Addr]Override
	// Only: nobody hears it but those in Neighbors.
	Only bool
}

// Equal reports whether routers would see the same thing.
func (a Announcement) Equal(b Announcement) bool {
	if a.Prefix != b.Prefix || a.Only != b.Only || !a.Attributes.Equal(b.Attributes) || len(a.Neighbors) != len(b.Neighbors) {
		return false
	}
	for n, o := range a.Neighbors {
		p, ok := b.Neighbors[n]
		if !ok || o.Withhold != p.Withhold || o.Whole != p.Whole || !o.Attributes.Equal(p.Attributes) {
			return false
		}
	}
	return true
}

// Equal reports whether the attributes are the same.
func (a Attributes) Equal(b Attributes) bool {
	return eq(a.MED, b.MED) && eq(a.LocalPref, b.LocalPref) && a.Prepend == b.Prepend && a.NextHop == b.NextHop &&
		slices.Equal(a.Communities, b.Communities) && slices.Equal(a.LargeCommunities, b.LargeCommunities)
}

func eq(a, b *uint32) bool { return a == b || a != nil && b != nil && *a == *b }

// Change is the difference between two sets.
type Change struct {
	Announce []Announcement // new or with other attributes
	Withdraw []netip.Prefix
}

// Empty reports whether nothing changes.
func (c Change) Empty() bool { return len(c.Announce) == 0 && len(c.Withdraw) == 0 }

// Diff says what must be sent to get from current to desired. Its results are
// sorted by prefix, withdrawals apart from announcements.
func Diff(current, desired []Announcement) Change {
	have := make(map[netip.Prefix]Announcement, len(current))
	for _, a := range current {
		have[a.Prefix] = a
	}
	var c Change
	for _, a := range desired {
		if old, ok := have[a.Prefix]; !ok || !old.Equal(a) {
			c.Announce = append(c.Announce, a)
		}
		delete(have, a.Prefix)
	}
	for p := range have {
		c.Withdraw = append(c.Withdraw, p)
	}
	slices.SortFunc(c.Announce, func(a, b Announcement) int { return a.Prefix.Compare(b.Prefix) })
	slices.SortFunc(c.Withdraw, netip.Prefix.Compare)
	return c
}

// SessionState is the state of a BGP session, RFC 4271 section 8.
type SessionState string

// States.
const (
	Idle        SessionState = "idle"
	Connect     SessionState = "connect"
	Active      SessionState = "active"
	OpenSent    SessionState = "opensent"
	OpenConfirm SessionState = "openconfirm"
	Established SessionState = "established"
)

// PeerState is a neighbor as it is now.
type PeerState struct {
	Address         netip.Addr   `json:"address"`
	AS              uint32       `json:"as"`
	Description     string       `json:"description,omitempty"`
	State           SessionState `json:"state"`
	AdminDown       bool         `json:"admin_down,omitempty"`
	Since           time.Time    `json:"since"`      // of State; zero if never up
	Advertised      int          `json:"advertised"` // paths sent
	Received        int          `json:"received"`   // paths received
	Accepted        int          `json:"accepted"`   // of them accepted by import policy
	Flaps           uint32       `json:"flaps"`      // sessions lost
	LastError       string       `json:"last_error,omitempty"`
	BFD             string       `json:"bfd,omitempty"`    // BFD state, empty where not configured
	GracefulRestart bool         `json:"graceful_restart"` // negotiated
}

// PeerEvent is a change of a session's state.
type PeerEvent struct {
	Peer PeerState
	Was  SessionState
}

// Path is a learned route, as a fleet view or a FIB wants it.
type Path struct {
	Prefix           netip.Prefix
	Neighbor         netip.Addr
	NextHop          netip.Addr
	ASPath           []uint32
	Communities      []Community
	LargeCommunities []LargeCommunity
	MED              *uint32
	PathID           uint32 // RFC 7911
	Best             bool
	Stale            bool // kept by graceful restart
}
