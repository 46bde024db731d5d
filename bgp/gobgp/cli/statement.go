package cli

import (
	"fmt"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/spf13/cobra"
)

func (c *client) statementCommand() *cobra.Command {
	verbs := &cobra.Command{}
	for _, op := range []string{"add", "del"} {
		cmd := c.command(op, nil)
		cmd.AddCommand(
			c.command("condition", func(args []string) error {
				name, rest := last(args)
				return c.changeCondition(name, op, rest)
			}),
			c.command("action", func(args []string) error {
				name, rest := last(args)
				return c.changeAction(name, op, rest)
			}))
		verbs.AddCommand(cmd)
	}
	statement := c.command("statement", func(args []string) error {
		if len(args) < 2 {
			return c.showStatements(args)
		}
		return c.subjectFirst(verbs, args)
	})
	for _, op := range []string{"add", "del"} {
		statement.AddCommand(c.command(op, func(args []string) error { return c.changeStatement(op, args) }))
	}
	return statement
}

func (c *client) showStatements(args []string) error {
	stream, err := c.api.ListStatement(c.ctx, &api.ListStatementRequest{})
	all, err := collect(stream, err, (*api.ListStatementResponse).GetStatement)
	if err != nil {
		return err
	}
	return showNamed(c, all, args, func(s *api.Statement) { c.writeStatement(0, s) })
}

func (c *client) changeStatement(op string, args []string) error {
	if len(args) < 1 {
		return c.usagef("policy statement %s <name>", op)
	}
	return c.sendStatement(op, &api.Statement{Name: args[0]}, true)
}

// sendStatement adds to a statement, or takes away from it; all: the whole
// statement.
func (c *client) sendStatement(op string, s *api.Statement, all bool) (err error) {
	if op == "add" {
		_, err = c.api.AddStatement(c.ctx, &api.AddStatementRequest{Statement: s})
	} else {
		_, err = c.api.DeleteStatement(c.ctx, &api.DeleteStatementRequest{Statement: s, All: all})
	}
	return err
}

func (c *client) writePolicy(indent int, p *api.Policy) {
	for _, s := range p.GetStatements() {
		c.writeStatement(indent, s)
	}
}

// writeStatement prints one; where lines end in a blank or begin with one too
// many, so do the stock client's.
func (c *client) writeStatement(indent int, s *api.Statement) {
	margin := strings.Repeat(" ", indent)
	c.printf("%sStatementName %s:\n%s  Conditions:\n", margin, s.GetName(), margin)
	c.writeConditions(margin+"    ", s.GetConditions())
	c.printf("%s  Actions:\n", margin)
	c.writeActions(margin+"    ", s.GetActions())
}

func (c *client) writeConditions(margin string, m *api.Conditions) {
	line := func(name, value, end string) { c.printf("%s%s: %s%s\n", margin, name, value, end) }
	for _, l := range []struct {
		name string
		set  *api.MatchSet
		end  string
	}{
		{"PrefixSet", m.GetPrefixSet(), " "},
		{"NeighborSet", m.GetNeighborSet(), ""},
		{"AsPathSet", m.GetAsPathSet(), " "},
		{"CommunitySet", m.GetCommunitySet(), ""},
		{"ExtCommunitySet", m.GetExtCommunitySet(), ""},
		{"LargeCommunitySet", m.GetLargeCommunitySet(), ""},
	} {
		if l.set != nil {
			line(l.name, strings.ToLower(l.set.GetType().String())+" "+l.set.GetName(), l.end)
		}
	}
	if l := m.GetNextHopInList(); l != nil {
		line("NextHopInList", "[ "+strings.Join(l, ", ")+" ]", "")
	}
	if l := m.GetAsPathLength(); l != nil {
		line("AsPathLength", comparisons[l.GetType()]+fmt.Sprint(l.GetLength()), "")
	}
	if r := m.GetRpkiResult(); r != -1 {
		line("RPKI result", strings.TrimPrefix(api.Validation_State(r).String(), "STATE_"), "")
	}
	if t := m.GetRouteType(); t != api.Conditions_ROUTE_TYPE_NONE {
		line("Route Type", strings.ToLower(strings.TrimPrefix(t.String(), "ROUTE_TYPE_")), "")
	}
	if l := m.GetAfiSafiIn(); l != nil {
		var families []string
		for _, f := range l {
			families = append(families, familyText(f))
		}
		line("AFI SAFI In", "["+strings.Join(families, " ")+"]", "")
	}
}

var comparisons = map[api.AsPathLength_Type]string{api.AsPathLength_EQ: "=", api.AsPathLength_GE: ">=", api.AsPathLength_LE: "<="}

func (c *client) writeActions(margin string, a *api.Actions) {
	line := func(name, value string) { c.printf("%s %s:  %s\n", margin, name, value) }
	for _, l := range []struct {
		name string
		a    *api.CommunityAction
	}{
		{"Community", a.GetCommunity()}, {"ExtCommunity", a.GetExtCommunity()}, {"LargeCommunity", a.GetLargeCommunity()}} {
		if l.a != nil {
			line(l.name, communityActionText(l.a))
		}
	}
	if m := a.GetMed(); m != nil {
		sign := ""
		if m.GetType() == api.MedAction_MOD && m.GetValue() > 0 {
			sign = "+"
		}
		line("MED", sign+fmt.Sprint(m.GetValue()))
	}
	if p := a.GetLocalPref(); p != nil {
		line("LocalPref", fmt.Sprint(p.GetValue()))
	}
	if p := a.GetAsPrepend(); p != nil {
		line("ASPathPrepend", fmt.Sprintf("prepend %d %d times", p.GetAsn(), p.GetRepeat()))
	}
	if n := a.GetNexthop(); n != nil {
		line("Nexthop", nextHopActionText(n))
	}
	switch a.GetRouteAction() {
	case api.RouteAction_NONE:
	case api.RouteAction_REJECT:
		c.printf("%s reject\n", margin)
	default:
		c.printf("%s accept\n", margin)
	}
}

func communityActionText(a *api.CommunityAction) string {
	list := strings.NewReplacer("^", "", "$", "").Replace(strings.Join(a.GetCommunities(), ", "))
	return strings.ToLower(a.GetType().String()) + "[" + list + "]"
}

func nextHopActionText(n *api.NexthopAction) string {
	switch {
	case n.GetSelf():
		return "self"
	case n.GetUnchanged():
		return "unchanged"
	case n.GetPeerAddress():
		return "peer-address"
	}
	return n.GetAddress()
}
