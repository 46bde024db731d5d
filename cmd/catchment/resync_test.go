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

// TestResyncCommands: what people see of flows that go on elsewhere.
func TestResyncCommands(t *testing.T) {
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, without := filepath.Join(dir, "s"), filepath.Join(dir, "w")
	serveAPI(t, api.Options{Socket: socket, Backend: apitest.World(), Resync: apitest.ResyncWorld(), Logger: slog.New(slog.DiscardHandler)})
	serveAPI(t, api.Options{Socket: without, Backend: apitest.World(), Logger: slog.New(slog.DiscardHandler)})
	for _, tc := range []struct {
		name   string
		status int
		socket string
		args   []string
	}{
		{"resync", 0, socket, []string{"resync"}},
		{"resync-json", 0, socket, []string{"resync", "-j"}},
		{"resync-flows", 0, socket, []string{"resync", "flows"}},
		{"resync-flows-pop", 0, socket, []string{"resync", "flows", "FRA", "--limit", "1"}},
		{"resync-flows-unknown", 1, socket, []string{"resync", "flows", "PAR"}},
		{"resync-none", 1, without, []string{"resync"}},
		{"resync-help", 0, socket, []string{"resync", "--help"}},
	} {
		status, out, errs := catchment(t.Context(), tc.socket, tc.args...)
		if status != tc.status {
			t.Errorf("%s: status %d, want %d: %s", tc.name, status, tc.status, errs)
		}
		golden(t, tc.name, strings.ReplaceAll("$ catchment "+strings.Join(tc.args, " ")+"\n"+out+errs, tc.socket, "SOCKET"))
	}
}
