package main

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestExitStatuses: 0 done, 1 failed or refused, 2 a wrong command line, 3 no
// daemon; for each command that asks one.
func TestExitStatuses(t *testing.T) {
	there := start(t, apitest.World())
	refusing := apitest.World()
	refusing.Err = &api.Error{Code: api.Refused, Guard: "last-pop", Message: "no other POP announces it"}
	refuses := start(t, refusing)
	nowhere := filepath.Join(t.TempDir(), "none.sock")
	for _, tc := range []struct {
		right   string // a command line that is right
		refused int    // what becomes of it where the daemon refuses changes and plans
		failed  string // right too, but of what there is not
		wrong   string
	}{
		{"status", 0, "", "status now"},
		{"pop", 0, "pop XYZ", "pop LON FRA"},
		{"service", 0, "service wbe", "service --all"},
		{"services", 0, "", "services web dns"},
		{"slice", 0, "slice 198.51.100.0/24", "slice 192.0.2.0/99"},
		{"check", 0, "check web/htpt", "check web http"},
		{"guard", 0, "guard lastpop", "guard last pop"},
		{"explain web", 0, "explain 198.51.100.1", "explain"},
		{"journal -n 1", 0, "", "journal --since yesterday"},
		{"plan drain web", 1, "plan drain web --strict", "plan drian web"},
		{"plan check web/http=down", 1, "", "plan check web/http"},
		{"plan pop FRA=gone", 1, "", "plan pop FRA=gnoe"},
		{"plan pin web 1", 1, "", "plan capacity LON=much"},
		{"plan neighbor 10.0.0.2=down", 1, "", "plan neighbor transit=down"},
		{"plan stop", 1, "", "plan stop web"},
		{"plan config ../../configs/minimal.yaml", 1, "plan config nothing.yaml", "plan config nothing.json"},
		{"drain web", 1, "", "drain --slice 192.0.2.1/24"},
		{"undrain web", 1, "", "undrain web dns"},
		{"hold web", 1, "", "hold web --for soon"},
		{"pin web withdraw", 1, "", "pin"},
		{"release web", 1, "", "release --slice all"},
		{"reload", 1, "", "reload now"},
	} {
		for _, run := range []struct {
			socket, args string
			want         int
		}{
			{there, tc.right, exitOK}, {refuses, tc.right, tc.refused}, {there, tc.failed, exitFailed},
			{there, tc.wrong, exitUsage}, {nowhere, tc.wrong, exitUsage}, {nowhere, tc.right, exitUnreachable},
		} {
			if run.args == "" {
				continue
			}
			status, out, errs := catchment(t.Context(), run.socket, strings.Fields(run.args)...)
			if status != run.want || (errs == "") != (status == exitOK) {
				t.Errorf("catchment %s: status %d, want %d (%q)", run.args, status, run.want, errs)
			}
			if status == exitUnreachable && (!strings.Contains(errs, nowhere) || !strings.Contains(errs, "systemctl start catchmentd")) {
				t.Errorf("catchment %s: %q", run.args, errs)
			}
			if status >= exitUsage && out != "" {
				t.Errorf("catchment %s: prints %q", run.args, out)
			}
		}
	}
}

// TestExitStatusesAreDocumented where people look.
func TestExitStatusesAreDocumented(t *testing.T) {
	for _, args := range []string{"--help", "help exit-status", "plan --help"} {
		_, out, _ := catchment(t.Context(), "unused", strings.Fields(args)...)
		for _, want := range []string{"0 ", "1 ", "2 ", "3 "} {
			if args != "plan --help" && !strings.Contains(out, want) {
				t.Errorf("%s does not say what %sis:\n%s", args, want, out)
			}
		}
		if !strings.Contains(strings.ToLower(out), "exit status") {
			t.Errorf("%s says nothing of exit statuses:\n%s", args, out)
		}
	}
}

// TestEveryShowingCommandWatches, and says so.
func TestEveryShowingCommandWatches(t *testing.T) {
	root := newApp(&bytes.Buffer{}, &bytes.Buffer{}).root("unused")
	for _, name := range []string{"status", "pop", "service", "slice", "check", "guard", "explain"} {
		cmd, _, err := root.Find([]string{name})
		if err != nil || cmd.Flags().Lookup("watch") == nil || cmd.Flags().ShorthandLookup("w") == nil || !strings.Contains(cmd.Example, "-watch") {
			t.Errorf("%s: no --watch (%v)", name, err)
		}
	}
}

// TestCompletion: what the shell is offered comes from the daemon; without one
// it is nothing, and no error.
func TestCompletion(t *testing.T) {
	socket := start(t, apitest.World())
	for args, want := range map[string][]string{
		"service ":              {"resolver-with-a-long-name", "web"},
		"service w":             {"web"},
		"service web ":          nil,
		"slice 192":             {"192.0.2.0/23", "192.0.2.0/24"},
		"slice we":              {"web"},
		"pop ":                  {"AMS", "FRA", "LON"},
		"check web/":            {"web/http"},
		"guard last":            {"last-pop"},
		"explain 2001:db8:1":    {"2001:db8:100::/48"},
		"drain ":                {"resolver-with-a-long-name", "web"},
		"drain --slice 2001":    {"2001:db8:100::/48", "2001:db8:5353:5353::/64"},
		"journal --service w":   {"web"},
		"plan dr":               {"drain"},
		"plan drain w":          {"web"},
		"plan check web/http=d": {"web/http=degraded", "web/http=down"},
		"plan pop F":            {"FRA=down", "FRA=gone", "FRA=silent", "FRA=up"},
		"plan neighbor 10":      {"10.0.0.2=down", "10.0.0.2=up"},
		"plan drain --pop A":    {"AMS=down", "AMS=gone", "AMS=silent", "AMS=up"},
		"gua":                   {"guard"},
	} {
		words := strings.Split(args, " ")
		complete := func(socket string) []string {
			status, out, _ := catchment(t.Context(), socket, append([]string{"__complete"}, words...)...)
			if status != exitOK {
				t.Errorf("%q: status %d", args, status)
			}
			var got []string
			for line := range strings.Lines(out) {
				if word, _, _ := strings.Cut(strings.TrimSpace(line), "\t"); word != "" && word[0] != ':' {
					got = append(got, word)
				}
			}
			slices.Sort(got)
			return got
		}
		if got := complete(socket); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
		if got := complete(filepath.Join(t.TempDir(), "none")); len(got) > 0 && args != "gua" && args != "plan dr" {
			t.Errorf("%q without a daemon: %q", args, got)
		}
	}
}
