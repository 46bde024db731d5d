package api

import (
	"reflect"
	"time"
)

// LoadStatus is one kind of load, and the most that can be carried of it.
type LoadStatus struct {
	// Unit is in or out (bit/s), requests (a second), connections, or a share
	// from 0 to 1: cpu, pressure-cpu, pressure-memory, pressure-io.
	Unit     string    `json:"unit"`
	Value    *float64  `json:"value,omitempty"`    // smoothed; nil: not known now
	Capacity float64   `json:"capacity,omitempty"` // 0: not set
	At       time.Time `json:"at,omitzero"`        // of the last sample that counted; zero: there was none
}

// LoadReport is what the POP carries, as measured.
type LoadReport struct {
	POP     []LoadStatus `json:"pop,omitempty"`
	Hosts   []HostLoad   `json:"hosts,omitempty"`
	Sources []LoadSource `json:"sources,omitempty"`
}

// HostLoad is what one host of the POP carries.
type HostLoad struct {
	Host string       `json:"host"` // "local" is the daemon's own
	Load []LoadStatus `json:"load,omitempty"`
}

// LoadSource is one thing that is measured.
type LoadSource struct {
	Name   string       `json:"name"`
	Of     string       `json:"of"` // "POP", "host NAME", "service NAME" or "slice PREFIX"
	Load   []LoadStatus `json:"load,omitempty"`
	Error  string       `json:"error,omitempty"`  // what is wrong with it
	Since  time.Time    `json:"since,omitzero"`   // of Error
	Absent bool         `json:"absent,omitempty"` // what is wrong is no fault: this host has no such thing
}

// loadAge is how much later a sample must be to be news to a watcher, where
// it says the same.
const loadAge = 5 * time.Second

// settled is new with the loads of old where nothing is new but the time of
// the sample, so that a steady load is no stream of events.
func settled(old, new Status) Status {
	if new.Load != nil && old.Load != nil && sameReport(*old.Load, *new.Load) {
		new.Load = old.Load
	}
	if new.Core != nil && old.Core != nil && sameCore(*old.Core, *new.Core) {
		new.Core = old.Core
	}
	if !sameMembers(old, new) {
		return new
	}
	services := make([]ServiceStatus, len(new.Services))
	for i, s := range new.Services {
		if sameLoads(old.Services[i].Measured, s.Measured) {
			s.Measured = old.Services[i].Measured
		}
		services[i] = s
	}
	new.Services = services
	return new
}

// sameCore reports whether nothing but counters differ.
func sameCore(a, b CoreStatus) bool {
	a.Revision, a.Database, a.InUse, a.Free, a.Written, a.Refused = b.Revision, b.Database, b.InUse, b.Free, b.Written, b.Refused
	if a.Relay != nil && b.Relay != nil {
		r := *a.Relay
		r.Heard, r.Revision, r.Behind, r.BehindBelow = b.Relay.Heard, b.Relay.Revision, b.Relay.Behind, b.Relay.BehindBelow
		a.Relay = &r
	}
	return reflect.DeepEqual(a, b)
}

func sameReport(a, b LoadReport) bool {
	if !sameLoads(a.POP, b.POP) || len(a.Hosts) != len(b.Hosts) || len(a.Sources) != len(b.Sources) {
		return false
	}
	for i, h := range b.Hosts {
		if a.Hosts[i].Host != h.Host || !sameLoads(a.Hosts[i].Load, h.Load) {
			return false
		}
	}
	for i, s := range b.Sources {
		o := a.Sources[i]
		if o.Name != s.Name || o.Of != s.Of || o.Error != s.Error || o.Absent != s.Absent || !o.Since.Equal(s.Since) || !sameLoads(o.Load, s.Load) {
			return false
		}
	}
	return true
}

func sameLoads(a, b []LoadStatus) bool {
	if len(a) != len(b) {
		return false
	}
	for i, l := range b {
		o := a[i]
		known := l.Value != nil
		if o.Unit != l.Unit || o.Capacity != l.Capacity || (o.Value != nil) != known || known && *o.Value != *l.Value || l.At.Sub(o.At) >= loadAge {
			return false
		}
	}
	return true
}
