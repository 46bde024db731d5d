package gobgp

import "strings"

// Defaults that differ from gobgpd's, in seconds. A refused connection is
// tried again after one to two of connect-retry (gobgpd: 120), a session that
// we reset ourselves may come back after idle-hold-time-after-reset (gobgpd:
// 30), and a restarted speaker waits deferral-time at most for its neighbors'
// End-of-RIB before it announces (gobgpd: 360): what we announce never
// depends on what we learn. With long-lived-enabled, neighbors are asked to keep
// routes for the time after restart-time that BIRD asks for too, an hour, where
// the config does not say it by family.
const (
	defaultConnectRetry = 1
	defaultIdleHold     = 1
	defaultDeferral     = 5
	defaultLongLived    = 3600
)

// mergePeerGroups writes what a peer group says into its members, where they
// do not say it themselves. gobgpd does so too, but there a group overrides
// the graceful-restart section and, with a zero, the AS of its members.
func mergePeerGroups(m map[string]any) {
	for _, n := range list(m, "neighbors") {
		config := sub(n, "config")
		name, _ := config["peer-group"].(string)
		if name == "" {
			continue
		}
		merge(n, groupNamed(m, name))
		delete(config, "peer-group")
		delete(config, "peer-group-name")
	}
}

// merge copies the keys of from that to lacks, into sections but not into
// lists.
func merge(to, from map[string]any) {
	for k, v := range from {
		have, ok := to[k]
		if !ok {
			to[k] = clone(v)
			continue
		}
		a, aok := have.(map[string]any)
		b, bok := v.(map[string]any)
		if aok && bok {
			merge(a, b)
		}
	}
}

func clone(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, 0, len(x))
		for _, e := range x {
			out = append(out, clone(e))
		}
		return out
	}
	return v
}

// withDefaults fills in our own defaults, before gobgpd's apply.
func withDefaults(m map[string]any) {
	sessions := append(list(m, "neighbors"), list(m, "peer-groups")...)
	for _, n := range sessions {
		setDefault(n, defaultConnectRetry, "timers", "config", "connect-retry")
		setDefault(n, defaultIdleHold, "timers", "config", "idle-hold-time-after-reset")
		dropDisabledFamilies(n)
		gr := sub(sub(n, "graceful-restart"), "config")
		if gr["enabled"] != true {
			continue
		}
		setDefault(n, defaultDeferral, "graceful-restart", "config", "deferral-time")
		gracefulFamilies(n)
	}
}

func setDefault(m map[string]any, v any, path ...string) {
	for _, k := range path[:len(path)-1] {
		next, ok := m[k].(map[string]any)
		if !ok {
			next = make(map[string]any)
			m[k] = next
		}
		m = next
	}
	if _, ok := m[path[len(path)-1]]; !ok {
		m[path[len(path)-1]] = v
	}
}

// dropDisabledFamilies removes families that are listed with enabled: false;
// v3 forgets that key on the way to its server and would enable them.
func dropDisabledFamilies(n map[string]any) {
	if _, ok := n["afi-safis"]; !ok {
		return
	}
	var keep []any
	for _, a := range list(n, "afi-safis") {
		if sub(a, "config")["enabled"] != false {
			keep = append(keep, a)
		}
	}
	n["afi-safis"] = keep
}

// gracefulFamilies names the families of a neighbor with graceful restart in
// the capability, unless the config says which. gobgpd names none by default,
// and a helper then keeps none of our routes.
func gracefulFamilies(n map[string]any) {
	if len(list(n, "afi-safis")) == 0 {
		family := "ipv4-unicast"
		if addr, _ := sub(n, "config")["neighbor-address"].(string); strings.Contains(addr, ":") {
			family = "ipv6-unicast"
		} else if addr == "" {
			return // a group, or unnumbered: gobgpd's default families
		}
		n["afi-safis"] = []any{map[string]any{"config": map[string]any{"afi-safi-name": family}}}
	}
	for _, a := range list(n, "afi-safis") {
		setDefault(a, true, "mp-graceful-restart", "config", "enabled")
		if sub(sub(n, "graceful-restart"), "config")["long-lived-enabled"] == true {
			setDefault(a, true, "long-lived-graceful-restart", "config", "enabled")
			setDefault(a, defaultLongLived, "long-lived-graceful-restart", "config", "restart-time")
		}
	}
}
