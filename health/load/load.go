// Package load measures what a POP carries against what it can: the rate of
// its links, requests, connections, CPU and pressure, per source, service,
// host and POP. It decides nothing about it.
//
// A Sampler takes one sample of one source: a link (netlink counters), the
// kernel's connections of the service addresses (sock_diag), a page of a
// foreign server (Prometheus, JSON, nginx stub_status), the host's CPU and
// pressure (/proc, cgroup v2). The Runner owns one goroutine a source, makes
// rates of counters, smooths them and knows the age of each. What could not be
// measured is unknown, never zero: a source that fails keeps its last value
// until it is too old, one that lies (negative, not a number, beyond reason)
// is not believed, and a sum with an unknown part is unknown.
//
// Smoothing is a first-order low-pass with a time constant, right for samples
// at irregular times (see Average). Capacities follow one rule (see Limit).
package load

import (
	"fmt"
	"slices"
	"time"
)

// Unit is a kind of load with its unit.
type Unit uint8

// Units. Bit rates are of what a link carries, frames with their headers, and
// each direction for itself; those of a server's own statistics are what that
// server counts.
const (
	In          Unit = iota // bit/s towards us
	Out                     // bit/s towards clients
	Requests                // requests/s
	Connections             // established connections
	CPU                     // share of all CPUs, 0 to 1
	// Pressure is the share of time, 0 to 1, in which at least one task
	// waited for the resource ("some" of the kernel's PSI).
	PressureCPU
	PressureMemory
	PressureIO
	Units // their number
)

var unitNames = [Units]string{"in", "out", "requests", "connections", "cpu", "pressure-cpu", "pressure-memory", "pressure-io"}

// String is the word for it in the configuration, the API and metrics.
func (u Unit) String() string {
	if u < Units {
		return unitNames[u]
	}
	return fmt.Sprintf("unit %d", uint8(u))
}

// Per says what a value is counted in: bit/s, requests/s, connections, share.
func (u Unit) Per() string {
	switch u {
	case In, Out:
		return "bit/s"
	case Requests:
		return "requests/s"
	case Connections:
		return "connections"
	}
	return "share"
}

// share reports whether the unit is a share of a host, which does not add up
// over hosts.
func (u Unit) share() bool { return u >= CPU }

// ParseUnit reads what String writes.
func ParseUnit(s string) (Unit, error) {
	if i := slices.Index(unitNames[:], s); i >= 0 {
		return Unit(i), nil
	}
	return 0, fmt.Errorf("%q: want one of %v", s, unitNames)
}

// MarshalText writes the word of String.
func (u Unit) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// UnmarshalText reads it.
func (u *Unit) UnmarshalText(b []byte) (err error) {
	*u, err = ParseUnit(string(b))
	return err
}

// Value is a smoothed measurement. The zero Value is unknown.
type Value struct {
	Value float64
	Known bool
	// At is when its last sample was taken, of a sum the oldest part's; zero:
	// never. It stays when the value is no longer known.
	At time.Time
}

// Age is how old the last sample is.
func (v Value) Age(now time.Time) time.Duration { return now.Sub(v.At) }

// plus adds values: unknown with any part unknown, as old as the oldest.
func (v Value) plus(w Value) Value {
	sum := Value{Value: v.Value + w.Value, Known: v.Known && w.Known, At: v.At}
	if w.At.Before(v.At) {
		sum.At = w.At
	}
	if !sum.Known {
		sum.Value = 0
	}
	return sum
}

// Load is measured use, by unit.
type Load [Units]Value

// Capacity is the most that can be carried, by unit; 0: not set.
type Capacity [Units]float64

// Headroom is capacity minus load, by unit; negative where there is too much.
// It is unknown where the capacity is not set or the load not known.
type Headroom [Units]Value

// Headroom returns what is left of a capacity.
func (l *Load) Headroom(c *Capacity) Headroom {
	var h Headroom
	for u := range Units {
		if h[u].At = l[u].At; c[u] > 0 && l[u].Known {
			h[u] = Value{Value: c[u] - l[u].Value, Known: true, At: l[u].At}
		}
	}
	return h
}

// Use is how much of the scarcest capacity is in use.
type Use struct {
	Share float64 // 1: as much as can be
	Unit  Unit    // that it is of
	// Known is false where no capacity is set, and where a load is unknown
	// that has one: then Share is the largest of those that are known, which
	// proves too much load but never room.
	Known bool
}

// Use returns the largest share of a capacity that is in use.
func (l *Load) Use(c *Capacity) Use {
	var use Use
	unknown, limited := false, false
	for u := range Units {
		if c[u] <= 0 {
			continue
		}
		limited = true
		if !l[u].Known {
			unknown = true
		} else if s := l[u].Value / c[u]; s > use.Share {
			use.Share, use.Unit = s, u
		}
	}
	use.Known = limited && !unknown
	return use
}
