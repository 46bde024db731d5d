package main

import (
	"strings"

	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/pop/config"
)

// try judges a configuration as reload does, for a plan. Nobody takes it over,
// and nothing that it names is opened: who may ask for a plan may only read.
func try(old *config.Config, text, format string) (*config.Config, []string, error) {
	o := judged()
	o.TLS, o.Matrix = nil, nil
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
	for i := range cfg.Services {
		for j := range cfg.Services[i].Checks {
			label(&cfg.Services[i], &cfg.Services[i].Checks[j])
		}
	}
	changes := config.Diff(old, cfg)
	for _, w := range cfg.Warnings {
		changes = append(changes, "warning: "+w)
	}
	return cfg, changes, nil
}
