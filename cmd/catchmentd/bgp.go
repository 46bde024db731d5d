package main

import (
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/catchment/catchment/bgp/bfd"
	"github.com/catchment/catchment/bgp/gobgp"
	"github.com/catchment/catchment/pop"
	"github.com/catchment/catchment/pop/config"
)

// buildBGP makes the speaker and what stands beside it.
func (d *parts) buildBGP(store *pop.Store, dry bool) error {
	section, err := gobgp.ParseConfig(d.cfg.BGP)
	if err != nil {
		return err
	}
	if d.cfg.FIB.Install && !dry {
		if d.routes, err = newRoutes(d.cfg.FIB, d.log); err != nil {
			return err
		}
	}
	restarting, err := store.Restarting()
	if err != nil {
		d.log.Error("the state cannot be read", "err", err)
	}
	d.speaker, err = gobgp.New(d.withAPI(gobgp.Options{
		Config: section, Logger: d.log, Own: d.own(d.cfg), Import: imports(d.cfg), ImportAll: d.cfg.FIB.Install,
		Transit: d.cfg.FIB.Transit, Restarting: restarting && !dry,
		OnPeer: d.controller.OnPeer, OnPath: d.onPath, OnWritten: d.controller.OnWritten,
		OnForced: d.onForced,
	}))
	if err != nil {
		return err
	}
	var resume []bfd.Handover
	if !dry {
		if resume, err = bfd.TakeHandover(d.handover()); err != nil {
			d.log.Error("BFD sessions begin anew", "err", err)
		}
	}
	d.resets = newResets(d.speaker.ResetPeer, d.log)
	d.bfd, err = bfd.New(bfd.Options{Sessions: sessions(d.cfg), Logger: d.log, OnChange: d.onBFD, Resume: resume})
	return err
}

// handover is the file by which BFD sessions outlive a restart.
func (d *parts) handover() string { return filepath.Join(d.cfg.StateDir, "bfd.json") }

// imports are the prefixes whose learned paths tell what other POPs do.
func imports(cfg *config.Config) []netip.Prefix {
	if len(cfg.Fleet.RIB) == 0 {
		return nil
	}
	var ps []netip.Prefix
	for _, s := range cfg.Services {
		for _, id := range slices.Concat(s.Slices, s.Cover) {
			ps = append(ps, id.Prefix())
		}
	}
	return append(ps, cfg.Ingress.Prefixes...)
}

func sessions(cfg *config.Config) []bfd.SessionConfig {
	var out []bfd.SessionConfig
	for _, s := range cfg.BFD {
		out = append(out, bfd.SessionConfig{
			Neighbor: s.Neighbor, Transmit: s.Transmit, Receive: s.Receive, Multiplier: int(s.Multiplier), Multihop: s.Multihop,
		})
	}
	return out
}
