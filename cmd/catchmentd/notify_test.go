package main

import (
	"context"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// listenNotify stands in for systemd: what is notified comes out, in order.
func listenNotify(t *testing.T, path string) <-chan string {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 4096)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 4096); ; {
			n, err := c.Read(b)
			if err != nil {
				return
			}
			said <- string(b[:n])
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return said
}

// hears waits for a word, or how a STATUS= begins; those and the watchdog's may
// come before it.
func hears(t *testing.T, said <-chan string, want string) {
	t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case got := <-said:
			status := strings.HasPrefix(got, "STATUS=")
			switch {
			case got == want || status && strings.HasPrefix(want, "STATUS=") && strings.HasPrefix(got, want):
				return
			case !status && got != "WATCHDOG=1":
				t.Fatalf("systemd is told %q, want %q", got, want)
			}
		case <-deadline:
			t.Fatalf("systemd is not told %q", want)
		}
	}
}

// TestNotify: systemd is told what Type=notify and WatchdogSec= of the unit
// file need, while the daemon drains too.
func TestNotify(t *testing.T) {
	w := newWorld(t)
	w.configure(w.web("drain: {wait: 2s}"))
	w.up("web")
	said := listenNotify(t, w.file("notify"))
	p := w.start([]string{"NOTIFY_SOCKET=" + w.file("notify"), "WATCHDOG_USEC=300000"})
	hears(t, said, "STATUS=POP LON")
	hears(t, said, "READY=1")
	for range 3 {
		hears(t, said, "WATCHDOG=1")
	}
	p.signal(syscall.SIGHUP)
	hears(t, said, "RELOADING=1")
	hears(t, said, "READY=1")
	w.write("c.yaml", "no: good")
	p.signal(syscall.SIGHUP) // the old one goes on: ready as before
	hears(t, said, "RELOADING=1")
	hears(t, said, "STATUS=POP LON; reload refused, nothing has changed: ")
	hears(t, said, "READY=1")
	w.r4.await(0, "announce "+web4)
	p.signal(syscall.SIGTERM)
	hears(t, said, "STOPPING=1")
	hears(t, said, "WATCHDOG=1")
	w.r4.await(0, "announce "+web4+" gshut")
	for range 3 {
		hears(t, said, "WATCHDOG=1")
	}
	p.ends(0)
}

// TestNotifyLeave: a restart and a failed start.
func TestNotifyLeave(t *testing.T) {
	w := newWorld(t)
	w.configure(w.web())
	said := listenNotify(t, w.file("notify"))
	env := []string{"NOTIFY_SOCKET=" + w.file("notify")}
	p := w.start(env)
	hears(t, said, "READY=1")
	p.signal(syscall.SIGUSR2)
	hears(t, said, "STOPPING=1")
	p.ends(0)
	l, err := net.Listen("tcp", w.metrics())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	w.start(env).ends(1)
	if len(said) > 0 {
		t.Errorf("a start that failed told systemd %q", <-said)
	}
	w.write("c.yaml", "no: good")
	w.start(env).ends(2) // for `systemctl status`, in one line
	if got := <-said; !strings.HasPrefix(got, "STATUS=configuration refused: ") || !strings.Contains(got, "; ") || strings.Contains(got, "\n") {
		t.Errorf("a configuration that is refused: %q", got)
	}
}

// TestWatchdogIsSilent while the controller does not answer.
func TestWatchdogIsSilent(t *testing.T) {
	dir := t.TempDir()
	said := listenNotify(t, dir+"/n")
	t.Setenv("NOTIFY_SOCKET", dir+"/n")
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		asked := 0
		ctx, cancel := context.WithCancel(t.Context())
		go watchdog{time.Second, func(_ context.Context, d time.Duration) bool {
			asked++
			return d == time.Second && !dead.Load()
		}}.Run(ctx)
		time.Sleep(3500 * time.Millisecond)
		dead.Store(true)
		time.Sleep(3 * time.Second)
		cancel()
		synctest.Wait()
		if asked != 7 {
			t.Errorf("asked %d times", asked)
		}
	})
	for range 4 {
		hears(t, said, "WATCHDOG=1")
	}
	select {
	case more := <-said:
		t.Errorf("and %q", more)
	default:
	}
}

// TestUnhurried: under systemd, which starts it again at once, a failure at the
// start takes a while; by hand, and for a reload, it does not.
func TestUnhurried(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	if err := os.WriteFile(wrong, []byte("no: good"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused := []string{"--config", wrong}
	for _, c := range []struct {
		what            string
		args            []string
		notify, mainPID string
		status          int
		age, takes      time.Duration
	}{
		{"refused, under systemd", refused, "@nobody", "", 2, 0, shortest},
		{"refused late", refused, "@nobody", "", 2, shortest - 1, 1},
		{"failed much later", refused, "@nobody", "", 2, time.Hour, 0},
		{"refused, by hand", refused, "", "", 2, 0, 0},
		{"looked at for a reload", append(refused, "--check-config"), "@nobody", "4711", 2, 0, 0},
		{"no failure", []string{"--version"}, "@nobody", "", 0, 0, 0},
	} {
		t.Setenv("NOTIFY_SOCKET", c.notify)
		t.Setenv("MAINPID", c.mainPID)
		synctest.Test(t, func(t *testing.T) {
			now := time.Now()
			var said strings.Builder
			status := unhurried(now.Add(-c.age), run(c.args, io.Discard, &said))
			if took := time.Since(now); status != c.status || took != c.takes {
				t.Errorf("%s: status %d after %v, want %d after %v; said %s", c.what, status, took, c.status, c.takes, &said)
			}
		})
	}
}
