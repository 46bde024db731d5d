package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/health"
	"github.com/catchment/catchment/health/load"
	"github.com/catchment/catchment/health/probe"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/ingress"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/metrics"
)

// routeControl is the parts of the route-controller mode.
type routeControl struct {
	*ingress.Controller
	layers *ingress.Layers
	checks *health.Runner // of the targets
	demand *load.Runner   // of the routers
	begun  remember
}

// remember writes the state down once at the start: a POP without slices has
// no other reason to, and without it nobody would know after a crash that
// there was a life before.
type remember struct {
	controller *pop.Controller
	store      *pop.Store
}

func (r remember) Run(ctx context.Context) error {
	r.store.Save(r.controller.Saved(ctx))
	return nil
}

func (r remember) String() string { return "ingress state" }

// buildIngress makes them; none where no ingress routers are configured.
func (d *parts) buildIngress(store *pop.Store, j *journal.Journal, m *metrics.Metrics) error {
	if !d.cfg.Ingress.On() {
		return nil
	}
	path := filepath.Join(d.cfg.StateDir, "ingress.json")
	restore := store.Load().Fresh(time.Now()) && !d.dry
	var kept ingress.Routes
	if restore {
		var err error
		if kept, err = ingress.Remembered(path, &d.cfg.Ingress); err != nil {
			d.log.Error("ingress: assignments begin anew", "err", err)
			restore = false
		}
	}
	r := &routeControl{layers: ingress.NewLayers(d.speaker, kept), demand: load.NewRunner(d.log), begun: remember{d.controller, store}}
	r.checks = health.NewRunner(health.Options{Logger: d.log, OnVerdict: func(health.State) { r.Look() }})
	var err error
	r.Controller, err = ingress.New(ingress.Options{
		Config: d.cfg, Layers: r.layers, Own: d.controller, Fleet: d.fleet.View, Checks: r.checks.States, Demand: r.demand.Snapshot,
		Journal: j, OnAlarm: m.SetAlarm, Path: path, Restore: restore, DryRun: d.dry, Logger: d.log,
	})
	if err != nil {
		return err
	}
	d.ingress = r
	m.WatchIngress(r.stats)
	return r.measure(d.cfg)
}

// tasks are the parts in the order in which they start, after the controller
// of the POP.
func (r *routeControl) tasks() []task {
	if r == nil {
		return nil
	}
	return []task{named{r.checks, "ingress checks"}, named{r.demand, "ingress demand"}, r.Controller, r.begun}
}

// adopt makes every part go by another configuration.
func (r *routeControl) adopt(ctx context.Context, cfg *config.Config) error {
	if r == nil {
		return nil
	}
	return errors.Join(r.measure(cfg), r.Adopt(ctx, cfg))
}

// measure has the targets checked and the routers' demand measured.
func (r *routeControl) measure(cfg *config.Config) error {
	c := &cfg.Ingress
	var specs []health.Spec
	for i := range c.Targets {
		t := &c.Targets[i]
		if t.Check == nil {
			continue
		}
		p := *t.Check
		p.Label = probe.Label{Service: string(ingress.CheckService(t.POP)), Check: "target"}
		checker, err := probe.New(p)
		if err != nil {
			return fmt.Errorf("ingress.targets[%d].check (%s): %w", i, t.POP, err)
		}
		specs = append(specs, health.Spec{
			ID: "target", Service: ingress.CheckService(t.POP), Checker: checker, Key: p.Key(), Weight: 1, Jitter: 0.1,
			Interval: c.Check.Interval, Fast: min(c.Check.Fast, c.Check.Interval), Timeout: c.Check.Timeout, Rise: c.Check.Rise, Fall: c.Check.Fall,
		})
	}
	if err := r.checks.Set(specs); err != nil {
		return err
	}
	plan := load.Plan{Timing: cfg.Load.Timing}
	for i := range c.Routers {
		for k := range c.Routers[i].Sources {
			s := &c.Routers[i].Sources[k]
			sampler, units, err := load.NewPage(s.Page)
			if err != nil {
				return fmt.Errorf("ingress.routers[%d].sources[%d]: %w", i, k, err)
			}
			plan.Sources = append(plan.Sources, load.Source{
				Name: ingress.SourceName(c.Routers[i].Name, s.Slice), Key: fmt.Sprint(s.Page), Sampler: sampler, Units: units,
			})
		}
	}
	return r.demand.Set(plan)
}

// stats tells the metrics what routers are told.
func (r *routeControl) stats() metrics.Ingress {
	s := r.Sums()
	out := metrics.Ingress{Waiting: s.Waiting, Plain: s.Plain, Moves: map[string]uint64{}}
	for code, n := range s.Moves {
		out.Moves[string(code)] = n
	}
	for _, t := range s.Targets {
		out.Targets = append(out.Targets, metrics.IngressTarget{POP: string(t.POP), Assigned: t.Assigned, Load: t.Load, Capacity: t.Capacity})
	}
	return out
}

// ingressOf answers for the control API; nil where no routers are configured.
// The parts are made later than the API.
func (d *parts) ingressOf() api.Ingress {
	if !d.cfg.Ingress.On() {
		return nil
	}
	return ingressReader{d}
}

type ingressReader struct{ d *parts }

func (i ingressReader) Ingress(context.Context) (api.IngressReport, error) {
	if i.d.ingress != nil {
		if r, ok := i.d.ingress.Report(); ok {
			return r, nil
		}
	}
	return api.IngressReport{}, api.Errorf(api.Unavailable, "nothing is decided yet")
}

// alarms are those of the last decision.
func (r *routeControl) alarms() []api.Alarm {
	report, _ := r.Report()
	return report.Alarms
}

// Status is the controller's, with what ingress routers are told and the alarms
// of that.
func (b backend) Status(ctx context.Context) (api.Status, error) {
	st, err := b.Controller.Status(ctx)
	if r := b.d.ingress; r != nil && err == nil {
		n := r.Sums()
		st.Alarms = append(slices.Clip(st.Alarms), r.alarms()...)
		st.Ingress = &api.IngressSummary{Routers: n.Routers, Assigned: n.Assigned, Waiting: n.Waiting, Plain: n.Plain}
	}
	if b.d.cache != nil && err == nil {
		b.d.cache.into(&st)
	}
	return st, err
}

// set hands what the POP announces to the speaker, with what ingress routers
// are told.
func (d *parts) set(ctx context.Context, set []bgp.Announcement) error {
	if d.ingress == nil {
		return d.speaker.Set(ctx, set)
	}
	return d.ingress.layers.Set(ctx, set)
}

// announced is what of the last set is in force.
func (d *parts) announced() []bgp.Announcement {
	if d.ingress == nil {
		return d.speaker.Announced()
	}
	return d.ingress.layers.Announced()
}

// own are the prefixes that may leave at all.
func (d *parts) own(cfg *config.Config) []netip.Prefix {
	return slices.Concat(d.controller.Own(cfg), cfg.Ingress.Prefixes)
}

// endIngress lets nothing more be told to routers: the speaker ends.
func (d *parts) endIngress() {
	if d.ingress != nil {
		d.ingress.layers.Close()
	}
}

var _ ingress.Own = (*pop.Controller)(nil)
