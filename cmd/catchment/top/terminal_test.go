package top

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

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

// TestNoOutput: a terminal that takes no output (stopped by ^S, a link that is
// gone) does not keep the command from ending, nor is it left in raw mode.
func TestNoOutput(t *testing.T) {
	for _, seen := range []string{"live", "CHECKS"} { // the second in the middle of the first screen
		t.Run(seen, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "c.sock")
			b := apitest.World()
			b.More = make(chan api.JournalEntry)
			over := make(chan struct{})
			defer close(over)
			go func() { // there is always something that waits to be shown
				for seq := uint64(100); ; seq++ {
					select {
					case b.More <- api.JournalEntry{Seq: seq, Kind: "decision", Text: "again"}:
					case <-over:
						return
					}
				}
			}()
			defer serve(t, socket, b)()
			u := startTerminal(t, socket, nil)
			u.sees(seen)
			if err := unix.IoctlSetInt(int(u.tty.Fd()), unix.TCXONC, unix.TCOOFF); err != nil {
				t.Fatal(err)
			}
			u.press("?")
			if err := u.cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			u.exits(0)
		})
	}
}

// TestHangup: it ends when its terminal goes away.
func TestHangup(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	defer serve(t, socket, apitest.World())()
	u := startTerminal(t, socket, nil)
	u.sees("live")
	u.mu.Lock()
	u.hangsUp = true
	u.mu.Unlock()
	u.press("?")
	done := make(chan error, 1)
	go func() { done <- u.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("still runs")
	}
}

// TestLittle: where little changes, little is sent.
func TestLittle(t *testing.T) {
	b := &counting{Backend: apitest.World()}
	socket := filepath.Join(t.TempDir(), "c.sock")
	defer serve(t, socket, b)()
	u := startTerminal(t, socket, nil)
	u.sees("live")
	u.shows("quit")
	b.wait(t, 3)
	sent := len(u.written())
	b.Lock()
	*b.POP.Services[0].Load = 1567
	b.Unlock()
	u.shows("567")
	b.wait(t, 5)
	if more := u.written()[sent:]; len(more) > 40 {
		t.Errorf("sent %d bytes for three digits: %q", len(more), more)
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
