// Package pop is the controller of one POP. One goroutine owns the POP's
// state; everything else sends to it and reads snapshots. Each round it puts
// together what is known (verdicts, intents, the fleet view, load), asks
// policy.Decide, hands the whole announcement set to the speaker, and only
// then writes the journal, the metrics and the state on disk: nothing slow
// stands between a verdict and its UPDATE.
//
// The controller owns the round and nothing else: checks run in health, BGP
// in bgp/gobgp, other POPs are heard in pop/fleet, each a task of its own that
// cmd/catchmentd starts and joins. It decides nothing that policy could.
//
// Plan is the same policy on copies of the state and the inputs, run forward
// in virtual time on the caller's goroutine (plan.go, suppose.go, foresee.go,
// planned.go): it answers what would happen if, and changes nothing.
package pop

import (
	"context"
	"net/netip"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
)

// Announcer makes routers hear a set of announcements: the whole desired set
// each time.
type Announcer interface {
	Set(context.Context, []bgp.Announcement) error
	// Announced is what of the last set is in force.
	Announced() []bgp.Announcement
	// OnWire reports whether any established neighbor has been sent it.
	OnWire(netip.Prefix) bool
	Peers() []bgp.PeerState
}

// Checks are the running health checks.
type Checks interface {
	Set([]health.Spec) error
	States() []health.State // of all, those of a service together
	ServiceStates(policy.ServiceID) []health.State
}

// Fleet is what is known of the other POPs.
type Fleet interface {
	View(now time.Time) policy.Fleet
	Poke(since time.Time)
	Changed() <-chan struct{}
	Peers(now time.Time) []fleet.PeerReport
	Disagreements() []fleet.Disagreement
	Differences(now time.Time) []fleet.Difference
}

// Journal keeps what happened. Append never blocks.
type Journal interface {
	Append(journal.Entry)
	Read(journal.Filter) ([]journal.Entry, error)
	// Each gives the same to yield, without holding all of it in memory.
	Each(f journal.Filter, yield func(journal.Entry) error) error
	Recent(journal.Filter) []journal.Entry // of those still in memory
	Err() error
}

// Addresses puts service addresses on devices: the whole desired set each
// time. With an error it returns those that are not there: none of them where
// all are, and something else went wrong.
type Addresses interface {
	Ensure(context.Context, []VIP) ([]VIP, error)
}

// VIP is a service address and the device that holds it.
type VIP struct {
	Address netip.Addr
	Device  string
	Keep    bool // stays when it is no longer wanted
}

// Loads counts the established connections of local addresses.
type Loads interface {
	Connections(context.Context, []netip.Addr) (map[netip.Addr]int, error)
}
