package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"sort"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/apiutil"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// rib is a table that can be shown.
type rib struct {
	table    api.TableType
	neighbor bool               // it is one neighbor's
	best     bool               // marks the best path
	age      bool               // shows ages
	id       bgp.BGPAddPathMode // whose path identifiers are shown, if any
	// Paths that import policy has refused are asked for, and one kind of the
	// two is kept.
	split, refused bool
	fate           bool // shows why a path is not sent
	validation     bool // knows what RPKI says
}

var (
	ribGlobal   = rib{table: api.TableType_GLOBAL, best: true, age: true}
	ribVRF      = rib{table: api.TableType_VRF, best: true, age: true}
	ribLocal    = rib{table: api.TableType_LOCAL, neighbor: true, best: true, age: true}
	ribAdjIn    = rib{table: api.TableType_ADJ_IN, neighbor: true, age: true, id: bgp.BGP_ADD_PATH_RECEIVE, validation: true}
	ribAccepted = rib{table: api.TableType_ADJ_IN, neighbor: true, age: true, id: bgp.BGP_ADD_PATH_RECEIVE, split: true}
	ribRejected = rib{table: api.TableType_ADJ_IN, neighbor: true, age: true, id: bgp.BGP_ADD_PATH_RECEIVE, split: true, refused: true}
	ribAdjOut   = rib{table: api.TableType_ADJ_OUT, neighbor: true, id: bgp.BGP_ADD_PATH_SEND, fate: true}
)

// ribFamily is what -a says, else IPv4, or the family of the neighbor's address.
func (c *client) ribFamily(r rib, name string) (bgp.RouteFamily, error) {
	if r.neighbor {
		return c.family(familyOf(name))
	}
	return c.family(bgp.RF_IPv4_UC)
}

// showRIB prints the routes of a table: all, or what args ask for. name is
// the neighbor's address or the VRF's name.
func (c *client) showRIB(r rib, name string, args []string) error {
	rf, err := c.ribFamily(r, name)
	if err != nil {
		return err
	}
	q, err := parseQuery(r, rf, args)
	if err != nil {
		return err
	}
	dsts, err := c.listPaths(&api.ListPathRequest{
		TableType:      r.table,
		Family:         family(rf),
		Name:           name,
		Prefixes:       q.prefixes,
		SortType:       api.ListPathRequest_PREFIX,
		EnableFiltered: r.split,
		BatchSize:      c.flags.batchSize,
	})
	if err != nil {
		return err
	}
	if len(dsts) == 0 && r.neighbor {
		if err := c.established(name); err != nil {
			return err
		}
	}
	switch {
	case c.flags.json:
		m := make(map[string]*apiutil.Destination, len(dsts))
		for _, d := range dsts {
			m[d.Prefix] = apiutil.NewDestination(d)
		}
		c.printJSON(m)
		return nil
	case q.validation:
		return c.showValidation(dsts, q.prefixes[0].Prefix)
	}
	if r.split {
		keep(dsts, r.refused)
	}
	if unicast(rf) {
		sortDestinations(dsts, r.table == api.TableType_VRF)
	}
	if len(dsts) == 0 {
		c.println("Network not in table")
		return nil
	}
	t := newRouteTable(r, rf, q.sessions)
	for _, d := range dsts {
		for _, p := range d.Paths {
			t.add(p)
		}
	}
	t.write(c.out)
	return nil
}

func (c *client) listPaths(req *api.ListPathRequest) ([]*api.Destination, error) {
	stream, err := c.api.ListPath(c.ctx, req)
	return collect(stream, err, (*api.ListPathResponse).GetDestination)
}

// established is an error if the neighbor's session is not; that is why there
// are no routes.
func (c *client) established(name string) error {
	p, err := c.neighbor(name, false)
	if err != nil {
		return err
	}
	if p.GetState().GetSessionState() != api.PeerState_ESTABLISHED {
		return fmt.Errorf("neighbor %v's BGP session is not established", name)
	}
	return nil
}

// keep drops the accepted paths, or the refused ones.
func keep(dsts []*api.Destination, refused bool) {
	for _, d := range dsts {
		kept := make([]*api.Path, 0, len(d.Paths))
		for _, p := range d.Paths {
			if p.Filtered == refused {
				kept = append(kept, p)
			}
		}
		d.Paths = kept
	}
}

// sortDestinations sorts by address alone, as the stock client does and with
// the same algorithm: prefixes of different length with one address come out
// as the daemon has them, which is in random order where it lists all.
func sortDestinations(dsts []*api.Destination, vrf bool) {
	type entry struct {
		addr netip.Addr
		dst  *api.Destination
	}
	l := make([]entry, len(dsts))
	for i, d := range dsts {
		l[i] = entry{prefixOf(d.Prefix, vrf).Addr(), d}
	}
	sort.Slice(l, func(i, j int) bool { return l[i].addr.Less(l[j].addr) })
	for i, e := range l {
		dsts[i] = e.dst
	}
}

// prefixOf reads a destination's name; in VRFs it begins with the route
// distinguisher "AS:NUMBER:".
func prefixOf(name string, vrf bool) netip.Prefix {
	if vrf {
		parts := strings.SplitN(name, ":", 3)
		name = parts[len(parts)-1]
	}
	p, _ := netip.ParsePrefix(name) // the zero Prefix comes first
	return p.Masked()
}

// query is which routes to show.
type query struct {
	prefixes   []*api.TableLookupPrefix // none: all
	validation bool
	sessions   bool // MUP session routes, which have columns of their own
}

func parseQuery(r rib, rf bgp.RouteFamily, args []string) (q query, err error) {
	if len(args) == 0 {
		return q, nil
	}
	lookup := &api.TableLookupPrefix{Prefix: args[0]}
	q.prefixes = []*api.TableLookupPrefix{lookup}
	switch rf {
	case bgp.RF_EVPN: // a route type
	case bgp.RF_MUP_IPv4, bgp.RF_MUP_IPv6: // a route type or key
		q.sessions = args[0] == "t1st"
	default:
		if !addressOrPrefix(args[0]) {
			return q, errNoPrefix(args[0])
		}
	}
	for args = args[1:]; len(args) > 0; args = args[1:] {
		switch args[0] {
		case "longer-prefixes":
			lookup.Type = api.TableLookupPrefix_LONGER
		case "shorter-prefixes":
			lookup.Type = api.TableLookupPrefix_SHORTER
		case "rd":
			if lookup.Rd, err = parseRD(rf, args[1:]); err != nil {
				return q, err
			}
			args = args[1:]
		case "validation":
			if !r.validation {
				return q, errors.New("RPKI information is supported for only adj-in")
			}
			q.validation = true
		default:
			return q, errors.New("invalid format for route filtering")
		}
	}
	return q, nil
}

// errNoPrefix is what should be an address or a prefix and is neither; its
// text is the stock client's.
type errNoPrefix string

func (errNoPrefix) Error() string { return "invalid CIDR/IP" }

func parseRD(rf bgp.RouteFamily, args []string) (string, error) {
	switch {
	case rf == bgp.RF_EVPN:
		return "", fmt.Errorf("route distinguisher option for %q family is not implemented yet", rf)
	case !vpn(rf):
		return "", fmt.Errorf("route distinguisher is not applicable to %q family", rf)
	case len(args) == 0:
		return "", errors.New("no route distinguisher value specified")
	}
	_, err := bgp.ParseRouteDistinguisher(args[0])
	return args[0], err
}

func addressOrPrefix(s string) bool {
	if _, err := netip.ParsePrefix(s); err == nil {
		return true
	}
	a, err := netip.ParseAddr(s)
	return err == nil && a.Zone() == ""
}

// showSummary prints how many routes a table has.
func (c *client) showSummary(r rib, name string) error {
	rf, err := c.ribFamily(r, name)
	if err != nil {
		return err
	}
	f := family(rf)
	t, err := c.api.GetTable(c.ctx, &api.GetTableRequest{TableType: r.table, Family: f, Name: name})
	if err != nil {
		return err
	}
	if c.flags.json {
		c.printJSON(t)
		return nil
	}
	c.printf("Table %s\n", familyText(f))
	c.printf("Destination: %d, Path: %d\n", t.NumDestination, t.NumPath)
	return nil
}
