package journal

import (
	"encoding/json"
	"time"

	"github.com/catchment/catchment/policy"
)

// Kind says what an entry is about. Its values are stable.
type Kind string

// Kinds.
const (
	Decision Kind = "decision" // a slice's stance or reason changed
	Intent   Kind = "intent"   // the operator asked for something
	Peer     Kind = "peer"     // a BGP or BFD session changed
	Check    Kind = "check"    // a check's verdict changed
	Guard    Kind = "guard"    // a guard vetoed or weakened, or stopped doing so
	Config   Kind = "config"   // a reload, taken or refused
	Start    Kind = "start"
	Stop     Kind = "stop"
	Alarm    Kind = "alarm"
	Cache    Kind = "cache"   // what is stored was purged
	Ingress  Kind = "ingress" // an ingress router is told another POP for a slice
	Resync   Kind = "resync"  // flows were handed over, taken over or reset, or began by a jump
	Load     Kind = "load"    // what the load loop did, or would do, and what came of it
	Cost     Kind = "cost"    // steering by cost and slowness was stopped by the ceiling on harm, or goes on; what prices moved
	Gap      Kind = "gap"     // entries are missing here; Text says how many and why
)

// Entry is one line of the journal.
type Entry struct {
	// Seq counts entries over restarts, from 1. A missing number is an entry
	// that could not be written.
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"` // wall clock, of a Decision when it was made; Seq orders, Time does not
	// Boot is the same for all entries of one run of the daemon.
	Boot string       `json:"boot"`
	POP  policy.POPID `json:"pop,omitempty"`
	Kind Kind         `json:"kind"`

	Service policy.ServiceID `json:"service,omitempty"`
	Slice   policy.SliceID   `json:"slice,omitzero"`
	Before  *policy.Stance   `json:"before,omitempty"`
	After   *policy.Stance   `json:"after,omitempty"`
	Reason  *policy.Reason   `json:"reason,omitempty"`
	Guards  []GuardVerdict   `json:"guards,omitempty"`

	Inputs     json.RawMessage `json:"inputs,omitempty"`     // what the decision saw
	Attributes json.RawMessage `json:"attributes,omitempty"` // as announced
	By         string          `json:"by,omitempty"`         // who asked
	Text       string          `json:"text,omitempty"`       // for people
}

// GuardVerdict is what one guard said about a change.
type GuardVerdict struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"` // allow, veto or weaken
	Detail  string `json:"detail,omitempty"`
}

// maxLine bounds a line. An entry that is longer loses Inputs and Attributes.
const maxLine = 1 << 20

// line encodes the entry, newline included. Inputs or attributes that are no
// JSON or too much are left out and Text says so: what was decided is worth
// more than what it was decided from.
func (e Entry) line() []byte {
	b, err := json.Marshal(e)
	if err == nil && len(b) < maxLine {
		return append(b, '\n')
	}
	e.Inputs, e.Attributes = nil, nil
	if err != nil {
		e.Text += " (inputs left out: " + err.Error() + ")"
	} else {
		e.Text += " (inputs left out: too long)"
	}
	if len(e.Text) > maxLine/16 {
		e.Text = e.Text[:maxLine/16]
	}
	e.Guards = e.Guards[:min(len(e.Guards), 64)]
	if b, err = json.Marshal(e); err != nil || len(b) >= maxLine {
		b, _ = json.Marshal(Entry{Seq: e.Seq, Time: time.Unix(0, 0).UTC(), Boot: e.Boot, Kind: Gap, Text: "an entry that could not be encoded"})
	}
	return append(b, '\n')
}

// maxSeq bounds what is believed: a damaged number must not use up the rest.
const maxSeq = 1 << 53

// parse reads one line. An entry without a number or a kind is none.
func parse(line []byte) (Entry, bool) {
	var e Entry
	if json.Unmarshal(line, &e) != nil || e.Seq == 0 || e.Seq > maxSeq || e.Kind == "" {
		return Entry{}, false
	}
	return e, true
}

// Filter chooses entries. A zero field matches all.
type Filter struct {
	Service policy.ServiceID
	Slice   policy.SliceID // entries of the slice, and those of its Service that name no slice
	Kind    Kind
	Since   time.Time
	After   uint64 // only entries with a greater number
	Limit   int    // the newest so many; 0: all
}

func (f *Filter) match(e *Entry) bool {
	none := policy.SliceID{}
	return (f.Service == "" || e.Service == f.Service) &&
		(f.Slice == none || e.Slice == f.Slice || e.Slice == none && f.Service != "" && e.Service == f.Service) &&
		(f.Kind == "" || e.Kind == f.Kind) &&
		(f.Since.IsZero() || !e.Time.Before(f.Since)) && e.Seq > f.After
}

// last keeps the newest entries up to the limit.
func (f *Filter) last(list []Entry) []Entry {
	if f.Limit > 0 && len(list) > f.Limit {
		return list[len(list)-f.Limit:]
	}
	return list
}
