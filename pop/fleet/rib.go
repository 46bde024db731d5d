package fleet

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/bgp"
	"github.com/catchment/catchment/policy"
)

// Site is another POP as it is recognized in our own RIB.
type Site struct {
	POP       policy.POPID
	Community bgp.LargeCommunity // the POP puts it on all its announcements (RFC 8092)
	Capacity  float64            // weight in min-capacity; 0 means 1
}

// RIB is the source that reads other POPs' announcements from learned routes.
// It keeps only routes with a configured site community, so a full table
// costs nothing.
type RIB struct {
	sites []Site

	mu      sync.Mutex
	waiting []Event
	more    chan struct{} // size one
}

// NewRIB makes the source; Run delivers.
func NewRIB(sites []Site) *RIB {
	return &RIB{sites: sites, more: make(chan struct{}, 1)}
}

func (r *RIB) String() string { return "rib" }

// Path takes in a learned route, or the loss of one. It does not block, and
// may be called before Run and from any goroutine, one at a time for the same
// route.
func (r *RIB) Path(p bgp.Path, withdrawn bool) {
	key := pathKey{neighbor: p.Neighbor, id: p.PathID, prefix: p.Prefix}
	e := pathChange{key: key, at: time.Now()}
	if !withdrawn {
		e.pop = r.site(p)
		e.drain = slices.Contains(p.Communities, bgp.GracefulShutdown)
		e.stale = p.Stale || slices.Contains(p.Communities, bgp.LLGRStale)
	}
	r.mu.Lock()
	r.waiting = append(r.waiting, e)
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// site returns the POP whose community the route carries; empty: none of them.
func (r *RIB) site(p bgp.Path) policy.POPID {
	for _, s := range r.sites {
		if slices.Contains(p.LargeCommunities, s.Community) {
			return s.POP
		}
	}
	return ""
}

// Run hands the routes to the sink until the context ends.
func (r *RIB) Run(ctx context.Context, sink Sink) error {
	for {
		r.mu.Lock()
		events := r.waiting
		r.waiting = nil
		r.mu.Unlock()
		for _, e := range events {
			_ = sink(e) // a route is never refused
		}
		select {
		case <-ctx.Done():
			return nil
		case <-r.more:
		}
	}
}

// pathChange is a route of another POP that came, changed or went.
type pathChange struct {
	key          pathKey
	pop          policy.POPID // empty: gone, or not of a POP
	drain, stale bool
	at           time.Time
}

func (e pathChange) apply(s *State) (bool, error) {
	old, had := s.paths[e.key]
	p := s.peer(e.pop)
	if p == nil {
		delete(s.paths, e.key)
		s.markLost(old.pop, e.key, e.at)
		return had, nil
	}
	now := route{pop: e.pop, since: e.at, drain: e.drain, stale: e.stale}
	if had && old.pop == e.pop && !old.stale {
		now.since = old.since
	}
	s.paths[e.key] = now
	p.shown = true
	delete(p.lost, policy.SliceID(e.key.prefix))
	if had && old.pop != e.pop {
		s.markLost(old.pop, e.key, e.at)
	}
	return now != old, nil
}

// markLost notes when the last route of a POP for a slice went.
func (s *State) markLost(pop policy.POPID, key pathKey, at time.Time) {
	p := s.peer(pop)
	if p == nil {
		return
	}
	for k, r := range s.paths {
		if r.pop == pop && k.prefix == key.prefix {
			return
		}
	}
	p.lost[policy.SliceID(key.prefix)] = at
}
