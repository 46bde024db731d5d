// Package policy decides what this POP announces for each slice, and why.
//
// Decide is a pure function of the state it returned last, an Input and the
// time: it touches no clock, socket, file or goroutine, so the daemon, the
// tests, a simulator and "what would happen if" all run the same code. It
// decides the reflex half (health, operator intents, hold-down, damping) and
// asks every guard of policy/guard before anything that takes traffic away.
//
// The caller's steps, in order:
//
//  1. build an Input from what is known now;
//  2. call Decide(state, input, now) and keep the state it returns;
//  3. carry out Decision.Slices (the whole set, not a difference);
//  4. call again when an input changes, and at Decision.Wake at the latest.
package policy

import (
	"fmt"
	"net/netip"
	"time"
)

// ServiceID names a service in the configuration.
type ServiceID string

// POPID names a POP of the fleet.
type POPID string

// CheckID names a check. The same check has the same name in every POP, which
// is how a failure that is everywhere is recognized.
type CheckID string

// SliceID names a slice: one announced prefix. A prefix belongs to one
// service only, so the prefix is the name.
type SliceID netip.Prefix

// String returns the prefix.
func (s SliceID) String() string { return netip.Prefix(s).String() }

// Prefix returns the announced prefix.
func (s SliceID) Prefix() netip.Prefix { return netip.Prefix(s) }

// MarshalText encodes the prefix.
func (s SliceID) MarshalText() ([]byte, error) { return netip.Prefix(s).MarshalText() }

// UnmarshalText decodes a prefix.
func (s *SliceID) UnmarshalText(b []byte) error { return (*netip.Prefix)(s).UnmarshalText(b) }

// Verdict is the damped conclusion about a check or a service.
type Verdict uint8

// Verdicts. Unknown is the zero value on purpose: what was never heard of is
// neither up nor down.
const (
	Unknown Verdict = iota
	Up
	Degraded
	Down
)

var verdictNames = [...]string{"unknown", "up", "degraded", "down"}

func (v Verdict) String() string { return name(verdictNames[:], uint8(v)) }

// MarshalText encodes the lower-case name.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText decodes the lower-case name.
func (v *Verdict) UnmarshalText(b []byte) error {
	return unname(verdictNames[:], b, (*uint8)(v), "verdict")
}

// Action is the kind of a stance.
type Action uint8

// Actions, from least to most traffic kept. The zero value is Withdraw:
// a slice nobody decided about is not announced.
const (
	Withdraw Action = iota
	Drain
	Announce
)

var actionNames = [...]string{"withdraw", "drain", "announce"}

func (a Action) String() string { return name(actionNames[:], uint8(a)) }

// MarshalText encodes the lower-case name.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText decodes the lower-case name.
func (a *Action) UnmarshalText(b []byte) error {
	return unname(actionNames[:], b, (*uint8)(a), "action")
}

// Stance is what the POP does with a slice. Rung is the index into the
// service's ladder: 0 is the normal announcement, a higher one is less
// preferred. Drain is always announced with the drain attributes, whatever
// the rung says. Rung is 0 under Withdraw.
type Stance struct {
	Action Action `json:"action"`
	Rung   int    `json:"rung,omitempty"`
}

func (s Stance) String() string {
	if s.Action == Announce && s.Rung > 0 {
		return fmt.Sprintf("announce rung %d", s.Rung)
	}
	return s.Action.String()
}

// Announced reports whether routers hear the slice from us.
func (s Stance) Announced() bool { return s.Action != Withdraw }

// Less reports whether s keeps less traffic here than o.
func (s Stance) Less(o Stance) bool {
	if s.Action != o.Action {
		return s.Action < o.Action
	}
	return s.Action == Announce && s.Rung > o.Rung
}

// Code says why a stance is what it is. Its values are stable: they are
// metric labels, journal fields and words in the documentation.
type Code string

// Reasons for a stance.
const (
	Healthy     Code = "healthy"     // verdict up, nothing against it
	Always      Code = "always"      // configured as not depending on health (cover, static)
	CheckDown   Code = "check-down"  // the service's verdict is down
	CheckPart   Code = "degraded"    // part of the capacity is down
	SharedDown  Code = "shared-down" // something the POP depends on is down: de-prefer only
	NoVerdict   Code = "no-verdict"  // unknown: the last stance is kept
	Recovering  Code = "recovering"  // down, but it passes again: what is announced stays until rise decides
	Starting    Code = "starting"    // never announced and not judged yet
	HoldDown    Code = "hold-down"   // up again, waiting for the hold-down to end
	Damped      Code = "damped"      // too many changes: the penalty must decay first
	Dwell       Code = "dwell"       // the minimum stay on a rung is not over
	Load        Code = "load"        // too much load here: stepped back, with room reserved elsewhere
	Operator    Code = "operator"    // an intent of the operator
	Maintenance Code = "maintenance" // a maintenance file or window
	Stopping    Code = "stopping"    // the daemon was told to stop
	Guarded     Code = "guarded"     // a guard forbade what the rule wanted
	Removed     Code = "removed"     // no longer in the configuration
)

// Reason is why a stance is what it is: carried unchanged to log, metric
// label, journal and `catchment explain`.
type Reason struct {
	Code   Code   `json:"code"`
	Guard  string `json:"guard,omitempty"`  // with Guarded: the guard's name
	Detail string `json:"detail,omitempty"` // for people: which check, whose intent, how long still
}

func (r Reason) String() string {
	s := string(r.Code)
	if r.Guard != "" {
		s += " (" + r.Guard + ")"
	}
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}

// Service is the part of a service's configuration that decisions need.
type Service struct {
	ID     ServiceID `json:"id"`
	Slices []SliceID `json:"slices"`
	// Always marks slices that health never withdraws and never de-prefers:
	// static prefixes. Cover lists less-specific prefixes of the same kind.
	Always bool      `json:"always,omitempty"`
	Cover  []SliceID `json:"cover,omitempty"`

	Rungs        int `json:"rungs"`         // number of rungs of the ladder, at least 1
	DegradedRung int `json:"degraded_rung"` // rung while degraded
	SharedRung   int `json:"shared_rung"`   // rung while a shared check is down
	LastRung     int `json:"last_rung"`     // rung when a guard forbids a withdraw

	HoldDown time.Duration `json:"hold_down"` // how long up again before announced again
	Dwell    time.Duration `json:"dwell"`     // minimum stay on a rung before a milder one
	Damping  Damping       `json:"damping"`

	// WithdrawOnDown false means a down verdict only moves to LastRung.
	WithdrawOnDown bool `json:"withdraw_on_down"`

	MinPOPs     int     `json:"min_pops"`     // last-pop: other POPs that must remain; below 1 means 1
	MinCapacity float64 `json:"min_capacity"` // last-pop: share of the fleet's capacity that must remain, 0..1

	DrainWait time.Duration `json:"drain_wait"` // longest de-preferred stay before the withdraw
	DrainIdle float64       `json:"drain_idle"` // load (bit/s or requests/s, as measured) under which the drain goes on at once
}

// Damping is the flap damping of our own output in the terms of RFC 2439
// section 4.2: each withdrawal adds Penalty, the sum halves every HalfLife, an
// announcement waits while it is above Suppress until it is below Reuse.
type Damping struct {
	Penalty  float64       `json:"penalty"`
	Suppress float64       `json:"suppress"`
	Reuse    float64       `json:"reuse"`
	HalfLife time.Duration `json:"half_life"`
	Max      time.Duration `json:"max"` // longest suppression
}

// Health is the combined verdict of a service's checks at this POP.
type Health struct {
	Verdict  Verdict   `json:"verdict"`
	Fraction float64   `json:"fraction"` // share of capacity up, 0..1
	Since    time.Time `json:"since"`
	// Rising is true while Verdict is down although the checks pass again:
	// rise is not reached, so it is not up either.
	Rising bool `json:"rising,omitempty"`
	// Empty is true where no check is configured (and Always is not set):
	// there is nothing to judge by, so nothing changes.
	Empty bool `json:"empty,omitempty"`
	// Failing names the local checks that are down, with what they said.
	Failing []Failure `json:"failing,omitempty"`
	// Shared names the shared checks that are down. They never withdraw.
	Shared []Failure `json:"shared,omitempty"`
	// Maintenance is true while a maintenance check (a file) asks for a drain.
	Maintenance bool `json:"maintenance,omitempty"`
	// Stalled is true while the watchdog saw no life from the runner (deadman).
	Stalled bool `json:"stalled,omitempty"`
}

// Failure is a check that is down, and what it said.
type Failure struct {
	Check  CheckID `json:"check"`
	Detail string  `json:"detail"`
}

// IntentKind is what the operator asked for.
type IntentKind string

// Intents.
const (
	IntentDrain IntentKind = "drain" // de-prefer, wait, withdraw
	IntentHold  IntentKind = "hold"  // freeze the stance; health changes nothing
	IntentPin   IntentKind = "pin"   // Stance is what the operator wants
	IntentStop  IntentKind = "stop"  // the daemon stops: drain every slice
)

// Intent is one wish of the operator. An empty Service means all services, a
// zero Slice all slices of the service. Intents end by release, never by time
// alone, except where Until is set.
type Intent struct {
	Kind    IntentKind `json:"kind"`
	Service ServiceID  `json:"service,omitempty"`
	Slice   SliceID    `json:"slice,omitzero"`
	Stance  Stance     `json:"stance,omitzero"` // with IntentPin
	By      string     `json:"by"`
	Why     string     `json:"why,omitempty"`
	At      time.Time  `json:"at"`
	Until   time.Time  `json:"until,omitzero"`
	// Wait overrides the service's DrainWait where it is not zero; for a stop
	// it is the longest that any service may take.
	Wait time.Duration `json:"wait,omitempty"`
	// Force lets the operator override the guards. It is journaled.
	Force bool `json:"force,omitempty"`
	// Window names the maintenance window that asks for it; empty: a person.
	Window string `json:"window,omitempty"`
	// Route says that a pin is of the route itself, added or deleted with
	// gobgp's words and --force: it is as strong as a drain, of two the newer
	// counts. While Stance is announced, it is announced with these attributes
	// in place of the service's.
	Route *Route `json:"route,omitempty"`
}

// Input is everything a decision depends on, besides the last state and the time.
type Input struct {
	POP POPID `json:"pop"`
	// Capacity is this POP's weight in MinCapacity; 0 means 1.
	Capacity float64 `json:"capacity,omitempty"`

	Services []Service            `json:"services"`
	Health   map[ServiceID]Health `json:"health"`
	Intents  []Intent             `json:"intents,omitempty"`
	// Load is this POP's measured load per service, in the unit of DrainIdle;
	// a missing entry means not measured.
	Load   map[ServiceID]float64 `json:"load,omitempty"`
	Fleet  Fleet                 `json:"fleet"`
	Core   Core                  `json:"core,omitzero"`
	Queue  Queue                 `json:"queue,omitzero"`
	Limits Limits                `json:"limits"`
	// Traffic is the share of the fleet's traffic, 0..1, that comes here by
	// each slice. A missing slice is one of which it is not known.
	Traffic map[SliceID]float64 `json:"traffic,omitempty"`
	// Receivers are the forecasts of the other POPs' use once all that is
	// asked to be drained here is; none where nothing is, or nothing is known.
	Receivers []Receiver `json:"receivers,omitempty"`
	// Shed is how far this POP steps back on slices because of its load; a
	// missing slice does not.
	Shed map[SliceID]Shed `json:"shed,omitempty"`
	// Invalid says of slices that the RPKI calls their announcement by us
	// invalid (RFC 6811), with why. Where nothing is known nothing is in it.
	Invalid map[SliceID]string `json:"invalid,omitempty"`
}

// Limits are the POP-wide settings of the guards.
type Limits struct {
	// BlastSlices and BlastShare bound how many slices may lose preference or
	// be withdrawn within BlastInterval. 0 means the guard is off.
	BlastSlices   int           `json:"blast_slices"`
	BlastShare    float64       `json:"blast_share"` // 0..1 of the slices announced at the interval's start
	BlastInterval time.Duration `json:"blast_interval"`
	// BlastTraffic bounds the share of the fleet's traffic that is on the
	// slices which lose preference within BlastInterval. 0: no bound.
	BlastTraffic float64 `json:"blast_traffic,omitempty"`
	// CorrelatedShare is the share of the fleet (this POP included) that must
	// be down, or fail the same check, for the check to be suspect. 0: off.
	CorrelatedShare  float64       `json:"correlated_share"`
	CorrelatedWindow time.Duration `json:"correlated_window"`
	// StaleAfter is the age at which what a peer said is no longer believed.
	StaleAfter time.Duration `json:"stale_after"`
	// IsolatedAfter is how long the control core may be out of reach before
	// the POP counts as isolated. 0: the guard is off.
	IsolatedAfter time.Duration `json:"isolated_after,omitempty"`
	// DrainPOPs and DrainShare bound how many POPs, and which share of the
	// fleet's capacity, drain at the same time. 0: no bound.
	DrainPOPs  int     `json:"drain_pops,omitempty"`
	DrainShare float64 `json:"drain_share,omitempty"`
	// DrainHeadroom is the share of its capacity that a drain here may put
	// another POP at, at the upper end of the forecast. 0: any.
	DrainHeadroom float64 `json:"drain_headroom,omitempty"`
}

// Core is the control core as this POP sees it; zero where none is configured.
type Core struct {
	Configured bool `json:"configured,omitempty"`
	// Lost is since when it has been out of reach, by our own clock; zero
	// while it answers.
	Lost time.Time `json:"lost,omitzero"`
}

// Isolated reports whether the core has been out of reach for longer than the
// limits let it.
func (c Core) Isolated(l Limits, now time.Time) bool {
	return c.Configured && l.IsolatedAfter > 0 && !c.Lost.IsZero() && now.Sub(c.Lost) > l.IsolatedAfter
}

// Fleet is what this POP knows of the others. A zero Fleet (no source
// configured) switches the guards off that need one; Configured says so.
type Fleet struct {
	Configured bool   `json:"configured"`
	Peers      []Peer `json:"peers,omitempty"`
}

// Peer is another POP as last heard.
type Peer struct {
	POP      POPID   `json:"pop"`
	Capacity float64 `json:"capacity"` // weight in MinCapacity; 1 where not configured
	// Heard is when we got this, by our own clock; zero: never.
	Heard time.Time `json:"heard,omitzero"`
	// Asked is when the question was sent that this answers, by our own
	// clock; zero for sources that are not questions and answers (RIB).
	// Only an answer to a question asked after our own verdict was told
	// can confirm that the peer knows we are leaving.
	Asked  time.Time             `json:"asked,omitzero"`
	Slices map[SliceID]PeerSlice `json:"slices,omitempty"`
	Source string                `json:"source"` // "rib", "status"
	Turn   PeerTurn              `json:"turn,omitzero"`
}

// PeerSlice is what another POP does with a slice.
type PeerSlice struct {
	Stance  Stance    `json:"stance"`
	Verdict Verdict   `json:"verdict"` // Unknown from sources that cannot tell
	Failing []CheckID `json:"failing,omitempty"`
	// DownSince is when we first heard this verdict was down, by our own
	// clock; zero while it is not.
	DownSince time.Time `json:"down_since,omitzero"`
	// Leaving: it wants to withdraw the slice and waits for its guards.
	Leaving bool `json:"leaving,omitempty"`
}

func name(names []string, i uint8) string {
	if int(i) < len(names) {
		return names[i]
	}
	return fmt.Sprintf("invalid(%d)", i)
}

func unname(names []string, b []byte, v *uint8, what string) error {
	for i, n := range names {
		if n == string(b) {
			*v = uint8(i)
			return nil
		}
	}
	return fmt.Errorf("%s %q: want one of %v", what, b, names)
}
