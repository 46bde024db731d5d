package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catchment/catchment/cmd/catchment/doctor"
)

var someFindings = []doctor.Finding{
	{Severity: doctor.Bad, Name: "rp-filter", About: "eth1",
		What:    "reverse path filter is strict (the greater of net.ipv4.conf.all.rp_filter and eth1's own is 1)",
		Why:     "the default route is not by eth1: what clients send comes in there, the way back leads elsewhere, and the kernel drops it without a word",
		Command: "sysctl -w net.ipv4.conf.eth1.rp_filter=2", Change: "a file in /etc/sysctl.d keeps it over a reboot"},
	{Severity: doctor.Warn, Name: "clock", What: "the clock is not synchronized", Why: "journals cannot be compared", Command: "timedatectl set-ntp true"},
}

// TestDiagnose: what is printed, and the exit status.
func TestDiagnose(t *testing.T) {
	for _, tc := range []struct {
		name    string
		json    bool
		all     []doctor.Finding
		blind   []string
		skipped []string
		status  error
	}{
		{"findings", false, someFindings, []string{"the daemon: permission denied"}, nil, exitStatus(1)},
		{"json", true, someFindings, nil, nil, exitStatus(1)},
		{"nothing", false, nil, nil, nil, nil},
		{"nothing-json", true, nil, nil, nil, nil},
		{"skipped", false, nil, nil, []string{"RPKI: bgp.rpki-servers names no cache"}, nil},
		{"blind", false, nil, []string{"the daemon: permission denied"}, nil, exitStatus(2)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			a := newApp(&out, &out)
			a.json = tc.json
			if err := a.diagnose(tc.all, tc.blind, tc.skipped); err != tc.status {
				t.Errorf("%v, want %v", err, tc.status)
			}
			golden(t, "doctor-"+tc.name, out.String())
		})
	}
}

// TestDoctor: exit status 2 without anything to go by, 1 and JSON with a
// configuration that is wrong.
func TestDoctor(t *testing.T) {
	dir := t.TempDir()
	socket, path := filepath.Join(dir, "none.sock"), filepath.Join(dir, "c.yaml")
	status, out, errs := catchment(t.Context(), socket, "doctor", "--config", path)
	if status != 2 || out != "" || !strings.HasPrefix(errs, "catchment: cannot look: ") || !strings.Contains(errs, path) {
		t.Errorf("%d %q %q", status, out, errs)
	}
	if err := os.WriteFile(path, []byte("pop: LON\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, out, _ = catchment(t.Context(), socket, "doctor", "-j", "--config", path)
	var v struct{ Findings []doctor.Finding }
	if err := json.Unmarshal([]byte(out), &v); err != nil || status != 1 || len(v.Findings) == 0 || v.Findings[0].Name != "config" {
		t.Errorf("%d %v %s", status, err, out)
	}
}
