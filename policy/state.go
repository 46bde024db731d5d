package policy

import (
	"slices"
	"time"
)

// State is what a decision remembers for the next one. It is a plain value
// that survives a restart as JSON; Decide never changes the one it is given.
type State struct {
	Slices map[SliceID]SliceState `json:"slices"`
	// Reductions are the times at which slices lost preference or were
	// withdrawn within the last blast interval.
	Reductions []time.Time `json:"reductions,omitempty"`
	// Moved is the traffic of those, while Limits.BlastTraffic is set.
	Moved []Moved `json:"moved,omitempty"`
	// Turn is the POP's place in the fleet's queue of drains.
	Turn Turn `json:"turn,omitzero"`
}

// Moved is the share of the fleet's traffic that was on a slice when it lost
// preference.
type Moved struct {
	At    time.Time `json:"at"`
	Share float64   `json:"share"`
}

// SliceState is what is remembered of one slice.
type SliceState struct {
	Service ServiceID `json:"service"`
	Stance  Stance    `json:"stance"`
	Reason  Reason    `json:"reason"`
	Since   time.Time `json:"since"` // of Stance
	// Judged: a verdict has decided about the slice at least once. Before
	// that the first up needs no hold-down.
	Judged bool `json:"judged,omitempty"`
	// UpSince is since when the service has been up or degraded without a
	// break; zero while it is not.
	UpSince time.Time `json:"up_since,omitzero"`
	// Better is since when the rule has wanted a milder rung without a break;
	// zero while it does not.
	Better time.Time `json:"better,omitzero"`
	// Leaving is since when the rule has wanted a withdraw; zero while it
	// does not. What peers answer to questions asked later, they answer
	// knowing it.
	Leaving time.Time `json:"leaving,omitzero"`
	// Drain is since when the running drain has been going on.
	Drain   time.Time `json:"drain,omitzero"`
	Penalty Penalty   `json:"penalty,omitzero"`
	// Held is what a hold froze.
	Held Held `json:"held,omitzero"`
	// Served: the slice has been announced here since it was configured.
	Served bool `json:"served,omitempty"`
}

// Held is the stance when a hold was asked for, and when that was.
type Held struct {
	Stance Stance    `json:"stance"`
	At     time.Time `json:"at"`
}

// Decision is what should be true now.
type Decision struct {
	Slices []SliceDecision `json:"slices"` // every slice, sorted by prefix
	// Wake is when Decide must be called again if nothing happens before;
	// zero: no need.
	Wake time.Time `json:"wake,omitzero"`
	// Ask: a guard waits for fresh answers of the other POPs.
	Ask    bool    `json:"ask,omitempty"`
	Turn   Turn    `json:"turn,omitzero"` // as in State
	Alarms []Alarm `json:"alarms,omitempty"`
}

// SliceDecision is the stance of one slice, and everything that led to it.
type SliceDecision struct {
	Service ServiceID `json:"service"`
	Slice   SliceID   `json:"slice"`
	Stance  Stance    `json:"stance"`
	Reason  Reason    `json:"reason"`
	Since   time.Time `json:"since"`
	Before  Stance    `json:"before"` // stance before this decision
	Changed bool      `json:"changed"`
	// Want is what the rule asked for before the guards spoke, and Why.
	Want    Stance         `json:"want"`
	Why     Reason         `json:"why"`
	Guards  []GuardVerdict `json:"guards,omitempty"`
	Wake    time.Time      `json:"wake,omitzero"`    // when time alone may change it
	Leaving time.Time      `json:"leaving,omitzero"` // since when a withdraw has been wanted
	// Intent is the operator's that Want comes from; nil where it does not
	// come from one.
	Intent *Intent `json:"intent,omitempty"`
}

// AlarmInvalid is the name of the alarm for a slice that is announced although
// the RPKI calls it invalid: what is announced is never withdrawn for that.
const AlarmInvalid = "rpki-invalid"

// Alarm is something a person should look at.
type Alarm struct {
	Name    string    `json:"name"` // the guard's or rule's name
	Service ServiceID `json:"service,omitempty"`
	Slice   SliceID   `json:"slice,omitzero"`
	Detail  string    `json:"detail"`
}

// clone copies the state deep enough for Decide to change the copy.
func (s State) clone() State {
	c := State{Slices: make(map[SliceID]SliceState, len(s.Slices)), Reductions: slices.Clone(s.Reductions), Moved: slices.Clone(s.Moved), Turn: s.Turn}
	for id, v := range s.Slices {
		c.Slices[id] = v
	}
	return c
}

// earliest returns the earlier of two times of which zero means never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
