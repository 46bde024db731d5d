package top

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// patience is how long anything may take here; nothing is proved by it.
const patience = 30 * time.Second

// built is the directory of the command, for TestMain to remove.
var built string

// command builds the real command once.
var command = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "top"); err != nil {
		return "", err
	}
	path := filepath.Join(built, "catchment")
	out, err := exec.Command("go", "build", "-o", path, "github.com/catchment/catchment/cmd/catchment").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, err
})

func TestMain(m *testing.M) {
	status := m.Run()
	if built != "" {
		_ = os.RemoveAll(built)
	}
	os.Exit(status)
}

// serve answers for b on the socket until stop is called.
func serve(t *testing.T, socket string, b api.Backend) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	srv, err := api.New(api.Options{Socket: socket, Backend: b, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	<-srv.Ready()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// terminalUser is a person at a pseudo-terminal that runs the command.
type terminalUser struct {
	t      *testing.T
	tty    *os.File // the command's side; kept open, so that it can be looked at
	keys   *os.File // the person's side
	cmd    *exec.Cmd
	before *unix.Termios
	mu     sync.Mutex
	out    bytes.Buffer
	more   chan struct{} // something was written

	hangsUp bool // closes its side when something more is written
}

func startTerminal(t *testing.T, socket string, env []string, args ...string) *terminalUser {
	t.Helper()
	path, err := command()
	if err != nil {
		t.Fatal(err)
	}
	keys, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	u := &terminalUser{t: t, tty: tty, keys: keys, more: make(chan struct{}, 1)}
	u.resize(80, 24)
	u.before = u.termios()
	u.cmd = exec.Command(path, append([]string{"top", "--socket", socket, "--interval", "200ms"}, args...)...)
	u.cmd.Env = append(append(os.Environ(), "TERM=xterm-256color", "NO_COLOR=", "SSH_TTY=/dev/pts/0"), env...)
	u.cmd.Stdin, u.cmd.Stdout, u.cmd.Stderr = tty, tty, tty
	u.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go u.read()
	t.Cleanup(func() {
		_ = u.cmd.Process.Kill()
		_ = u.cmd.Wait()
		keys.Close()
		tty.Close()
	})
	return u
}

func (u *terminalUser) read() {
	buf := make([]byte, 4096)
	for {
		n, err := u.keys.Read(buf)
		u.mu.Lock()
		u.out.Write(buf[:n])
		if u.hangsUp {
			u.keys.Close() // here, where nobody reads from it
		}
		u.mu.Unlock()
		select {
		case u.more <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (u *terminalUser) resize(w, h uint16) {
	u.t.Helper()
	if err := pty.Setsize(u.keys, &pty.Winsize{Cols: w, Rows: h}); err != nil {
		u.t.Fatal(err)
	}
}

func (u *terminalUser) termios() *unix.Termios {
	u.t.Helper()
	s, err := unix.IoctlGetTermios(int(u.tty.Fd()), unix.TCGETS)
	if err != nil {
		u.t.Fatal(err)
	}
	return s
}

func (u *terminalUser) press(s string) {
	u.t.Helper()
	if _, err := u.keys.WriteString(s); err != nil {
		u.t.Fatal(err)
	}
}

// written is the output so far.
func (u *terminalUser) written() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.out.String()
}

// sees waits for text that is written after the last one that was waited for.
func (u *terminalUser) sees(want string) {
	u.t.Helper()
	over := time.After(patience)
	for {
		u.mu.Lock()
		before, _, ok := bytes.Cut(u.out.Bytes(), []byte(want))
		if ok {
			u.out.Next(len(before) + len(want))
		}
		u.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-u.more:
		case <-over:
			u.t.Fatalf("did not see %q in %q", want, u.written())
		}
	}
}

// exits waits for the command's end.
func (u *terminalUser) exits(status int) {
	u.t.Helper()
	done := make(chan struct{})
	go func() {
		_ = u.cmd.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		u.t.Fatalf("still runs; output %q", u.written())
	}
	if got := u.cmd.ProcessState.ExitCode(); got != status {
		u.t.Errorf("exit status %d, want %d: %q", got, status, u.written())
	}
	if got := u.termios(); *got != *u.before {
		u.t.Errorf("terminal settings %+v, were %+v", *got, *u.before)
	}
}

// ended waits for the command's end and looks at what it left behind.
func (u *terminalUser) ended(status int) {
	u.t.Helper()
	u.exits(status)
	// The alternate screen is left, the cursor shows, bracketed paste is off.
	for _, seq := range []string{"\x1b[?1049l", "\x1b[?25h", "\x1b[?2004l"} {
		u.shows(seq)
	}
}

// shows waits for text in what was not yet waited for, in any order.
func (u *terminalUser) shows(want string) {
	u.t.Helper()
	over := time.After(patience)
	for !strings.Contains(u.written(), want) {
		select {
		case <-u.more:
		case <-over:
			u.t.Fatalf("did not see %q in %q", want, u.written())
		}
	}
}

// counting counts how often the status was asked for.
type counting struct {
	*apitest.Backend
	mu    sync.Mutex
	asked int
}

func (c *counting) Status(ctx context.Context) (api.Status, error) {
	c.mu.Lock()
	c.asked++
	c.mu.Unlock()
	return c.Backend.Status(ctx)
}

// wait returns when the status was asked for n times more.
func (c *counting) wait(t *testing.T, n int) {
	t.Helper()
	c.mu.Lock()
	until := c.asked + n
	c.mu.Unlock()
	for over := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c.mu.Lock()
		asked := c.asked
		c.mu.Unlock()
		if asked >= until {
			return
		}
		if time.Now().After(over) {
			t.Fatalf("asked %d times, want %d", asked, until)
		}
	}
}
