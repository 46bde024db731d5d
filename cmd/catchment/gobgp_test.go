package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestGobgpWords: gobgp's words go to gobgp's client, ours do not, whatever
// they begin with; help and completion know both.
func TestGobgpWords(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none.sock")
	for _, args := range []string{"global", "glo rib", "-j neighbor", "v", "-u 127.0.0.1 -p 1 policy"} {
		status, out, errs := catchment(t.Context(), none, append([]string{"--target", "127.0.0.1:1"}, strings.Fields(args)...)...)
		if status != exitFailed || !strings.Contains(out, "context deadline exceeded") || !strings.Contains(errs, "127.0.0.1:1") {
			t.Errorf("%s: %d\n%s\n%s", args, status, out, errs)
		}
	}
	for _, args := range []string{"status", "version", "ver", "rel", "reload now"} {
		if _, out, errs := catchment(t.Context(), none, strings.Fields(args)...); strings.Contains(out+errs, "deadline") {
			t.Errorf("%s: went to gobgp's client", args)
		}
	}
	for args, want := range map[string]string{
		"help gobgp-differences":     "Not the same:",
		"help global rib":            "catchment global rib 192.0.2.0/23 longer-prefixes",
		"__complete globa":           "global",
		"__complete global r":        "rib",
		"__complete neighbor --reas": "--reason",
		"__complete sta":             "status",
	} {
		if status, out, errs := catchment(t.Context(), none, strings.Fields(args)...); status != exitOK || !strings.Contains(out, want) {
			t.Errorf("%s: %d, without %q\n%s\n%s", args, status, want, out, errs)
		}
	}
}
