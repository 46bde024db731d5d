package config

import (
	"strings"
	"testing"
)

// TestCoreByDefault: a POP with services has a core of its own where nothing
// else is said; who only carries or waits for its services has none.
func TestCoreByDefault(t *testing.T) {
	const base = "pop: LON\nbgp:\n  global: {config: {as: 64500, router-id: 10.0.0.1}}\n  neighbors: [{config: {neighbor-address: 10.0.0.2, peer-as: 64501}}]\n"
	const service = "services: [{name: web, prefixes: [192.0.2.0/24], always: true}]\n"
	for name, c := range map[string]struct {
		text  string
		mode  string
		alone bool
	}{
		"services":         {service, CoreEmbedded, true},
		"told its quota":   {service + "core: {quota: 32MiB}\n", CoreEmbedded, true},
		"told so":          {service + "core: {mode: embedded}\n", CoreEmbedded, true},
		"none":             {service + "core: {mode: none}\n", "", false},
		"no services":      {"fib: {install: true}\n", "", false},
		"a member":         {service + "core: {mode: embedded, listen: \"10.0.0.1:9795\", joins: {listen: \"10.0.0.1:9793\"}}\n", CoreEmbedded, false},
		"asked by clients": {service + "core: {mode: embedded, clients: {listen: \"10.0.0.1:9794\"}, joins: {listen: \"10.0.0.1:9793\"}}\n", CoreEmbedded, false},
		"follows":          {service + "core: {mode: follow, token-file: /t}\n", CoreFollow, false},
		"external":         {service + "core: {mode: external, endpoints: [\"https://10.0.0.1:2379\"]}\n", CoreExternal, false},
	} {
		got, err := Parse(strings.NewReader(base+c.text), "yaml", Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Core.Mode != c.mode || got.Core.Alone != c.alone {
			t.Errorf("%s: mode %q, alone %v; want %q, %v", name, got.Core.Mode, got.Core.Alone, c.mode, c.alone)
		}
		if c.alone && (got.Core.Name != "LON" || got.Core.Dir != "/var/lib/catchment/core") {
			t.Errorf("%s: %+v", name, got.Core)
		}
	}
}
