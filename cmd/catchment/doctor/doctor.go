// Package doctor says what is wrong with one host before it hurts.
//
// Look collects what there is to see: the configuration, the kernel's
// settings, devices and addresses, the clock, the daemon's process, its state
// directory and what it answers. Findings judges that, and is a pure function
// of it. The package changes nothing: it connects to sockets of the daemon,
// and once to port 179 of each neighbor whose session is down; whether a
// finding is mended, and when, is the operator's to decide. What the RPKI says
// of the prefixes it asks the daemon's caches, or one that it is told.
package doctor

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// Severity says how bad a finding is.
type Severity string

// Severities.
const (
	Bad  Severity = "error"   // it hurts now, or as soon as traffic comes
	Warn Severity = "warning" // it hurts on a bad day
)

// Finding is one thing that is wrong. Command or Change is set, or both.
type Finding struct {
	Severity Severity `json:"severity"`
	Name     string   `json:"name"`              // stable, e.g. "rp-filter"
	About    string   `json:"about,omitempty"`   // device, neighbor, address, service
	What     string   `json:"what"`              // is so
	Why      string   `json:"why"`               // it hurts
	Command  string   `json:"command,omitempty"` // mends it, by a shell
	Change   string   `json:"change,omitempty"`  // mends it, by hand: a key of the configuration, or the router's side
}

// Host is everything that was seen of a host. A nil part was not looked at,
// and Blind says why.
type Host struct {
	Version    string // of this program; empty: not known
	ConfigPath string
	Config     *config.Config
	Mistakes   []string // why there is no Config
	Neighbors  []Neighbor
	Network    *Network
	Clock      *Clock
	Kernel     *Kernel
	BPF        *BPF // nil: the configuration has no use for it
	State      *State
	Daemon     *Daemon // nil: none answers
	Sockets    []Socket
	Status     *api.Status
	Secret     string   // what is wrong with fleet.secret-file
	Origins    []uint32 // ASes that our prefixes are seen to come from
	RPKI       *RPKI    // nil: not looked at
	Skipped    []string // what there was no reason to look at, or nobody to ask
	Blind      []string // what could not be looked at, and why

	rtrServers []string // of the configuration
}

// Neighbor is a configured BGP neighbor.
type Neighbor struct {
	gobgp.NeighborInfo
	Index   int                // in bgp.neighbors
	Device  string             // by which it is reached; empty: no route
	NoRoute string             // why there is none
	Probe   Probe              // of its port 179, where the session is down
	Session *gobgp.SessionInfo // nil: not established, or not known
	BFD     bool               // configured
}

// Probe is how a connection without a TCP signature went.
type Probe string

// Probes.
const (
	NotProbed   Probe = ""
	Accepted    Probe = "accepted"
	Refused     Probe = "refused"
	Unanswered  Probe = "unanswered"
	Unreachable Probe = "unreachable"
)

// Network is what the kernel says of this network namespace.
type Network struct {
	Devices []Device
	// Sysctl has the settings by name, with dots between the parts and the
	// device's name as it is: net.ipv4.conf.eth0.rp_filter.
	Sysctl map[string]int
	// DefaultDevices are those of the best IPv4 default route.
	DefaultDevices []string
	// Drops are TCP segments dropped while sessions were down, by the
	// kernel's name of the counter: TCPMD5NotFound, TCPMinTTLDrop.
	Drops map[string]uint64
}

// Device is a network device.
type Device struct {
	Name     string
	MTU      int
	Up       bool
	Loopback bool
	Addrs    []Addr
}

// Addr is an address of a device.
type Addr struct {
	netip.Prefix
	DADFailed bool // another host on the link has it, so that it is not in use here
}

// Clock is the system's clock.
type Clock struct {
	Synchronized bool
	MaxError     time.Duration
}

// Kernel is what this kernel can do. Err is empty where it can.
type Kernel struct {
	SockDiag string // reports of closed sockets
	PIDFD    string
	MD5      string // TCP signatures; only tried where a neighbor has a password
	IPv6     string
}

// State is the state directory.
type State struct {
	Dir      string
	Missing  bool
	ReadOnly bool
	Owner    uint32 // uid
	Group    uint32
	Mode     uint32 // permission bits
	Free     int64  // bytes that the daemon could still write
	Inodes   uint64 // free; meaningless where NoInodes
	NoInodes bool   // the file system does not count them
	Journal  int64  // bytes that the journal has
}

// Daemon is the process behind the control socket.
type Daemon struct {
	PID          int
	Exe          string
	UID, GID     uint32
	Groups       []uint32
	Capabilities uint64 // effective, a bit each
	OtherNetNS   bool   // it lives in another network namespace than we
}

// Socket is something that the daemon listens on, or should.
type Socket struct {
	Key     string // of the configuration
	Address string
	Err     string // of connecting; empty: it answers
}

// Findings judges a host. Errors come first; otherwise the order is that of
// the rules.
func Findings(h *Host) []Finding {
	var all []Finding
	for _, rule := range []func(*Host) []Finding{
		configFindings, daemonFindings, alarmFindings, capabilityFindings, stateFindings, kernelFindings, bpfFindings,
		clockFindings, reverseFindings, arpFindings, vipFindings, mtuFindings,
		neighborFindings, sessionFindings, drainFindings, rpkiFindings, fleetFindings, checkFindings,
	} {
		all = append(all, rule(h)...)
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

func rank(f Finding) int {
	if f.Severity == Bad {
		return 0
	}
	return 1
}
