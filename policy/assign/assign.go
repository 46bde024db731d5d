// Package assign chooses, for each ingress router and slice, the POP whose
// next hop the router is told: the assignment problem of a load-aware anycast
// CDN (Alzoubi et al., WWW 2008, TWEB 2011), with hysteresis and in stages.
//
// Routers do as they are told, so unlike policy/plan nothing here is learned:
// what moves is the demand of a router for a slice, whole. The objective is
// ordered: first no target above its limit, then cost (distance, money), then
// demand moved. Solve is recomputed from scratch each time and keeps nothing:
// what keeps it from swinging is that a target sheds above one share of its
// capacity and is filled only to a lower one, and that a move must save more
// than it costs. Solve is a heuristic for hundreds of routers, Exact looks at
// all assignments of small problems and is what the tests compare with.
//
// The package is pure: no clock, no randomness, the same answer for the same
// question. It announces nothing (pop/ingress does) and judges no health: what
// a target's state is, is the caller's word.
package assign

import (
	"fmt"
	"math"
)

// None stands for no target: the router follows plain anycast.
const None = -1

// State is what a target does with a slice.
type State uint8

// States. What is unknown is neither taken nor left: nothing moves onto such a
// target, and nothing that is there moves off.
const (
	Unknown State = iota
	Open          // takes the slice
	Drained       // still serves it, and wants it gone
	Gone          // does not serve it: what is sent there is lost
	Closed        // serves what it has and takes no more
)

func (s State) String() string {
	return [...]string{"unknown", "open", "drained", "gone", "closed"}[min(s, Closed)]
}

// MarshalText writes the word of String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Item is the demand of one router for one slice: it moves as a whole.
type Item struct {
	Router, Slice int
	Now           int     // the target it is assigned to, or None
	Demand        float64 // in the unit of capacity
	// Known: the demand was measured lately, or is configured. An item whose
	// demand is not known moves only off a target that is gone or drained.
	Known bool
	Held  bool // an operator wants it to stay whatever happens
}

// Problem is one question. Targets, routers and slices are numbered; the
// caller keeps the names.
type Problem struct {
	Items []Item
	// Cost is what a unit of demand costs from a router to a target, in any one
	// unit; +Inf: never sent there. [router][target]
	Cost  [][]float64
	State [][]State // by the targets' own word, [slice][target]
	// Down are targets that our own checks do not reach. They count as gone,
	// unless so many are down that the checks are suspect. [target]
	Down     []bool
	Capacity []float64 // [target]; 0: no limit

	Shed float64 // share of its capacity above which a target sheds
	Fill float64 // share up to which it is filled; below Shed
	// MoveCost is what a unit of demand costs to move: cost alone moves
	// nothing that saves less.
	MoveCost float64

	// MaxMoves and MaxShare bound what one round moves: so many items, and such
	// a share of all demand, but one item at least. 0: no bound. What leaves a
	// target that is gone is lost already and not bounded.
	MaxMoves int
	MaxShare float64
	// Suspect is the share of the targets that may be down at once before the
	// checks are not believed. 0: always believed.
	Suspect float64
	// Reflex: between two rounds only what is sent to a target that is gone
	// moves. All else is planned and waits.
	Reflex bool
}

// Code says why an item is where it is, or moves. Its values are stable: they
// are words of the journal and the API.
type Code string

// Reasons.
const (
	Cheapest      Code = "cheapest"       // no open target is cheaper
	Full          Code = "full"           // a cheaper one has no room
	Kept          Code = "kept"           // a cheaper one would save less than the move costs
	Overload      Code = "overload"       // its target carries too much
	Room          Code = "room"           // makes room for others
	TargetGone    Code = "gone"           // its target does not serve the slice
	TargetDrained Code = "drained"        // its target wants the slice gone
	LastTarget    Code = "last-target"    // no target is open: it stays where it is
	Correlated    Code = "correlated"     // too many targets are down at once: the checks are suspect
	TargetUnknown Code = "target-unknown" // nothing is known of its target, or of the cheapest: it stays
	DemandUnknown Code = "demand-unknown" // its demand is not known: load and cost do not move it
	Held          Code = "held"           // an operator holds it
	Waiting       Code = "waiting"        // moves in a later round
	NoRoom        Code = "no-room"        // no target is open and has room: it follows plain anycast
)

// Move is one change of a round.
type Move struct {
	Item, From, To int
	Code           Code
}

// Result is what Solve wants.
type Result struct {
	Plan  []int  // where each item is to be in the end
	Next  []int  // where each is after this round
	Why   []Code // of Next
	Moves []Move // of this round, in the order in which they are safe
	// Load under Now, After and in the end, [target].
	Load, After, Goal []float64
	Limit             []float64 // that no target is filled above, [target]; +Inf: none
	// Overload is the demand above limits in the end, over all targets.
	Overload float64
	// Suspect: so many targets are down at once that none is believed to be.
	Suspect bool
}

// Check says what is wrong with the shape of a problem, nil if nothing.
func (p *Problem) Check() error {
	n := len(p.Capacity)
	switch {
	case n == 0:
		return fmt.Errorf("assign: no targets")
	case len(p.Down) != n:
		return fmt.Errorf("assign: Down of %d targets, Capacity of %d", len(p.Down), n)
	case !(0 < p.Fill && p.Fill < p.Shed):
		return fmt.Errorf("assign: want 0 < fill %g < shed %g", p.Fill, p.Shed)
	case p.MoveCost < 0 || p.MaxMoves < 0 || p.MaxShare < 0:
		return fmt.Errorf("assign: costs and bounds must not be negative")
	}
	for r, row := range p.Cost {
		if len(row) != n {
			return fmt.Errorf("assign: Cost[%d] of %d targets, Capacity of %d", r, len(row), n)
		}
		for t, c := range row {
			if c < 0 || math.IsNaN(c) {
				return fmt.Errorf("assign: Cost[%d][%d] is %v", r, t, c)
			}
		}
	}
	for s, row := range p.State {
		if len(row) != n {
			return fmt.Errorf("assign: State[%d] of %d targets, Capacity of %d", s, len(row), n)
		}
	}
	for i, it := range p.Items {
		if it.Router < 0 || it.Router >= len(p.Cost) || it.Slice < 0 || it.Slice >= len(p.State) ||
			it.Now < None || it.Now >= n || !(it.Demand >= 0) || math.IsInf(it.Demand, 0) {
			return fmt.Errorf("assign: item %d: %+v", i, it)
		}
	}
	return nil
}
