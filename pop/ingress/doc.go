// Package ingress is the route-controller mode: it tells ingress routers over
// iBGP which POP's next hop to use for a slice.
//
// One goroutine owns the assignment. Each round it puts together what is known
// (the demand of each router, the POPs' own words and our checks of them),
// asks policy/assign, hands what the routers are to hear to Layers, and then
// writes the journal and the state on disk. It decides nothing that assign
// could, runs no BGP (bgp/gobgp does), and never touches what this POP
// announces itself: Layers puts the two together.
//
// It fails static. What was assigned stays while POPs or demand are not known;
// the last open target of a slice is never taken away; and when the daemon is
// gone the routers go on with what they were told as long as graceful restart
// lets them, then with the POPs' own announcements, which have the lower local
// preference. A restart begins with what the routers still hold; after a stop,
// or a long absence, assignments are built up anew, in stages.
package ingress

import (
	"context"
	"log/slog"
	"time"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/journal"
)

// Options are what a Controller is made of.
type Options struct {
	Config *config.Config
	Layers *Layers
	// Own is the POP as its controller sees it.
	Own Own
	// Fleet is what is known of the other POPs. Checks are those of targets,
	// their service the target's name. Demand measures the routers.
	Fleet   func(now time.Time) policy.Fleet
	Checks  func() []health.State
	Demand  func() load.Snapshot
	Journal interface{ Append(journal.Entry) }
	OnAlarm func(name string, on bool) // for metrics; may be nil
	// Path is the file that keeps the assignment; Restore says whether routers
	// may still hold what a former life left there.
	Path    string
	Restore bool
	DryRun  bool
	Logger  *slog.Logger
}

// Own is this POP: what it does with its slices, and what operators hold.
type Own interface {
	Status(context.Context) (api.Status, error)
	Changed() <-chan struct{}
}

// CheckService is the name under which the checks of a target run.
func CheckService(pop policy.POPID) policy.ServiceID { return policy.ServiceID("ingress:" + pop) }

// SourceName is the name of a router's source of demand; the zero slice is
// that of all slices.
func SourceName(router string, id policy.SliceID) string {
	if (id == policy.SliceID{}) {
		return "ingress:" + router
	}
	return "ingress:" + router + ":" + id.String()
}
