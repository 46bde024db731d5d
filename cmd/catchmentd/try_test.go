package main

import (
	"os"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/config"
)

// TestTry: a check that a configuration leaves as it is is the same check, as
// it would be for a reload; what a reload would refuse is refused in its words.
func TestTry(t *testing.T) {
	text, err := os.ReadFile("../../configs/minimal.yaml")
	if err != nil {
		t.Fatal(err)
	}
	old, err := config.Load("../../configs/minimal.yaml", judged())
	if err != nil {
		t.Fatal(err)
	}
	was, err := specs(old)
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(text), "prepend: 3", "prepend: 5", 1)
	cfg, changes, err := try(old, other, "yaml")
	if err != nil || len(changes) == 0 || !strings.Contains(changes[0], "3 -> 5") {
		t.Fatalf("%q, %v", changes, err)
	}
	for i, c := range cfg.Services[0].Checks {
		if got := c.Spec(cfg.Services[0].ID, nil).Key; got == "" || got != was[i].Key {
			t.Errorf("%s: key %q, was %q", c.ID, got, was[i].Key)
		}
	}
	unreadable := strings.Replace(string(text), "checks:", "checks:\n      - {name: ca, type: tls, address: \"192.0.2.1:443\", ca-file: /nonexistent/ca.pem}", 1)
	if _, _, err := try(old, unreadable, "yaml"); unreadable == string(text) || err == nil || !strings.Contains(err.Error(), "/nonexistent/ca.pem") {
		t.Errorf("a check that cannot be made: %v", err)
	}
	for from, want := range map[string]string{"pop: LON": "needs a restart", "prefixes:": "prefxes"} {
		bad := strings.Replace(string(text), from, map[string]string{"pop: LON": "pop: LHR", "prefixes:": "prefxes:"}[from], 1)
		if _, _, err := try(old, bad, "yaml"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", from, err, want)
		}
	}
}
