package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

// Duration is a time span, in JSON as seconds with their unit ("90s",
// "0.0015s"), which protobuf's JSON writes and Go's time.ParseDuration reads.
type Duration time.Duration

func (d Duration) String() string { return time.Duration(d).String() }

// MarshalText encodes as a decimal number of seconds, exactly.
func (d Duration) MarshalText() ([]byte, error) {
	sign, n := "", uint64(d)
	if d < 0 {
		sign, n = "-", -n
	}
	text := fmt.Sprintf("%s%d.%09d", sign, n/1e9, n%1e9)
	return []byte(strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + "s"), nil
}

// UnmarshalText decodes what time.ParseDuration reads.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	if err != nil {
		return fmt.Errorf("duration %q: want a number with a unit, e.g. 30s", b)
	}
	*d = Duration(v)
	return nil
}

// Status is the POP as it is now.
type Status struct {
	POP       policy.POPID      `json:"pop"`
	Location  *Location         `json:"location,omitempty"` // nil: not configured
	Version   string            `json:"version"`
	Now       time.Time         `json:"now"` // the daemon's clock when it answered; ages are counted from here
	Started   time.Time         `json:"started"`
	DryRun    bool              `json:"dry_run,omitempty"`  // decides, announces nothing
	Stopping  bool              `json:"stopping,omitempty"` // told to stop, draining
	Services  []ServiceStatus   `json:"services"`
	Neighbors []PeerStatus      `json:"neighbors"`
	Fleet     []FleetPeerStatus `json:"fleet,omitempty"`
	Intents   []policy.Intent   `json:"intents,omitempty"`
	Guards    []GuardStatus     `json:"guards,omitempty"` // POP-wide; those of a slice are with the slice
	Alarms    []Alarm           `json:"alarms,omitempty"`
	Load      *LoadReport       `json:"load,omitempty"`    // nil: nothing is measured
	Balance   *BalanceStatus    `json:"balance,omitempty"` // nil: load moves nothing, and nothing is observed
	Core      *CoreStatus       `json:"core,omitempty"`    // nil: there is no control core here
	Ingress   *IngressSummary   `json:"ingress,omitempty"` // nil: no ingress router is told anything
	Cache     *CacheSummary     `json:"cache,omitempty"`   // nil: there is no cache server here
	// Maintenance are the maintenance windows, the next first.
	Maintenance []MaintenanceWindow `json:"maintenance,omitempty"`
}

// Location is where a POP is, in degrees: north and east are positive.
type Location struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

// PeerStatus is a BGP neighbor as it is now.
type PeerStatus = bgp.PeerState

// ServiceStatus is a service at this POP.
type ServiceStatus struct {
	ID     policy.ServiceID `json:"id"`
	Health policy.Health    `json:"health"`
	Always bool             `json:"always,omitempty"` // announced without checks
	Load   *float64         `json:"load,omitempty"`   // in the unit of drain.idle-connections; nil: not measured
	Checks []CheckStatus    `json:"checks,omitempty"`
	Slices []SliceStatus    `json:"slices"`
	// Measured is what the service carries at this POP, against its capacity.
	Measured []LoadStatus `json:"measured,omitempty"`
}

// CheckStatus is a check as it is now.
type CheckStatus struct {
	ID          policy.CheckID   `json:"id"`
	Service     policy.ServiceID `json:"service"`
	Verdict     policy.Verdict   `json:"verdict"`
	Since       time.Time        `json:"since,omitzero"` // of Verdict
	Outcome     string           `json:"outcome"`        // of the last run: pass, warn, fail, cannot-tell
	Detail      string           `json:"detail,omitempty"`
	Latency     Duration         `json:"latency"` // of the last run
	Streak      int              `json:"streak"`  // runs in a row with this outcome
	InDoubt     bool             `json:"in_doubt,omitempty"`
	Hung        int              `json:"hung,omitempty"` // runs that did not come back
	Shared      bool             `json:"shared,omitempty"`
	Maintenance bool             `json:"maintenance,omitempty"`
	DetectedBy  string           `json:"detected_by,omitempty"` // probe, socket or process
}

// SliceStatus is what the POP does with a slice, and why.
type SliceStatus struct {
	Slice   policy.SliceID   `json:"slice"`
	Service policy.ServiceID `json:"service"`
	Cover   bool             `json:"cover,omitempty"`
	Stance  policy.Stance    `json:"stance"`
	Rung    string           `json:"rung,omitempty"` // name of the rung, while announced
	Since   time.Time        `json:"since,omitzero"` // of Stance
	Reason  policy.Reason    `json:"reason"`
	// Announced is what the routers are to hear; nil while withdrawn (and in a dry run).
	Announced *Attributes `json:"announced,omitempty"`
	// Note says why no router hears it although it is announced.
	Note string `json:"note,omitempty"`
	// Refused are the addresses that clients reach by this slice and at which the
	// cache server refuses new connections (drain.accept).
	Refused []string `json:"refused,omitempty"`
	// Wanted is what the rules want where a guard, a hold-down or the damping
	// keeps something else; nil while they agree.
	Wanted       *policy.Stance `json:"wanted,omitempty"`
	WantedReason *policy.Reason `json:"wanted_reason,omitempty"`
	Guards       []GuardStatus  `json:"guards,omitempty"` // those asked in the last decision
	// Next says what happens by itself, and when, if no input changes.
	Next   string        `json:"next,omitempty"`
	NextAt time.Time     `json:"next_at,omitzero"`
	Intent policy.Intent `json:"intent,omitzero"` // the one in force here
}

// Attributes are path attributes as routers hear them.
type Attributes struct {
	MED              *uint32    `json:"med,omitempty"`
	LocalPref        *uint32    `json:"local_pref,omitempty"`
	Prepend          int        `json:"prepend,omitempty"`
	Communities      []string   `json:"communities,omitempty"`
	LargeCommunities []string   `json:"large_communities,omitempty"`
	NextHop          string     `json:"next_hop,omitempty"` // "self": each session's own address
	Neighbors        []Neighbor `json:"neighbors,omitempty"`
}

// Neighbor is what one neighbor hears instead.
type Neighbor struct {
	Neighbor string `json:"neighbor"`
	Withhold bool   `json:"withhold,omitempty"`
	Attributes
}

// GuardStatus is what a guard said.
type GuardStatus struct {
	Guard  string `json:"guard"`
	Says   string `json:"says"` // "allow", "veto", "weaken" or "wait"; POP-wide "on" or "off"
	Detail string `json:"detail,omitempty"`
	// POP-wide: what the guard does, and its limits.
	Rule   string   `json:"rule,omitempty"`
	Limits []string `json:"limits,omitempty"`
}

// What a guard says, in GuardStatus.Says.
const (
	Allow  = "allow"
	Veto   = "veto"
	Weaken = "weaken" // something milder is done instead
	Wait   = "wait"   // allowed later without anybody's doing
	On     = "on"
	Off    = "off"
)

// Alarm is something that a person should look at.
type Alarm struct {
	Name    string           `json:"name"` // stable, e.g. "correlated", "journal-full", "fleet-disagrees"
	Detail  string           `json:"detail"`
	Since   time.Time        `json:"since"`
	Service policy.ServiceID `json:"service,omitempty"`
	Slice   policy.SliceID   `json:"slice,omitzero"`
}

// FleetPeerStatus is what this POP knows of another.
type FleetPeerStatus struct {
	POP      policy.POPID       `json:"pop"`
	URL      string             `json:"url,omitempty"`
	Source   string             `json:"source"` // status, rib, relay
	Capacity float64            `json:"capacity"`
	Location *Location          `json:"location,omitempty"` // nil: not configured
	Heard    time.Time          `json:"heard,omitzero"`     // zero: never
	Asked    time.Time          `json:"asked,omitzero"`
	RTT      Duration           `json:"rtt,omitempty"`   // of the last exchange
	Stale    bool               `json:"stale,omitempty"` // too old to count
	Error    string             `json:"error,omitempty"` // of the last exchange, if it failed
	Slices   []FleetSliceStatus `json:"slices,omitempty"`
}

// FleetSliceStatus is what another POP does with a slice, as far as we know.
type FleetSliceStatus struct {
	Slice   policy.SliceID   `json:"slice"`
	Stance  policy.Stance    `json:"stance"`
	Verdict policy.Verdict   `json:"verdict"`
	Leaving bool             `json:"leaving,omitempty"` // wants to withdraw, and may be held back by a guard
	Failing []policy.CheckID `json:"failing,omitempty"`
	Reason  string           `json:"reason,omitempty"` // of Stance, in that POP's words; empty where its source cannot tell
	Note    string           `json:"note,omitempty"`   // e.g. that the RIB disagrees
}

// FleetView is one other POP with regard to one slice.
type FleetView struct {
	POP     policy.POPID     `json:"pop"`
	Source  string           `json:"source"`
	Heard   time.Time        `json:"heard,omitzero"`
	Age     Duration         `json:"age,omitempty"` // of Heard
	Stale   bool             `json:"stale,omitempty"`
	Counts  bool             `json:"counts"` // as announcing, for the last-pop guard
	Slice   FleetSliceStatus `json:"slice"`
	Because string           `json:"because,omitempty"` // why it does not count
}

// Explanation answers: what is announced, since when, why, and what would
// change it.
type Explanation struct {
	POP     policy.POPID    `json:"pop"`
	Now     time.Time       `json:"now"`
	Slice   SliceStatus     `json:"slice"`
	Health  policy.Health   `json:"health"`
	Always  bool            `json:"always,omitempty"`
	Checks  []CheckStatus   `json:"checks,omitempty"` // all of the service
	Intents []policy.Intent `json:"intents,omitempty"`
	Fleet   []FleetView     `json:"fleet,omitempty"`
	Load    *float64        `json:"load,omitempty"`
	// Balance is what the load loop says of this slice; nil: nothing.
	Balance *BalanceStatus `json:"balance,omitempty"`
	// WouldChange says, a sentence each, what would change the stance.
	WouldChange []string       `json:"would_change,omitempty"`
	Journal     []JournalEntry `json:"journal,omitempty"` // the last few of this slice, oldest first
}

// JournalEntry is one line of the journal: the fields that people look for,
// and the line itself.
type JournalEntry struct {
	Seq     uint64           `json:"seq"`
	Time    time.Time        `json:"time"`
	Kind    string           `json:"kind"` // e.g. "decision", "intent", "reload", "start"
	Service policy.ServiceID `json:"service,omitempty"`
	Slice   policy.SliceID   `json:"slice,omitzero"`
	Text    string           `json:"text"`           // one line, for people
	Data    json.RawMessage  `json:"data,omitempty"` // the record as it is in the file
}

// JournalFilter selects journal entries. Zero fields select all.
type JournalFilter struct {
	Service policy.ServiceID
	Slice   policy.SliceID
	Since   time.Time
	Limit   int  // only the last n of what is there, at most 10000; 0: all
	Follow  bool // go on with what is written from now on, until the context ends
}

// Change is the body of a call that changes something. An empty Service means
// all services, a zero Slice all slices of the service.
type Change struct {
	Service policy.ServiceID `json:"service,omitempty"`
	Slice   policy.SliceID   `json:"slice,omitzero"`
	Stance  *policy.Stance   `json:"stance,omitempty"` // with pin
	Rung    string           `json:"rung,omitempty"`   // with pin, in place of Stance: the name of a rung of the ladder
	Why     string           `json:"why,omitempty"`
	Wait    Duration         `json:"wait,omitempty"`  // with drain and stop: instead of the service's drain.wait
	For     Duration         `json:"for,omitempty"`   // ends by itself after that; 0: by release only
	Force   bool             `json:"force,omitempty"` // over the guards; journaled
	POP     policy.POPID     `json:"pop,omitempty"`   // at another POP, through the control core; not with stop
}

// Result is what became of a change at once. A drain takes its time: follow
// it in the status.
type Result struct {
	Text   string        `json:"text"`             // one line, for people
	Slices []SliceStatus `json:"slices,omitempty"` // the slices concerned, as they are now
}

// Reloaded is what a reload changed.
type Reloaded struct {
	Changes []string `json:"changes"` // a line each; empty: nothing
}

// Released names intents to end: all of Kinds that match the service and the
// slice exactly, or every one where both are empty.
type Released struct {
	Kinds   []policy.IntentKind
	Service policy.ServiceID
	Slice   policy.SliceID
	By, Why string
}

// Event is one message of Watch. Kind says which of the other fields is set.
// The first event is a whole status; what follows says what has changed since.
type Event struct {
	Kind     EventKind      `json:"kind"`
	Status   *Status        `json:"status,omitempty"`   // with EventStatus; with EventPOP without services and neighbors
	Service  *ServiceStatus `json:"service,omitempty"`  // with EventService: as it is now
	Neighbor *PeerStatus    `json:"neighbor,omitempty"` // with EventNeighbor: as it is now
	Journal  *JournalEntry  `json:"journal,omitempty"`  // with EventJournal: written now
}

// EventKind is the kind of an Event.
type EventKind string

// Kinds of events.
const (
	EventStatus   EventKind = "status"   // all of it: at first, and when services or neighbors came or went
	EventService  EventKind = "service"  // a service, its checks or its slices changed
	EventNeighbor EventKind = "neighbor" // a BGP neighbor changed
	EventPOP      EventKind = "pop"      // what is left of the status changed: fleet, intents, guards, alarms
	EventJournal  EventKind = "journal"  // the journal has a new entry
)
