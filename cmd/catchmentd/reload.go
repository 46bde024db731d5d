package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/pop/config"
)

// reload reads the configuration again. Everything that can be judged is
// judged first; then the parts take it over in the order in which nothing is
// announced that nobody checks. Where one of them cannot, all go back. It runs
// on the controller's goroutine.
func (d *parts) reload(ctx context.Context, old *config.Config) (*config.Config, []string, error) {
	cfg, err := d.origin.read()
	if err != nil {
		return nil, nil, err
	}
	if err := d.judgeReload(old, cfg); err != nil {
		return nil, nil, restartNeeded{err}
	}
	cfg.Core = d.cfg.Core // what runs; a first service alone begins none
	section, err := gobgp.ParseConfig(cfg.BGP)
	if err != nil {
		return nil, nil, err
	}
	checks, err := specs(cfg)
	if err != nil {
		return nil, nil, err
	}
	err = d.speaker.Reload(ctx, section, d.own(cfg), imports(cfg))
	if err == nil {
		err = errors.Join(d.takeChecks(checks), d.bfd.Set(sessions(cfg)), d.measure(cfg), d.seed(cfg), d.balance.Set(balancing(cfg, d.dry), targets(cfg)), d.ingress.adopt(ctx, cfg), d.cache.adopt(d, cfg), d.slow.adopt(cfg), d.dns.adopt(cfg))
	}
	if err != nil {
		return nil, nil, errors.Join(err, d.goBack(ctx, old))
	}
	d.cost.adopt(cfg)
	d.deadline.Store(int64(cfg.Stop.Deadline))
	d.inForce.Store(cfg)
	changes := config.Diff(old, cfg)
	for _, w := range cfg.Warnings {
		changes = append(changes, "warning: "+w)
	}
	return cfg, changes, nil
}

// judgeReload says whether this process can go from old to new; try, which has
// no process, says so by the configurations alone.
func (d *parts) judgeReload(old, new *config.Config) error {
	err := config.CheckReload(old, new)
	if len(d.cfg.Resync.Jump.Services) == 0 && len(new.Resync.Jump.Services) > 0 {
		err = errors.Join(err, errors.New("resync.jump.services: no service could jump at the start, and what that takes of the kernel was not opened: needs a restart; the reload is refused, nothing changed"))
	}
	return err
}

// goBack gives every part the configuration again that it had.
func (d *parts) goBack(ctx context.Context, old *config.Config) error {
	section, err := gobgp.ParseConfig(old.BGP)
	if err == nil {
		err = d.speaker.Reload(ctx, section, d.own(old), imports(old))
	}
	if err = errors.Join(err, d.setChecks(old), d.bfd.Set(sessions(old)), d.measure(old), d.seed(old), d.balance.Set(balancing(old, d.dry), targets(old)), d.ingress.adopt(ctx, old), d.cache.adopt(d, old), d.slow.adopt(old), d.dns.adopt(old)); err != nil {
		return fmt.Errorf("back to the old configuration: %w", err)
	}
	return nil
}
