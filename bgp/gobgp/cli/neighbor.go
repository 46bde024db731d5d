package cli

import (
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// showNeighbor prints all about one neighbor.
func (c *client) showNeighbor(address string) error {
	p, err := c.neighbor(address, true)
	if err != nil {
		return err
	}
	if c.flags.json {
		c.printJSON(p)
		return nil
	}
	c.writeSession(p)
	c.printf("  Neighbor capabilities:\n")
	c.writeCapabilities(p.GetState())
	received, accepted, advertised, err := c.counts(p)
	if err != nil {
		return err
	}
	c.writeMessages(p.GetState())
	c.printf("  Route statistics:\n")
	c.printf("    Advertised:    %10d\n", advertised)
	c.printf("    Received:      %10d\n", received)
	c.printf("    Accepted:      %10d\n", accepted)
	c.writeLimits(p)
	return nil
}

func (c *client) writeSession(p *api.Peer) {
	s, t := p.GetState(), p.GetTimers()
	c.printf("BGP neighbor is %s, remote AS %s", s.GetNeighborAddress(), asText(s.GetPeerAsn()))
	switch {
	case p.GetRouteReflector().GetRouteReflectorClient():
		c.printf(", route-reflector-client")
	case p.GetRouteServer().GetRouteServerClient():
		c.printf(", route-server-client")
	}
	id := s.GetRouterId()
	if id == "" {
		id = "unknown"
	}
	c.printf("\n  BGP version 4, remote router ID %s\n", id)
	c.printf("  BGP state = %s", s.GetSessionState())
	if up := t.GetState().GetUptime(); up != nil {
		c.printf(", up for %s", sinceText(up.AsTime()))
	}
	c.printf("\n  BGP OutQ = %d, Flops = %d\n", s.GetQueues().GetOutput(), s.GetFlops())
	c.printf("  Local address is %s, local ASN: %s\n", p.GetTransport().GetLocalAddress(), asText(s.GetLocalAsn()))
	c.printf("  Hold time is %d, keepalive interval is %d seconds\n", t.GetState().GetNegotiatedHoldTime(), t.GetState().GetKeepaliveInterval())
	c.printf("  Configured hold time is %d, keepalive interval is %d seconds\n", t.GetConfig().GetHoldTime(), t.GetConfig().GetKeepaliveInterval())
	var options []string
	if n := p.GetConf().GetAllowOwnAsn(); n > 0 {
		options = append(options, "Allow Own AS: "+asText(n))
	}
	switch p.GetConf().GetRemovePrivate() {
	case api.RemovePrivate_REMOVE_ALL:
		options = append(options, "Remove private AS: all")
	case api.RemovePrivate_REPLACE:
		options = append(options, "Remove private AS: replace")
	}
	if p.GetConf().GetReplacePeerAsn() {
		options = append(options, "Replace peer AS: enabled")
	}
	c.printf("  %s\n", strings.Join(options, ", "))
}

func (c *client) writeMessages(s *api.PeerState) {
	sent, received := s.GetMessages().GetSent(), s.GetMessages().GetReceived()
	c.printf("  Message statistics:\n")
	c.printf("                         Sent       Rcvd\n")
	for _, l := range []struct {
		name string
		of   func(*api.Message) uint64
	}{
		{"Opens:", (*api.Message).GetOpen},
		{"Notifications:", (*api.Message).GetNotification},
		{"Updates:", (*api.Message).GetUpdate},
		{"Keepalives:", (*api.Message).GetKeepalive},
		{"Route Refresh:", (*api.Message).GetRefresh},
		{"Discarded:", (*api.Message).GetDiscarded},
		{"Total:", (*api.Message).GetTotal},
	} {
		c.printf("    %-14s %10d %10d\n", l.name, l.of(sent), l.of(received))
	}
}

func (c *client) writeLimits(p *api.Peer) {
	title := "  Prefix Limits:\n"
	for _, a := range p.GetAfiSafis() {
		l := a.GetPrefixLimits()
		if l.GetMaxPrefixes() == 0 {
			continue
		}
		c.printf("%s", title)
		title = ""
		c.printf("    %s:\tMaximum prefixes allowed %d", bgp.AddressFamilyNameMap[apiutil.ToRouteFamily(l.GetFamily())], l.GetMaxPrefixes())
		if n := l.GetShutdownThresholdPct(); n > 0 {
			c.printf(", Threshold for warning message %d%%", n)
		}
		c.printf("\n")
	}
}
