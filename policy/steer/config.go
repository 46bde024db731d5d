package steer

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/catchment/catchment/policy"
)

// Config is what the operator says about where clients go. Lists have names,
// and the order of POPs in Config.POPs is that of State.POPs.
type Config struct {
	Self policy.POPID // this POP
	POPs []POP
	// Locations give each location its destination (step 2). A location of the
	// map that is not here counts as not known.
	Locations    []Location
	Destinations []Destination
	Customers    []Customer
	Rules        []Rule
	// Asked is the destination of clients without a location. Its POPs are put
	// before Failover and Cheap by New: this POP alone, since anycast made the
	// choice. Name it as you like; empty: "asked".
	Asked Destination
	// SlowLabel is the first label of names that go to cheap POPs for
	// everybody; empty: "slowpop".
	SlowLabel string
	// Headroom is the share of its capacity that a POP must have free to be
	// chosen, 0 to 1.
	Headroom float64
}

// POP is what is fixed about a POP.
type POP struct {
	ID policy.POPID
	// Location of clients that were asked for nothing but came here by
	// anycast; empty: they go to Config.Asked.
	Location string
	// Name is the POP's unicast name, fully qualified: the target of a CNAME.
	Name string
}

// Location says where the clients of a location go.
type Location struct {
	Name        string
	Destination string
	Slow        bool // all of it goes to the destination's cheap POPs
}

// Destination is a weighted list of POPs and what stands in for it.
type Destination struct {
	Name     string
	POPs     []Weighted
	Failover []Weighted
	Cheap    []Weighted // for slow clients; empty: POPs
}

// Weighted is a POP in a list. In Failover those with the lowest tier are
// tried first; elsewhere the tier is not looked at.
type Weighted struct {
	POP    policy.POPID
	Weight float64 // 0: 1
	Tier   int
}

// Override gives a location another destination. The empty location stands for
// all that are not named beside it, those not known too.
type Override struct {
	Location    string
	Destination string
}

// Customer has names in common.
type Customer struct {
	Name      string
	Overrides []Override
}

// Rule is a name, or a wildcard ("*.example.net", the closest one counts,
// RFC 4592), whose addresses are steered. Its overrides go before those of its
// customer.
type Rule struct {
	Name      string
	Customer  string
	Overrides []Override
	// Max is how many addresses an answer has at most, 1 to 8; 0: 8.
	Max int
	// Direct answers with the addresses of another POP, where they are known,
	// and not with its name.
	Direct bool
}

// MaxAddresses is how many addresses an answer has at most.
const MaxAddresses = 8

// State is what is known of the POPs now, in the order of Config.POPs.
type State struct {
	POPs []POPState
}

// POPState is what is known of one POP. The zero value: nothing.
type POPState struct {
	Health policy.Verdict
	Stance policy.Action // with Announce it takes clients, with the others none
	// Room: Headroom is known, the share of its capacity that is free (below 0:
	// overloaded).
	Room     bool
	Headroom float64
	// Scale is what its weight is multiplied by, such as the share of its
	// capacity that is up; 0: 1.
	Scale float64
	// Offers are shares of its clients that others have reserved room for.
	Offers []Offer
	Caches []Cache
}

// Offer is a reservation: this share (0 to 1) of the clients goes to that POP.
type Offer struct {
	To    policy.POPID
	Share float64
}

// Cache is a cache server of a POP.
type Cache struct {
	Addr   netip.Addr
	Weight float64 // 0: 1
	Down   bool
}

// canonical is a name as rules are kept: lower case, no dot at the end.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// problems collects what is wrong with a Config.
type problems []string

func (p *problems) add(format string, a ...any) { *p = append(*p, fmt.Sprintf(format, a...)) }

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return fmt.Errorf("steer: %s", strings.Join(p, "\nsteer: "))
}
