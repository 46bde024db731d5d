package main

import (
	"context"
	"slices"
	"time"

	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/fleet"
)

// Other POPs are asked what they know in the fleet exchange, by a question of
// its own (fleet.Aside): it is there in every fleet that polls, proves who
// answers what, and this much at once delays nobody's word on what he
// announces, as it would in the relay tree's statements (16 KiB) or on the line
// of checkpoints, which only POPs have that get each other's flows.

// shareEvery is how often they are asked, or at each judgement where that is
// more often.
const shareEvery = 5 * time.Minute

// tellSlowness is what another POP is told, that wants so many networks.
func (d *parts) tellSlowness(most int) []byte {
	s := d.slow
	if s == nil {
		return nil
	}
	most = min(most, s.cfg.Load().Share)
	if most <= 0 {
		return nil
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told.most != most || now.Sub(s.told.at) >= s.cfg.Load().Judge {
		s.told.b, s.told.most, s.told.at = s.store.Snapshot(now, most), most, now
	}
	return s.told.b
}

// saying is what was told last: the same again to those who ask soon after.
type saying struct {
	b    []byte
	most int
	at   time.Time
}

// share asks other POPs what they know, until ctx ends.
func (s *slowNets) share(ctx context.Context) {
	if s.cfg.Load().Rate == 0 {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		c := s.cfg.Load()
		peers := s.d.fleet.Asides()
		for _, p := range peers {
			if c.Share == 0 || ctx.Err() != nil {
				break
			}
			b, err := s.d.fleet.Aside(ctx, p, min(c.Share, c.Networks/len(peers)))
			if err == nil {
				err = s.book.Hear(p, b, time.Now())
			}
			s.mu.Lock()
			before := s.asked[p]
			s.asked[p] = err
			s.mu.Unlock()
			if err != nil && before == nil && ctx.Err() == nil {
				s.log.Warn("a POP does not tell what it knows of client networks; what it told before counts until it is stale", "pop", p, "err", err)
			}
		}
		timer.Reset(min(c.Judge, shareEvery))
	}
}

// heard is what other POPs have told.
func (s *slowNets) heard() (out []api.SlownessPOP) {
	all := s.book.Heard()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.d.fleet.Asides() {
		x := api.SlownessPOP{POP: p}
		for _, h := range all {
			if h.POP == p {
				x.Networks, x.At = int64(h.Networks), h.At
			}
		}
		if err := s.asked[p]; err != nil {
			x.Error = err.Error()
		}
		out = append(out, x)
	}
	return append(out, unasked(s.d.fleet.Peers(time.Now()), out)...)
}

// unasked are the POPs that are known, by the relay tree or BGP, and not asked:
// what they know of client networks is not known here.
func unasked(all []fleet.PeerReport, asked []api.SlownessPOP) (out []api.SlownessPOP) {
	for i := range all {
		pop := all[i].POP
		if !slices.ContainsFunc(asked, func(x api.SlownessPOP) bool { return x.POP == pop }) {
			out = append(out, api.SlownessPOP{POP: pop, Error: "it is not asked, since it is not in fleet.peers: neither the relay tree nor BGP brings what it knows of client networks"})
		}
	}
	return out
}
