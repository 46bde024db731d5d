package pop

import (
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
)

// places tells where the POPs are whose location is configured, this one
// included.
func places(cfg *config.Config) map[policy.POPID]*api.Location {
	out := map[policy.POPID]*api.Location{}
	add := func(id policy.POPID, l *config.Location) {
		if l != nil {
			out[id] = &api.Location{Latitude: l.Latitude, Longitude: l.Longitude}
		}
	}
	add(cfg.POP, cfg.Location)
	for _, p := range cfg.Fleet.RIB {
		add(p.POP, p.Location)
	}
	for _, p := range cfg.Fleet.Peers {
		add(p.POP, p.Location)
	}
	return out
}
