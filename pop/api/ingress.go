package api

import (
	"context"
	"time"

	"github.com/catchment/catchment/policy"
)

// IngressReport is what ingress routers are told: the route-controller mode.
type IngressReport struct {
	POP         policy.POPID        `json:"pop"` // that tells them
	Now         time.Time           `json:"now"`
	Round       time.Time           `json:"round,omitzero"` // when load and cost were looked at last
	Interval    Duration            `json:"interval"`       // between rounds
	Unit        string              `json:"unit"`           // of demand, load and capacity: in, out (bit/s), requests (a second) or connections
	LocalPref   uint32              `json:"local_pref"`
	DryRun      bool                `json:"dry_run,omitempty"` // decides, tells nobody
	Targets     []IngressTarget     `json:"targets"`
	Assignments []IngressAssignment `json:"assignments"`
	Alarms      []Alarm             `json:"alarms,omitempty"` // in the status too
}

// IngressTarget is a POP that slices are assigned to.
type IngressTarget struct {
	POP      policy.POPID `json:"pop"`
	NextHops []string     `json:"next_hops"`
	// State is open, closed (takes no more), unknown, drained or gone: of its
	// slices the one that says most against it. Detail says why.
	State    string  `json:"state"`
	Detail   string  `json:"detail,omitempty"`
	Check    string  `json:"check,omitempty"` // what our check of it says; empty: there is none
	Assigned int     `json:"assigned"`        // slices of routers
	Load     float64 `json:"load"`            // of what is assigned
	Planned  float64 `json:"planned"`         // the same when every planned move is made
	Limit    float64 `json:"limit,omitempty"` // that it is filled to at most; 0: none
	Capacity float64 `json:"capacity,omitempty"`
}

// IngressAssignment is a slice of a router: whose next hop it is told.
type IngressAssignment struct {
	Router  string           `json:"router"`
	Slice   policy.SliceID   `json:"slice"`
	Service policy.ServiceID `json:"service,omitempty"`
	POP     policy.POPID     `json:"pop,omitempty"`     // empty: it follows plain anycast
	Planned policy.POPID     `json:"planned,omitempty"` // another than POP: it moves there in a later round
	// Reason is a stable word: cheapest, full, kept, overload, room, gone,
	// drained, last-target, correlated, target-unknown, demand-unknown, held,
	// waiting, no-room. Detail is for people.
	Reason string    `json:"reason"`
	Detail string    `json:"detail,omitempty"`
	Demand float64   `json:"demand"`
	Known  bool      `json:"known"`          // Demand was measured lately, or is configured
	Since  time.Time `json:"since,omitzero"` // of POP
}

// IngressSummary is what ingress routers are told, counted.
type IngressSummary struct {
	Routers  int `json:"routers"`
	Assigned int `json:"assigned,omitempty"` // slices of routers that are told a POP
	Waiting  int `json:"waiting,omitempty"`  // that move in a later round
	Plain    int `json:"plain,omitempty"`    // that follow plain anycast
}

// Ingress is the route-controller mode, as operators look at it.
type Ingress interface {
	Ingress(context.Context) (IngressReport, error)
}

func (s *Server) ingress(ctx context.Context) (IngressReport, error) {
	if s.opt.Ingress == nil {
		return IngressReport{}, Errorf(NotFound, "this POP tells no ingress routers what to use: ingress.routers is not set in its configuration")
	}
	return s.opt.Ingress.Ingress(ctx)
}

// Ingress asks what ingress routers are told.
func (c *Client) Ingress(ctx context.Context) (IngressReport, error) {
	return get[IngressReport](ctx, c, "ingress")
}
