package main

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// tape is what a watching command has written so far.
type tape struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func newTape() *tape { return &tape{more: make(chan struct{}, 1000)} }

func (t *tape) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(b)
	t.more <- struct{}{}
	return len(b), nil
}

func (t *tape) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// await waits until ok likes what is written.
func (t *tape) await(tb testing.TB, what string, ok func(string) bool) {
	tb.Helper()
	limit := time.After(20 * time.Second)
	for !ok(t.String()) {
		select {
		case <-t.more:
		case <-limit:
			tb.Fatalf("%s is not there:\n%s", what, t.String())
		}
	}
}

func has(want string) func(string) bool {
	return func(s string) bool { return strings.Contains(s, want) }
}

// quiet is a world whose journal and guards say nothing while it is watched.
func quiet() *apitest.Backend {
	b := apitest.World()
	b.Entries, b.More = nil, make(chan api.JournalEntry)
	return b
}

// watching runs a command until the test, or stop, ends it.
func watching(t *testing.T, socket string, set func(*app), args ...string) (out, errs *tape, stop func() int) {
	ctx, cancel := context.WithCancel(t.Context())
	out, errs = newTape(), newTape()
	a := newApp(out, errs)
	a.retry = 5 * time.Millisecond
	a.env = func(string) string { return "" }
	if set != nil {
		set(a)
	}
	done := make(chan int, 1)
	go func() { done <- a.run(ctx, args, socket) }()
	status := -1
	stop = sync.OnceValue(func() int { cancel(); status = <-done; return status })
	t.Cleanup(func() { stop() })
	return out, errs, stop
}

// TestWatchOnAPipe: once at first, then when something shown is another, and
// never because time goes by.
func TestWatchOnAPipe(t *testing.T) {
	for _, tc := range []struct {
		args   string
		change func(*apitest.Backend)
		want   string
	}{
		{"status --watch", func(b *apitest.Backend) { b.POP.Alarms = nil }, "POP LON"},
		{"pop -w", func(b *apitest.Backend) { b.POP.Fleet[1].Stale, b.POP.Fleet[1].Heard = false, apitest.Now }, "ago"},
		{"pop FRA -w", func(b *apitest.Backend) { b.POP.Fleet[0].Slices[0].Stance = policy.Stance{} }, "withdraw  up"},
		{"service -w", func(b *apitest.Backend) { b.POP.Services[0].Health.Verdict = policy.Degraded }, "degraded"},
		{"slice -w", func(b *apitest.Backend) { b.POP.Services[0].Slices[0].Stance = policy.Stance{Action: policy.Drain} }, "drain"},
		{"check web/http -w", func(b *apitest.Backend) { b.POP.Services[0].Checks[0].Detail = "503" }, "503"},
		{"guard -w", func(b *apitest.Backend) { b.POP.Guards[0].Says = api.Off }, "off"},
		{"explain 192.0.2.0/24 -w", func(b *apitest.Backend) { b.POP.Services[0].Slices[0].Reason.Code = policy.Recovering }, "recovering"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Parallel()
			b := quiet()
			out, errs, stop := watching(t, start(t, b), nil, strings.Fields(tc.args)...)
			out.await(t, "the first picture", func(s string) bool { return len(s) > 0 })
			first := out.String()
			if strings.Contains(first, "\x1b") || strings.Contains(first, "---") {
				t.Errorf("the first picture:\n%s", first)
			}
			// Time passes, and a check passes once more: nothing to show. What is
			// changed next is shown after, so that silence is not taken for slowness.
			for range 3 {
				b.Touch(func(b *apitest.Backend) {
					b.POP.Now = b.POP.Now.Add(time.Second)
					c := &b.POP.Services[0].Checks[0]
					c.Streak++
					c.Latency += api.Duration(time.Millisecond)
				})
				time.Sleep(2 * redrawPace) // so that it could be shown
			}
			b.Touch(tc.change)
			out.await(t, tc.want, func(s string) bool { return strings.Contains(s[len(first):], tc.want) })
			rest := out.String()[len(first):]
			if n := len(regexp.MustCompile(`(?m)^--- 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d`).FindAllString(rest, -1)); n != 1 {
				t.Errorf("%d time lines, want 1:\n%s", n, rest)
			}
			if status := stop(); status != exitOK || errs.String() != "" {
				t.Errorf("interrupted: %d %q", status, errs.String())
			}
		})
	}
}

// TestWatchJSON: one document a line.
func TestWatchJSON(t *testing.T) {
	b := quiet()
	out, _, stop := watching(t, start(t, b), nil, "slice", "192.0.2.0/24", "-w", "-j")
	out.await(t, "the first line", has("\n"))
	b.Touch(func(b *apitest.Backend) { b.POP.Services[0].Slices[0].Stance = policy.Stance{Action: policy.Drain} })
	out.await(t, "the second line", has("drain"))
	stop()
	var got []policy.Action
	for d := json.NewDecoder(strings.NewReader(out.String())); d.More(); {
		var s api.SliceStatus
		if err := d.Decode(&s); err != nil {
			t.Fatal(err)
		}
		got = append(got, s.Stance.Action)
	}
	if lines := strings.Count(out.String(), "\n"); len(got) != 2 || got[0] != policy.Announce || got[1] != policy.Drain || lines != 2 {
		t.Errorf("%v in %d lines", got, lines)
	}
}

// TestWatchOnATerminal: a picture never is wider or higher than the screen, is
// written over the one before without clearing it, and goes on by itself.
func TestWatchOnATerminal(t *testing.T) {
	b := quiet()
	out, _, stop := watching(t, start(t, b), func(a *app) { a.size = func() (int, int) { return 60, 12 } }, "status", "-w")
	out.await(t, "a second picture", func(s string) bool { return strings.Count(s, "\x1b[H") >= 2 })
	b.Touch(func(b *apitest.Backend) { b.POP.Services[0].Slices[0].Stance = policy.Stance{Action: policy.Drain} })
	out.await(t, "the drain", has("drain"))
	stop()
	text := out.String()
	if strings.Count(text, "\x1b[2J") != 1 || !strings.HasPrefix(text, "\x1b[2J") {
		t.Errorf("cleared %d times", strings.Count(text, "\x1b[2J"))
	}
	for i, frame := range strings.Split(text, "\x1b[H")[1:] {
		lines := strings.Split(strings.TrimSuffix(frame, "\n"), "\r\n")
		if len(lines) > 12 {
			t.Errorf("picture %d has %d lines", i, len(lines))
		}
		for _, l := range lines {
			if width(ansi.Strip(l)) > 60 {
				t.Errorf("%d cells: %q", width(ansi.Strip(l)), l)
			}
		}
		if !strings.Contains(frame, "LON at ") || !strings.Contains(frame, "more lines") {
			t.Errorf("picture %d:\n%s", i, frame)
		}
	}
}

// TestWatchWaitsForTheDaemon: one that goes away is waited for, and said to be
// away; one that never was there is an error.
func TestWatchWaitsForTheDaemon(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "c.sock")
	serve := func(b api.Backend) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		srv, err := api.New(api.Options{Socket: socket, Backend: b, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- srv.Run(ctx) }()
		<-srv.Ready()
		return sync.OnceFunc(func() { cancel(); <-done })
	}
	if status, _, errs := catchment(t.Context(), socket, "slice", "-w"); status != exitUnreachable || !strings.Contains(errs, "no daemon answers on "+socket) {
		t.Errorf("%d %q", status, errs)
	}
	b := quiet()
	halt := serve(b)
	defer func() { halt() }()
	out, errs, stop := watching(t, socket, nil, "slice", "-w")
	onScreen, _, stopScreen := watching(t, socket, func(a *app) { a.size = func() (int, int) { return 100, 20 } }, "slice", "-w")
	out.await(t, "the first picture", has("announce"))
	onScreen.await(t, "the first picture", has("live"))
	close(b.More)
	halt()
	errs.await(t, "word of it", has("the daemon does not answer, waiting for it"))
	onScreen.await(t, "word of it", has("no answer for"))
	again := quiet()
	again.POP.Services[0].Slices[0].Stance = policy.Stance{Action: policy.Drain}
	halt = serve(again)
	out.await(t, "what it says later", has("drain"))
	onScreen.await(t, "what it says later", has("drain"))
	if stop() != exitOK || stopScreen() != exitOK {
		t.Error("interrupted: not 0")
	}
}

// TestTimeless: what time alone changes is not seen, everything else is.
func TestTimeless(t *testing.T) {
	for _, pair := range [][2]string{
		{"up  3h   pass x5400  3.2ms", "up  2d2h   pass x1  410µs"},
		{`{"heard":"2030-03-01T11:59:59Z","rtt":"0.01s","streak":5,"id":"a"}`, `{"heard":"2030-03-01T12:59:59Z","rtt":"0.5s","streak":6,"id":"a"}`},
		{"hold-down: 5.1s more", "hold-down: 10s more"},
	} {
		if timeless(pair[0]) != timeless(pair[1]) {
			t.Errorf("%q and %q differ", pair[0], pair[1])
		}
	}
	for _, pair := range [][2]string{
		{"192.0.2.0/24 announce", "192.0.2.0/25 announce"}, {"rung 1", "rung 2"}, {"pass x5", "fail x5"}, {"2001:db8::/32", "2001:db9::/32"}, {"3d", "never"},
	} {
		if timeless(pair[0]) == timeless(pair[1]) {
			t.Errorf("%q and %q do not differ", pair[0], pair[1])
		}
	}
}
