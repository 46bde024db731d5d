package main

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
	"github.com/catchment/catchment/pop/core"
	"github.com/catchment/catchment/pop/core/host"
)

// coreWorld is a daemon with a core in memory; FRA has joined it.
func coreWorld(t *testing.T) (socket string, c *core.Core) {
	t.Helper()
	m := core.NewMemory(core.Options{})
	value, err := core.Marshal(api.CoreApplied{POP: "FRA", Number: 1, Newest: 2, Refused: "services[0].checks: no checks"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Put(t.Context(), core.Write{Who: "pop FRA", Why: "x"}, core.Key{Kind: core.KindReport, Name: "FRA/config"}, value, core.Any); err != nil {
		t.Fatal(err)
	}
	h := host.Over(m.Core, "LON", slog.New(slog.DiscardHandler))
	judge := func(text string, _ bool) error {
		if strings.Contains(text, "bad") {
			return errors.New("bad: unknown key")
		}
		return nil
	}
	return serveWorld(t, api.Options{Core: host.Admin{Host: h, Judge: judge}}), m.Core
}

var dated = regexp.MustCompile(`20\d\d-\d\d-\d\d \d\d:\d\d:\d\d`)

// TestCoreCommands: what people see of the core and how they change it.
func TestCoreCommands(t *testing.T) {
	socket, _ := coreWorld(t)
	file := filepath.Join(t.TempDir(), "fleet.yaml")
	bad := filepath.Join(t.TempDir(), "bad.toml")
	for path, text := range map[string]string{file: "log: {level: warn}\n", bad: "bad = 1\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		args   []string
		status int
		says   []string
	}{
		{[]string{"core", "config"}, 0, []string{"no configuration in the core"}},
		{[]string{"core", "config", "put", "fleet", file}, 2, []string{"say why it is done"}},
		{[]string{"core", "config", "put", "fleet", file, "--why", "ticket 7"}, 0, []string{"config 1"}},
		{[]string{"core", "config", "put", "fleet", bad, "--why", "x"}, 1, []string{"nothing was changed", "FRA: bad: unknown key", "--force"}},
		{[]string{"core", "config", "put", "fleet", bad, "--why", "it is meant", "--force"}, 0, []string{"config 2; wrong: FRA: bad"}},
		{[]string{"core", "config", "put", "flet", file, "--why", "x"}, 1, []string{`config object "flet": want fleet`}},
		{[]string{"core", "config"}, 0, []string{"Configuration 2, last changed by operator uid N at LON: it is meant", "fleet   2        DATE  operator uid N at LON  it is meant", "FRA  1         refuses 2: services[0].checks: no checks"}},
		{[]string{"core", "config", "show", "fleet"}, 0, []string{"bad = 1"}},
		{[]string{"core", "config", "show", "fleet", "--version", "1"}, 0, []string{"log: {level: warn}"}},
		{[]string{"core", "history", "fleet"}, 0, []string{"2        DATE  operator uid N at LON  it is meant", "1        DATE  operator uid N at LON  ticket 7"}},
		{[]string{"core", "rollback", "fleet", "1", "--why", "oops"}, 0, []string{"config 3"}},
		{[]string{"core", "rollback", "fleet", "--why", "oops"}, 2, []string{"want NAME and VERSION"}},
		{[]string{"core", "rollback", "fleet", "9", "--why", "oops"}, 1, []string{"not found"}},
		{[]string{"core", "config", "show", "fleet"}, 0, []string{"log: {level: warn}"}},
		{[]string{"core", "config", "delete", "fleet", "--why", "begin anew"}, 0, []string{"config 4"}},
		{[]string{"core", "history", "config/fleet"}, 0, []string{"4 deleted", "oops (back to version 1 of fleet)"}},
		{[]string{"core", "history", "fleet/none"}, 1, []string{"not found"}},
		{[]string{"core", "rollout"}, 1, []string{"no change has gone to the POPs in stages"}},
		{[]string{"core", "rollout", "abort", "--why", "x"}, 1, []string{"nothing is on its way"}},
		{[]string{"core", "config", "put", "fleet", file, "--stage", "PAR", "--why", "x"}, 1, []string{`no POP "PAR" takes its configuration from the core; there are FRA`}},
		{[]string{"core", "config", "put", "fleet", file, "--stage", "100%", "--why", "slowly"}, 0, []string{"config 5, in stages"}},
		{[]string{"core", "rollout"}, 0, []string{"Configuration 4 to 5, by operator uid N at LON: slowly", "going: waits for FRA, which does not have it yet", "1      now    FRA", "2      later  all others"}},
		{[]string{"core", "config", "put", "fleet", bad, "--force", "--why", "x"}, 1, []string{"configuration 5 is on its way"}},
		{[]string{"core", "rollout", "finish", "--why", "enough"}, 0, []string{"configuration 5 goes to all POPs"}},
		{[]string{"core", "list", "report", "-j"}, 0, []string{`"refused": "services[0].checks: no checks"`}},
		{[]string{"core", "list", "secrets"}, 1, []string{`kind "secrets": there are claim, config, intent`}},
		{[]string{"core", "forget", "FRA"}, 2, []string{"say why it is done"}},
		{[]string{"core", "forget", "LON", "--why", "x"}, 1, []string{"LON is this POP"}},
		{[]string{"core", "forget", "FRA", "--why", "closed"}, 0, []string{"FRA is forgotten: 1 report removed"}},
		{[]string{"core", "forget", "FRA", "--why", "closed"}, 0, []string{"the core holds nothing of FRA"}},
		{[]string{"core", "revoke", "NYC"}, 2, []string{"say why it is done"}},
		{[]string{"core", "revoke", "--why", "x"}, 2, []string{"want a POP, or --serial"}},
		{[]string{"core", "revoke", "NYC", "--why", "x"}, 1, []string{"no POP keeps a certificate authority"}},
		{[]string{"core", "token", "NYC", "--why", "x"}, 1, []string{"no POP keeps a certificate authority"}},
		{[]string{"core", "remove", "NYC", "--why", "x"}, 1, []string{"this core has no members"}},
		{[]string{"core", "status"}, 0, []string{"does not answer; announcing goes on"}}, // nobody runs this host
		{[]string{"drain", "web", "--pop", "FRA"}, 2, []string{"say why"}},
		{[]string{"drain", "web", "--pop", "FRA", "--wait", "--why", "x"}, 2, []string{"this POP only"}},
		{[]string{"drain", "web", "--pop", "PAR", "--why", "x"}, 1, []string{"no POP of that name has joined"}},
	} {
		status, out, errs := catchment(t.Context(), socket, tc.args...)
		all := dated.ReplaceAllString(uid.ReplaceAllString(out+errs, "uid N"), "DATE")
		if status != tc.status {
			t.Errorf("%q: status %d, want %d", tc.args, status, tc.status)
		}
		for _, want := range tc.says {
			if !strings.Contains(all, want) {
				t.Errorf("%q does not say %q:\n%s", tc.args, want, all)
			}
		}
	}
}

// TestNoCore: a POP without a core says so.
func TestNoCore(t *testing.T) {
	socket := start(t, apitest.World())
	for _, args := range [][]string{{"core"}, {"core", "config"}, {"core", "leave", "--why", "x"}, {"core", "backup", filepath.Join(t.TempDir(), "b")}, {"drain", "--pop", "FRA", "--why", "x"}} {
		if status, _, errs := catchment(t.Context(), socket, args...); status != 1 || !strings.Contains(errs, "core.mode is none") {
			t.Errorf("%q: %d %s", args, status, errs)
		}
	}
}

// TestCoreFiles: what works without a daemon names what is wrong.
func TestCoreFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, core string) string {
		path := filepath.Join(dir, name)
		text := "pop: FRA\nstate-dir: " + dir + "\ncore: {config: true, " + core + "}\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	follow := write("follow.yaml", "mode: follow, token-file: /nowhere/token")
	alone := write("alone.yaml", "mode: embedded")
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"core", "join", "cj1.what", "--config", follow}, "not a token to join with"},
		{[]string{"core", "join", "x", "--config", filepath.Join(dir, "none.yaml")}, "no such file"},
		{[]string{"core", "join", token(t), "--config", alone}, "joins nobody"},
		{[]string{"core", "restore", follow, "--config", follow}, "only a member is restored"},
		{[]string{"core", "restore", follow, "--config", alone}, "no backup"},
	} {
		if status, _, errs := catchment(t.Context(), "unused", tc.args...); status != 1 || !strings.Contains(errs, tc.says) {
			t.Errorf("%q: %d %s, want %q", tc.args, status, errs, tc.says)
		}
	}
}

// token is one that nobody made.
func token(t *testing.T) string {
	t.Helper()
	tok := core.Token{ID: "0011223344556677", Addr: "127.0.0.1:1"}
	if _, err := core.ParseToken(tok.String()); err != nil {
		t.Fatal(err)
	}
	return tok.String()
}
