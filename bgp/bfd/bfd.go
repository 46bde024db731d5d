// Package bfd is Bidirectional Forwarding Detection beside BGP: it tells
// within a few tens of milliseconds that a neighbor no longer answers, where
// BGP's own hold timer needs seconds to minutes. RFC 5880 asynchronous mode,
// single hop (RFC 5881) and multihop (RFC 5883), IPv4 and IPv6.
//
// It decides whether a session is up. It owns its UDP sockets and its
// sessions. It never touches BGP: who consumes an [Event] resets a session or
// does not, and [Event.Failure] says which events are reason to.
//
// Not supported: authentication (packets with the A bit are refused and
// counted), echo (we announce a Required Min Echo RX of zero, RFC 5880
// section 6.8.1) and demand mode of our own; a neighbor that asks for demand
// mode is obeyed (section 6.6).
//
// What was considered before writing an own machine:
//   - github.com/scionproto/scion/router/bfd v0.12.0 is a session machine with
//     a pluggable sender. It discards every packet with the Poll or Final bit
//     and every packet with a non-zero Required Min Echo RX, so neither FRR
//     (which announces 50 ms of echo) nor any peer that polls after going up,
//     as the RFC demands, gets a session up; it enters AdminDown when the
//     neighbor does and never leaves; it sends no diagnostics and cannot
//     change intervals; it brings 13 modules, a logger and a metrics library.
//   - github.com/osrg/gobgp/v4/pkg/packet/bfd is a codec only. It ignores the
//     A, D, M and C bits and does not check version, discriminators or
//     multiplier, and would put a second major version of GoBGP in go.mod. The
//     machine behind it is private to that server and does not negotiate.
//   - github.com/google/gopacket/layers decodes BFD, with allocation and a
//     large module for 24 bytes.
//
// So: codec in packet.go, a machine without clock, socket or goroutine in
// machine.go, and the part that runs it in manager.go and socket.go.
package bfd

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"time"
)

// UDP ports, RFC 5881 section 4 and RFC 5883 section 5.
const (
	PortSingleHop = 3784
	PortMultihop  = 4784
)

// Defaults of a SessionConfig; those of most routers.
const (
	DefaultInterval   = 300 * time.Millisecond
	DefaultMultiplier = 3
)

// State is the state of a session, RFC 5880 section 4.1. The zero value is
// AdminDown, as on the wire.
type State uint8

// States.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

var stateNames = [...]string{"admin-down", "down", "init", "up"}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText gives the name, so that JSON shows words.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Diagnostic is why the sender last left state Up, RFC 5880 section 4.1.
type Diagnostic uint8

// Diagnostics that this package sets or names.
const (
	DiagNone            Diagnostic = 0
	DiagDetectionTime   Diagnostic = 1 // nothing received for the detection time
	DiagEchoFailed      Diagnostic = 2
	DiagNeighborDown    Diagnostic = 3 // the neighbor signaled its session down
	DiagForwardingReset Diagnostic = 4
	DiagPathDown        Diagnostic = 5
	DiagConcatenated    Diagnostic = 6
	DiagAdminDown       Diagnostic = 7
	DiagReverse         Diagnostic = 8
)

var diagnosticNames = [...]string{
	"none", "detection time expired", "echo failed", "neighbor signaled session down", "forwarding plane reset",
	"path down", "concatenated path down", "administratively down", "reverse concatenated path down",
}

func (d Diagnostic) String() string {
	if int(d) < len(diagnosticNames) {
		return diagnosticNames[d]
	}
	return fmt.Sprintf("diagnostic %d", uint8(d))
}

// MarshalText gives the name, so that JSON shows words.
func (d Diagnostic) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// SessionConfig is one session. Neighbor, Local, Device and Multihop together
// name it: two sessions may not share all four.
type SessionConfig struct {
	Neighbor netip.Addr // required; a link-local address needs its zone or Device
	Local    netip.Addr // source address; zero: the kernel's choice, and any destination is accepted
	Device   string     // send and receive on this device only; empty: any

	Transmit   time.Duration // desired minimum interval between our packets; zero: DefaultInterval
	Receive    time.Duration // required minimum interval between the neighbor's; zero: DefaultInterval
	Multiplier int           // 1 to 255 packets of ours may be missed; zero: DefaultMultiplier

	Multihop bool // RFC 5883, port 4784; else RFC 5881, port 3784, hop limit 255 required
	// MinTTL is for multihop only: the least hop limit of a received packet;
	// zero: any. FRR sends 255; BIRD 2.0.12 sends the system's default over
	// IPv4, 64 mostly.
	MinTTL int
}

type key struct {
	neighbor, local netip.Addr
	device          string
	multihop        bool
}

func (c SessionConfig) key() key { return key{c.Neighbor, c.Local, c.Device, c.Multihop} }

func port(multihop bool) uint16 {
	if multihop {
		return PortMultihop
	}
	return PortSingleHop
}

// normalize checks c and fills in what is left out.
func (c SessionConfig) normalize() (SessionConfig, error) {
	fail := func(format string, args ...any) (SessionConfig, error) {
		return c, fmt.Errorf("bfd session %v: "+format, append([]any{c.Neighbor}, args...)...)
	}
	if !c.Neighbor.IsValid() || c.Neighbor.IsUnspecified() || c.Neighbor.IsMulticast() {
		return fail("neighbor is not a unicast address")
	}
	c.Neighbor, c.Local = c.Neighbor.Unmap(), c.Local.Unmap().WithZone("")
	if c.Local.IsValid() && c.Local.Is4() != c.Neighbor.Is4() {
		return fail("local address %v is of the other family", c.Local)
	}
	if c.Neighbor.Is6() && c.Neighbor.IsLinkLocalUnicast() {
		switch zone := c.Neighbor.Zone(); {
		case c.Multihop:
			return fail("a link-local neighbor cannot be multihop")
		case zone == "" && c.Device == "":
			return fail("a link-local neighbor needs a device")
		case zone != "" && c.Device != "" && zone != c.Device:
			return fail("zone %s and device %s differ", zone, c.Device)
		case zone != "":
			c.Device = zone
		}
		c.Neighbor = c.Neighbor.WithZone(c.Device)
	}
	return c.normalizeTimers(fail)
}

func (c SessionConfig) normalizeTimers(fail func(string, ...any) (SessionConfig, error)) (SessionConfig, error) {
	if c.Transmit == 0 {
		c.Transmit = DefaultInterval
	}
	if c.Receive == 0 {
		c.Receive = DefaultInterval
	}
	if c.Multiplier == 0 {
		c.Multiplier = DefaultMultiplier
	}
	for name, d := range map[string]time.Duration{"transmit": c.Transmit, "receive": c.Receive} {
		if d < time.Millisecond || d > time.Hour {
			return fail("%s interval %v: want 1ms to 1h", name, d)
		}
	}
	if c.Multiplier < 1 || c.Multiplier > 255 {
		return fail("multiplier %d: want 1 to 255", c.Multiplier)
	}
	if c.MinTTL < 0 || c.MinTTL > 255 {
		return fail("minimum TTL %d: want 0 to 255", c.MinTTL)
	}
	if c.MinTTL != 0 && !c.Multihop {
		return fail("minimum TTL is for multihop sessions; single hop always wants 255")
	}
	return c, nil
}

// Event is a change of a session's state.
type Event struct {
	Neighbor   netip.Addr `json:"neighbor"`
	Multihop   bool       `json:"multihop,omitempty"`
	State      State      `json:"state"`
	Was        State      `json:"was"`
	Remote     State      `json:"remote"` // what the neighbor last said
	Diagnostic Diagnostic `json:"diagnostic"`
	EverUp     bool       `json:"ever_up"` // the session has been up since it was configured
	// Independent is the neighbor's C bit: its BFD survives a restart of its
	// control plane. Without it a session may go down because the neighbor
	// restarts gracefully, RFC 5882 section 4.3.2.
	Independent bool      `json:"independent,omitempty"`
	Time        time.Time `json:"time"`
}

// Failure reports whether the event is reason to give up the neighbor: a
// session that was up went down, and not because either side was told to stop.
// A session that has never been up says nothing (the neighbor may not run BFD
// at all), and AdminDown of either side says nothing either, RFC 5882 section
// 3.2.
func (e Event) Failure() bool {
	return e.EverUp && e.Was == Up && e.State == Down && e.Remote != AdminDown
}

// Status is a session as it is now.
type Status struct {
	Neighbor            netip.Addr `json:"neighbor"`
	Local               netip.Addr `json:"local,omitzero"`
	Device              string     `json:"device,omitempty"`
	Multihop            bool       `json:"multihop,omitempty"`
	State               State      `json:"state"`
	RemoteState         State      `json:"remote_state"`
	Diagnostic          Diagnostic `json:"diagnostic"`
	RemoteDiagnostic    Diagnostic `json:"remote_diagnostic"`
	LocalDiscriminator  uint32     `json:"local_discriminator"`
	RemoteDiscriminator uint32     `json:"remote_discriminator"`
	Since               time.Time  `json:"since,omitzero"` // of State
	EverUp              bool       `json:"ever_up"`
	Polling             bool       `json:"polling,omitempty"`

	Transmit         Interval `json:"transmit"`  // negotiated, before jitter; zero: nothing is sent
	Detection        Interval `json:"detection"` // silence after which the session goes down; zero: not known yet
	RemoteTransmit   Interval `json:"remote_transmit"`
	RemoteReceive    Interval `json:"remote_receive"`
	RemoteMultiplier int      `json:"remote_multiplier"`

	Sent      uint64 `json:"sent"`
	Received  uint64 `json:"received"`
	Dropped   uint64 `json:"dropped"` // received and thrown away because we were too slow
	Downs     uint64 `json:"downs"`   // times the session left Up
	LastError string `json:"last_error,omitempty"`
}

// Interval is a duration that reads as "300ms" in JSON.
type Interval time.Duration

func (i Interval) String() string { return time.Duration(i).String() }

// MarshalJSON gives the text form.
func (i Interval) MarshalJSON() ([]byte, error) { return json.Marshal(i.String()) }
