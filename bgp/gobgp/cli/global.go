package cli

import (
	"errors"
	"net"
	"strconv"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/spf13/cobra"
)

func (c *client) globalCommand() *cobra.Command {
	global := c.command("global", func(args []string) error {
		if len(args) > 0 {
			return c.startBGP(args)
		}
		return c.showGlobal()
	})
	del := c.command("del", nil)
	del.AddCommand(c.command("all", func([]string) error {
		_, err := c.api.StopBgp(c.ctx, &api.StopBgpRequest{})
		return err
	}))
	global.AddCommand(c.globalRIBCommand(), c.globalPolicyCommand(), del)
	return global
}

func (c *client) globalRIBCommand() *cobra.Command {
	rib := c.command("rib", func(args []string) error { return c.showRIB(ribGlobal, "", args) })
	c.familyFlag(rib)
	rib.PersistentFlags().Uint64VarP(&c.flags.batchSize, "batch-size", "b", 0,
		"Size of the temporary buffer in the server memory. Zero is unlimited (default)")
	add := c.command("add", func(args []string) error { return c.changePath("", "add", args) })
	del := c.command("del", func(args []string) error { return c.changePath("", "del", args) })
	del.AddCommand(c.command("all", func([]string) error {
		rf, err := c.family(bgp.RF_IPv4_UC)
		if err != nil {
			return err
		}
		_, err = c.api.DeletePath(c.ctx, &api.DeletePathRequest{TableType: api.TableType_GLOBAL, Family: family(rf)})
		return err
	}))
	c.forceFlags(add)
	c.forceFlags(del)
	rib.AddCommand(add, del, c.command("summary", func([]string) error { return c.showSummary(ribGlobal, "") }))
	return rib
}

// forceFlags are ours; usage texts do not show them, help does.
func (c *client) forceFlags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.BoolVar(&c.flags.force, "force", false, "change a prefix of a service over the controller's head")
	f.StringVar(&c.flags.why, "why", "", "reason for --force, for the journal")
	_ = f.MarkHidden("force") // they exist
	_ = f.MarkHidden("why")
	run := cmd.Run
	cmd.Run = func(cmd *cobra.Command, args []string) {
		c.flags.forcible = true
		run(cmd, args)
	}
}

func (c *client) showGlobal() error {
	r, err := c.api.GetBgp(c.ctx, &api.GetBgpRequest{})
	if err != nil {
		return err
	}
	g := r.GetGlobal()
	if c.flags.json {
		c.printJSON(g)
		return nil
	}
	c.println("AS:       ", g.GetAsn())
	c.println("Router-ID:", g.GetRouterId())
	if l := g.GetListenAddresses(); len(l) > 0 {
		c.printf("Listening Port: %d, Addresses: %s\n", g.ListenPort, strings.Join(l, ", "))
	}
	if g.GetUseMultiplePaths() {
		c.printf("Multipath: enabled")
	}
	return nil
}

// startBGP gives a daemon that has no config its global part.
func (c *client) startBGP(args []string) error {
	m, err := keywords(args, map[string]arity{"as": one, "router-id": one, "listen-port": one, "listen-addresses": some, "use-multipath": none})
	if err != nil || len(m["as"]) != 1 || len(m["router-id"]) != 1 {
		return c.usagef("global as <VALUE> router-id <VALUE> [use-multipath] [listen-port <VALUE>] [listen-addresses <VALUE>...]")
	}
	as, err := strconv.ParseUint(m["as"][0], 10, 32)
	if err != nil {
		return err
	}
	id := net.ParseIP(m["router-id"][0]).To4()
	if id == nil {
		return errors.New("invalid router-id format")
	}
	var port uint64
	if p := m["listen-port"]; len(p) > 0 {
		if port, err = strconv.ParseUint(p[0], 10, 16); err != nil {
			return err
		}
	}
	_, multipath := m["use-multipath"]
	_, err = c.api.StartBgp(c.ctx, &api.StartBgpRequest{Global: &api.Global{
		Asn:              uint32(as),
		RouterId:         id.String(),
		ListenPort:       int32(port),
		ListenAddresses:  m["listen-addresses"],
		UseMultiplePaths: multipath,
	}})
	return err
}

func (c *client) globalPolicyCommand() *cobra.Command {
	policy := c.command("policy", func(args []string) error {
		if len(args) > 0 {
			return c.usagef("global policy [{ import | export }]")
		}
		return c.showAssignments("")
	})
	for _, direction := range []string{"import", "export"} {
		cmd := c.command(direction, func([]string) error { return c.showAssignment("", direction, 0) })
		for _, op := range []string{"add", "del", "set"} {
			cmd.AddCommand(c.command(op, func(args []string) error { return c.changeAssignment("", direction, op, args) }))
		}
		policy.AddCommand(cmd)
	}
	return policy
}
