package probe

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/health"
)

func TestExec(t *testing.T) {
	sh := func(s string) []string { return []string{"sh", "-c", s} }
	checkRows(t, Config{Type: Exec, Label: Label{"web", "plugin"}}, []row{
		{"pass", Config{Command: sh("echo OK - fine '| time=1'; echo more")}, health.Pass, "OK - fine"},
		{"warn", Config{Command: sh("echo so so; exit 1")}, health.Warn, "so so"},
		{"fail", Config{Command: sh("echo bad; exit 2")}, health.Fail, "bad"},
		{"unknown", Config{Command: sh("echo what; exit 3")}, health.CannotTell, "exit status 3: what"},
		{"stderr", Config{Command: sh("echo oops >&2; exit 2")}, health.Fail, "oops"},
		{"killed", Config{Command: sh("kill -9 $$")}, health.CannotTell, "killed"},
		{"missing", Config{Command: []string{"/nonexistent/plugin"}}, health.CannotTell, "no such file"},
		{"environment", Config{Command: sh("echo $CATCHMENT_SERVICE $CATCHMENT_CHECK $X"), Env: []string{"X=y"}}, health.Pass, "web plugin y"},
		{"much output", Config{Command: sh("yes | head -c 300000")}, health.Pass, "y"},
		{"slow", Config{Command: sh(":"), MaxLatency: 1}, health.Warn, "slower"},
		{"a child keeps the pipe", Config{Command: sh("sleep 100 & echo done")}, health.Pass, "done"},
	})
	if got := check(t, 5*time.Second, Config{Type: Exec, Command: sh("echo OK '| time=1'")}); got.Detail != "OK" {
		t.Errorf("detail %q", got.Detail)
	}
}

// The whole process group is killed: nothing of a plugin stays.
func TestExecKillsGroup(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	got := check(t, 300*time.Millisecond, Config{Type: Exec, Command: []string{"sh", "-c", "sleep 60 & echo $! > " + pid + "; wait"}})
	if got.Outcome != health.CannotTell || !strings.HasPrefix(got.Detail, "hangs: killed") {
		t.Errorf("%+v", got)
	}
	text, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the plugin's child still runs: %s", stat)
		}
	}
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "drain")
	c := Config{Type: File, Path: path}
	inverted := Config{Type: File, Path: path, Invert: true}
	want := func(c Config, o health.Outcome, detail string) {
		t.Helper()
		got := check(t, time.Second, c)
		if got.Outcome != o || got.Conclusive != (o == health.Fail) || got.Detail != detail {
			t.Errorf("%+v, want outcome %d, detail %q", got, o, detail)
		}
	}
	want(c, health.Pass, path+" does not exist")
	want(inverted, health.Fail, path+" does not exist")
	if err := os.WriteFile(path, []byte("new fans, Ann\nline two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want(c, health.Fail, path+": new fans, Ann")
	want(inverted, health.Pass, path+": new fans, Ann")
	want(Config{Type: File, Path: path + "/below"}, health.Pass, path+"/below does not exist")
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	want(Config{Type: File, Path: fifo}, health.Fail, fifo+" exists")
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	if got := check(t, time.Second, Config{Type: File, Path: loop}); got.Outcome != health.CannotTell {
		t.Errorf("a link to itself: %+v", got)
	}
}
