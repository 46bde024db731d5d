package cli

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

type capability = bgp.ParameterCapabilityInterface

// findCapability returns the one in l that is the same as like; capabilities
// for several families are one for each.
func findCapability(l []capability, like capability) capability {
	i := slices.IndexFunc(l, func(c capability) bool {
		if c.Code() != like.Code() {
			return false
		}
		a, ok1 := c.(*bgp.CapMultiProtocol)
		b, ok2 := like.(*bgp.CapMultiProtocol)
		return !ok1 || !ok2 || a.CapValue == b.CapValue
	})
	if i < 0 {
		return nil
	}
	return l[i]
}

// writeCapabilities prints what each side offers.
func (c *client) writeCapabilities(s *api.PeerState) {
	local, _ := apiutil.UnmarshalCapabilities(s.GetLocalCap())
	remote, _ := apiutil.UnmarshalCapabilities(s.GetRemoteCap())
	all := slices.Clone(local)
	for _, r := range remote {
		if findCapability(all, r) == nil {
			all = append(all, r)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].Code() < all[j].Code() })
	families := false
	for _, one := range all {
		ours, theirs := findCapability(local, one), findCapability(remote, one)
		var support []string
		if ours != nil {
			support = append(support, "advertised")
		}
		if theirs != nil {
			support = append(support, "received")
		}
		said := strings.Join(support, " and ")
		if m, ok := one.(*bgp.CapMultiProtocol); ok {
			if !families {
				c.printf("    %s:\n", one.Code())
				families = true
			}
			c.printf("        %s:\t%s\n", m.CapValue, said)
			continue
		}
		c.printf("    %s:\t%s\n", one.Code(), said)
		c.writeCapability("Local", ours)
		c.writeCapability("Remote", theirs)
	}
}

// writeCapability prints the details of a capability that has some.
func (c *client) writeCapability(side string, one capability) {
	switch one := one.(type) {
	case *bgp.CapGracefulRestart:
		if s := gracefulRestartText(one); s != "" {
			c.printf("        %s: %s", side, s)
		}
	case *bgp.CapLongLivedGracefulRestart:
		if s := longLivedText(one); s != "" {
			c.printf("        %s:\n%s", side, s)
		}
	case *bgp.CapExtendedNexthop:
		if s := extendedNextHopText(one); s != "" {
			c.printf("        %-7s %s\n", side+":", s)
		}
	case *bgp.CapAddPath:
		c.printf("      %s:\n", side)
		for _, t := range one.Tuples {
			c.printf("         %s:\t%s\n", t.RouteFamily, t.Mode)
		}
	case *bgp.CapFQDN:
		c.printf("      %s:\n         name: %s, domain: %s\n", side, one.HostName, one.DomainName)
	case *bgp.CapSoftwareVersion:
		c.printf("      %s:\n         %s\n", side, one.SoftwareVersion)
	}
}

// Bits of the graceful restart capability (RFC 4724 and 8538), as GoBGP has
// them: the flags' four bits are the upper ones of the first byte.
const (
	restartState   = 0x08
	notification   = 0x04
	forwardedState = 0x80
)

func gracefulRestartText(g *bgp.CapGracefulRestart) string {
	var l []string
	if len(g.Tuples) > 0 {
		l = append(l, fmt.Sprintf("restart time %d sec", g.Time))
	}
	if g.Flags&restartState != 0 {
		l = append(l, "restart flag set")
	}
	if g.Flags&notification != 0 {
		l = append(l, "notification flag set")
	}
	s := strings.Join(l, ", ")
	if s != "" {
		s += "\n"
	}
	for _, t := range g.Tuples {
		s += fmt.Sprintf("\t    %s%s\n", bgp.AfiSafiToRouteFamily(t.AFI, t.SAFI), forwardText(t.Flags))
	}
	return s
}

func longLivedText(g *bgp.CapLongLivedGracefulRestart) string {
	s := ""
	for _, t := range g.Tuples {
		s += fmt.Sprintf("\t    %s, restart time %d sec%s\n", bgp.AfiSafiToRouteFamily(t.AFI, t.SAFI), t.RestartTime, forwardText(t.Flags))
	}
	return s
}

func forwardText(flags uint8) string {
	if flags == forwardedState {
		return ", forward flag set"
	}
	return ""
}

func extendedNextHopText(e *bgp.CapExtendedNexthop) string {
	var l []string
	for _, t := range e.Tuples {
		afi := fmt.Sprint(t.NexthopAFI)
		switch t.NexthopAFI {
		case bgp.AFI_IP:
			afi = "ipv4"
		case bgp.AFI_IP6:
			afi = "ipv6"
		}
		l = append(l, fmt.Sprintf("nlri: %s, nexthop: %s", bgp.AfiSafiToRouteFamily(t.NLRIAFI, uint8(t.NLRISAFI)), afi))
	}
	return strings.Join(l, "\n")
}
