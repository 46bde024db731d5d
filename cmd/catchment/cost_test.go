package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestCostCommands: what people see of money saved and harm done.
func TestCostCommands(t *testing.T) {
	dir, err := os.MkdirTemp("", "c")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	on, off, without := filepath.Join(dir, "s"), filepath.Join(dir, "t"), filepath.Join(dir, "w")
	serveAPI(t, api.Options{Socket: on, Backend: apitest.World(), Cost: apitest.CostWorld(), Logger: slog.New(slog.DiscardHandler)})
	stopped := apitest.CostWorld()
	before := stopped.State.Month
	before.From, before.To = before.From.AddDate(0, -1, 0), before.From
	stopped.State.Before = &before
	s := &stopped.State.Steering
	s.Stopped, s.Since, s.Why, s.Latency = true, apitest.Now.Add(-20*time.Minute), "stalls", 0
	s.Detail = "steering by cost and slowness is stopped: 0.0175 more stalls a request of players that were moved than of those left alone in the last 15m0s"
	serveAPI(t, api.Options{Socket: off, Backend: apitest.World(), Cost: stopped, Logger: slog.New(slog.DiscardHandler)})
	serveAPI(t, api.Options{Socket: without, Backend: apitest.World(), Logger: slog.New(slog.DiscardHandler)})
	for _, tc := range []struct {
		name   string
		status int
		socket string
		args   []string
	}{
		{"cost", 0, on, []string{"cost"}},
		{"cost-pop", 0, on, []string{"cost", "LON", "--days", "1"}},
		{"cost-unknown", 1, on, []string{"cost", "PAR"}},
		{"cost-json", 0, on, []string{"cost", "-j", "--days", "0"}},
		{"cost-days", 1, on, []string{"cost", "--days", "1000"}},
		{"cost-stopped", 0, off, []string{"cost", "--days", "0"}},
		{"cost-none", 1, without, []string{"cost"}},
		{"cost-help", 0, on, []string{"cost", "--help"}},
	} {
		status, out, errs := catchment(t.Context(), tc.socket, tc.args...)
		if status != tc.status {
			t.Errorf("%s: status %d, want %d: %s", tc.name, status, tc.status, errs)
		}
		golden(t, tc.name, strings.ReplaceAll("$ catchment "+strings.Join(tc.args, " ")+"\n"+out+errs, tc.socket, "SOCKET"))
	}
}
