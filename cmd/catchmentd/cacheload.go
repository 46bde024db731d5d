package main

import (
	"context"
	"fmt"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
)

// carried is what our own cache server has carried, counted since its start.
type carried struct {
	Requests    uint64
	Sent        uint64 // bytes to clients
	Connections int64  // open now
}

// cacheMeter samples what our own cache server carries, for the service whose
// addresses it serves.
type cacheMeter struct {
	carried func() carried
	epoch   func() uint64 // another one: the counters began anew
}

// Sample implements load.Sampler.
func (m cacheMeter) Sample(context.Context) (load.Reading, error) {
	c, epoch := m.carried(), m.epoch()
	return load.Reading{
		{Name: "cache", Unit: load.Requests, Kind: load.Counter, Value: float64(c.Requests), Epoch: epoch},
		{Name: "cache", Unit: load.Out, Kind: load.Counter, Value: 8 * float64(c.Sent), Epoch: epoch},
		{Name: "cache", Unit: load.Connections, Kind: load.Gauge, Value: float64(c.Connections)},
	}, nil
}

// cacheSources are the sources that measure our own cache server. Its requests
// are counted by nobody else. Bit/s and connections count only where nobody
// else tells them: links count the same bytes, and the kernel's connections of
// the service addresses are the same connections.
func cacheSources(cfg *config.Config, m load.Sampler) []load.Source {
	if !cfg.Cache.On() {
		return nil
	}
	split := map[string]policy.ServiceID{}
	if svc := cfg.CachedService(); svc != "" {
		split["cache"] = svc
	}
	units := []load.Unit{load.Out}
	if len(connections(cfg)) == 0 {
		units = append(units, load.Connections)
	}
	return []load.Source{
		{Name: "cache:requests", Key: fmt.Sprint(split), Units: []load.Unit{load.Requests}, Sampler: m, Split: split},
		{Name: "cache:traffic", Key: fmt.Sprint(split, units), Units: units, Fallback: true, Sampler: m, Split: split},
	}
}
