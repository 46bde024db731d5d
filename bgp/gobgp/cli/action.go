package cli

import (
	"strconv"
	"strings"

	api "github.com/osrg/gobgp/v3/api"
)

// changeAction adds an action to a statement or takes it away. An unknown
// word changes nothing and is no error, as in the stock client.
func (c *client) changeAction(statement, op string, args []string) error {
	usage := func(rest string) error {
		return c.usagef("policy statement %s %s action %s", statement, op, rest)
	}
	if len(args) < 1 {
		return usage("{ reject | accept | community | ext-community | large-community | med | local-pref | as-prepend | next-hop }")
	}
	a := &api.Actions{}
	word, v := args[0], args[1:]
	var wrong string // usage that was not followed
	var err error
	switch word {
	case "reject":
		a.RouteAction = api.RouteAction_REJECT
	case "accept":
		a.RouteAction = api.RouteAction_ACCEPT
	case "community":
		a.Community, wrong = parseCommunityAction(word, v)
	case "ext-community":
		a.ExtCommunity, wrong = parseCommunityAction(word, v)
	case "large-community":
		a.LargeCommunity, wrong = parseCommunityAction(word, v)
	case "med":
		a.Med, wrong, err = parseMEDAction(v)
	case "local-pref":
		a.LocalPref, wrong, err = parseLocalPref(v)
	case "as-prepend":
		a.AsPrepend, wrong, err = parsePrepend(v)
	case "next-hop":
		if len(v) != 1 {
			wrong = "next-hop { <value> | self | unchanged | peer-address }"
			break
		}
		a.Nexthop = &api.NexthopAction{Address: v[0]}
	}
	if err != nil {
		return err
	}
	if wrong != "" {
		return usage(wrong)
	}
	return c.sendStatement(op, &api.Statement{Name: statement, Actions: a}, false)
}

func parseCommunityAction(word string, v []string) (*api.CommunityAction, string) {
	how, wrong := choice(v, word+" { add | remove | replace } <value>...", map[string]api.CommunityAction_Type{
		"add": api.CommunityAction_ADD, "remove": api.CommunityAction_REMOVE, "replace": api.CommunityAction_REPLACE})
	if wrong != "" {
		return nil, wrong
	}
	return &api.CommunityAction{Type: how, Communities: v[1:]}, ""
}

func parseMEDAction(v []string) (m *api.MedAction, wrong string, err error) {
	const usage = "med { add | sub | set } <value>"
	if len(v) < 2 {
		return nil, usage, nil
	}
	n, err := strconv.ParseInt(v[1], 10, 32)
	if err != nil {
		return nil, "", err
	}
	switch strings.ToLower(v[0]) {
	case "add":
		return &api.MedAction{Type: api.MedAction_MOD, Value: n}, "", nil
	case "sub":
		return &api.MedAction{Type: api.MedAction_MOD, Value: -n}, "", nil
	case "set":
		return &api.MedAction{Type: api.MedAction_REPLACE, Value: n}, "", nil
	}
	return nil, usage, nil
}

func parseLocalPref(v []string) (p *api.LocalPrefAction, wrong string, err error) {
	if len(v) < 1 {
		return nil, "local-pref <value>", nil
	}
	n, err := strconv.ParseUint(v[0], 10, 32)
	if err != nil {
		return nil, "", err
	}
	return &api.LocalPrefAction{Value: uint32(n)}, "", nil
}

// parsePrepend takes an AS number, or any other word for the last AS of the
// path, which is AS 0 in the API.
func parsePrepend(v []string) (p *api.AsPrependAction, wrong string, err error) {
	if len(v) < 2 {
		return nil, "as-prepend { <asn> | last-as } <repeat-value>", nil
	}
	as, _ := strconv.ParseUint(v[0], 10, 32)
	n, err := strconv.ParseUint(v[1], 10, 8)
	if err != nil {
		return nil, "", err
	}
	return &api.AsPrependAction{Asn: uint32(as), Repeat: uint32(n)}, "", nil
}
