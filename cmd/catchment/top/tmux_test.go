package top

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api/apitest"
)

// tmux is a terminal that can be looked at: what it shows is what our escape
// sequences made of it, and its widths of characters are its own.
type tmux struct {
	t      *testing.T
	socket string
}

// startTmux runs a shell line in a terminal of that size.
func startTmux(t *testing.T, w, h int, shell string) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("tmux is needed: apt-get install tmux")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, []byte("set -g status off\nset -g default-terminal screen-256color\nset -s escape-time 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := &tmux{t: t, socket: filepath.Join(dir, "s")}
	t.Cleanup(func() { _ = x.command("kill-server").Run() })
	x.run("-f", conf, "new-session", "-d", "-x", fmt.Sprint(w), "-y", fmt.Sprint(h), shell)
	return x
}

func (x *tmux) command(args ...string) *exec.Cmd {
	cmd := exec.Command("tmux", append([]string{"-u", "-S", x.socket}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TMUX=", "SHELL=/bin/sh", "NO_COLOR=")
	return cmd
}

func (x *tmux) run(args ...string) string {
	x.t.Helper()
	out, err := x.command(args...).Output()
	if err != nil {
		var e *exec.ExitError
		if errors.As(err, &e) {
			err = fmt.Errorf("%w: %s", err, e.Stderr)
		}
		x.t.Fatalf("tmux %q: %v", args, err)
	}
	return string(out)
}

// keys presses keys by tmux's names for them.
func (x *tmux) keys(keys ...string) {
	x.t.Helper()
	x.run(append([]string{"send-keys"}, keys...)...)
}

// shows waits until the screen is as want says, and returns it.
func (x *tmux) shows(what string, want func(screen string) bool) string {
	x.t.Helper()
	for over := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var b bytes.Buffer
		for l := range strings.Lines(x.run("capture-pane", "-p")) {
			b.WriteString(strings.TrimRight(l, " \n") + "\n")
		}
		if want(b.String()) {
			return b.String()
		}
		if time.Now().After(over) {
			x.t.Fatalf("the terminal does not show %s but:\n%s", what, b.String())
		}
	}
}

// showsGolden waits until the screen is that of a golden file.
func (x *tmux) showsGolden(name string) {
	x.t.Helper()
	want, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		x.t.Fatal(err)
	}
	x.shows(name+"\n"+string(want), func(s string) bool { return s == string(want) })
}

// shellLine is the command for a shell.
func shellLine(t *testing.T, socket, args string) string {
	t.Helper()
	path, err := command()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s top --socket %s --interval 200ms %s", path, socket, args)
}

// TestTmux: a real terminal shows what View draws, at each size that it is
// made, and what it showed before when we are gone.
func TestTmux(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	defer serve(t, socket, apitest.World())()
	x := startTmux(t, 80, 24, "echo before; "+shellLine(t, socket, "")+"; echo after $?; exec cat")
	x.showsGolden("world-80x24.txt")
	for _, size := range [][2]string{{"120", "40"}, {"60", "15"}, {"80", "24"}} {
		x.run("resize-window", "-x", size[0], "-y", size[1])
		x.showsGolden("world-" + size[0] + "x" + size[1] + ".txt")
	}
	// It has grown last, so whatever is left over at the right shows now.
	x.keys("?")
	x.showsGolden("help.txt")
	x.keys("Escape")
	x.keys("e")
	x.showsGolden("explain.txt")
	x.keys("Escape")
	x.keys("Down", "Down", "Down", "d", "new disks")
	x.showsGolden("why.txt")
	x.keys("Escape")
	x.shows("that nothing was changed", func(s string) bool { return strings.Contains(s, "left alone: nothing was changed") })
	x.keys("q")
	x.shows("what was there before", func(s string) bool { return strings.HasPrefix(s, "before\nafter 0\n\n") })
	x.keys("echo", "Enter")
	x.shows("what is typed and what cat answers", func(s string) bool { return strings.HasPrefix(s, "before\nafter 0\necho\necho\n") })
}

// TestTmuxWide: names in wide characters stand where they should.
func TestTmuxWide(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	defer serve(t, socket, strange())()
	x := startTmux(t, 80, 24, shellLine(t, socket, "--no-color"))
	x.showsGolden("strange-80x24.txt")
	x.run("resize-window", "-x", "120", "-y", "40")
	x.showsGolden("strange-120x40.txt")
}

// TestPicture makes the picture of the README (make pictures): the real
// command in a terminal, a drain in progress.
func TestPicture(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	defer serve(t, socket, measured(drained()))()
	x := startTmux(t, 100, 34, shellLine(t, socket, ""))
	x.shows("all panes", func(s string) bool { return strings.Contains(s, "JOURNAL") && strings.Contains(s, "q quit") })
	x.keys("Down", "Down", "Down")
	picture := x.shows("the row of the drain", func(s string) bool {
		return strings.Contains(s, ">*   192.0.2.0/24") && strings.Contains(s, "\n192.0.2.0/24 of web: drain")
	})
	golden(t, "picture.txt", picture)
}
