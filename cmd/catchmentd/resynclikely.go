package main

import (
	"context"
	"slices"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/server/resync/checkpoint"
)

// likelyEvery is how often it is asked who would get our clients. What is told
// to too many costs some bytes, to too few some clients' time.
const likelyEvery = 30 * time.Second

// foresee keeps asking the plan who would carry what this POP carries if it
// withdrew everything now.
func (f *flows) foresee(ctx context.Context) {
	if f.cfg.Tell != config.TellLikely {
		return
	}
	tick := time.NewTicker(likelyEvery)
	defer tick.Stop()
	for {
		p, err := f.d.controller.Plan(ctx, api.PlanRequest{
			Suppose: []api.Supposition{{Kind: api.SupposeWithdraw, Force: true}}, For: api.Duration(time.Second),
		})
		if err != nil {
			f.log.Debug("who would get our clients is not known", "err", err)
		} else {
			set := likely(p)
			f.likely.Store(&set)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// receives is the least share of what moves that makes a POP one that is told.
const receives = 0.01

// likely are the POPs that a plan sees carry more than before, by the upper end
// of what it expects; nil: it does not know.
func likely(p api.Plan) map[string]bool {
	if p.Loads == nil || p.Loads.Moved == nil || p.Loads.Moved.Mean <= 0 {
		return nil
	}
	set := map[string]bool{}
	for _, l := range p.Loads.POPs {
		switch {
		case l.POP == p.POP:
		case l.Change == nil:
			return nil // one of whom nothing is known may get all
		case l.Change.High >= receives*p.Loads.Moved.Mean:
			set[string(l.POP)] = true
		}
	}
	if len(set) == 0 {
		return nil
	}
	return set
}

// wanted are those of the peers that are told.
func wanted(all []checkpoint.Peer, set map[string]bool) []checkpoint.Peer {
	if !slices.ContainsFunc(all, func(p checkpoint.Peer) bool { return set[p.POP] }) {
		return all
	}
	return slices.DeleteFunc(all, func(p checkpoint.Peer) bool { return !set[p.POP] })
}
