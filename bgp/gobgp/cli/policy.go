package cli

import (
	"fmt"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
	"github.com/spf13/cobra"
)

func (c *client) policyCommand() *cobra.Command {
	policy := c.command("policy", c.showPolicies)
	for _, kind := range setKinds {
		cmd := c.command(kind.word, func(args []string) error { return c.showSets(kind, args) })
		for _, op := range []string{"add", "del"} {
			cmd.AddCommand(c.command(op, func(args []string) error { return c.changeSet(kind, op, args) }))
		}
		policy.AddCommand(cmd)
	}
	policy.AddCommand(c.statementCommand())
	for _, op := range []string{"add", "del"} {
		policy.AddCommand(c.command(op, func(args []string) error { return c.changePolicy(op, args) }))
	}
	return policy
}

// showPolicies prints all policies, or the one that args name.
func (c *client) showPolicies(args []string) error {
	stream, err := c.api.ListPolicy(c.ctx, &api.ListPolicyRequest{})
	all, err := collect(stream, err, (*api.ListPolicyResponse).GetPolicy)
	if err != nil {
		return err
	}
	return showNamed(c, all, args, func(p *api.Policy) {
		c.printf("Name %s:\n", p.GetName())
		c.writePolicy(4, p)
	})
}

// showNamed prints all, or the one that args name: as JSON, the names alone,
// or each by write.
func showNamed[T hasName](c *client, all []T, args []string, write func(T)) error {
	all, err := named(all, args)
	if err != nil {
		return err
	}
	switch {
	case c.flags.json:
		c.printJSON(all)
	case c.flags.quiet:
		c.writeNames(nameList(all))
	default:
		for _, x := range all {
			write(x)
		}
	}
	return nil
}

type hasName interface{ GetName() string }

// named picks the one that args name, if they name one.
func named[T hasName](all []T, args []string) ([]T, error) {
	if len(args) == 0 {
		return all, nil
	}
	for _, v := range all {
		if v.GetName() == args[0] {
			return []T{v}, nil
		}
	}
	return nil, fmt.Errorf("not found %s", args[0])
}

func nameList[T hasName](all []T) (names []string) {
	for _, v := range all {
		names = append(names, v.GetName())
	}
	return names
}

func (c *client) writeNames(names []string) {
	for _, n := range names {
		c.println(n)
	}
}

func (c *client) changePolicy(op string, args []string) error {
	if len(args) < 1 {
		return c.usagef("policy %s <name> [<statement name>...]", op)
	}
	p := &api.Policy{Name: args[0]}
	for _, s := range args[1:] {
		p.Statements = append(p.Statements, &api.Statement{Name: s})
	}
	var err error
	if op == "add" {
		_, err = c.api.AddPolicy(c.ctx, &api.AddPolicyRequest{Policy: p, ReferExistingStatements: true})
	} else {
		_, err = c.api.DeletePolicy(c.ctx, &api.DeletePolicyRequest{Policy: p, All: len(args) == 1, PreserveStatements: true})
	}
	return err
}

// Assignments: which policies are applied to all neighbors, or to one that is
// a route server's client.

// globalTable is the name under which the speaker has its own policies.
const globalTable = "global"

var directions = map[string]api.PolicyDirection{"import": api.PolicyDirection_IMPORT, "export": api.PolicyDirection_EXPORT}

func (c *client) showAssignments(neighbor string) error {
	for _, direction := range []string{"import", "export"} {
		if err := c.showAssignment(neighbor, direction, 4); err != nil {
			return err
		}
	}
	return nil
}

func (c *client) showAssignment(neighbor, direction string, indent int) error {
	stream, err := c.api.ListPolicyAssignment(c.ctx, &api.ListPolicyAssignmentRequest{
		Name: assignedTo(neighbor), Direction: directions[direction]})
	all, err := collect(stream, err, (*api.ListPolicyAssignmentResponse).GetAssignment)
	if err != nil {
		return err
	}
	a := &api.PolicyAssignment{}
	if len(all) > 0 {
		a = all[0]
	}
	if c.flags.json {
		c.printJSON(a)
		return nil
	}
	margin := strings.Repeat(" ", indent)
	c.printf("%s policy:\n", strings.ToUpper(direction[:1])+direction[1:])
	c.printf("%sDefault: %s\n", margin, a.GetDefaultAction())
	for _, p := range a.GetPolicies() {
		c.printf("%sName %s:\n", margin, p.GetName())
		c.writePolicy(indent+4, p)
	}
	return nil
}

func assignedTo(neighbor string) string {
	if neighbor == "" {
		return globalTable
	}
	return neighbor
}

func (c *client) changeAssignment(neighbor, direction, op string, args []string) error {
	a := &api.PolicyAssignment{Name: assignedTo(neighbor), Direction: directions[direction]}
	if op != "del" {
		usage := c.usagef("neighbor %s policy %s %s <policy name>... [default {accept|reject}]", a.Name, direction, op)
		if len(args) < 1 {
			return usage
		}
		var err error
		if args, a.DefaultAction, err = defaultAction(args); err != nil {
			return fmt.Errorf("%w\n%w", err, usage)
		}
	}
	for _, name := range args {
		a.Policies = append(a.Policies, &api.Policy{Name: name})
	}
	var err error
	switch op {
	case "add":
		_, err = c.api.AddPolicyAssignment(c.ctx, &api.AddPolicyAssignmentRequest{Assignment: a})
	case "set":
		_, err = c.api.SetPolicyAssignment(c.ctx, &api.SetPolicyAssignmentRequest{Assignment: a})
	case "del":
		_, err = c.api.DeletePolicyAssignment(c.ctx, &api.DeletePolicyAssignmentRequest{Assignment: a, All: len(args) == 0})
	}
	return err
}

// defaultAction takes "default ACTION" off args.
func defaultAction(args []string) ([]string, api.RouteAction, error) {
	rest, v, err := take(args, "default", 1, fmt.Errorf("specify default action [accept|reject]"))
	switch {
	case err != nil || v == nil:
		return args, api.RouteAction_NONE, err
	case strings.EqualFold(v[0], "accept"):
		return rest, api.RouteAction_ACCEPT, nil
	case strings.EqualFold(v[0], "reject"):
		return rest, api.RouteAction_REJECT, nil
	}
	return nil, api.RouteAction_NONE, fmt.Errorf("invalid default action")
}
