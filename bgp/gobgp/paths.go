package gobgp

import (
	"net/netip"
	"reflect"
	"sync"

	api "github.com/osrg/gobgp/v3/api"

	"github.com/catchment/catchment/bgp"
)

// pathTable holds the accepted learned routes. GoBGP tells of routes and of
// the choice of the best in two streams that do not wait for one another; the
// table joins them and reports each route with its Best mark as it is known.
type pathTable struct {
	mu       sync.Mutex
	on       func(bgp.Path, bool)
	byPrefix map[netip.Prefix]*routes
	accepted map[netip.Addr]int
}

type pathKey struct {
	neighbor netip.Addr
	id       uint32
}

type routes struct {
	paths map[pathKey]bgp.Path
	best  map[pathKey]bool
}

func newPathTable(on func(bgp.Path, bool)) *pathTable {
	if on == nil {
		on = func(bgp.Path, bool) {}
	}
	return &pathTable{on: on, byPrefix: make(map[netip.Prefix]*routes), accepted: make(map[netip.Addr]int)}
}

func (t *pathTable) at(p netip.Prefix) *routes {
	r := t.byPrefix[p]
	if r == nil {
		r = &routes{paths: make(map[pathKey]bgp.Path), best: make(map[pathKey]bool)}
		t.byPrefix[p] = r
	}
	return r
}

func (t *pathTable) count(neighbor netip.Addr) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.accepted[neighbor]
}

// learned takes routes as they come out of the import policy; a route that
// the policy refuses comes as a withdrawal.
func (t *pathTable) learned(r *api.WatchEventResponse) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range r.GetTable().GetPaths() {
		path, ok := fromPath(p)
		if !ok {
			continue
		}
		key := pathKey{path.Neighbor, path.PathID}
		routes := t.at(path.Prefix)
		old, had := routes.paths[key]
		path.Best = routes.best[key]
		switch {
		case p.IsWithdraw && had:
			delete(routes.paths, key)
			delete(routes.best, key)
			t.accepted[path.Neighbor]--
			t.on(old, true)
		case p.IsWithdraw:
		case !had:
			t.accepted[path.Neighbor]++
			fallthrough
		default:
			routes.paths[key] = path
			if !reflect.DeepEqual(old, path) {
				t.on(path, false)
			}
		}
		t.tidy(path.Prefix)
	}
}

// best takes the new choice for a prefix: one route, several with multipath,
// one of our own, or a withdrawal.
func (t *pathTable) best(r *api.WatchEventResponse) {
	chosen := make(map[netip.Prefix]map[pathKey]bool)
	for _, p := range r.GetTable().GetPaths() {
		prefix, key, ok := bestOf(p)
		if !ok {
			continue
		}
		if chosen[prefix] == nil {
			chosen[prefix] = make(map[pathKey]bool)
		}
		if key.neighbor.IsValid() && !p.IsWithdraw {
			chosen[prefix][key] = true
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for prefix, best := range chosen {
		routes := t.at(prefix)
		routes.best = best
		for key, path := range routes.paths {
			if path.Best != best[key] {
				path.Best = best[key]
				routes.paths[key] = path
				t.on(path, false)
			}
		}
		t.tidy(prefix)
	}
}

// bestOf reads the prefix of any unicast route, and whose it is; our own have
// no neighbor.
func bestOf(p *api.Path) (netip.Prefix, pathKey, bool) {
	if path, ok := fromPath(p); ok {
		return path.Prefix, pathKey{path.Neighbor, path.PathID}, true
	}
	prefix, ok := prefixOfAPI(p)
	return prefix, pathKey{}, ok
}

func (t *pathTable) tidy(p netip.Prefix) {
	if r := t.byPrefix[p]; r != nil && len(r.paths) == 0 && len(r.best) == 0 {
		delete(t.byPrefix, p)
	}
}
