package main

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// start answers for b on a real socket until the test ends.
func start(t *testing.T, b api.Backend) string {
	t.Helper()
	return serveWorld(t, api.Options{Backend: b})
}

// serveWorld answers by the options on a real socket, apitest's world if they
// name no backend, until the test ends. The path stays short whatever the test
// is called: sockets allow 108 bytes.
func serveWorld(t *testing.T, o api.Options) (socket string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	o.Socket, o.Logger = filepath.Join(dir, "s"), slog.New(slog.DiscardHandler)
	if o.Backend == nil {
		o.Backend = apitest.World()
	}
	srv, err := api.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-srv.Ready():
	case err := <-done:
		t.Fatal(err)
	}
	return o.Socket
}

// commandCase is one command line, and what a person sees of it as the golden
// file of its name.
type commandCase struct {
	name   string
	status int
	socket string
	args   []string
}

func (c commandCase) run(t *testing.T) {
	t.Helper()
	status, out, errs := catchment(t.Context(), c.socket, c.args...)
	if status != c.status {
		t.Errorf("%s: status %d, want %d: %s", c.name, status, c.status, errs)
	}
	golden(t, c.name, strings.ReplaceAll(uid.ReplaceAllString("$ catchment "+strings.Join(c.args, " ")+"\n"+out+errs, "uid N"), c.socket, "SOCKET"))
}

// catchment runs one command line and returns what a person would see.
func catchment(ctx context.Context, socket string, args ...string) (status int, out, errs string) {
	var o, e bytes.Buffer
	a := newApp(&o, &e)
	a.poll, a.patience = 2*time.Millisecond, 30*time.Millisecond
	status = a.run(ctx, args, socket)
	return status, o.String(), e.String()
}

var uid = regexp.MustCompile(`uid \d+( \([^)]*\))?`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (run with -update and read the diff):\n%s", name, got)
	}
}

// TestOutput: what each command prints, and its exit status.
func TestOutput(t *testing.T) {
	b := apitest.World()
	b.POP.Intents = []policy.Intent{
		{Kind: policy.IntentHold, Service: "web", By: "uid 1000 (ann)", At: apitest.Now.Add(-time.Hour), Until: apitest.Now.Add(time.Hour), Why: "checks are being rebuilt"},
		{Kind: policy.IntentPin, Stance: policy.Stance{Action: policy.Announce, Rung: 1}, By: "uid 0 (root)", At: apitest.Now.Add(-time.Minute), Force: true},
	}
	socket := start(t, b)
	for _, tc := range []struct {
		name   string
		status int
		args   string
	}{
		{"status", 0, "status"},
		{"status-json", 0, "status -j"},
		{"pop", 0, "pop"},
		{"pop-here", 0, "pop LON"},
		{"pop-other", 0, "pop FRA"},
		{"pop-silent", 0, "pop AMS"},
		{"pop-json", 0, "pop FRA -j"},
		{"pop-misspelt", 1, "pop FRB"},
		{"fleet", 0, "fleet"},
		{"fleet-json", 0, "fleet -j"},
		{"service", 0, "service resolver-with-a-long-name"},
		{"service-json", 0, "service web -j"},
		{"service-misspelt", 1, "service wbe"},
		{"slice", 0, "slice"},
		{"slice-one", 0, "slice 2001:db8:5353:5353::/64"},
		{"slice-service", 0, "slice web"},
		{"slice-address", 0, "slice 192.0.2.1"},
		{"slice-json", 0, "slice 192.0.2.0/24 -j"},
		{"slice-no-prefix", 2, "slice 192.0.2.0/99"},
		{"slice-host-bits", 2, "slice 192.0.2.1/24"},
		{"slice-none", 1, "slice 192.0.3.0/24"},
		{"check", 0, "check"},
		{"check-service", 0, "check web"},
		{"check-one", 0, "check resolver-with-a-long-name/dns-udp"},
		{"check-json", 0, "check web/http -j"},
		{"check-misspelt", 1, "check web/htpt"},
		{"check-no-service", 1, "check wbe"},
		{"guard", 0, "guard"},
		{"guard-one", 0, "guard last-pop"},
		{"guard-off", 0, "guard blast"},
		{"guard-json", 0, "guard last-pop -j"},
		{"guard-misspelt", 1, "guard lastpop"},
		{"plan", 0, "plan drain web"},
		{"plan-strict", 1, "plan drain web --strict"},
		{"plan-json", 0, "plan -j drain web"},
		{"plan-misspelt", 2, "plan drian"},
		{"plan-bad-verdict", 2, "plan check web/http=donw"},
		{"plan-bad-pop", 2, "plan pop FRA"},
		{"plan-bad-state", 2, "plan pop FRA=gon"},
		{"plan-bad-address", 2, "plan neighbor 10.0.0=down"},
		{"plan-bad-prefix", 2, "plan drain 192.0.2.0/33"},
		{"plan-withdraw", 0, "plan withdraw LON"},
		{"plan-bad-capacity", 2, "plan capacity LON=much"},
		{"plan-no-file", 1, "plan config no-such-file.yaml"},
		{"plan-bad-file", 2, "plan config main_test.go"},
		{"pin", 0, "pin web withdraw"},
		{"bad-color", 2, "status --color sometimes"},
		{"services", 0, "services"},
		{"services-json", 0, "services --json"},
		{"explain", 0, "explain 192.0.2.0/24"},
		{"explain-service", 0, "explain resolver-with-a-long-name"},
		{"explain-address", 0, "explain 2001:db8:100::1"},
		{"explain-json", 0, "explain -j 2001:db8:5353:5353::/64"},
		{"explain-misspelt", 1, "explain wbe"},
		{"explain-no-slice", 1, "explain 198.51.100.0/24"},
		{"explain-no-address", 1, "explain 198.51.100.1"},
		{"explain-no-prefix", 2, "explain 192.0.2.0/99"},
		{"journal", 0, "journal"},
		{"journal-filter", 0, "journal --service web -n 1"},
		{"journal-json", 0, "journal -j --slice 2001:db8:100::/48"},
		{"journal-since", 2, "journal --since yesterday"},
		{"drain", 0, "drain web --why disks"},
		{"undrain", 0, "undrain --slice 2001:db8:100::/48"},
		{"hold", 0, "hold web --for 1h"},
		{"release-json", 0, "release -j web"},
		{"reload", 0, "reload"},
		{"reload-json", 0, "reload -j"},
		{"bad-slice", 2, "drain --slice 192.0.2.1/24"},
		{"bad-flag", 2, "drain --fast"},
		{"bad-command", 2, "statsu"},
		{"too-many", 2, "drain web dns"},
		{"help", 0, "--help"},
		{"help-drain", 0, "drain --help"},
		{"help-plan", 0, "plan --help"},
		{"help-slice", 0, "slice --help"},
		{"nothing", 0, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			status, out, errs := catchment(t.Context(), socket, strings.Fields(tc.args)...)
			if status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			got := "$ catchment " + tc.args + "\n" + out
			if errs != "" {
				got += "--- stderr\n" + errs
			}
			golden(t, tc.name, strings.ReplaceAll(uid.ReplaceAllString(got, "uid N"), socket, "SOCKET"))
		})
	}
}

// TestChangesArrive: the words on the command line are those the daemon hears.
func TestChangesArrive(t *testing.T) {
	b := apitest.World()
	socket := start(t, b)
	catchment(t.Context(), socket, "drain", "web", "--within", "1m", "--force", "--why", "new disks")
	catchment(t.Context(), socket, "hold", "--slice", "2001:db8:100::/48")
	catchment(t.Context(), socket, "undrain", "web")
	catchment(t.Context(), socket, "release")
	if len(b.Intents) != 2 || len(b.Released) != 2 {
		t.Fatalf("%+v %+v", b.Intents, b.Released)
	}
	d, h := b.Intents[0], b.Intents[1]
	if d.Kind != policy.IntentDrain || d.Service != "web" || d.Wait != time.Minute || !d.Force || d.Why != "new disks" {
		t.Errorf("drain: %+v", d)
	}
	if h.Kind != policy.IntentHold || h.Slice.String() != "2001:db8:100::/48" || h.Service != "" {
		t.Errorf("hold: %+v", h)
	}
	if b.Released[0].Service != "web" || b.Released[0].Kinds[0] != policy.IntentDrain || b.Released[1].Kinds[0] != policy.IntentHold {
		t.Errorf("released: %+v", b.Released)
	}
}

// TestRefused: a refusal is status 1, with the guard's name.
func TestRefused(t *testing.T) {
	b := apitest.World()
	b.Err = &api.Error{Code: api.Refused, Guard: "last-pop", Message: "no other POP announces 192.0.2.0/24"}
	status, _, errs := catchment(t.Context(), start(t, b), "drain", "web")
	if status != exitFailed || errs != "catchment: refused by guard last-pop: no other POP announces 192.0.2.0/24\n" {
		t.Errorf("%d %q", status, errs)
	}
}

// TestUnreachable: status 3, the socket that was tried, and what to do.
func TestUnreachable(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	for _, args := range [][]string{{"status"}, {"drain", "web"}, {"journal", "-f"}, {"explain", "web"}, {"reload"}} {
		status, out, errs := catchment(t.Context(), "/elsewhere", append(args, "--socket", socket)...)
		if status != exitUnreachable || out != "" || !strings.Contains(errs, "no daemon answers on "+socket) || !strings.Contains(errs, "systemctl start catchmentd") {
			t.Errorf("%v: %d %q", args, status, errs)
		}
	}
	if status, _, errs := catchment(t.Context(), socket, "status"); status != exitUnreachable || !strings.Contains(errs, socket) {
		t.Errorf("the environment's socket: %d %q", status, errs)
	}
	if status, out, _ := catchment(t.Context(), socket, "version"); status != 0 || !strings.HasPrefix(out, "catchment ") || strings.Contains(out, "catchmentd") {
		t.Errorf("version needs no daemon: %d %q", status, out)
	}
}

func TestVersion(t *testing.T) {
	if status, out, _ := catchment(t.Context(), start(t, apitest.World()), "version"); status != 0 || !strings.HasSuffix(out, "\ncatchmentd v0.1.0\n") {
		t.Errorf("%d %q", status, out)
	}
}

func TestJournalFollow(t *testing.T) {
	b := apitest.World()
	socket := start(t, b)
	go func() {
		b.More <- api.JournalEntry{Seq: 9, Time: apitest.Now, Kind: "intent", Service: "web", Text: "drain by ann\x1b[2J"}
		close(b.More)
	}()
	status, out, errs := catchment(t.Context(), socket, "journal", "-f", "-n", "1")
	if want := "2030-03-01T12:00:00.000Z  intent    web: drain by ann [2J\n"; status != 0 || !strings.HasSuffix(out, want) {
		t.Errorf("%d %q %q, want %q at the end", status, out, errs, want)
	}
}

// script changes the world step by step: the n-th time that the status is
// asked for after a drain, the n-th step is taken.
type script struct {
	*apitest.Backend
	mu    sync.Mutex
	steps []func(*apitest.Backend)
}

func (s *script) Status(ctx context.Context) (api.Status, error) {
	s.mu.Lock()
	if len(s.Intents) > 0 && len(s.steps) > 0 {
		s.Lock()
		s.steps[0](s.Backend)
		s.Unlock()
		s.steps = s.steps[1:]
	}
	s.mu.Unlock()
	return s.Backend.Status(ctx)
}

func stance(a policy.Action, why policy.Reason, guards ...api.GuardStatus) func(*apitest.Backend) {
	return func(b *apitest.Backend) {
		b.Set("web", func(s *api.SliceStatus) {
			if !s.Cover {
				s.Stance, s.Reason, s.Guards, s.Intent = policy.Stance{Action: a}, why, guards, policy.Intent{Kind: policy.IntentDrain}
			}
		})
	}
}

// TestDrainWait follows drains to their ends.
func TestDrainWait(t *testing.T) {
	operator := policy.Reason{Code: policy.Operator, Detail: "draining for ann"}
	gone := policy.Reason{Code: policy.Operator, Detail: "drained by ann"}
	veto := policy.Reason{Code: policy.Guarded, Guard: "last-pop", Detail: "0 other POPs announce it, 1 needed"}
	blast := policy.Reason{Code: policy.Guarded, Guard: "blast", Detail: "50 of at most 50"}
	for _, tc := range []struct {
		name   string
		args   string
		steps  []func(*apitest.Backend)
		status int
	}{
		{"done", "drain web --wait", []func(*apitest.Backend){stance(policy.Drain, operator), stance(policy.Drain, operator), stance(policy.Withdraw, gone)}, 0},
		{"vetoed", "drain web --wait", []func(*apitest.Backend){stance(policy.Drain, operator), stance(policy.Drain, veto, api.GuardStatus{Guard: "last-pop", Says: api.Weaken})}, 1},
		{"a wait is no veto", "drain web --wait", append(slicesOf(40, stance(policy.Announce, blast, api.GuardStatus{Guard: "blast", Says: api.Wait})), stance(policy.Withdraw, gone)), 0},
		{"a short veto is none", "drain web --wait", []func(*apitest.Backend){stance(policy.Drain, veto), stance(policy.Drain, operator), stance(policy.Withdraw, gone)}, 0},
		{"ended by another", "drain web --wait", []func(*apitest.Backend){stance(policy.Drain, operator), func(b *apitest.Backend) {
			b.Set("web", func(s *api.SliceStatus) {
				s.Stance, s.Intent, s.Reason = policy.Stance{Action: policy.Announce}, policy.Intent{}, policy.Reason{Code: policy.Healthy}
			})
		}}, 1},
		{"held", "drain web --wait", []func(*apitest.Backend){func(b *apitest.Backend) {
			b.Set("web", func(s *api.SliceStatus) { s.Intent = policy.Intent{Kind: policy.IntentPin, By: "uid 1000 (bob)"} })
		}}, 1},
		{"time is over", "drain web --wait --timeout 1s", []func(*apitest.Backend){stance(policy.Drain, operator)}, 1},
		{"json", "drain web --wait -j --slice 2001:db8:100::/48", []func(*apitest.Backend){stance(policy.Drain, operator), stance(policy.Withdraw, gone)}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &script{Backend: apitest.World(), steps: tc.steps}
			status, out, errs := catchment(t.Context(), start(t, b), strings.Fields(tc.args)...)
			if status != tc.status {
				t.Errorf("status %d, want %d", status, tc.status)
			}
			golden(t, "wait-"+strings.ReplaceAll(tc.name, " ", "-"), "$ catchment "+tc.args+"\n"+out+"--- stderr\n"+errs)
		})
	}
}

func slicesOf(n int, f func(*apitest.Backend)) []func(*apitest.Backend) {
	out := make([]func(*apitest.Backend), n)
	for i := range out {
		out[i] = f
	}
	return out
}

// TestInterrupted: who stops waiting is told that the drain goes on.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := &script{Backend: apitest.World(), steps: []func(*apitest.Backend){func(*apitest.Backend) { cancel() }}}
	status, _, errs := catchment(ctx, start(t, b), "drain", "web", "--wait")
	if status != exitFailed || errs != "catchment: stopped waiting; the drain goes on (interrupted)\n" {
		t.Errorf("%d %q", status, errs)
	}
}

// TestLabCommandLine: what needs no lab.
func TestLabCommandLine(t *testing.T) {
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	for _, tc := range []struct {
		args   string
		status int
		want   string
	}{
		{"lab up nothing.clab.yml", exitFailed, "nothing.clab.yml"},
		{"lab up nothing.clab.yml --var X", exitUsage, "want NAME=VALUE"},
		{"lab story nothing.txt", exitFailed, "nothing.txt"},
		{"lab inspect no-such-lab", exitFailed, "no-such-lab is not up"},
		{"lab exec no-such-lab node ls -l", exitFailed, "no-such-lab is not up"},
		{"lab exec no-such-lab node", exitUsage, "requires at least 3 arg"},
		{"lab demo now", exitUsage, "unknown command"},
	} {
		status, _, errs := catchment(t.Context(), "unused", strings.Fields(tc.args)...)
		if status != tc.status || !strings.Contains(errs, tc.want) {
			t.Errorf("%s: %d %q, want %d %q", tc.args, status, errs, tc.status, tc.want)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for s, want := range map[string]int{"KILL": 9, "sigstop": 19, "9": 9, "cont": 18, "0": 0, "WHAT": 0} {
		if sig, err := parseSignal(s); int(sig) != want || (err == nil) != (want != 0) {
			t.Errorf("%s: %v, %v", s, sig, err)
		}
	}
}
