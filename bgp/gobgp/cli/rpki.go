package cli

import (
	"fmt"
	"net"
	"strconv"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/spf13/cobra"
)

// rtrPort is where caches listen (RFC 8210).
const rtrPort = 323

func (c *client) rpkiCommand() *cobra.Command {
	table := c.command("table", c.showVRPTable)
	c.familyFlag(table)
	rpki := c.command("rpki", nil)
	rpki.AddCommand(table, c.command("server", func(args []string) error {
		switch len(args) {
		case 0, 1:
			c.showCaches(args)
			return nil
		case 2:
			return c.changeCache(args[0], args[1])
		}
		return c.usagef("rpki server <ip address> [reset|softreset|enable]")
	}))
	return rpki
}

// showCaches prints all caches in a table, or all about the one that args
// name. Like the stock client it ends with status 0 in any case.
func (c *client) showCaches(args []string) {
	stream, err := c.api.ListRpki(c.ctx, &api.ListRpkiRequest{})
	caches, err := collect(stream, err, (*api.ListRpkiResponse).GetServer)
	if err != nil {
		fmt.Fprintf(c.errs, "%s: %v\n", c.name, err)
		return
	}
	if len(args) > 0 {
		for _, r := range caches {
			if r.GetConf().GetAddress() == args[0] {
				c.writeCache(r)
			}
		}
		return
	}
	const format = "%-23s %-6s %-10s %s\n"
	c.printf(format, "Session", "State", "Uptime", "#IPv4/IPv6 records")
	for _, r := range caches {
		s := r.GetState()
		state, up := "Down", "never"
		if s.GetUp() {
			state, up = "Up", sinceText(s.GetUptime().AsTime())
		}
		c.printf(format, cacheName(r.GetConf()), state, up, fmt.Sprintf("%d/%d", s.GetRecordIpv4(), s.GetRecordIpv6()))
	}
}

func cacheName(conf *api.RPKIConf) string {
	return net.JoinHostPort(conf.GetAddress(), strconv.Itoa(int(conf.GetRemotePort())))
}

func (c *client) writeCache(r *api.Rpki) {
	s := r.GetState()
	state := "Down"
	if s.GetUp() {
		state = "Up"
	}
	c.printf("Session: %s, State: %s\n", r.GetConf().GetAddress(), state)
	c.println("  Port:", r.GetConf().GetRemotePort())
	c.println("  Serial:", s.GetSerial())
	c.printf("  Prefix: %d/%d\n", s.GetPrefixIpv4(), s.GetPrefixIpv6())
	c.printf("  Record: %d/%d\n", s.GetRecordIpv4(), s.GetRecordIpv6())
	c.println("  Message statistics:")
	for _, l := range []struct {
		name string
		n    int64
	}{
		{"Receivedv4:", s.GetReceivedIpv4()},
		{"Receivedv6:", s.GetReceivedIpv6()},
		{"SerialNotify:", s.GetSerialNotify()},
		{"CacheReset:", s.GetCacheReset()},
		{"CacheResponse:", s.GetCacheResponse()},
		{"EndOfData:", s.GetEndOfData()},
		{"Error:", s.GetError()},
		{"SerialQuery:", s.GetSerialQuery()},
		{"ResetQuery:", s.GetResetQuery()},
	} {
		c.printf("    %-14s %10d\n", l.name, l.n)
	}
}

func (c *client) changeCache(address, op string) error {
	ip := net.ParseIP(address)
	if ip == nil {
		return fmt.Errorf("invalid ip address: %s", address)
	}
	address = ip.String()
	var err error
	switch op {
	case "add":
		_, err = c.api.AddRpki(c.ctx, &api.AddRpkiRequest{Address: address, Port: rtrPort})
	case "reset", "softreset":
		_, err = c.api.ResetRpki(c.ctx, &api.ResetRpkiRequest{Address: address, Soft: op == "softreset"})
	case "enable":
		_, err = c.api.EnableRpki(c.ctx, &api.EnableRpkiRequest{Address: address})
	case "disable":
		_, err = c.api.DisableRpki(c.ctx, &api.DisableRpkiRequest{Address: address})
	case "delete":
		_, err = c.api.DeleteRpki(c.ctx, &api.DeleteRpkiRequest{Address: address, Port: rtrPort})
	default:
		err = fmt.Errorf("unknown operation: %s", op)
	}
	return err
}

// showVRPTable prints what the caches have said, or the one that args name.
func (c *client) showVRPTable(args []string) error {
	rf, err := c.family(bgp.RF_IPv4_UC)
	if err != nil {
		return err
	}
	f := family(rf)
	stream, err := c.api.ListRpkiTable(c.ctx, &api.ListRpkiTableRequest{Family: f})
	vrps, err := collect(stream, err, (*api.ListRpkiTableResponse).GetRoa)
	if err != nil {
		return err
	}
	width := 42
	if f.Afi == api.Family_AFI_IP {
		width = 18
	}
	c.printf("%-*s %-6s %-10s %s\n", width, "Network", "Maxlen", "AS", "Server")
	for _, r := range vrps {
		if len(args) > 0 && args[0] != r.GetConf().GetAddress() {
			continue
		}
		bits := 32
		if f.Afi == api.Family_AFI_IP6 {
			bits = 128
		}
		network := net.IPNet{IP: net.ParseIP(r.GetPrefix()), Mask: net.CIDRMask(int(r.GetPrefixlen()), bits)}
		c.printf("%-*s %-6d %-10d %s\n", width, network.String(), r.GetMaxlen(), r.GetAsn(), cacheName(r.GetConf()))
	}
	return nil
}
