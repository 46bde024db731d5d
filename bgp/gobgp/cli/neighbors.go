package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/spf13/cobra"
)

func (c *client) neighborCommand() *cobra.Command {
	verbs := c.neighborVerbs()
	neighbor := c.command("neighbor", func(args []string) error {
		switch len(args) {
		case 0:
			return c.showNeighbors("")
		case 1:
			return c.showNeighbor(args[0])
		}
		return c.subjectFirst(verbs, args)
	})
	for _, op := range []string{"add", "del", "update"} {
		neighbor.AddCommand(c.command(op, func(args []string) error { return c.changeNeighbor(op, args) }))
	}
	c.familyFlag(neighbor)
	f := neighbor.PersistentFlags()
	f.StringVarP(&c.flags.reason, "reason", "", "", "specifying communication field on Cease NOTIFICATION message with Administrative Shutdown subcode")
	f.StringVarP(&c.flags.transport, "transport", "t", "", "specifying a transport protocol")
	return neighbor
}

// neighborVerbs is what comes after a neighbor's address.
func (c *client) neighborVerbs() *cobra.Command {
	verbs := &cobra.Command{}
	for name, r := range map[string]rib{
		"local": ribLocal, "adj-in": ribAdjIn, "adj-out": ribAdjOut, "accepted": ribAccepted, "rejected": ribRejected} {
		cmd := c.command(name, func(args []string) error {
			address, rest, err := c.addressed(args)
			if err != nil {
				return err
			}
			return c.showRIB(r, address, rest)
		})
		if !r.split {
			cmd.AddCommand(c.command("summary", func(args []string) error {
				name, _ := last(args)
				return c.showSummary(r, name)
			}))
		}
		verbs.AddCommand(cmd)
	}
	for _, name := range []string{"reset", "softreset", "softresetin", "softresetout"} {
		verbs.AddCommand(c.command(name, func(args []string) error { return c.reset(name, args) }))
	}
	for _, name := range []string{"shutdown", "enable", "disable"} {
		verbs.AddCommand(c.command(name, func(args []string) error { return c.setState(name, args) }))
	}
	verbs.AddCommand(c.neighborPolicyCommand())
	return verbs
}

func (c *client) neighborPolicyCommand() *cobra.Command {
	policy := c.command("policy", func(args []string) error {
		address, err := c.firstAddressed(args)
		if err != nil {
			return err
		}
		return c.showAssignments(address)
	})
	for _, direction := range []string{"import", "export"} {
		cmd := c.command(direction, func(args []string) error {
			address, err := c.firstAddressed(args)
			if err != nil {
				return err
			}
			return c.showAssignment(address, direction, 0)
		})
		for _, op := range []string{"add", "del", "set"} {
			cmd.AddCommand(c.command(op, func(args []string) error {
				address, rest, err := c.addressed(args)
				if err != nil {
					return err
				}
				return c.changeAssignment(address, direction, op, rest)
			}))
		}
		policy.AddCommand(cmd)
	}
	return policy
}

// addressed splits off the neighbor that subjectFirst has put last, by
// address or interface, and returns its address.
func (c *client) addressed(args []string) (address string, rest []string, err error) {
	name, rest := last(args)
	p, err := c.neighbor(name, false)
	return p.GetState().GetNeighborAddress(), rest, err
}

// firstAddressed takes the first word for the neighbor, as the stock client
// does where no further words make sense.
func (c *client) firstAddressed(args []string) (string, error) {
	p, err := c.neighbor(args[0], false)
	return p.GetState().GetNeighborAddress(), err
}

// listNeighbors asks for one neighbor, or for all; for one it is an error if
// there is none.
func (c *client) listNeighbors(address string, advertised bool) ([]*api.Peer, error) {
	stream, err := c.api.ListPeer(c.ctx, &api.ListPeerRequest{Address: address, EnableAdvertised: advertised})
	all, err := collect(stream, err, (*api.ListPeerResponse).GetPeer)
	if err == nil && address != "" && len(all) == 0 {
		err = fmt.Errorf("not found neighbor %s", address)
	}
	return all, err
}

func (c *client) neighbor(address string, advertised bool) (*api.Peer, error) {
	all, err := c.listNeighbors(address, advertised)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 { // no address, no neighbors
		return nil, errors.New("not found neighbor")
	}
	return all[0], nil
}

// showNeighbors prints a line for each neighbor, of one VRF if it is given.
func (c *client) showNeighbors(vrf string) error {
	all, err := c.listNeighbors("", false)
	if err != nil {
		return err
	}
	shown := make([]*api.Peer, 0)
	for _, p := range all {
		if vrf == "" || p.GetConf().GetVrf() == vrf {
			shown = append(shown, p)
		}
	}
	switch {
	case c.flags.json:
		c.printJSON(shown)
		return nil
	case c.flags.quiet:
		for _, p := range shown {
			c.println(p.GetState().GetNeighborAddress())
		}
		return nil
	}
	sort.Slice(shown, func(i, j int) bool {
		return compareAddresses(shown[i].GetConf().GetNeighborAddress(), shown[j].GetConf().GetNeighborAddress()) < 0
	})
	c.writeNeighbors(shown)
	return nil
}

// compareAddresses sorts IPv4 before IPv6, and what is no address (a neighbor
// by interface) by its text.
func compareAddresses(a, b string) int {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	if err1 != nil || err2 != nil {
		return strings.Compare(a, b)
	}
	return x.Compare(y)
}

func (c *client) writeNeighbors(shown []*api.Peer) {
	type row struct{ peer, as, since, state, received, accepted string }
	rows := []row{{"Peer", "AS", "Up/Down", "State", "#Received", "Accepted"}}
	widest := [3]int{0, len("AS"), len("Up/Down")} // the heading Peer may be wider than its column
	for _, p := range shown {
		r := row{peer: p.GetState().GetNeighborAddress(), as: asText(p.GetState().GetPeerAsn()), since: upDown(p), state: stateText(p.GetState())}
		widest[0] = max(widest[0], len(r.peer))
		if i := p.GetConf().GetNeighborInterface(); i != "" {
			r.peer = i
			widest[0] = max(widest[0], len(i))
		}
		received, accepted, _, _ := c.counts(p)
		r.received, r.accepted = fmt.Sprint(received), fmt.Sprint(accepted)
		widest[1], widest[2] = max(widest[1], len(r.as)), max(widest[2], len(r.since))
		rows = append(rows, r)
	}
	for _, r := range rows {
		c.printf("%-*s %*s %*s %-11s |%9s %9s\n", widest[0], r.peer, widest[1], r.as, widest[2], r.since, r.state, r.received, r.accepted)
	}
}

// upDown is how long the session is up, or has been down.
func upDown(p *api.Peer) string {
	t := p.GetTimers().GetState()
	switch {
	case t.GetUptime() == nil:
		return "never"
	case p.GetState().GetSessionState() == api.PeerState_ESTABLISHED:
		return sinceText(t.GetUptime().AsTime())
	}
	return sinceText(t.GetDowntime().AsTime())
}

func asText(as uint32) string {
	if as == 0 {
		return "*"
	}
	return fmt.Sprint(as)
}

var stateNames = map[api.PeerState_SessionState]string{
	api.PeerState_UNKNOWN:     "Unknown",
	api.PeerState_IDLE:        "Idle",
	api.PeerState_CONNECT:     "Connect",
	api.PeerState_ACTIVE:      "Active",
	api.PeerState_OPENSENT:    "Sent",
	api.PeerState_OPENCONFIRM: "Confirm",
	api.PeerState_ESTABLISHED: "Establ",
}

func stateText(s *api.PeerState) string {
	switch s.GetAdminState() {
	case api.PeerState_DOWN:
		return "Idle(Admin)"
	case api.PeerState_PFX_CT:
		return "Idle(PfxCt)"
	}
	return stateNames[s.GetSessionState()]
}

// counts sums routes over the families, or over that of -a alone.
func (c *client) counts(p *api.Peer) (received, accepted, advertised uint64, err error) {
	for _, a := range p.GetAfiSafis() {
		s := a.GetState()
		if c.flags.family != "" {
			rf, err := c.family(0)
			if err != nil {
				return 0, 0, 0, err
			}
			if f := family(rf); f.Afi != s.GetFamily().GetAfi() || f.Safi != s.GetFamily().GetSafi() {
				continue
			}
		}
		received += s.GetReceived()
		accepted += s.GetAccepted()
		advertised += s.GetAdvertised()
	}
	return received, accepted, advertised, nil
}
