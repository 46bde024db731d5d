package origin

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"
	"time"
)

// PeersConfig is the cache servers of one POP.
type PeersConfig struct {
	// Self is our own name among them (Identity.Node).
	Self string
	// SelfWeight is our own weight; 0 means 1.
	SelfWeight int
	// Bound is how much more than its fair share of the requests under way a peer
	// may have before its keys go to their second choice; 0 means 1.25.
	Bound float64
	// Slack is the load below which a peer is never full; 0 means 16. Without it
	// few requests would wander from server to server.
	Slack int
	// Attempts is how many peers are asked for a key before we do its owner's
	// work; 0 means 2.
	Attempts int
	Timeouts Timeouts
	Health   Health
	Identity *Identity
}

// Peers are the cache servers of this POP. Each key has one owner, which asks
// the parents or origins; the others ask the owner. The owner is found by
// rendezvous hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2016),
// so that all servers that see the same peers up choose alike, a peer that
// leaves moves only its own keys, and no peer gets much more than its share. The
// load counted is that of the requests this server has under way.
type Peers struct {
	cfg    PeersConfig
	common common

	mu      sync.Mutex
	servers []*server // without self
	self    int64     // requests under way that we do ourselves as their owner
}

// NewPeers is a POP of one server; Set names the others.
func NewPeers(cfg PeersConfig, env Env) *Peers {
	def(&cfg.SelfWeight, 1)
	def(&cfg.Bound, 1.25)
	def(&cfg.Slack, 16)
	def(&cfg.Attempts, 2)
	env = env.withDefaults()
	t := cfg.Timeouts.withDefaults()
	return &Peers{cfg: cfg, common: common{
		timeouts: t, health: cfg.Health.withDefaults(), identity: cfg.Identity, header: 256 << 10,
		env: env, resolver: newResolver(env, t.Connect),
	}}
}

// Set replaces the other servers of the POP; an entry named Self is left out.
// Servers that stay as they were keep their connections and their health.
func (p *Peers) Set(servers []Server) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var next []*server
	for _, s := range servers {
		if s.name() == p.cfg.Self {
			continue
		}
		if slices.ContainsFunc(next, func(o *server) bool { return o.Name == s.name() }) {
			return fmt.Errorf("peer %s: named twice", s.name())
		}
		made, err := newServer(s, Peer, 0, p.common)
		if err != nil {
			return fmt.Errorf("peer %w", err)
		}
		if i := slices.IndexFunc(p.servers, func(o *server) bool { return reflect.DeepEqual(o.Server, made.Server) }); i >= 0 {
			made = p.servers[i]
		}
		next = append(next, made)
	}
	for _, old := range p.servers {
		if !slices.Contains(next, old) {
			old.transport.CloseIdleConnections()
		}
	}
	p.servers = next
	return nil
}

// Run probes the peers, if the config says so, until ctx ends.
func (p *Peers) Run(ctx context.Context) error {
	runChecks(ctx, "peers", p.common.health.Check, p.all)
	for _, s := range p.all() {
		s.transport.CloseIdleConnections()
	}
	return nil
}

func (p *Peers) all() []*server {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.servers)
}

// Owner names the server that a new request for key would go to now; self if it
// is this one.
func (p *Peers) Owner(key [32]byte) (name string, self bool) {
	s := p.pick(key, nil, time.Now())
	if s == nil {
		return p.cfg.Self, true
	}
	return s.Name, false
}

// Status lists the peers.
func (p *Peers) Status() []ServerStatus { return statuses(p.all()) }

type ranked struct {
	s     *server // nil: self
	score float64
	busy  int64
	share float64
}

// pick is the peer to ask, nil for ourselves: the first in the key's order that
// is healthy, not tried yet, and not full.
func (p *Peers) pick(key [32]byte, tried []*server, now time.Time) *server {
	p.mu.Lock()
	defer p.mu.Unlock()
	order := []ranked{{nil, score(key, p.cfg.Self, p.cfg.SelfWeight), p.self, float64(p.cfg.SelfWeight)}}
	for _, s := range p.servers {
		if s.health.usable(now) && !slices.Contains(tried, s) {
			order = append(order, ranked{s, score(key, s.Name, s.Weight), s.busy.Load(), float64(s.Weight)})
		}
	}
	total, weights := 1.0, 0.0
	for _, r := range order {
		total += float64(r.busy)
		weights += r.share
	}
	slices.SortFunc(order, func(a, b ranked) int { return cmp.Compare(b.score, a.score) })
	for _, r := range order {
		limit := math.Ceil(p.cfg.Bound * total * r.share / weights)
		if float64(r.busy) < max(limit, float64(p.cfg.Slack)) {
			return r.s
		}
	}
	return order[0].s
}

// own notes a request that we do ourselves as the owner, until the returned
// function is called.
func (p *Peers) own() func() {
	p.mu.Lock()
	p.self++
	p.mu.Unlock()
	return sync.OnceFunc(func() {
		p.mu.Lock()
		p.self--
		p.mu.Unlock()
	})
}
