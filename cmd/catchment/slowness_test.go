package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestSlownessCommands: what people see of client networks.
func TestSlownessCommands(t *testing.T) {
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, without := filepath.Join(dir, "s"), filepath.Join(dir, "w")
	fake := new(apitest.Slowness)
	serveAPI(t, api.Options{Socket: socket, Backend: apitest.World(), Slowness: fake, Logger: slog.New(slog.DiscardHandler)})
	serveAPI(t, api.Options{Socket: without, Backend: apitest.World(), Logger: slog.New(slog.DiscardHandler)})
	for _, tc := range []struct {
		name   string
		status int
		socket string
		args   []string
	}{
		{"slowness", 0, socket, []string{"slowness"}},
		{"slowness-slow", 0, socket, []string{"slowness", "--slow", "--sort", "samples", "--limit", "2"}},
		{"slowness-json", 0, socket, []string{"slowness", "203.0.113.0/24", "-j"}},
		{"slowness-one", 0, socket, []string{"slowness", "203.0.113.9"}},
		{"slowness-listed", 0, socket, []string{"slowness", "2001:db8:7::1"}},
		{"slowness-nothing", 0, socket, []string{"slowness", "192.0.2.9"}},
		{"slowness-no-network", 1, socket, []string{"slowness", "somewhere"}},
		{"slowness-no-order", 1, socket, []string{"slowness", "--sort", "colour"}},
		{"slowness-status", 0, socket, []string{"slowness", "status"}},
		{"slowness-export", 0, socket, []string{"slowness", "export"}},
		{"slowness-none", 1, without, []string{"slowness"}},
		{"slowness-help", 0, socket, []string{"slowness", "--help"}},
	} {
		status, out, errs := catchment(t.Context(), tc.socket, tc.args...)
		if status != tc.status {
			t.Errorf("%s: status %d, want %d: %s", tc.name, status, tc.status, errs)
		}
		golden(t, tc.name, strings.ReplaceAll("$ catchment "+strings.Join(tc.args, " ")+"\n"+out+errs, tc.socket, "SOCKET"))
	}
	if q := fake.Asked[1]; !q.Slow || q.Sort != "samples" || q.Limit != 2 {
		t.Errorf("asked %+v", q)
	}
}
