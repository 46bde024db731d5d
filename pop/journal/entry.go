package journal

import (
	"encoding/json"
	"time"

	"github.com/catchment/catchment/policy"
)

// Kind says what an entry is about.
type Kind string

// Kinds of entries.
const (
	KindStart    Kind = "start"
	KindStop     Kind = "stop"
	KindDecision Kind = "decision"
	KindIntent   Kind = "intent"
	KindConfig   Kind = "config"
	KindPeer     Kind = "peer"
	KindCheck    Kind = "check"
	KindAlarm    Kind = "alarm"
	KindGap      Kind = "gap" // entries before this one were lost
)

// Entry is one line of the journal. Seq, Boot and (where it is zero) Time are
// filled in by Append; Seq goes on over restarts.
type Entry struct {
	Seq  uint64       `json:"seq"`
	Time time.Time    `json:"time"`
	Boot string       `json:"boot"` // one life of the daemon
	POP  policy.POPID `json:"pop"`
	Kind Kind         `json:"kind"`

	Service policy.ServiceID      `json:"service,omitempty"`
	Slice   policy.SliceID        `json:"slice,omitzero"`
	Before  *policy.Stance        `json:"before,omitempty"`
	After   *policy.Stance        `json:"after,omitempty"`
	Reason  *policy.Reason        `json:"reason,omitempty"`
	Guards  []policy.GuardVerdict `json:"guards,omitempty"`
	// Announced are the attributes that routers hear from now on.
	Announced json.RawMessage `json:"announced,omitempty"`
	// Inputs are what the decision was made from, for replay.
	Inputs json.RawMessage `json:"inputs,omitempty"`
	By     string          `json:"by,omitempty"` // who asked, for intents and reloads
	Text   string          `json:"text"`         // one line, for people
}

// Filter selects entries. Zero fields select all.
type Filter struct {
	Service policy.ServiceID
	Slice   policy.SliceID
	Since   time.Time
	Limit   int // only the last n; 0: all
}

// Match reports whether the filter selects the entry. A filter for a service
// or slice also selects what concerns the whole POP: entries that name none.
func (f Filter) Match(e Entry) bool {
	return (f.Service == "" || e.Service == "" || f.Service == e.Service) &&
		(f.Slice == policy.SliceID{} || e.Slice == policy.SliceID{} || f.Slice == e.Slice) &&
		!e.Time.Before(f.Since)
}
