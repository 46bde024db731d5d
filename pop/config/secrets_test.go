package config

import (
	"strings"
	"testing"
)

// TestSecretsAreNotShown: what a reload changes, and why it is refused, is in
// the journal and in plans, which whoever may read sees.
func TestSecretsAreNotShown(t *testing.T) {
	const secret = "s3cret"
	with := func(value string) func(string) string {
		return replace("type: http, url: \"http://192.0.2.1/healthz\"",
			`type: http, url: "http://probe:`+value+`@192.0.2.1/healthz", request-headers: ["Authorization: Bearer `+value+`"]`,
			"    ladder:", `    ladder:`,
			"    checks:", "    checks:\n      - {name: redis, type: tcp, address: \"192.0.2.1:6379\", send: \"AUTH "+value+"\"}\n"+
				"      - {name: script, type: exec, command: [/bin/true], env: [\"TOKEN="+value+"\"]}")
	}
	old, err := read(t, with(secret), Options{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := read(t, with("another"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := read(t, replace(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, lines := range map[string][]string{
		"changed": Diff(old, other), "set": Diff(plain, old), "not set": Diff(old, plain),
	} {
		text := strings.Join(lines, "\n")
		if strings.Contains(text, secret) || strings.Contains(text, "another") {
			t.Errorf("%s:\n%s", name, text)
		}
		for _, key := range []string{".url: ", ".request-headers: ", ".send: ", ".env: "} {
			if !strings.Contains(text, key) {
				t.Errorf("%s lacks %s\n%s", name, key, text)
			}
		}
	}
	for _, wrong := range []string{
		`request-headers: ["Authorization Bearer ` + secret + `"]`, `request-headers: "Authorization: Bearer ` + secret + `"`, `request-headers: {Authorization: ` + secret + `}`,
	} {
		if _, err := read(t, replace("type: http, url", "type: http, "+wrong+", url"), Options{}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
	for _, wrong := range []string{`env: [` + secret + `]`, `env: {TOKEN: ` + secret + `}`, `env: "` + secret + `"`} {
		check := "    checks:\n      - {name: script, type: exec, command: [/bin/true], " + wrong + "}"
		if _, err := read(t, replace("    checks:", check), Options{}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: %v", wrong, err)
		}
	}
}
