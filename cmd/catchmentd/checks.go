package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/probe"
	"github.com/catchment/catchment/health/socket"
	"github.com/catchment/catchment/pop/config"
)

// specs makes the checks of a configuration.
func specs(cfg *config.Config) ([]health.Spec, error) {
	var out []health.Spec
	var errs []error
	for i := range cfg.Services {
		for j := range cfg.Services[i].Checks {
			c := &cfg.Services[i].Checks[j]
			label(&cfg.Services[i], c)
			checker, err := probe.New(c.Probe)
			if err != nil {
				errs = append(errs, fmt.Errorf("services[%d].checks[%d] (%s): %w", i, j, c.ID, err))
				continue
			}
			out = append(out, c.Spec(cfg.Services[i].ID, checker))
		}
	}
	return out, errors.Join(errs...)
}

// label tells a probe whose it is, which is a part of its key.
func label(svc *config.Service, c *config.Check) {
	c.Probe.Label = probe.Label{Service: string(svc.ID), Check: string(c.ID)}
}

func (d *parts) setChecks(cfg *config.Config) error {
	checks, err := specs(cfg)
	if err != nil {
		return err
	}
	return d.takeChecks(checks)
}

// takeChecks hands checks to the runner, and what they watch to the watcher.
func (d *parts) takeChecks(checks []health.Spec) error {
	var addrs []netip.AddrPort
	var pidFiles []string
	for _, c := range checks {
		addrs = append(addrs, c.Watch...)
		if c.PIDFile != "" {
			pidFiles = append(pidFiles, c.PIDFile)
		}
	}
	d.watcher.Set(addrs, pidFiles)
	return d.runner.Set(checks)
}

// loads counts connections by asking the kernel.
type loads struct{}

func (loads) Connections(ctx context.Context, addrs []netip.Addr) (map[netip.Addr]int, error) {
	return socket.Connections(ctx, addrs)
}
