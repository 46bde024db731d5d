package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api/apitest"
)

// build makes the real command.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "catchment")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// terminal is a real one that can be looked at.
type terminal struct {
	t      *testing.T
	socket string
}

// openTerminal runs a shell line in a terminal of 80x24.
func openTerminal(t *testing.T, shell string) terminal {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is needed: apt-get install tmux")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, []byte("set -g status off\nset -g default-terminal screen-256color\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := terminal{t, filepath.Join(dir, "s")}
	t.Cleanup(func() { _ = x.command("kill-server").Run() })
	x.run("-f", conf, "new-session", "-d", "-x", "80", "-y", "24", shell)
	return x
}

func (x terminal) command(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-u", "-S", x.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=", "SHELL=/bin/sh", "NO_COLOR=")
	return cmd
}

func (x terminal) run(args ...string) string {
	x.t.Helper()
	out, err := x.command(args...).CombinedOutput()
	if err != nil {
		x.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// shows waits until the screen is as want says, and returns it.
func (x terminal) shows(what string, want func(screen string) bool) string {
	x.t.Helper()
	for over := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		screen := strings.TrimRight(x.run("capture-pane", "-p"), "\n") + "\n"
		if want(screen) {
			return screen
		}
		if time.Now().After(over) {
			x.t.Fatalf("the terminal does not show %s but:\n%s", what, screen)
		}
	}
}

// TestTerminal: what each command shows in a real terminal of 80 columns.
func TestTerminal(t *testing.T) {
	path := build(t)
	b := apitest.World()
	b.POP.Services[0].Slices[1].Stance = policy.Stance{Action: policy.Drain}
	socket := start(t, b)
	for name, args := range map[string]string{
		"status": "status", "pop": "pop", "pop-one": "pop FRA", "service": "service", "service-one": "service web", "slice": "slice",
		"slice-one": "slice 2001:db8:5353:5353::/64", "check": "check", "guard": "guard", "guard-one": "guard last-pop",
		"plan": "plan drain web", "explain": "explain 2001:db8:5353:5353::/64",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := openTerminal(t, fmt.Sprintf("%s --socket %s %s; echo '$'; exec cat", path, socket, args))
			screen := x.shows("the end", func(s string) bool { return strings.HasSuffix(s, "\n$\n") })
			screen = uid.ReplaceAllString(strings.TrimSuffix(screen, "$\n"), "uid N")
			golden(t, "terminal-"+name, "$ catchment "+args+"\n"+strings.TrimRight(screen, "\n")+"\n")
		})
	}
}

// TestTerminalWatch: a live table in a real terminal follows what happens and
// the terminal's size, leaves nothing over, and stays when it is interrupted.
func TestTerminalWatch(t *testing.T) {
	path := build(t)
	b := quiet()
	b.POP.Services[0].Slices[0].Reason.Detail = "a long reason that is cut at eighty columns but not at two hundred"
	x := openTerminal(t, fmt.Sprintf("trap : INT; %s --socket %s slice --watch; echo status $?; exec cat", path, start(t, b)))
	x.shows("the table", func(s string) bool { return strings.Contains(s, "live") && strings.Contains(s, "192.0.2.0/24") })
	x.run("resize-window", "-x", "200", "-y", "24")
	x.shows("the whole reason", has("two hundred\n"))
	x.run("resize-window", "-x", "80", "-y", "5")
	x.shows("the number of lines that do not fit", func(s string) bool {
		return strings.Contains(s, ".. 2 more lines") && strings.Count(s, "\n") == 5 && !strings.Contains(s, "hundred")
	})
	x.run("resize-window", "-x", "80", "-y", "24")
	b.Touch(func(b *apitest.Backend) { b.POP.Services = b.POP.Services[:1] })
	x.shows("that a service is gone", func(s string) bool { return strings.Count(s, "\n") == 5 && !strings.Contains(s, "5353") })
	x.run("send-keys", "C-c")
	x.shows("the last picture and the prompt below", func(s string) bool {
		lines := strings.Split(strings.TrimSpace(s), "\n")
		return strings.Contains(lines[0], "live") && lines[len(lines)-1] == "status 0"
	})
}
