package cache

import (
	"context"
	"reflect"
	"sync"
	"time"

	"github.com/catchment/catchment/server/cache/purge"
	"github.com/catchment/catchment/server/cache/site"
	"github.com/catchment/catchment/server/cache/store"
)

// runners are the background tasks of upstreams, which come and go with Reload.
type runners struct {
	mu  sync.Mutex
	ctx context.Context // nil before Serve and after its end
	wg  *sync.WaitGroup
}

// startRunners starts all background tasks under wg.
func (s *Server) startRunners(ctx context.Context, wg *sync.WaitGroup) {
	wg.Go(func() { s.store.Run(ctx) })
	wg.Go(func() { s.fills.Run(ctx) })
	if s.peers != nil {
		wg.Go(func() { s.peers.Run(ctx) })
	}
	wg.Go(func() { s.forgetPurges(ctx) })
	wg.Go(func() { s.payOwed(ctx) })
	wg.Go(func() { s.accesses.Run(ctx) })
	s.running.mu.Lock()
	defer s.running.mu.Unlock()
	s.running.ctx, s.running.wg = ctx, wg
	for _, u := range s.state.Load().upstreams {
		s.running.start(u)
	}
}

// start runs an upstream's task. mu is held.
func (r *runners) start(u *upstream) {
	if r.ctx == nil || u.cancel != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	u.cancel = cancel
	r.wg.Go(func() { u.origin.Run(ctx) })
}

// swap starts the tasks of next that are new and ends those of old that are gone.
func (r *runners) swap(old, next *state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := map[*upstream]bool{}
	for _, u := range next.upstreams {
		kept[u] = true
		r.start(u)
	}
	for _, u := range old.upstreams {
		if !kept[u] && u.cancel != nil {
			u.cancel()
		}
	}
}

// stop keeps new tasks from starting; those that run end by their context.
func (r *runners) stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx = nil
}

// sameUpstream reports whether an upstream can stay as it is, with its connections and what it knows of health.
func sameUpstream(a, b site.Upstream) bool { return reflect.DeepEqual(a, b) }

// forgetEvery is how often purges that no stored object can be older than are forgotten.
const forgetEvery = 10 * time.Minute

// forgetPurges lets the purges forget what concerns no object any more. An object is noted with the purges before its
// request was sent, so what is asked for now counts as of the round before.
func (s *Server) forgetPurges(ctx context.Context) {
	tick := time.NewTicker(forgetEvery)
	defer tick.Stop()
	before := s.purges.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		oldest := before
		before = s.purges.Now()
		err := s.store.Walk(ctx, func(i store.Info) bool {
			oldest = min(oldest, purge.Epoch(i.Stamp.Epoch))
			return true
		})
		if err == nil {
			s.purges.Forget(oldest)
		}
	}
}
