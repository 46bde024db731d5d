package cli_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// quiet is how long nothing must come until a stream counts as idle.
const quiet = 300 * time.Millisecond

// compareStreams watches with all clients at once, makes the change and stops
// them.
func (l line) compareStreams(t *testing.T, p programs) string {
	bins := []string{p.stock, p.alias, p.ours}
	var cmds []*exec.Cmd
	for _, bin := range bins {
		cmd := clientCommand(t.Context(), bin, l.args)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	connected(t, len(cmds))
	idle(t, cmds)
	if alter(t, p, l.then); len(l.then) > 0 {
		idle(t, cmds)
	}
	results := make([]result, len(cmds))
	for i, cmd := range cmds {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the status is looked at
		results[i] = result{sortedLines(normal(cmd.Stdout.(*output).String(), false)), cmd.Stderr.(*output).String(), shellStatus(cmd.ProcessState)}
	}
	if why := l.differs(t, results[0], results[1], true); why != "" {
		return why
	}
	return l.differs(t, results[0], results[2], true)
}

// shellStatus is what a shell shows as $?.
func shellStatus(s *os.ProcessState) int {
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return s.ExitCode()
}

// connected waits until n clients have their connection to the daemon.
func connected(t *testing.T, n int) {
	t.Helper()
	const toAPI, established = ":C383", "01" // port 50051
	await(t, "clients' connections", func() bool {
		text, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for l := range strings.Lines(string(text)) {
			if f := strings.Fields(l); len(f) > 3 && strings.HasSuffix(f[2], toAPI) && f[3] == established {
				found++
			}
		}
		return found >= n
	})
}

func idle(t *testing.T, cmds []*exec.Cmd) {
	t.Helper()
	size := func() (n int) {
		for _, c := range cmds {
			n += len(c.Stdout.(*output).String())
		}
		return n
	}
	last, since := -1, time.Now()
	await(t, "stream", func() bool {
		if n := size(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > quiet
	})
}

// alter makes the change that a stream is watched for.
func alter(t *testing.T, p programs, args []string) {
	if len(args) == 0 {
		return
	}
	if r := run(t, p.stock, args); r.status != 0 {
		t.Errorf("change %v: %s", args, r)
	}
}
