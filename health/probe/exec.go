package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/catchment/catchment/health"
)

// execCheck runs a program as monitoring systems run plugins: exit status 0
// is a pass, 1 a warning, 2 a fail, and anything else cannot tell. It runs
// without a shell in a process group of its own, which is killed as a whole
// when the time is over; that cannot tell either: a plugin has a timeout of its
// own for what it asks, and one that hangs says nothing of the service. Its
// environment is the daemon's, CATCHMENT_SERVICE, CATCHMENT_CHECK, and what the
// configuration adds.
type execCheck struct {
	dialer
	command []string
	env     []string
}

// Limits on what a plugin can cost.
const (
	maxOutput = 4 << 10                // bytes kept of its output
	pipeWait  = 200 * time.Millisecond // for pipes that a grandchild keeps open
)

func newExec(c Config) health.Checker {
	return &execCheck{
		dialer:  newDialer(c),
		command: c.Command,
		env:     append([]string{"CATCHMENT_SERVICE=" + c.Label.Service, "CATCHMENT_CHECK=" + c.Label.Check}, c.Env...),
	}
}

func (e *execCheck) Check(ctx context.Context) health.Result {
	started := time.Now()
	var stdout, stderr firstLine
	cmd := exec.CommandContext(ctx, e.command[0], e.command[1:]...)
	cmd.Env = append(os.Environ(), e.env...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pipeWait
	err := cmd.Run()
	if errors.Is(err, exec.ErrWaitDelay) { // a child in its group still holds the output
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	text := stdout.String()
	if text == "" {
		text = stderr.String()
	}
	return e.result(ctx, cmd, err, started, text)
}

func (e *execCheck) result(ctx context.Context, cmd *exec.Cmd, err error, started time.Time, text string) health.Result {
	if cmd.ProcessState == nil { // did not start
		return health.Result{Detail: oneLine(err.Error())}
	}
	code := cmd.ProcessState.ExitCode()
	switch {
	case ctx.Err() != nil && code != 2:
		return health.Result{Detail: oneLine("hangs: killed when its timeout was over: " + text)}
	case err != nil && code == 0 && !errors.Is(err, exec.ErrWaitDelay):
		return health.Result{Detail: oneLine(err.Error())}
	case code == 0:
		return e.pass(started, text)
	case code == 1:
		return health.Result{Outcome: health.Warn, Detail: text}
	case code == 2:
		return health.Result{Outcome: health.Fail, Detail: text}
	}
	return health.Result{Detail: oneLine(fmt.Sprintf("%v: %s", cmd.ProcessState, text))}
}

// firstLine keeps the first line written to it and drops the rest.
type firstLine struct{ buf []byte }

func (f *firstLine) Write(p []byte) (int, error) {
	if room := maxOutput - len(f.buf); room > 0 {
		f.buf = append(f.buf, p[:min(len(p), room)]...)
	}
	return len(p), nil
}

// String returns the line without what plugins put behind a bar for graphs.
func (f *firstLine) String() string {
	line, _, _ := bytes.Cut(bytes.TrimLeft(f.buf, "\r\n"), []byte("\n"))
	text, _, _ := strings.Cut(string(line), "|")
	return oneLine(text)
}
