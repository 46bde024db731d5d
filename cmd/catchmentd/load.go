package main

import (
	"fmt"
	"net/netip"
	"runtime"

	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/metrics"
)

// measure has the load of a configuration measured.
func (d *parts) measure(cfg *config.Config) error {
	plan, err := loadPlan(cfg)
	if err != nil {
		return err
	}
	if d.cache != nil {
		plan.Sources = append(plan.Sources, cacheSources(cfg, cacheMeter{d.cache.carried, d.cache.starts})...)
	}
	return d.load.Set(plan)
}

// loadPlan is what a configuration wants measured. Names that this makes have
// a colon, which those of the configuration cannot have.
func loadPlan(cfg *config.Config) (load.Plan, error) {
	c := &cfg.Load
	p := load.Plan{Timing: c.Timing, POP: c.Capacity, Host: c.HostCapacity, Hosts: c.Hosts, Services: map[policy.ServiceID]load.Capacity{}}
	for i := range cfg.Services {
		if s := &cfg.Services[i]; s.Capacity != (load.Capacity{}) {
			p.Services[s.ID] = s.Capacity
		}
	}
	add := func(name, key string, s load.Sampler, units ...load.Unit) {
		p.Sources = append(p.Sources, load.Source{Name: name, Key: key, Sampler: s, Units: units})
	}
	pressure := []load.Unit{load.PressureCPU, load.PressureMemory, load.PressureIO}
	if c.System {
		add("host:cpu", "", load.NewCPU(), load.CPU)
		add("host:pressure", "", load.NewPressure(), pressure...)
	}
	if c.Cgroup != "" {
		add("cgroup:", c.Cgroup, load.NewCgroup(c.Cgroup, runtime.NumCPU()), append(pressure, load.CPU)...)
	}
	for _, l := range c.Links {
		add("link:"+l.Device, fmt.Sprint(l), load.NewLink(l), load.In, load.Out)
	}
	p.Sources = append(p.Sources, connections(cfg)...)
	for _, s := range c.Sources {
		sampler, units, err := load.NewPage(s.Page)
		if err != nil {
			return load.Plan{}, fmt.Errorf("load: source %s: %w", s.Name, err)
		}
		p.Sources = append(p.Sources, load.Source{Name: s.Name, Key: fmt.Sprint(s.Page), Scope: s.Scope, Sampler: sampler, Units: units})
	}
	return p, nil
}

// connections is the source that counts the connections of the service
// addresses on this host: those of the services, too, where it is the only one.
func connections(cfg *config.Config) []load.Source {
	s := load.Source{Name: "host:connections", Fallback: true, Units: []load.Unit{load.Connections}, Split: map[string]policy.ServiceID{}}
	var addrs []netip.Addr
	for i := range cfg.Services {
		for _, a := range cfg.Services[i].VIPs.Addresses {
			addrs = append(addrs, a)
			if cfg.Load.Hosts <= 1 {
				s.Split[a.String()] = cfg.Services[i].ID
			}
		}
	}
	if !cfg.Load.Connections || len(addrs) == 0 {
		return nil
	}
	s.Key, s.Sampler = fmt.Sprint(addrs), load.NewConnections(addrs)
	return []load.Source{s}
}

// loadStats tells the metrics what is measured.
func loadStats(s load.Snapshot) metrics.Load {
	var out metrics.Load
	add := func(of string, subject *load.Subject) {
		for u := range load.Units {
			if v := subject.Load[u]; subject.Measured[u] {
				out.Values = append(out.Values, metrics.LoadValue{
					Of: of, Name: subject.Name, Unit: u.String(), Value: v.Value, Known: v.Known, Capacity: subject.Capacity[u], At: v.At,
				})
			}
		}
	}
	add("pop", &s.POP)
	for i := range s.Hosts {
		add("host", &s.Hosts[i])
	}
	for i := range s.Services {
		add("service", &s.Services[i])
	}
	for i := range s.Sources {
		if src := &s.Sources[i]; !src.Absent {
			out.Sources = append(out.Sources, metrics.LoadSource{Name: src.Name, Works: src.Error == ""})
		}
	}
	return out
}
