package cache

import (
	"sync"

	"github.com/catchment/catchment/server/cache/rule"
	"github.com/catchment/catchment/server/cache/store"
)

// marks remembers keys until a time: those whose answers may not be stored (hit-for-miss), or were just invalidated. It
// is bounded: when full, what is over goes, else any.
type marks struct {
	mu    sync.RWMutex
	until map[store.Key]rule.Millis
	limit int
}

func newMarks(limit int) *marks { return &marks{until: map[store.Key]rule.Millis{}, limit: limit} }

func (p *marks) has(k store.Key, now rule.Millis) bool {
	p.mu.RLock()
	t, ok := p.until[k]
	p.mu.RUnlock()
	return ok && now < t
}

// set remembers k until t.
func (p *marks) set(k store.Key, t, now rule.Millis) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.until[k]; !ok && len(p.until) >= p.limit {
		p.makeRoom(now)
	}
	p.until[k] = t
}

// makeRoom looks at some entries in the map's random order.
func (p *marks) makeRoom(now rule.Millis) {
	seen, gone := 0, 0
	for k, t := range p.until {
		if seen++; seen > 64 {
			break
		}
		if t <= now || gone == 0 && seen == 64 {
			delete(p.until, k)
			gone++
		}
	}
}

// drop forgets k: its answer can be stored after all.
func (p *marks) drop(k store.Key) {
	p.mu.RLock()
	_, ok := p.until[k]
	p.mu.RUnlock()
	if ok {
		p.mu.Lock()
		delete(p.until, k)
		p.mu.Unlock()
	}
}

// get gives the time set for k, 0 if there is none.
func (p *marks) get(k store.Key) rule.Millis {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.until[k]
}
