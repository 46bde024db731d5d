package main

import (
	"strings"

	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/pop/config"
)

// try judges a configuration as reload does, for a plan. Nobody takes it over:
// its checks are made, so that what is wrong with them is found, and none is
// run. Of the files that it names only those are opened of which nothing can
// show in an answer.
func try(old *config.Config, text, format string) (*config.Config, []string, error) {
	o := judged()
	o.TLS, o.Matrix, o.SitesFile, o.Cache = nil, nil, nil, nil
	cfg, err := config.Parse(strings.NewReader(text), format, o)
	if err != nil {
		return nil, nil, err
	}
	if err := config.CheckReload(old, cfg); err != nil {
		return nil, nil, err
	}
	if _, err := gobgp.ParseConfig(cfg.BGP); err != nil {
		return nil, nil, err
	}
	if _, err := specs(cfg); err != nil {
		return nil, nil, err
	}
	changes := config.Diff(old, cfg)
	for _, w := range cfg.Warnings {
		changes = append(changes, "warning: "+w)
	}
	return cfg, changes, nil
}
