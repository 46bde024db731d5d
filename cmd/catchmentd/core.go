package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/core/host"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/metrics"
)

// buildCore makes this POP's share of the control core; none where the
// configuration wants none. It comes first: others are made with it.
func (d *parts) buildCore() {
	if d.cfg.Core.Mode == "" {
		return
	}
	d.core = host.New(d.cfg.Core, string(d.cfg.POP), d.log)
	if d.dry {
		d.core.Dry()
	}
}

// coreAdmin is the core as operators use it; nil where there is none.
func (d *parts) coreAdmin() api.Core {
	if d.core == nil {
		return nil
	}
	return admin{host.Admin{Host: d.core, Configs: d.origin.fetched, Judge: judgeOther, Heard: d.heard}, d.relay}
}

// heard reports whether another POP has been heard of lately.
func (d *parts) heard(name string) bool {
	return d.fleet != nil && slices.ContainsFunc(d.fleet.Peers(time.Now()), func(p fleet.PeerReport) bool {
		return string(p.POP) == name && !p.Stale
	})
}

// withCore is the backend, with how the core is.
type withCore struct{ backend }

// Status is the POP's, with the core's.
func (b withCore) Status(ctx context.Context) (api.Status, error) {
	st, err := b.backend.Status(ctx)
	if admin := b.d.coreAdmin(); admin != nil && err == nil {
		if core, err := admin.CoreStatus(ctx); err == nil {
			st.Core = &core
		}
	}
	return st, err
}

// judgeOther judges the configuration of some POP. Its own file may say more,
// so what is not set is no mistake, and what it names is on another host.
func judgeOther(text string, whole bool) error {
	o := judged()
	o.Partial, o.Env, o.Group, o.TLS, o.Matrix, o.SitesFile, o.Cache = true, nil, nil, nil, nil, nil, nil
	if !whole {
		o.BGP = nil
	}
	_, err := config.Parse(strings.NewReader(text), "yaml", o)
	return err
}

// coreOf is the core as the controller sees it; nil where there is none.
func (d *parts) coreOf() pop.Core {
	if d.core == nil {
		return nil
	}
	return d.core
}

// shared is the core that other POPs have as well; nil where there is none.
func (d *parts) shared() *host.Host {
	if d.cfg.Core.Alone {
		return nil
	}
	return d.core
}

// orders carries out what operators ask of this POP at others.
type orders struct{ d *parts }

func (orders) String() string { return "orders" }

func (o orders) Run(ctx context.Context) error {
	if o.d.shared() != nil {
		select {
		case <-o.d.core.Named():
		case <-ctx.Done():
			return nil
		}
	}
	o.d.core.Orders(ctx, func(ctx context.Context, call, by string, c api.Change) (api.Result, error) {
		return api.Carry(ctx, backend{o.d.controller, o.d}, call, by, c)
	})
	return nil
}

// watchCore has the metrics tell of the core, where there is one.
func (d *parts) watchCore(m *metrics.Metrics) {
	if d.core == nil {
		return
	}
	m.WatchCore(func() metrics.Core {
		s := d.core.Status()
		out := metrics.Core{
			Members: len(s.Members), Revision: s.Revision, Database: s.Size, Refused: map[string]uint64{},
			Leader: d.cfg.Core.Mode == config.CoreEmbedded && s.Name != "" && s.Name == s.Leader,
		}
		out.Reachable, _ = d.core.Reachable()
		taken, refused := d.core.Core().Writes()
		out.Taken = taken
		for code, n := range refused {
			out.Refused[string(code)] = n
		}
		return out
	})
}
