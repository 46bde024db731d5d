package origin

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"time"
)

// pool is a set of equal servers and the turn of the next.
type pool struct {
	balance Balance
	servers []*server

	mu   sync.Mutex
	turn []int // smooth weighted round robin, by server
}

func newPool(b Balance, servers []*server) *pool {
	return &pool{balance: b, servers: servers, turn: make([]int, len(servers))}
}

// pick is the server to ask next, nil if all were tried: a healthy one, else a
// healthy backup, else any (to ask a server that looks dead is better than to
// fail for sure), of those not in tried.
func (p *pool) pick(key [32]byte, tried []*server, now time.Time) *server {
	want := func(ok func(s *server) bool) *server {
		return p.choose(key, func(s *server) bool { return !slices.Contains(tried, s) && ok(s) })
	}
	if s := want(func(s *server) bool { return !s.Backup && s.health.usable(now) }); s != nil {
		return s
	}
	if s := want(func(s *server) bool { return s.Backup && s.health.usable(now) }); s != nil {
		return s
	}
	if s := want(func(s *server) bool { return !s.Backup }); s != nil {
		return s
	}
	return want(func(*server) bool { return true })
}

// healthy tells whether any server is.
func (p *pool) healthy(now time.Time) bool {
	return slices.ContainsFunc(p.servers, func(s *server) bool { return s.health.usable(now) })
}

func (p *pool) choose(key [32]byte, ok func(*server) bool) *server {
	switch p.balance {
	case ByKey:
		return p.byKey(key, ok)
	case LeastBusy:
		return p.leastBusy(ok)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	best, total := -1, 0
	for i, s := range p.servers {
		if !ok(s) {
			continue
		}
		p.turn[i] += s.Weight
		total += s.Weight
		if best < 0 || p.turn[i] > p.turn[best] {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	p.turn[best] -= total
	return p.servers[best]
}

func (p *pool) byKey(key [32]byte, ok func(*server) bool) *server {
	var best *server
	var top float64
	for _, s := range p.servers {
		if !ok(s) {
			continue
		}
		if v := score(key, s.Name, s.Weight); best == nil || v > top {
			best, top = s, v
		}
	}
	return best
}

func (p *pool) leastBusy(ok func(*server) bool) *server {
	p.mu.Lock()
	defer p.mu.Unlock()
	best := -1
	var least float64
	for i, s := range p.servers {
		if !ok(s) {
			continue
		}
		p.turn[i]++ // equals take turns: the one longest not taken
		load := float64(s.busy.Load()) / float64(s.Weight)
		if best < 0 || load < least || load == least && p.turn[i] > p.turn[best] {
			best, least = i, load
		}
	}
	if best < 0 {
		return nil
	}
	p.turn[best] = 0
	return p.servers[best]
}

// score is the weighted rendezvous score of a server for a key: the highest
// wins, a server that goes takes only its own keys along, one that comes takes
// its share from all alike. Key is a hash already; name is mixed in.
func score(key [32]byte, name string, weight int) float64 {
	f := fnv.New64a()
	f.Write([]byte(name))
	h := f.Sum64()
	for i := 0; i < len(key); i += 8 {
		h = mix(h ^ binary.LittleEndian.Uint64(key[i:]))
	}
	// A number in (0, 1), never 0 or 1: 53 bits and a half.
	u := (float64(h>>11) + 0.5) / (1 << 53)
	return -float64(weight) / math.Log(u)
}

// mix is the finalizer of SplitMix64: each bit of x moves each bit of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
