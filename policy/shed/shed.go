// Package shed decides which slices a POP above its limit lets go of, how
// far, and when it takes them back.
//
// Round is recomputed from scratch each time (default every 30 s) from a View:
// loads, capacities, what each POP announces now, the learned responses and
// the reservations that stand. It solves the whole fleet's problem with
// policy/plan and returns only this POP's part of it, so that POPs which see
// the same come to plans that fit together, and POPs which do not are kept
// apart by reservations: a receiver's room is taken before a route changes.
//
// The caller's steps, in order:
//
//  1. build a View and call Round;
//  2. for each Step: write its reservations and its claim in one transaction
//     that holds only if Admit says so; where it does not, leave the step out;
//  3. announce the step's level and note the time in the reservations;
//  4. when the change has settled, give Observe an Event and Surprise the
//     forecast, and free the reservations that Round lists.
//
// Nothing here reads a clock, keeps state between rounds or announces a
// route. All loads have one unit, the one in which capacity is configured:
// bit/s or requests/s.
package shed

import (
	"fmt"
	"slices"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/policy/plan"
)

// Level is how far a POP steps back on a slice: 0 is the normal announcement,
// 1 and up the rungs of the ladder, and the number of rungs is the withdraw.
type Level = plan.Level

// Stance returns the stance that a level stands for in a service with that
// many rungs (policy.Service.Rungs, at least 1).
func Stance(l Level, rungs int) policy.Stance {
	if int(l) >= max(1, rungs) {
		return policy.Stance{Action: policy.Withdraw}
	}
	return policy.Stance{Action: policy.Announce, Rung: int(l)}
}

// LevelOf returns the level of a stance; drain counts as the withdraw that it
// becomes.
func LevelOf(s policy.Stance, rungs int) Level {
	if s.Action != policy.Announce {
		return Level(max(1, rungs))
	}
	return Level(s.Rung)
}

// Config is how one service sheds.
type Config struct {
	// Trigger is the share of its capacity above which a POP sheds, Target
	// the share it sheds down to, and Return the share under which it must
	// stay after taking a slice back. Return < Target <= Trigger. Target below
	// Receive leaves a POP that has shed room for what others send it.
	Trigger, Target, Return float64
	// Receive is the share of its capacity that a receiver may reach, at the
	// upper bound of the forecast. It may be above Trigger: the load that is
	// expected lies well below the bound.
	Receive float64
	// Z is how many standard deviations the upper bounds of reservations lie
	// above the mean: 3 is 99.9 % where errors are normal.
	Z float64
	// Growth is the standard deviation by which a POP's own load changes in a
	// minute, as a share of it; it grows with the square root of a sample's age.
	Growth float64
	// Noise is the standard deviation of one load sample, as a share of it.
	Noise float64

	Settle time.Duration // from a route change until load samples show all of it
	Turn   time.Duration // least time between shedding and taking back, either way
	Stale  time.Duration // age at which a sample drives nothing
	Hold   time.Duration // longest life of a reservation

	Deepest Level // deepest level that load may choose; above the last rung is the withdraw
	Keep    int   // floor: slices that every POP keeps at the normal announcement
	Normal  int   // last-pop: other POPs that stay at the normal announcement on each slice
	Knobs   int   // POPs that may step back on one slice at the same time; 0: any

	Step      float64 // share of its load that a POP may let go of in one round
	Tolerance float64 // share of its capacity by which a full receiver may grow
	Surprised float64 // share of its load by which a forecast may be wrong before we stop

	Absorb  Absorb
	Weights plan.Weights
	Effort  int // plans that one round tries at most, 0: plan's own bound
}

// Defaults returns the configuration of the reference.
func Defaults() Config {
	return Config{
		Trigger: 0.95, Target: 0.88, Return: 0.75, Receive: 0.97, Z: 3, Growth: 0.005, Noise: 0.005,
		Settle: 60 * time.Second, Turn: 10 * time.Minute, Stale: 3 * time.Minute, Hold: 5 * time.Minute,
		Deepest: 1, Keep: 1, Normal: 2, Step: 0.5, Tolerance: 0.01, Surprised: 0.05,
	}
}

// Check says what is wrong with a configuration, nil if nothing.
func (c Config) Check() error {
	switch {
	case !(0 < c.Return && c.Return < c.Target && c.Target <= c.Trigger):
		return fmt.Errorf("shed: want 0 < return %g < target %g <= trigger %g", c.Return, c.Target, c.Trigger)
	case c.Receive <= 0 || c.Receive > 1:
		return fmt.Errorf("shed: want 0 < receive %g <= 1", c.Receive)
	case c.Z < 0 || c.Growth < 0 || c.Noise < 0 || c.Tolerance < 0 || c.Step <= 0:
		return fmt.Errorf("shed: z, growth, noise and tolerance must not be negative, step must be positive")
	case c.Settle <= 0 || c.Turn < c.Settle || c.Hold < c.Settle || c.Stale <= 0:
		return fmt.Errorf("shed: want 0 < settle %v <= turn %v, hold %v, and stale %v positive", c.Settle, c.Turn, c.Hold, c.Stale)
	case c.Normal < 1 || c.Keep < 0:
		return fmt.Errorf("shed: at least one POP must stay normal on each slice")
	}
	return nil
}

// Absorb says whether a POP under attack keeps the load rather than passing
// it on (Moura et al., IMC 2016: absorbing contains the damage, withdrawing
// may cascade).
type Absorb uint8

// Choices.
const (
	// AbsorbRest sheds what is safe and keeps the rest.
	AbsorbRest Absorb = iota
	// AbsorbCascade sheds only where that ends the overload; if not all of it
	// can go anywhere safely, nothing goes.
	AbsorbCascade
	// AbsorbAll never sheds.
	AbsorbAll
)

// POP is a POP as last heard.
type POP struct {
	ID       policy.POPID `json:"pop"`
	Capacity float64      `json:"capacity"` // load units; 0: not known, it gets nothing
	// Load is what it carried, by slice, at the time At (by our own clock,
	// the age that it stated subtracted). Zero At: never heard.
	Load map[policy.SliceID]float64 `json:"load"`
	At   time.Time                  `json:"at"`
	// SD is the standard deviation of the sample's total, in load units; 0
	// means Config.Noise says it.
	SD float64 `json:"sd,omitempty"`
	// Level is what it announces; a slice that is missing is not announced,
	// for reasons that are not load, and load does not touch it.
	Level map[policy.SliceID]Level `json:"level"`
}

// Total returns the load over all slices.
func (p *POP) Total() float64 { return total(p.Load) }

// total adds up a map's values, always in the same order: POPs that see the
// same must come to the same plan, to the last bit.
func total[K comparable](m map[K]float64) float64 {
	var few [16]float64
	values := few[:0]
	for _, v := range m {
		values = append(values, v)
	}
	slices.Sort(values)
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum
}

// View is what one POP knows when it decides.
type View struct {
	Me     policy.POPID
	Slices []policy.SliceID
	POPs   []POP // Me among them
	// Matrix are the learned responses; shared, read only.
	Matrix *Matrix
	// Reserved are all reservations that stand in the core, of one revision.
	Reserved []Reservation
	// Claims are the claims in the core, of the same revision.
	Claims []Claim
	// Shed, Returned and Changed are when this POP last stepped back, last
	// took back, and last changed any level for any reason; zero: never.
	Shed, Returned, Changed time.Time
	// Cost is what a unit of load costs more at the second POP than at the
	// first, money and distance together, where moved bytes cost 1; nil: 0.
	// It must be a pure function.
	Cost func(from, to policy.POPID) float64
	// Isolated is true while the core is out of reach: nothing moves.
	Isolated bool
	// Surprised is true after Surprise said that the last step did something
	// else than was forecast, until one round has passed.
	Surprised bool
}

// Code says why a round did what it did: stable words for metrics and journal.
type Code string

// Reasons of a round.
const (
	Fine      Code = "fine"         // below the limit, nothing to take back
	Shedding  Code = "shedding"     // above the trigger: steps follow
	Helping   Code = "helping"      // makes room for a POP that has no other way
	Returning Code = "returning"    // takes a slice back
	Settling  Code = "settling"     // waits until the last change shows in the loads
	Turning   Code = "turning"      // changed the other way too recently
	NoRoom    Code = "no-room"      // overloaded, and nobody can safely take more: absorbed
	Absorbing Code = "absorbing"    // overloaded, and configured to keep it
	Stopped   Code = "surprised"    // the last forecast was wrong
	Blind     Code = "stale"        // our own load or capacity is not known
	Alone     Code = "isolated"     // the core is out of reach
	Lent      Code = "lent"         // DNS sends more, or fewer, of our clients elsewhere
	Waiting   Code = "not-returned" // could take back, but not below the return limit
)

// Decision is what one round wants of this POP.
type Decision struct {
	Code   Code
	Detail string // for people
	Steps  []Step
	// Free lists reservations of this POP that are no longer needed.
	Free []ReservationID
	// Overload is what remains above the target if all of the fleet's plan
	// happened, in load units, over all POPs.
	Overload float64
}

// Step is one change of this POP, with what must be reserved before it.
type Step struct {
	Slice    policy.SliceID
	From, To Level
	// Moves is the load that the step moves away (negative: back), its
	// standard deviation, and the arrivals by POP.
	Moves, SD float64
	Arrive    []Arrival
	Reserve   []Reservation
	Before    Before
	// Probe is true where no event was ever observed for this level: the
	// first step is made alone.
	Probe bool
}

// Claim is what the core is told once a step is made, at the level of To.
func (st *Step) Claim(me policy.POPID) Claim {
	return Claim{POP: me, Slice: st.Slice, Level: st.To, Before: st.Before}
}

// Arrival is load that a step brings to a POP: its mean, and its upper bound
// at Config.Z.
type Arrival struct {
	POP        policy.POPID
	Mean, High float64
}
