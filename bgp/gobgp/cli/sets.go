package cli

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/osrg/gobgp/v3/pkg/config/oc"
	"github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// setKind is a kind of set that policies refer to.
type setKind struct {
	word    string
	kind    api.DefinedType
	heading string
	usage   string                    // after "usage: policy "
	check   func(member string) error // of what is not a prefix or neighbor
}

var setKinds = []setKind{
	{"prefix", api.DefinedType_PREFIX, "PREFIX", "prefix %s <name> [<prefix> [<mask range>]]", nil},
	{"neighbor", api.DefinedType_NEIGHBOR, "ADDRESS", "neighbor %s <name> [<neighbor address>...]", nil},
	{"as-path", api.DefinedType_AS_PATH, "AS-PATH", "aspath %s <name> [<regexp>...]", checkRegexp},
	{"community", api.DefinedType_COMMUNITY, "COMMUNITY", "community %s <name> [<regexp>...]", checkCommunity},
	{"ext-community", api.DefinedType_EXT_COMMUNITY, "EXT-COMMUNITY", "extcommunity %s <name> [<regexp>...]", checkExtCommunity},
	{"large-community", api.DefinedType_LARGE_COMMUNITY, "LARGE-COMMUNITY", "large-community %s <name> [<regexp>...]", checkLargeCommunity},
}

// showSets prints all sets of a kind, or the one that args name.
func (c *client) showSets(kind setKind, args []string) error {
	req := &api.ListDefinedSetRequest{DefinedType: kind.kind}
	if len(args) > 0 {
		req.Name = args[0]
	}
	stream, err := c.api.ListDefinedSet(c.ctx, req)
	sets, err := collect(stream, err, (*api.ListDefinedSetResponse).GetDefinedSet)
	if err != nil {
		return err
	}
	switch {
	case c.flags.json:
		c.printJSON(sets)
	case c.flags.quiet && len(args) > 0:
		c.println(sets)
	case c.flags.quiet:
		c.writeNames(nameList(sets))
	default:
		c.writeSets(kind, sets)
	}
	return nil
}

func (c *client) writeSets(kind setKind, sets []*api.DefinedSet) {
	if len(sets) == 0 {
		c.println("Nothing defined yet")
		return
	}
	width := len("NAME")
	for _, s := range sets {
		width = max(width, len(s.GetName()))
	}
	c.printf("%-*s  %s\n", width, "NAME", kind.heading)
	for _, s := range sets {
		name := s.GetName()
		members := setMembers(kind, s)
		if len(members) == 0 {
			members = []string{""}
		}
		for _, m := range members {
			c.printf("%-*s  %s\n", width, name, m)
			name = "" // once
		}
	}
}

// exactly is how the daemon writes a community that is no pattern.
var exactly = regexp.MustCompile(`\^\^(\S+)\$\$`)

func setMembers(kind setKind, s *api.DefinedSet) (members []string) {
	if kind.kind == api.DefinedType_PREFIX {
		for _, p := range s.GetPrefixes() {
			members = append(members, fmt.Sprintf("%s %d..%d", p.GetIpPrefix(), p.GetMaskLengthMin(), p.GetMaskLengthMax()))
		}
		return members
	}
	for _, m := range s.GetList() {
		switch kind.kind {
		case api.DefinedType_COMMUNITY, api.DefinedType_EXT_COMMUNITY, api.DefinedType_LARGE_COMMUNITY:
			m = exactly.ReplaceAllString(m, "$1")
		}
		members = append(members, m)
	}
	return members
}

// changeSet adds members to a set or deletes them; "del NAME" deletes all.
func (c *client) changeSet(kind setKind, op string, args []string) error {
	if len(args) < 1 {
		return fmt.Errorf("usage: policy "+kind.usage, op)
	}
	set, err := parseSet(kind, args[0], args[1:])
	if err != nil {
		return err
	}
	if op == "add" {
		_, err = c.api.AddDefinedSet(c.ctx, &api.AddDefinedSetRequest{DefinedSet: set})
	} else {
		_, err = c.api.DeleteDefinedSet(c.ctx, &api.DeleteDefinedSetRequest{DefinedSet: set, All: len(args) < 2})
	}
	return err
}

func parseSet(kind setKind, name string, members []string) (*api.DefinedSet, error) {
	set := &api.DefinedSet{DefinedType: kind.kind, Name: name}
	switch kind.kind {
	case api.DefinedType_PREFIX:
		if len(members) == 0 {
			return set, nil
		}
		lengths := ""
		if len(members) > 1 {
			lengths = members[1]
		}
		low, high, err := oc.ParseMaskLength(members[0], lengths)
		if err != nil {
			return nil, err
		}
		set.Prefixes = []*api.Prefix{{IpPrefix: members[0], MaskLengthMin: uint32(low), MaskLengthMax: uint32(high)}}
		return set, nil
	case api.DefinedType_NEIGHBOR:
		return set, addNeighbors(set, members)
	}
	for _, m := range members {
		if err := kind.check(m); err != nil {
			return nil, err
		}
	}
	set.List = members
	return set, nil
}

// addNeighbors takes addresses. Prefixes are accepted and not added, as in the
// stock client.
func addNeighbors(set *api.DefinedSet, members []string) error {
	for _, m := range members {
		if a, err := netip.ParseAddr(m); err == nil && a.Zone() == "" {
			bits := 128
			if a.Unmap().Is4() {
				bits = 32
			}
			set.List = append(set.List, fmt.Sprintf("%s/%d", m, bits))
		} else if _, err := netip.ParsePrefix(m); err != nil {
			return fmt.Errorf("invalid address or prefix: %s\nplease enter ipv4 or ipv6 format", m)
		}
	}
	return nil
}

func checkRegexp(s string) error {
	_, err := regexp.Compile(s)
	return err
}

var communityNumbers = regexp.MustCompile(`^(\d+.)*\d+:\d+$`)

// checkCommunity accepts a number, a name or an expression.
func checkCommunity(s string) error {
	if _, err := strconv.ParseUint(s, 10, 32); err == nil {
		return nil
	}
	if communityNumbers.MatchString(s) {
		return checkRegexp("^" + s + "$")
	}
	name := strings.ReplaceAll(strings.ToLower(s), "_", "-")
	for _, known := range bgp.WellKnownCommunityNameMap {
		if name == known {
			return nil
		}
	}
	return checkRegexp(s)
}

func checkExtCommunity(s string) error {
	kind, value, ok := strings.Cut(s, ":")
	if !ok {
		return errors.New("invalid ext-community format([rt|soo|encap|lb]:<value>)")
	}
	switch strings.ToLower(kind) {
	case "rt", "soo", "encap", "lb":
		return checkCommunity(value)
	}
	return errors.New("unknown ext-community subtype. rt, soo, encap, lb is supported")
}

var largeNumbers = regexp.MustCompile(`\d+:\d+:\d+`)

func checkLargeCommunity(s string) error {
	if largeNumbers.MatchString(s) {
		return checkRegexp("^" + s + "$")
	}
	if err := checkRegexp(s); err != nil {
		return fmt.Errorf("invalid large-community format: %w", err)
	}
	return nil
}
