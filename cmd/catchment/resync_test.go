package main

import (
	"testing"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestResyncCommands: what people see of flows that go on elsewhere.
func TestResyncCommands(t *testing.T) {
	socket, without := serveWorld(t, api.Options{Resync: apitest.ResyncWorld()}), serveWorld(t, api.Options{})
	for _, c := range []commandCase{
		{"resync", 0, socket, []string{"resync"}},
		{"resync-json", 0, socket, []string{"resync", "-j"}},
		{"resync-flows", 0, socket, []string{"resync", "flows"}},
		{"resync-flows-pop", 0, socket, []string{"resync", "flows", "FRA", "--limit", "1"}},
		{"resync-flows-unknown", 1, socket, []string{"resync", "flows", "PAR"}},
		{"resync-none", 1, without, []string{"resync"}},
		{"resync-help", 0, socket, []string{"resync", "--help"}},
	} {
		c.run(t)
	}
}
