package gobgp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/osrg/gobgp/v3/pkg/config/oc"
)

// checkMap refuses what is missing or what this speaker does not do, while
// the paths of the file are still at hand.
func checkMap(m map[string]any) error {
	var errs []error
	global := sub(sub(m, "global"), "config")
	if num(global, "as") == 0 {
		errs = append(errs, errors.New("bgp.global.config.as: missing"))
	}
	switch id, _ := global["router-id"].(string); {
	case id == "":
		errs = append(errs, errors.New("bgp.global.config.router-id: missing"))
	default:
		if a, err := netip.ParseAddr(id); err != nil || !a.Is4() {
			errs = append(errs, fmt.Errorf("bgp.global.config.router-id: %q is not an IPv4 address", id))
		}
	}
	for key, why := range map[string]string{
		"zebra":     "Catchment writes routes into the kernel itself (fib.install)",
		"collector": "gobgpd does not support it either",
		"vrfs":      "Catchment announces unicast routes only",
	} {
		if len(sub(m, key)) > 0 || len(list(m, key)) > 0 {
			errs = append(errs, fmt.Errorf("bgp.%s: not supported: %s", key, why))
		}
	}
	errs = append(errs, checkListen(global))
	for i, n := range list(m, "neighbors") {
		errs = append(errs, checkNeighborMap(fmt.Sprintf("bgp.neighbors[%d]", i), n, m))
	}
	for i, g := range list(m, "peer-groups") {
		path := fmt.Sprintf("bgp.peer-groups[%d]", i)
		if s, _ := sub(g, "config")["peer-group-name"].(string); s == "" {
			errs = append(errs, fmt.Errorf("%s.config.peer-group-name: missing", path))
		}
		errs = append(errs, checkSession(path, g))
	}
	return errors.Join(errs...)
}

func checkListen(global map[string]any) error {
	addrs, _ := global["local-address-list"].([]any)
	for i, a := range addrs {
		if _, err := netip.ParseAddr(fmt.Sprint(a)); err != nil {
			return fmt.Errorf("bgp.global.config.local-address-list[%d]: %q is not an IP address", i, a)
		}
	}
	return nil
}

func checkNeighborMap(path string, n, m map[string]any) error {
	config := sub(n, "config")
	addr, _ := config["neighbor-address"].(string)
	iface, _ := config["neighbor-interface"].(string)
	if addr == "" && iface == "" {
		return fmt.Errorf("%s.config.neighbor-address: missing", path)
	}
	if addr != "" {
		if _, err := netip.ParseAddr(addr); err != nil {
			return fmt.Errorf("%s.config.neighbor-address: %q is not an IP address", path, addr)
		}
	}
	as := num(config, "peer-as")
	if name, _ := config["peer-group"].(string); name != "" {
		g := groupNamed(m, name)
		if g == nil {
			return fmt.Errorf("%s.config.peer-group: no peer group is named %q", path, name)
		}
		as += num(sub(g, "config"), "peer-as")
	}
	if as == 0 {
		return fmt.Errorf("%s.config.peer-as: missing", path)
	}
	return checkSession(path, n)
}

// checkSession checks what neighbors and peer groups have in common.
func checkSession(path string, n map[string]any) error {
	var errs []error
	if rs := sub(sub(n, "route-server"), "config"); rs["route-server-client"] == true {
		errs = append(errs, fmt.Errorf("%s.route-server.config.route-server-client: not supported: "+
			"a route server gives each client a table of its own, past the own-prefix guard", path))
	}
	timers := sub(sub(n, "timers"), "config")
	if _, ok := timers["hold-time"]; ok && num(timers, "hold-time") < 3 {
		errs = append(errs, fmt.Errorf("%s.timers.config.hold-time: want at least 3 seconds (RFC 4271); "+
			"a session without a hold timer is not supported", path))
	}
	if pw, _ := sub(n, "config")["auth-password"].(string); len(pw) > 80 {
		errs = append(errs, fmt.Errorf("%s.config.auth-password: longer than the 80 bytes that TCP MD5 takes", path))
	}
	local, _ := sub(sub(n, "transport"), "config")["local-address"].(string)
	if _, err := netip.ParseAddr(local); local != "" && err != nil {
		errs = append(errs, fmt.Errorf("%s.transport.config.local-address: %q is not an IP address", path, local))
	}
	for i, a := range list(n, "afi-safis") {
		switch name, _ := sub(a, "config")["afi-safi-name"].(string); oc.AfiSafiType(name) {
		case oc.AFI_SAFI_TYPE_IPV4_UNICAST, oc.AFI_SAFI_TYPE_IPV6_UNICAST:
		case "":
			errs = append(errs, fmt.Errorf("%s.afi-safis[%d].config.afi-safi-name: missing", path, i))
		default:
			errs = append(errs, fmt.Errorf("%s.afi-safis[%d].config.afi-safi-name: %q is not supported: "+
				"want ipv4-unicast or ipv6-unicast", path, i, name))
		}
	}
	return errors.Join(errs...)
}

// checkNeighbors refuses a neighbor that is there twice. Two spellings of an
// IPv6 address are the same neighbor.
func (c *Config) checkNeighbors() error {
	seen := make(map[string]int)
	for i := range c.set.Neighbors {
		n := &c.set.Neighbors[i]
		id, key := n.Config.NeighborInterface, "neighbor-interface"
		if a, err := netip.ParseAddr(n.Config.NeighborAddress); err == nil {
			id, key = a.Unmap().String(), "neighbor-address"
			n.Config.NeighborAddress = id
			n.State.NeighborAddress = id
		}
		if first, ok := seen[id]; ok {
			return fmt.Errorf("bgp.neighbors[%d].config.%s: %s is already bgp.neighbors[%d]", i, key, id, first)
		}
		seen[id] = i
	}
	return nil
}

// checkPolicies makes sure that every name used exists, so that a reload can
// be refused before anything of it is applied.
func (c *Config) checkPolicies() error {
	known := make(map[string]bool)
	for i, p := range c.set.PolicyDefinitions {
		if strings.HasPrefix(p.Name, prefixOurs) {
			return fmt.Errorf("bgp.policy-definitions[%d].name: names that begin with %q are Catchment's own", i, prefixOurs)
		}
		if p.Name == "" {
			return fmt.Errorf("bgp.policy-definitions[%d].name: missing", i)
		}
		if known[p.Name] {
			return fmt.Errorf("bgp.policy-definitions[%d].name: %q is there twice", i, p.Name)
		}
		known[p.Name] = true
	}
	apply := c.set.Global.ApplyPolicy.Config
	for key, names := range map[string][]string{
		"import-policy-list": apply.ImportPolicyList,
		"export-policy-list": apply.ExportPolicyList,
	} {
		for i, n := range names {
			if !known[n] {
				return fmt.Errorf("bgp.global.apply-policy.config.%s[%d]: no policy is named %q", key, i, n)
			}
		}
	}
	return nil
}

func sub(m map[string]any, key string) map[string]any {
	s, _ := m[key].(map[string]any)
	return s
}

func list(m map[string]any, key string) []map[string]any {
	l, _ := m[key].([]any)
	out := make([]map[string]any, 0, len(l))
	for _, e := range l {
		if s, ok := e.(map[string]any); ok {
			out = append(out, s)
		}
	}
	return out
}

func num(m map[string]any, key string) float64 {
	f, _ := m[key].(float64)
	return f
}

func groupNamed(m map[string]any, name string) map[string]any {
	for _, g := range list(m, "peer-groups") {
		if sub(g, "config")["peer-group-name"] == name {
			return g
		}
	}
	return nil
}
