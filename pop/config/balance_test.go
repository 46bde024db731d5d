package config

import (
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy/plan"
	"github.com/catchment/catchment/policy/shed"
)

const balancedText = `
pop: LON
bgp: {global: {config: {as: 64500, router-id: 10.0.0.1}}, neighbors: [{config: {neighbor-address: 10.0.0.2, peer-as: 64501}}]}
services:
  - name: web
    prefixes: [192.0.2.0/25, 192.0.2.128/25]
    ladder: [{name: one, prepend: 1}, {name: three, prepend: 3}]
    checks: [{name: http, type: http, url: "http://192.0.2.1/"}]
  - name: dns
    prefixes: [198.51.100.0/24]
    ladder: [{name: one, prepend: 1}]
    checks: [{name: tcp, type: tcp, address: "198.51.100.1:53"}]
  - {name: static, prefixes: [203.0.113.0/24], always: true}
load: {capacity: {requests: 100}}
fleet: {listen: "127.0.0.1:9799", secret-file: /etc/key, peers: [{pop: FRA, url: "http://10.9.0.2:9799/"}]}
`

// TestBalanceDefaults: off, and otherwise as policy/shed has it.
func TestBalanceDefaults(t *testing.T) {
	c, err := Parse(strings.NewReader(balancedText), "yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := shed.Defaults()
	want.Weights = plan.DefaultWeights()
	if b := c.Balance; b.On() || b.Acts() || b.Shed != want || b.Every != 30*time.Second || b.Unit != load.Out {
		t.Errorf("%+v, want %+v", b, want)
	}
}

func TestBalance(t *testing.T) {
	for name, c := range map[string]struct {
		section string
		want    string // in the error; empty: right
	}{
		"observe":                {"{mode: observe, unit: requests, services: [web], deepest: three, costs: [{pop: FRA, cost: 0.5}]}", ""},
		"withdraw":               {"{mode: observe, unit: requests, services: [web], deepest: withdraw}", ""},
		"act without a core":     {"{mode: act, unit: requests, services: [web]}\ncore: {mode: none}", "balance.mode: act needs the control core"},
		"act with its own core":  {"{mode: act, unit: requests, services: [web]}", "balance.mode: act needs a control core that the POPs share"},
		"act alone":              {"{mode: act, unit: requests, services: [web]}\ncore: {mode: embedded}", "balance.mode: act needs a control core that the POPs share"},
		"act":                    {"{mode: act, unit: requests, services: [web]}\ncore: {mode: external, endpoints: [\"https://10.0.0.1:2379\"]}", ""},
		"no such mode":           {"{mode: on}", `balance.mode: "on": want one of off, observe, act`},
		"two ladders":            {"{mode: observe, unit: requests}", "the ladders of web and dns have other rungs"},
		"no such rung":           {"{mode: observe, unit: requests, services: [web], deepest: two}", `"two": want one of one, three, withdraw`},
		"no such service":        {"{mode: observe, services: [www]}", `balance.services[0]: "www"`},
		"a static service":       {"{mode: observe, services: [static]}", "static is announced always"},
		"target above trigger":   {"{target: 0.99}", "want 0 < return 0.75 < target 0.99 <= trigger 0.95"},
		"receivers above all":    {"{receive: 1.2}", "receive"},
		"held longer":            {"{hold: 20m}", "balance.hold: 20m0s: want at most 10m0s"},
		"pressure":               {"{unit: pressure-cpu}", "balance.unit"},
		"too often":              {"{every: 10ms}", "balance.every"},
		"cost of a POP twice":    {"{costs: [{pop: FRA, cost: 1}, {pop: FRA, cost: 2}]}", "balance.costs[1].pop"},
		"a weight below nothing": {"{weights: {jump: -1}}", "balance.weights.jump"},
	} {
		got, err := Parse(strings.NewReader(balancedText+"balance: "+c.section+"\n"), "yaml", Options{})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", name, err, c.want)
		case name == "observe" && (got.Balance.Shed.Deepest != 2 || !got.Balance.Moves("web") || got.Balance.Moves("dns") || got.Balance.Cost["FRA"] != 0.5 || got.Balance.Acts()):
			t.Errorf("%s: %+v", name, got.Balance)
		case name == "withdraw" && got.Balance.Shed.Deepest != 3:
			t.Errorf("%s: deepest %d", name, got.Balance.Shed.Deepest)
		}
	}
}

// TestBalanceWarnings: what is allowed, and does nothing.
func TestBalanceWarnings(t *testing.T) {
	text := strings.Replace(balancedText, "prefixes: [192.0.2.0/25, 192.0.2.128/25]\n    ladder: [{name: one, prepend: 1}, {name: three, prepend: 3}]", "prefixes: [192.0.2.0/24]", 1)
	if c, err := Parse(strings.NewReader(text+"balance: {mode: observe, services: [web]}\n"), "yaml", Options{}); err != nil || !strings.Contains(strings.Join(c.Warnings, "\n"), "balance.normal: 2, but fleet names 1 other") {
		t.Errorf("two POPs, of which two others must stay: %v", err)
	}
	text = strings.Replace(text, "fleet:", "unused:", 1)
	text = strings.SplitN(text, "unused:", 2)[0]
	c, err := Parse(strings.NewReader(text+"balance: {mode: observe, services: [web]}\n"), "yaml", Options{})
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join(c.Warnings, "\n")
	for _, want := range []string{"web has one prefix", "web has no ladder", "no capacity in out", "no fleet.peers: nobody says what he carries"} {
		if !strings.Contains(said, want) {
			t.Errorf("no warning %q in %s", want, said)
		}
	}
}
