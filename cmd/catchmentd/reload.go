package main

import (
	"context"
	"errors"

	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/pop/config"
)

// reload reads the configuration again. Everything that can be judged is
// judged first; then the parts take it over in the order in which nothing is
// announced that nobody checks. It runs on the controller's goroutine.
func (d *parts) reload(ctx context.Context, old *config.Config) (*config.Config, []string, error) {
	cfg, err := load(d.path)
	if err != nil {
		return nil, nil, err
	}
	if err := config.CheckReload(old, cfg); err != nil {
		return nil, nil, err
	}
	section, err := gobgp.ParseConfig(cfg.BGP)
	if err != nil {
		return nil, nil, err
	}
	checks, err := specs(cfg)
	if err != nil {
		return nil, nil, err
	}
	if err := d.speaker.Reload(ctx, section, d.controller.Own(cfg), imports(cfg)); err != nil {
		return nil, nil, err
	}
	if err := errors.Join(d.takeChecks(checks), d.bfd.Set(sessions(cfg))); err != nil {
		return nil, nil, err
	}
	changes := config.Diff(old, cfg)
	for _, w := range cfg.Warnings {
		changes = append(changes, "warning: "+w)
	}
	return cfg, changes, nil
}
