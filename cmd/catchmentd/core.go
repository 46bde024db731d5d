package main

import (
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/core/host"
)

// buildCore makes this POP's share of the control core; none where the
// configuration has no core.mode. It comes first: others are made with it.
func (d *parts) buildCore() {
	if d.cfg.Core.Mode != "" {
		d.core = host.New(d.cfg.Core, string(d.cfg.POP), d.log)
	}
}

// coreOf is the core as the controller sees it; nil where there is none.
func (d *parts) coreOf() pop.Core {
	if d.core == nil {
		return nil
	}
	return d.core
}
