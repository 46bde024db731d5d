package cli

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/anypb"
)

func (c *client) vrfCommand() *cobra.Command {
	verbs := c.vrfVerbs()
	vrf := c.command("vrf", func(args []string) error {
		switch len(args) {
		case 0:
			return c.showVRFs()
		case 1: // the stock client has nothing to say about one
			return nil
		}
		return c.subjectFirst(verbs, args)
	})
	vrf.AddCommand(c.command("add", c.addVRF), c.command("del", func(args []string) error {
		if len(args) != 1 {
			return c.usagef("vrf del <vrf name>")
		}
		_, err := c.api.DeleteVrf(c.ctx, &api.DeleteVrfRequest{Name: args[0]})
		return err
	}))
	c.familyFlag(vrf)
	return vrf
}

// vrfVerbs is what comes after a VRF's name.
func (c *client) vrfVerbs() *cobra.Command {
	rib := c.command("rib", func(args []string) error {
		if len(args) != 1 {
			return c.usagef("vrf <vrf-name> rib")
		}
		return c.showRIB(ribVRF, args[0], nil)
	})
	for _, op := range []string{"add", "del"} {
		rib.AddCommand(c.command(op, func(args []string) error {
			name, rest := last(args)
			return c.changePath(name, op, rest)
		}))
	}
	rib.AddCommand(c.command("summary", func(args []string) error { return c.showSummary(ribVRF, args[0]) }))
	neighbor := c.command("neighbor", func(args []string) error {
		if len(args) != 1 {
			return c.usagef("vrf <vrf-name> neighbor")
		}
		all, err := c.listVRFs()
		if err != nil {
			return err
		}
		if _, err := named(all, args); err != nil {
			return fmt.Errorf("vrf %s not found", args[0])
		}
		return c.showNeighbors(args[0])
	})
	verbs := &cobra.Command{}
	verbs.AddCommand(rib, neighbor)
	return verbs
}

func (c *client) listVRFs() ([]*api.Vrf, error) {
	stream, err := c.api.ListVrf(c.ctx, &api.ListVrfRequest{})
	all, err := collect(stream, err, (*api.ListVrfResponse).GetVrf)
	sort.Slice(all, func(i, j int) bool { return all[i].GetName() < all[j].GetName() })
	return all, err
}

func (c *client) showVRFs() error {
	all, err := c.listVRFs()
	if err != nil {
		return err
	}
	switch {
	case c.flags.json:
		c.printJSON(all)
		return nil
	case c.flags.quiet:
		c.writeNames(nameList(all))
		return nil
	}
	widths := [4]int{20, 20, 20, 20}
	rows := [][4]string{{"Name", "RD", "Import RT", "Export RT"}}
	ids := []string{"ID"}
	for _, v := range all {
		row, err := vrfRow(v)
		if err != nil {
			return err
		}
		for i, cell := range row {
			if len(cell) > widths[i] {
				widths[i] = len(cell) + 4
			}
		}
		rows = append(rows, row)
		ids = append(ids, fmt.Sprint(v.GetId()))
	}
	for i, row := range rows {
		for j, cell := range row {
			c.printf("%*s%-*s", 2-min(j, 1), "", widths[j], cell)
		}
		c.printf(" %-5s\n", ids[i])
	}
	return nil
}

func vrfRow(v *api.Vrf) (row [4]string, err error) {
	rd, err := apiutil.UnmarshalRD(v.GetRd())
	if err != nil {
		return row, err
	}
	in, err := routeTargetText(v.GetImportRt())
	if err != nil {
		return row, err
	}
	out, err := routeTargetText(v.GetExportRt())
	return [4]string{v.GetName(), rd.String(), in, out}, err
}

func routeTargetText(rts []*anypb.Any) (string, error) {
	var l []string
	for _, a := range rts {
		rt, err := apiutil.UnmarshalRT(a)
		if err != nil {
			return "", err
		}
		l = append(l, rt.String())
	}
	return strings.Join(l, ", "), nil
}

// addVRF reads "NAME [id ID] rd RD rt { import | export | both } RT...".
func (c *client) addVRF(args []string) error {
	usage := c.usagef("vrf add <vrf name> [ id <id> ] rd <rd> rt { import | export | both } <rt>...")
	m, err := keywords(args, map[string]arity{"rd": one, "rt": some, "id": one})
	if err != nil || len(m[""]) != 1 || len(m["rd"]) != 1 || len(m["rt"]) < 2 {
		return usage
	}
	rd, err := bgp.ParseRouteDistinguisher(m["rd"][0])
	if err != nil {
		return err
	}
	var in, out []bgp.ExtendedCommunityInterface
	to := ""
	for _, word := range m["rt"] {
		if word == "import" || word == "export" || word == "both" {
			to = word
			continue
		}
		rt, err := bgp.ParseRouteTarget(word)
		if err != nil {
			return err
		}
		if to == "" {
			return usage
		}
		if to != "export" {
			in = append(in, rt)
		}
		if to != "import" {
			out = append(out, rt)
		}
	}
	v := &api.Vrf{Name: m[""][0]}
	if id := m["id"]; len(id) > 0 {
		n, err := strconv.ParseUint(id[0], 10, 32)
		if err != nil {
			return err
		}
		v.Id = uint32(n)
	}
	var err1, err2, err3 error
	v.Rd, err1 = apiutil.MarshalRD(rd)
	v.ImportRt, err2 = apiutil.MarshalRTs(in)
	v.ExportRt, err3 = apiutil.MarshalRTs(out)
	if err := firstError(err1, err2, err3); err != nil {
		return err
	}
	_, err = c.api.AddVrf(c.ctx, &api.AddVrfRequest{Vrf: v})
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
