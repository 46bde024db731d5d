package socket

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/probe"
	"github.com/catchment/catchment/policy"
)

// A killed service is down at once, although the interval is an hour.
func TestKillIsDownAtOnce(t *testing.T) {
	addVIPs(t)
	for _, tc := range []struct {
		name, listen, check, by string
		pidFile                 bool
	}{
		{"IPv4", "tcp4/192.0.2.1:80", "192.0.2.1:80", health.BySocket, false},
		{"IPv6", "tcp6/[2001:db8::1]:80", "[2001:db8::1]:80", health.BySocket, false},
		{"IPv4 wildcard", "tcp4/0.0.0.0:80", "192.0.2.1:80", health.BySocket, false},
		{"IPv4 by dual-stack wildcard", "tcp/[::]:80", "192.0.2.1:80", health.BySocket, false},
		{"IPv6 by dual-stack wildcard", "tcp/[::]:80", "[2001:db8::1]:80", health.BySocket, false},
		{"IPv4 by process", "tcp4/192.0.2.1:80", "192.0.2.1:80", health.ByProcess, true},
		{"IPv6 by process", "tcp6/[2001:db8::1]:80", "[2001:db8::1]:80", health.ByProcess, true},
		{"UDP IPv4", "udp/192.0.2.1:80", "192.0.2.1:80", health.BySocket, false},
		{"UDP IPv6", "udp/[2001:db8::1]:80", "[2001:db8::1]:80", health.BySocket, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			service := startService(t, tc.listen)
			config := probe.Config{Type: probe.TCP, Address: tc.check}
			if strings.HasPrefix(tc.listen, "udp") {
				config = probe.Config{Type: probe.UDP, Address: tc.check, Send: "x"}
			}
			checker, err := probe.New(config)
			if err != nil {
				t.Fatal(err)
			}
			spec := health.Spec{ID: "check", Service: "web", Checker: checker, Key: config.Key(),
				Interval: time.Hour, Timeout: 10 * time.Second, Rise: 1, Fall: 3}
			if tc.pidFile {
				spec.PIDFile = filepath.Join(t.TempDir(), "pid")
				if err := os.WriteFile(spec.PIDFile, fmt.Appendln(nil, service.Process.Pid), 0o600); err != nil {
					t.Fatal(err)
				}
			} else {
				spec.Watch = []netip.AddrPort{netip.MustParseAddrPort(tc.check)}
			}
			verdicts := make(chan health.State, 10)
			runner := health.NewRunner(health.Options{OnVerdict: func(s health.State) { verdicts <- s }})
			if err := runner.Set([]health.Spec{spec}); err != nil {
				t.Fatal(err)
			}
			w := NewWatcher(Options{OnHint: runner.Hint})
			w.Set(health.Watched([]health.Spec{spec}))
			start(t, w.Run)
			waitFor(t, "self test", w.Works)
			start(t, runner.Run)
			if s := soon(t, verdicts, "first verdict"); s.Verdict != policy.Up {
				t.Fatalf("first verdict %v: %s", s.Verdict, s.Last.Detail)
			}
			killed := time.Now()
			if err := service.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			s := soon(t, verdicts, "second verdict")
			t.Logf("killed to hint %v, to verdict %v", s.DetectedAt.Sub(killed), time.Since(killed))
			if s.Verdict != policy.Down || s.DetectedBy != tc.by || !s.Last.Conclusive {
				t.Errorf("%v by %s: %+v", s.Verdict, s.DetectedBy, s.Last)
			}
		})
	}
}

// A stopped service, whose connections the kernel still accepts, costs its
// timeout once, not once for each of fall probes.
func TestStopCostsOneTimeout(t *testing.T) {
	addVIPs(t)
	service := startService(t, "udp/192.0.2.1:80")
	checker, err := probe.New(probe.Config{Type: probe.UDP, Address: "192.0.2.1:80", Send: "x"})
	if err != nil {
		t.Fatal(err)
	}
	spec := health.Spec{ID: "check", Service: "web", Checker: checker, Key: "k",
		Interval: 200 * time.Millisecond, Fast: 50 * time.Millisecond, Timeout: 2 * time.Second, Rise: 2, Fall: 3}
	verdicts := make(chan health.State, 10)
	runner := health.NewRunner(health.Options{OnVerdict: func(s health.State) { verdicts <- s }})
	if err := runner.Set([]health.Spec{spec}); err != nil {
		t.Fatal(err)
	}
	start(t, runner.Run)
	if s := soon(t, verdicts, "first verdict"); s.Verdict != policy.Up {
		t.Fatalf("first verdict %v: %s", s.Verdict, s.Last.Detail)
	}
	stopped := time.Now()
	if err := service.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s := soon(t, verdicts, "second verdict")
	took := time.Since(stopped)
	t.Logf("stopped to verdict %v", took)
	if s.Verdict != policy.Down || s.Streak != spec.Fall || took >= 2*spec.Timeout {
		t.Errorf("%v after %v, %d fails: %+v", s.Verdict, took, s.Streak, s.Last)
	}
	if err := service.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if s := soon(t, verdicts, "third verdict"); s.Verdict != policy.Up {
		t.Errorf("continued: %v", s.Verdict)
	}
}
