package cli

import (
	"errors"
	"fmt"
	"net"
	"strconv"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/packet/bmp"
	"github.com/spf13/cobra"
)

func (c *client) bmpCommand() *cobra.Command {
	cmd := c.command("bmp", func([]string) error {
		c.showStations()
		return nil
	})
	var timeout int
	add := c.command("add", func(args []string) error { return c.addStation(args, timeout) })
	add.PersistentFlags().IntVarP(&timeout, "statistics-timeout", "s", 0, "Timeout of statistics report")
	cmd.AddCommand(add, c.command("del", c.deleteStation))
	return cmd
}

// showStations ends with status 0 in any case, like the stock client.
func (c *client) showStations() {
	stream, err := c.api.ListBmp(c.ctx, &api.ListBmpRequest{})
	stations, err := collect(stream, err, (*api.ListBmpResponse).GetStation)
	if err != nil {
		fmt.Fprintf(c.errs, "%s: %v\n", c.name, err)
		return
	}
	const format = "%-23s %-6s %-10s\n"
	c.printf(format, "Session", "State", "Uptime")
	for _, s := range stations {
		up, down := s.GetState().GetUptime().AsTime(), s.GetState().GetDowntime().AsTime()
		state, since := "Down", "Never"
		switch {
		case up.Unix() == 0:
		case up.After(down):
			state, since = "Up", sinceText(up)
		default:
			since = sinceText(down)
		}
		c.printf(format, net.JoinHostPort(s.GetConf().GetAddress(), fmt.Sprint(s.GetConf().GetPort())), state, since)
	}
}

// station reads "ADDRESS[:PORT]". False: it is neither, and the stock client
// does nothing then.
func (c *client) station(op string, args []string) (address string, port uint32, ok bool, err error) {
	if len(args) < 1 {
		return "", 0, false, c.usagef("bmp %s <addr>[:<port>] [{pre|post|both|local-rib|all}]", op)
	}
	if host, p, err := net.SplitHostPort(args[0]); err == nil {
		n, _ := strconv.ParseUint(p, 10, 16)
		return host, uint32(n), true, nil
	}
	return args[0], bmp.BMP_DEFAULT_PORT, net.ParseIP(args[0]) != nil, nil
}

var stationPolicies = map[string]api.AddBmpRequest_MonitoringPolicy{
	"pre": api.AddBmpRequest_PRE, "post": api.AddBmpRequest_POST, "both": api.AddBmpRequest_BOTH,
	"local-rib": api.AddBmpRequest_LOCAL, "all": api.AddBmpRequest_ALL,
}

func (c *client) addStation(args []string, timeout int) error {
	address, port, ok, err := c.station("add", args)
	if err != nil || !ok {
		return err
	}
	if timeout < 0 || timeout > 65535 {
		return errors.New("invalid statistics-timeout value. it must be in the range 0-65535. default value is 0 and means disabled")
	}
	policy := api.AddBmpRequest_PRE
	if len(args) > 1 {
		if policy, ok = stationPolicies[args[1]]; !ok {
			return errors.New("invalid bmp policy type. valid type is {pre|post|both|local-rib|all}")
		}
	}
	_, err = c.api.AddBmp(c.ctx, &api.AddBmpRequest{Address: address, Port: port, Policy: policy, StatisticsTimeout: int32(timeout)})
	return err
}

func (c *client) deleteStation(args []string) error {
	address, port, ok, err := c.station("del", args)
	if err != nil || !ok {
		return err
	}
	_, err = c.api.DeleteBmp(c.ctx, &api.DeleteBmpRequest{Address: address, Port: port})
	return err
}
