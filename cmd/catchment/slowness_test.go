package main

import (
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestSlownessCommands: what people see of client networks.
func TestSlownessCommands(t *testing.T) {
	fake := new(apitest.Slowness)
	socket, without := serveWorld(t, api.Options{Slowness: fake}), serveWorld(t, api.Options{})
	for _, c := range []commandCase{
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
		c.run(t)
	}
	if q := fake.Asked[1]; !q.Slow || q.Sort != "samples" || q.Limit != 2 {
		t.Errorf("asked %+v", q)
	}
}
