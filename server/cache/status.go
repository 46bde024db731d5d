package cache

import (
	"time"

	"github.com/catchment/catchment/server/cache/accesslog"
	"github.com/catchment/catchment/server/cache/fill"
	"github.com/catchment/catchment/server/cache/front"
	"github.com/catchment/catchment/server/cache/origin"
	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/store"
)

// Counters are totals since the start, cheap to read.
type Counters struct {
	Requests, Hits uint64
	BytesOut       uint64 // taken by the kernel, heads too; without a front the bodies
	Connections    int64  // now
}

// SiteStatus is what became of the requests of one site.
type SiteStatus struct {
	Name     string
	Hosts    []string
	Requests uint64
	Results  map[string]uint64 // by result: hit, stale, miss, partial, expired, revalidated, pass, refused, error, aborted ...
	Reasons  map[string]uint64 // why they were no plain hits, as in Cache-Status
	Bytes    uint64            // of bodies, sent
	Origins  []origin.ServerStatus
}

// Status is the server at one time.
type Status struct {
	Now     time.Time
	State   string // serving or draining
	Detail  string
	Listen  []string
	Active  int64 // requests on the general path now
	Shed    uint64
	Broken  uint64 // answers broken off because upstream did
	Panics  uint64
	Hooks   uint64                         // hooks of sites that failed
	Refresh struct{ Done, Dropped uint64 } // in the background

	Sites   []SiteStatus
	Unknown SiteStatus // requests that no site has
	Peers   []origin.ServerStatus
	Front   front.Stats
	Fills   fill.Stats
	Store   store.Stats
	Disk    store.Status
	Purges  purge.Stats
	Log     accesslog.Stats
}

// Counters reads the totals.
func (s *Server) Counters() Counters {
	var c Counters
	add := func(st *siteStats) {
		for r := range st.results {
			n := st.results[r].Load()
			c.Requests += n
			if result(r) == resultHit {
				c.Hits += n
			}
		}
		c.BytesOut += st.bytes.Load()
	}
	for _, st := range s.state.Load().stats {
		add(st)
	}
	add(&s.metrics.unknown)
	if s.front != nil {
		f := s.front.Stats()
		c.BytesOut, c.Connections = f.BytesOut, int64(f.Open)
	}
	return c
}

// Status reads all there is to know. It is for people and for metrics, not for hot paths.
func (s *Server) Status() Status {
	st := s.state.Load()
	out := Status{
		Now: s.clock(), State: "serving", Active: s.active.Load(), Shed: s.metrics.shed.Load(), Broken: s.metrics.broken.Load(),
		Fills: s.fills.Stats(), Store: s.store.Stats(), Disk: s.store.Status(), Purges: s.purges.Stats(), Log: s.accesses.Stats(),
		Unknown: s.metrics.unknown.status(),
	}
	out.Panics = s.metrics.panics.Load() + out.Fills.Panics
	out.Hooks = s.metrics.hooksFailed.Load()
	out.Refresh.Done, out.Refresh.Dropped = s.metrics.refreshes.Load(), s.metrics.refreshDropped.Load()
	if err := s.Health(); err != nil {
		out.State, out.Detail = "draining", err.Error()
	}
	if s.front != nil {
		out.Front = s.front.Stats()
		for _, a := range s.front.Addrs() {
			out.Listen = append(out.Listen, a.String())
		}
	}
	for _, x := range st.table.Sites() {
		one := st.stats[x.Name].status()
		one.Name, one.Hosts = x.Name, x.Config.Hosts
		one.Origins = st.upstreams[x.Name].origin.Status()
		out.Sites = append(out.Sites, one)
	}
	if s.peers != nil {
		out.Peers = s.peers.Status()
	}
	return out
}

func (s *siteStats) status() SiteStatus {
	out := SiteStatus{Results: map[string]uint64{}, Reasons: map[string]uint64{}, Bytes: s.bytes.Load()}
	for r := range s.results {
		if n := s.results[r].Load(); n > 0 {
			out.Results[result(r).String()] = n
			out.Requests += n
		}
	}
	for r := range s.reasons {
		if n := s.reasons[r].Load(); n > 0 {
			out.Reasons[rule.Reason(r).String()] = n
		}
	}
	return out
}
