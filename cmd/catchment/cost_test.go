package main

import (
	"testing"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/api/apitest"
)

// TestCostCommands: what people see of money saved and harm done.
func TestCostCommands(t *testing.T) {
	stopped := apitest.CostWorld()
	before := stopped.State.Month
	before.From, before.To = before.From.AddDate(0, -1, 0), before.From
	stopped.State.Before = &before
	s := &stopped.State.Steering
	s.Stopped, s.Since, s.Why, s.Latency = true, apitest.Now.Add(-20*time.Minute), "stalls", 0
	s.Detail = "steering by cost and slowness is stopped: 0.0175 more stalls a request of players that were moved than of those left alone in the last 15m0s"
	on, off, without := serveWorld(t, api.Options{Cost: apitest.CostWorld()}), serveWorld(t, api.Options{Cost: stopped}), serveWorld(t, api.Options{})
	for _, c := range []commandCase{
		{"cost", 0, on, []string{"cost"}},
		{"cost-pop", 0, on, []string{"cost", "LON", "--days", "1"}},
		{"cost-unknown", 1, on, []string{"cost", "PAR"}},
		{"cost-json", 0, on, []string{"cost", "-j", "--days", "0"}},
		{"cost-days", 1, on, []string{"cost", "--days", "1000"}},
		{"cost-stopped", 0, off, []string{"cost", "--days", "0"}},
		{"cost-none", 1, without, []string{"cost"}},
		{"cost-help", 0, on, []string{"cost", "--help"}},
	} {
		c.run(t)
	}
}
