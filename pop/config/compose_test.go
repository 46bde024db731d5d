package config

import (
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestCompose: sections and lists of named entries are merged, other lists
// replaced, and null takes a key out.
func TestCompose(t *testing.T) {
	fleet := Layer{Name: "fleet", Format: "yaml", Text: `
Log: {level: info, format: json}
guards: {stale: 5s}
services:
  - name: web
    prefixes: [192.0.2.0/24, "2001:db8:100::/48"]
    attributes: {med: 10}
    checks: [{name: http, type: http, url: "http://192.0.2.1/"}, {name: tcp, type: tcp, address: "192.0.2.1:80"}]
  - {name: dns, prefixes: [198.51.100.0/24], always: true}
`}
	pop := Layer{Name: "pop/FRA", Format: "toml", Text: `
[guards]
stale = "9s"
[[services]]
name = "web"
prefixes = ["192.0.2.0/24"]
[[services.checks]]
name = "tcp"
interval = "5s"
`}
	own := Layer{Name: "c.yaml", Format: "yaml", Own: true, Text: `
pop: FRA
log: {format: null}
core: {mode: embedded, config: true}
`}
	text, err := Compose(fleet, pop, own)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := yaml.Unmarshal([]byte(text), &got); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"pop": "FRA", "log.level": "info", "guards.stale": "9s", "services[0].attributes.med": "10",
		"services[0].prefixes": "[192.0.2.0/24]", "services[0].checks[0].type": "http", "services[0].checks[1].interval": "5s",
		"services[0].checks[1].address": "192.0.2.1:80", "services[1].name": "dns", "core.mode": "embedded",
	} {
		if is := strings.TrimSpace(toYAML(t, valueAt(got, path))); is != strings.TrimSpace(toYAML(t, parsed(t, want))) {
			t.Errorf("%s is %s, want %s", path, is, want)
		}
	}
	if v, _ := got["log"].(map[string]any); v["format"] != nil {
		t.Errorf("log.format is %v, it was taken out", v["format"])
	}
}

func parsed(t *testing.T, s string) (v any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func toYAML(t *testing.T, v any) string {
	t.Helper()
	b, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestComposeRefuses names the layer and what is wrong with it.
func TestComposeRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"pop: LON":           "fleet: pop: only the POP's own file says that",
		"Core: {mode: none}": "fleet: core: only the POP's own file says that",
		"a: [":               "fleet: yaml: ",
		"a: 1\n---\nb: 2":    "fleet: more than one YAML document",
		"- a":                "fleet: want keys and values",
	} {
		if _, err := Compose(Layer{Name: "fleet", Format: "yaml", Text: text}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	if _, err := Compose(Layer{Name: "fleet", Format: "ini"}); err == nil {
		t.Error("ini is no format")
	}
}

// TestPartial: a file whose rest comes from the core is right by itself only
// where that is allowed, and wrong keys are named all the same.
func TestPartial(t *testing.T) {
	text := "pop: FRA\ncore: {mode: embedded, config: true}\n"
	if c, err := Parse(strings.NewReader(text), "yaml", Options{Partial: true}); err != nil || !c.Core.Config || c.Core.Dir != "/var/lib/catchment/core" {
		t.Errorf("%+v, %v", c, err)
	}
	for _, o := range []Options{{}, {Partial: true}} {
		if _, err := Parse(strings.NewReader(strings.ReplaceAll(text, "config: true", "config: false")), "yaml", o); err == nil {
			t.Error("half a configuration is taken for a whole one")
		}
	}
	if _, err := Parse(strings.NewReader(text), "yaml", Options{}); err == nil {
		t.Error("half a configuration is taken for a whole one")
	}
	if _, err := Parse(strings.NewReader(text+"lgo: {}\n"), "yaml", Options{Partial: true}); err == nil || !strings.Contains(err.Error(), "lgo: unknown key") {
		t.Errorf("%v", err)
	}
}
