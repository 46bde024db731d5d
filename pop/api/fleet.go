package api

import (
	"context"
	"net/http"
	"time"

	"github.com/catchment/catchment/policy"
)

// Fleeter tells of all POPs of the fleet.
type Fleeter interface {
	Fleet(context.Context) (Fleet, error)
}

// Fleet is every POP as this one knows it, this one first.
type Fleet struct {
	POP policy.POPID  `json:"pop"` // who answers
	Now time.Time     `json:"now"` // its clock; ages are counted from here
	All []FleetMember `json:"all"`
}

// FleetMember is a POP of the fleet. What a POP does not say, or says in words
// that are too old, is zero.
type FleetMember struct {
	POP      policy.POPID `json:"pop"`
	Here     bool         `json:"here,omitempty"` // it is the one who answers
	Location *Location    `json:"location,omitempty"`
	Source   string       `json:"source"`          // here, status, rib
	Weight   float64      `json:"weight"`          // in min-capacity and guards.drains.share
	Heard    time.Time    `json:"heard,omitzero"`  // zero: never
	Stale    bool         `json:"stale,omitempty"` // too old to count
	Error    string       `json:"error,omitempty"` // of the last exchange, if it failed
	Version  string       `json:"version,omitempty"`
	Slices   FleetStances `json:"slices"`
	Level    int          `json:"level,omitempty"` // deepest rung of what it announces, 0: normal
	Load     *LoadStatus  `json:"load,omitempty"`  // nil: not told, or not known
	Sessions FleetCount   `json:"sessions"`        // of BGP
	Core     string       `json:"core,omitempty"`  // to the control core: embedded, follow, external; empty: nothing
	CoreLost bool         `json:"core_lost,omitempty"`
	Drains   []FleetDrain `json:"drains,omitempty"`
	// Windows are maintenance windows, those under way too, earliest first.
	Windows []FleetWindow `json:"windows,omitempty"`
	// Differs is where BGP shows another thing than the POP says.
	Differs []FleetDifference `json:"differs,omitempty"`
	// Follows says in a sentence each what the guards make of all that.
	Follows []string `json:"follows,omitempty"`
}

// FleetStances counts the slices of a POP by what it does with them.
type FleetStances struct {
	All       int `json:"all"`
	Announced int `json:"announced"`      // on any rung
	Rungs     int `json:"rungs"`          // of them below normal
	Drained   int `json:"drained"`        // on their way out
	Down      int `json:"down,omitempty"` // whose checks say down, announced or not
}

// FleetCount is so many of so many.
type FleetCount struct {
	Up  int `json:"up"`
	All int `json:"all"`
}

// FleetDrain is a drain that an operator asked for.
type FleetDrain struct {
	Of    string    `json:"of"` // a service, a prefix, or "all services"
	By    string    `json:"by,omitempty"`
	Why   string    `json:"why,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"` // zero: by undrain
	Waits bool      `json:"waits,omitempty"`
	// Detail says what it waits for, where that is known here.
	Detail string `json:"detail,omitempty"`
}

// FleetWindow is a maintenance window.
type FleetWindow struct {
	Name  string    `json:"name"`
	Of    string    `json:"of"`
	Why   string    `json:"why,omitempty"`
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// FleetDifference is a slice of which a POP says another thing than BGP shows.
type FleetDifference struct {
	Slice   policy.SliceID `json:"slice"`
	Says    policy.Stance  `json:"says"`
	Shown   bool           `json:"shown"` // BGP shows a route of that POP
	Since   time.Time      `json:"since,omitzero"`
	Follows string         `json:"follows"`
}

func (s *Server) fleet(r *http.Request) (any, error) { return s.opt.Backend.Fleet(r.Context()) }

// Fleet asks for all POPs of the fleet.
func (c *Client) Fleet(ctx context.Context) (Fleet, error) { return get[Fleet](ctx, c, "fleet") }
