package cli

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/spf13/cobra"
)

// monitorOptions are the flags of monitor.
type monitorOptions struct {
	current   bool
	batchSize uint32
}

func (c *client) monitorCommand() *cobra.Command {
	var o monitorOptions
	rib := c.command("rib", func([]string) error {
		return c.monitorRoutes(&api.WatchEventRequest_Table_Filter{
			Type: api.WatchEventRequest_Table_Filter_BEST, Init: o.current}, o.batchSize)
	})
	c.familyFlag(rib)
	global := c.command("global", nil)
	global.AddCommand(rib)
	adjIn := c.command("adj-in", func(args []string) error {
		if len(args) > 0 && !isAddress(args[0]) {
			return fmt.Errorf("invalid ip address: %s", args[0])
		}
		return c.monitorRoutes(&api.WatchEventRequest_Table_Filter{
			Type: api.WatchEventRequest_Table_Filter_ADJIN, Init: o.current}, 0)
	})
	c.familyFlag(adjIn)
	neighbor := c.command("neighbor [<neighbor address>]", c.monitorNeighbor)
	neighbor.Args = cobra.MaximumNArgs(1)

	monitor := c.command("monitor", nil)
	monitor.AddCommand(global, neighbor, adjIn)
	f := monitor.PersistentFlags()
	f.BoolVarP(&o.current, "current", "", false, "dump current contents")
	f.Uint32VarP(&o.batchSize, "batch-size", "", 0, "max paths per event message")
	return monitor
}

func isAddress(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// monitorRoutes prints routes of all families as they change; -a is checked
// and selects nothing, as in the stock client.
func (c *client) monitorRoutes(filter *api.WatchEventRequest_Table_Filter, batch uint32) error {
	if _, err := c.family(bgp.RF_IPv4_UC); err != nil {
		return err
	}
	return c.watch(&api.WatchEventRequest{
		Table:     &api.WatchEventRequest_Table{Filters: []*api.WatchEventRequest_Table_Filter{filter}},
		BatchSize: batch,
	}, func(r *api.WatchEventResponse) {
		t := r.GetTable()
		switch {
		case t == nil:
		case c.flags.json:
			c.printJSON(apiutil.NewDestination(&api.Destination{Paths: t.Paths}))
		default:
			now := time.Now().UTC().Format(time.RFC3339)
			for _, p := range t.Paths {
				c.writeChange(now, p)
			}
		}
	})
}

func (c *client) writeChange(now string, p *api.Path) {
	what := "ROUTE"
	if p.GetIsWithdraw() {
		what = "DELROUTE"
	}
	nlri, _ := apiutil.GetNativeNlri(p)
	attrs, _ := apiutil.GetNativePathAttributes(p)
	c.printf("%s [%s] %s via %s aspath [%s] attrs %s\n", now, what,
		nlriText(nlri), nextHopText(attrs), asPathText(attrs), attributesText(nlri, attrs))
}

// monitorNeighbor prints the states of one neighbor as they change. Without
// an address nothing is ever printed, as in the stock client.
func (c *client) monitorNeighbor(args []string) error {
	address := ""
	if len(args) > 0 {
		address = args[0]
	}
	return c.watch(&api.WatchEventRequest{Peer: &api.WatchEventRequest_Peer{}}, func(r *api.WatchEventResponse) {
		e := r.GetPeer()
		conf, state := e.GetPeer().GetConf(), e.GetPeer().GetState()
		switch {
		case e.GetType() != api.WatchEventResponse_PeerEvent_STATE || conf.GetNeighborAddress() != address:
		case c.flags.json:
			c.printJSON(e.GetPeer())
		default:
			name := address
			if i := conf.GetNeighborInterface(); i != "" {
				name += "(" + i + ")"
			}
			c.printf("%s [NEIGH] %s fsm: %s admin: %s\n", time.Now().UTC().Format(time.RFC3339),
				name, state.GetSessionState(), state.GetAdminState())
		}
	})
}

// watch gives events to show until the daemon ends the stream; each is
// printed at once.
func (c *client) watch(req *api.WatchEventRequest, show func(*api.WatchEventResponse)) error {
	stream, err := c.api.WatchEvent(c.ctx, req)
	if err != nil {
		return err
	}
	for {
		r, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		show(r)
		if err := c.out.Flush(); err != nil {
			return err // nobody reads
		}
	}
}
