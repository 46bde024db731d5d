package top

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/policy"
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

// ended waits for the command's end and looks at what it left behind.
func (u *terminalUser) ended(status int) {
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
	// The alternate screen is left, the cursor shows, bracketed paste is off.
	for _, seq := range []string{"\x1b[?1049l", "\x1b[?25h", "\x1b[?2004l"} {
		u.shows(seq)
	}
	if got := u.termios(); *got != *u.before {
		u.t.Errorf("terminal settings %+v, were %+v", *got, *u.before)
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

// TestDrainByKeys: keys at a real terminal reach the daemon as a drain, with
// the reason, and q leaves the terminal as it was.
func TestDrainByKeys(t *testing.T) {
	b := apitest.World()
	asked := make(chan policy.Intent, 1)
	b.OnIntent = func(_ *apitest.Backend, in policy.Intent) { asked <- in }
	socket := filepath.Join(t.TempDir(), "c.sock")
	defer serve(t, socket, b)()
	u := startTerminal(t, socket, nil)
	u.sees("12:00:00 UTC  live")
	if raw := u.termios(); raw.Lflag&unix.ECHO != 0 {
		t.Error("the terminal echoes keys")
	}
	u.press("\x1b[Bdnew disks") // down, drain
	u.sees("Why? ")
	u.press("\r")
	u.sees("Type y and Enter")
	u.press("y\r")
	select {
	case in := <-asked:
		if in.Kind != policy.IntentDrain || in.Slice.String() != "2001:db8:5353:5353::/64" || in.Service != "" || in.Why != "new disks" || in.Force || !strings.Contains(in.By, "uid") {
			t.Errorf("%+v", in)
		}
	case <-time.After(patience):
		t.Fatalf("no drain arrived; seen %q", u.written())
	}
	u.sees("drain: noted for uid")
	u.press("q")
	u.ended(0)
}

// TestSignals: the terminal is as it was also where a signal ends it, and
// where a question was open.
func TestSignals(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	defer serve(t, socket, apitest.World())()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			u := startTerminal(t, socket, nil)
			u.sees("live")
			u.press("d")
			u.sees("Why? ")
			if err := u.cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			u.ended(0)
		})
	}
}

// TestDaemonAway: it says that the data are old while no daemon answers, and
// goes on by itself with the next one.
func TestDaemonAway(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	stop := serve(t, socket, apitest.World())
	u := startTerminal(t, socket, nil)
	u.sees("live")
	stop()
	u.sees("OLD: as of")
	u.sees("NO ANSWER for")
	next := apitest.World()
	next.POP.Now = apitest.Now.Add(7 * time.Minute)
	next.Entries = append(next.Entries, api.JournalEntry{Seq: 9, Time: next.POP.Now, Kind: "start", Text: "another life"})
	defer serve(t, socket, next)()
	u.shows("live")
	u.shows("another life")
	u.press("q")
	u.ended(0)
}

// TestQuiet: where nothing changes, nothing is sent.
func TestQuiet(t *testing.T) {
	b := &counting{Backend: apitest.World()}
	socket := filepath.Join(t.TempDir(), "c.sock")
	defer serve(t, socket, b)()
	u := startTerminal(t, socket, nil)
	u.sees("live")
	u.shows("quit")
	b.wait(t, 3)
	sent := len(u.written())
	b.wait(t, 10)
	if more := u.written()[sent:]; more != "" {
		t.Errorf("sent %q", more)
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

// sgrColour matches the escape sequences that choose a colour.
var sgrColour = regexp.MustCompile(`\x1b\[([0-9;]*;)?(3[0-8]|4[0-8]|9[0-7])[;m]`)

// TestNoColour: by flag, by environment or by kind of terminal.
func TestNoColour(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	defer serve(t, socket, apitest.World())()
	for _, tc := range []struct {
		name   string
		env    []string
		args   []string
		colour bool
	}{
		{"colour", nil, nil, true},
		{"few colours", []string{"TERM=linux"}, nil, true},
		{"flag", nil, []string{"--no-color"}, false},
		{"environment", []string{"NO_COLOR=yes"}, nil, false},
		{"terminal", []string{"TERM=vt220"}, nil, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			u := startTerminal(t, socket, tc.env, tc.args...)
			u.shows("quit")
			if got := sgrColour.MatchString(u.written()); got != tc.colour {
				t.Errorf("colour %v: %q", got, u.written())
			}
			if strings.Contains(u.written(), "38;") {
				t.Errorf("more than 16 colours: %q", u.written())
			}
		})
	}
}

// TestNoTerminal: where there is no screen or no daemon it says so and leaves.
func TestNoTerminal(t *testing.T) {
	path, err := command()
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "c.sock")
	u := startTerminal(t, socket, nil)
	u.sees("no daemon answers on " + socket)
	_ = u.cmd.Wait()
	if got := u.cmd.ProcessState.ExitCode(); got != 3 || *u.termios() != *u.before || strings.Contains(u.written(), "\x1b") {
		t.Errorf("no daemon: exit status %d, %q", got, u.written())
	}
	defer serve(t, socket, apitest.World())()
	u = startTerminal(t, socket, []string{"TERM=dumb"})
	u.sees("cannot show a screen")
	for _, tc := range []struct {
		args   string
		status int
		want   string
	}{
		{"top", 1, "needs a terminal"},
		{"top now", 2, "unknown command"},
		{"top -j", 2, "catchment status -j"},
		{"top --interval 1ms", 2, "want 200ms at least"},
	} {
		cmd := exec.Command(path, append(strings.Fields(tc.args), "--socket", socket)...)
		cmd.Env = append(os.Environ(), "TERM=xterm")
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != tc.status || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: %d %q", tc.args, got, out)
		}
	}
}
