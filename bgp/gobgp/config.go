package gobgp

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"time"

	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"golang.org/x/sys/unix"
)

// Config is a checked "bgp:" section. Its keys are gobgpd's own; the zero
// value is of no use, ParseConfig makes one.
type Config struct {
	set oc.BgpConfigSet
}

// NeighborInfo is what the section says about one neighbor.
type NeighborInfo struct {
	Address         netip.Addr // zero for an unnumbered neighbor
	AS              uint32
	LocalAS         uint32
	Description     string
	Passive         bool
	MD5             bool
	TTLSecurity     bool
	Multihop        bool
	GracefulRestart bool
	LongLived       bool
	HoldTime        time.Duration
	IPv4, IPv6      bool // families configured for the session
}

// ParseConfig reads a "bgp:" section as a config reader gives it: nested maps
// and lists, keys in any case, numbers possibly as strings. The keys are
// gobgpd's; values that gobgpd would take its defaults for get the same here,
// except for what a session in a controller needs to come up and restart fast
// (see withDefaults). Errors name the whole path of the key.
func ParseConfig(section map[string]any) (*Config, error) {
	n, err := normalize("bgp", reflect.TypeFor[oc.BgpConfigSet](), section)
	if err != nil {
		return nil, err
	}
	m := n.(map[string]any)
	if err := checkMap(m); err != nil {
		return nil, err
	}
	mergePeerGroups(m)
	withDefaults(m)
	set, err := decode(m)
	if err != nil {
		return nil, fmt.Errorf("bgp: %w", err)
	}
	c := &Config{set: *set}
	if err := errors.Join(c.checkNeighbors(), c.checkPolicies()); err != nil {
		return nil, err
	}
	return c, nil
}

// decode hands the section to gobgpd's own reader, so that types and defaults
// are its own. That reader wants a file; this one exists in memory only, as
// the section may hold passwords.
func decode(m map[string]any) (*oc.BgpConfigSet, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	fd, err := unix.MemfdCreate("bgp", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	f := os.NewFile(uintptr(fd), "bgp")
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return nil, fmt.Errorf("memfd: %w", err)
	}
	return oc.ReadConfigfile(fmt.Sprintf("/proc/self/fd/%d", fd), "json")
}

// LocalAS is the AS that our prefixes originate in.
func (c *Config) LocalAS() uint32 { return c.set.Global.Config.As }

// RouterID is the BGP identifier.
func (c *Config) RouterID() netip.Addr {
	a, _ := netip.ParseAddr(c.set.Global.Config.RouterId) // checked by ParseConfig
	return a
}

// Neighbors lists the configured neighbors in the order of the file.
func (c *Config) Neighbors() []NeighborInfo {
	out := make([]NeighborInfo, 0, len(c.set.Neighbors))
	for i := range c.set.Neighbors {
		out = append(out, infoOf(&c.set.Neighbors[i]))
	}
	return out
}

func infoOf(n *oc.Neighbor) NeighborInfo {
	addr, _ := netip.ParseAddr(cmp.Or(n.Config.NeighborAddress, n.State.NeighborAddress))
	info := NeighborInfo{
		Address:         addr,
		AS:              n.Config.PeerAs,
		LocalAS:         n.Config.LocalAs,
		Description:     n.Config.Description,
		Passive:         n.Transport.Config.PassiveMode,
		MD5:             n.Config.AuthPassword != "",
		TTLSecurity:     n.TtlSecurity.Config.Enabled,
		Multihop:        n.EbgpMultihop.Config.Enabled,
		GracefulRestart: n.GracefulRestart.Config.Enabled,
		LongLived:       n.GracefulRestart.Config.LongLivedEnabled,
		HoldTime:        time.Duration(n.Timers.Config.HoldTime * float64(time.Second)),
	}
	for _, a := range n.AfiSafis {
		info.IPv4 = info.IPv4 || a.Config.AfiSafiName == oc.AFI_SAFI_TYPE_IPV4_UNICAST
		info.IPv6 = info.IPv6 || a.Config.AfiSafiName == oc.AFI_SAFI_TYPE_IPV6_UNICAST
	}
	return info
}
