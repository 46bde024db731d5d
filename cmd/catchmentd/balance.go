package main

import (
	"encoding/json"
	"path/filepath"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/balance"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/metrics"
)

// buildBalance makes the load loop. It is there in every mode, so that a
// reload can switch it on and off.
func (d *parts) buildBalance(j *journal.Journal) (err error) {
	o := balance.Options{
		POP: d.cfg.POP, Config: balancing(d.cfg, d.dry), Targets: targets(d.cfg), Controller: d.controller, Peers: d.fleet,
		Measured: d.load, Responses: d.matrix, Journal: j, Dry: d.dry, Logger: d.log,
	}
	if core := d.shared(); core != nil {
		o.Core = sole{core.Core(), core}
	}
	if !d.dry {
		o.Path = filepath.Join(d.cfg.StateDir, "balance.json")
	}
	d.balance, err = balance.New(o)
	return err
}

// balancing is the loop's part of a configuration. A dry run only observes.
func balancing(cfg *config.Config, dry bool) balance.Config {
	b := cfg.Balance
	c := balance.Config{Mode: balance.Mode(b.Mode), Every: b.Every, Unit: b.Unit, Shed: b.Shed, Lend: b.Lend}
	if dry && c.Mode == balance.Act {
		c.Mode = balance.Observe
	}
	if len(b.Cost) > 0 {
		c.Cost = func(from, to policy.POPID) float64 { return b.Cost[to] - b.Cost[from] }
	}
	return c
}

// targets are all services whose load the POP carries.
func targets(cfg *config.Config) []balance.Target {
	var out []balance.Target
	for i := range cfg.Services {
		s := &cfg.Services[i]
		t := balance.Target{ID: s.ID, Slices: s.Slices, VIPs: s.VIPs.Addresses, Moves: cfg.Balance.Moves(s.ID)}
		for _, r := range s.Ladder {
			t.Rungs = append(t.Rungs, r.Name)
		}
		out = append(out, t)
	}
	return out
}

// carries is what other POPs are told of our load; nil while the loop is off,
// and then nobody is asked for theirs.
func (d *parts) carries() json.RawMessage { return d.balance.Message() }

// shows is the loop as the controller shows it.
type shows struct{ d *parts }

func (s shows) Report() balance.Report { return s.d.balance.Report() }

// balanceStats tells the metrics what the loop did.
func (d *parts) balanceStats() metrics.Balance {
	r := d.balance.Report()
	out := metrics.Balance{Disabled: r.Mode == balance.Off, Rounds: map[string]uint64{}}
	for code, n := range r.Rounds {
		out.Rounds[string(code)] = n
	}
	out.Steps = map[string]uint64{"made": r.Made, "refused": r.Refused, "surprise": r.Surprises}
	for _, p := range r.POPs {
		b := metrics.BalancePOP{POP: string(p.POP), Load: p.Load, Capacity: p.Capacity, Room: p.Room}
		for _, v := range r.Reserved {
			if v.To == p.POP {
				b.Reserved += v.High
			}
		}
		for _, x := range r.Loans {
			if x.From == p.POP {
				b.Lent += x.Share
			}
		}
		out.POPs = append(out.POPs, b)
	}
	return out
}
