package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/reattach"
	"github.com/catchment/catchment/server/cache"
)

// redirects tells the cache server to which POPs it may send clients: it looks
// at what is known of them, and asks each of them itself whether it serves under
// the name that clients would be sent to.
type redirects struct {
	d    *parts
	log  *slog.Logger
	jour *journal.Journal
	book *reattach.Book

	asker *targetAsker
	now   atomic.Pointer[targetsKnown]
	heard map[policy.POPID]time.Time // when each POP was listened to last
}

// targetsKnown is what is known at one time.
type targetsKnown struct {
	pops map[string]targetState
	load float64 // share of this POP's capacity in use
	why  string  // it is not known; empty: it is
}

// targetState is how a POP is, as a place for clients.
type targetState struct {
	ready bool
	why   string // what it is, or why it is not ready
}

func newRedirects(d *parts, j *journal.Journal) *redirects {
	r := &redirects{d: d, log: d.log.With("part", "steer"), jour: j, book: reattach.New(), asker: newTargetAsker(), heard: map[policy.POPID]time.Time{}}
	r.now.Store(&targetsKnown{why: "nothing was looked at yet"})
	return r
}

// steering is what the cache server asks.
func (r *redirects) steering() *cache.Steering {
	return &cache.Steering{
		POP: r.target, Pressure: r.pressure, Stopped: r.stopped, Slow: r.slow,
		Worst: func(pop string) time.Duration { return r.book.Times(pop, time.Now()).Worst },
		Sent:  func(pop string) string { return r.book.Send(pop, time.Now()) },
		Seen:  func(from, mark string) { r.book.Come(from, mark, time.Now()) },
	}
}

func (r *redirects) target(pop string) (bool, string) {
	t, ok := r.now.Load().pops[pop]
	if !ok {
		return false, "nothing was looked at yet"
	}
	return t.ready, t.why
}

// pressure says whether this POP wants to send less.
func (r *redirects) pressure(above float64) (bool, string) {
	k := r.now.Load()
	switch {
	case above <= 0:
		return true, "always"
	case k.why != "":
		return false, k.why
	}
	return k.load >= above, fmt.Sprintf("%.0f %% of the capacity in use, from %.0f %% on", 100*k.load, 100*above)
}

func (r *redirects) String() string { return "steer" }

// targetsEvery is how often the POPs are looked at.
const targetsEvery = 500 * time.Millisecond

// Run looks at the POPs until ctx ends.
func (r *redirects) Run(ctx context.Context) error {
	tick := time.NewTicker(targetsEvery)
	defer tick.Stop()
	defer r.asker.wait()
	for {
		r.look(ctx, time.Now())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look takes in what is known now.
func (r *redirects) look(ctx context.Context, now time.Time) {
	cfg := r.d.inForce.Load()
	names := steerTargets(cfg)
	peers := r.d.fleet.Peers(now)
	for i := range peers {
		r.listen(&peers[i])
	}
	next := &targetsKnown{pops: map[string]targetState{}}
	if len(names) > 0 {
		r.asker.ask(ctx, names, now)
	}
	report := r.d.balance.Report()
	if free, ok := headroom(report, cfg.POP); ok {
		next.load = 1 - free
	} else {
		next.why = "the load of this POP is not known: it takes balance and a capacity"
	}
	for pop := range names {
		next.pops[pop] = r.state(cfg, policy.POPID(pop), peers, now)
	}
	r.tell(r.now.Swap(next), next)
}

// state joins the fleet's word on a POP with what asking it has shown.
func (r *redirects) state(cfg *config.Config, pop policy.POPID, peers []fleet.PeerReport, now time.Time) targetState {
	k := slices.IndexFunc(peers, func(p fleet.PeerReport) bool { return p.POP == pop })
	if k >= 0 {
		p := &peers[k]
		if !p.Fresh(cfg.Limits, now) {
			return targetState{why: "nothing was heard of it lately"}
		}
		if health, stance := peerState(&p.Peer, slicesOfService(cfg, cfg.CachedService())); len(p.Slices) > 0 && (health != policy.Up && health != policy.Degraded || stance != policy.Announce) {
			return targetState{why: fmt.Sprintf("it is %v and does %v", health, stance)}
		}
	}
	if free, ok := headroom(r.d.balance.Report(), pop); ok && free < leastRoom {
		return targetState{why: fmt.Sprintf("it has %.0f %% of its capacity free, less than %.0f %%", 100*max(0, free), 100*leastRoom)}
	}
	if why := r.asker.trouble(string(pop)); why != "" {
		return targetState{why: why}
	}
	return targetState{ready: true, why: "it takes clients"}
}

// leastRoom is the share of a POP's capacity that has to be free for clients to
// be sent there.
const leastRoom = 0.1

// slicesOfService are those of a service; nil: of all.
func slicesOfService(cfg *config.Config, service policy.ServiceID) []policy.SliceID {
	for i := range cfg.Services {
		if cfg.Services[i].ID == service {
			return cfg.Services[i].Slices
		}
	}
	return nil
}

// listen takes in which of our clients a POP has seen.
func (r *redirects) listen(p *fleet.PeerReport) {
	if p.About == nil || p.AboutAt.Equal(r.heard[p.POP]) {
		return
	}
	r.heard[p.POP] = p.AboutAt
	var seen []reattach.Seen
	for _, s := range p.About.Seen {
		if s.POP == string(r.d.cfg.POP) {
			seen = append(seen, reattach.Seen{POP: s.POP, Mark: s.Mark, Age: time.Duration(s.AgeMS) * time.Millisecond})
		}
	}
	r.book.Hear(string(p.POP), seen, p.AboutAt)
}

// tell puts into log and journal what has changed.
func (r *redirects) tell(old, next *targetsKnown) {
	for _, pop := range slices.Sorted(maps.Keys(next.pops)) {
		was, is := old.pops[pop], next.pops[pop]
		if was.ready == is.ready && (is.ready || was.why == is.why) {
			continue
		}
		what := "clients can be sent to " + pop
		if !is.ready {
			what = "no clients are sent to " + pop + ": " + is.why
		}
		r.log.Info(what)
		r.jour.Append(journal.Entry{POP: r.d.cfg.POP, Kind: journal.Cache, Text: what})
	}
}

// seen adds to what this POP says of itself the clients that others have sent.
func (r *redirects) seen(about json.RawMessage, now time.Time) json.RawMessage {
	if r == nil {
		return about
	}
	list := r.book.Tell(now)
	var a fleet.About
	if len(list) == 0 || json.Unmarshal(about, &a) != nil {
		return about
	}
	for _, s := range list {
		a.Seen = append(a.Seen, fleet.Seen{POP: s.POP, Mark: s.Mark, AgeMS: s.Age.Milliseconds()})
	}
	return a.Encode()
}

// steerTargets are the hosts of the POPs that clients can be sent to, each with
// the schemes that clients come by.
func steerTargets(cfg *config.Config) map[string][]string {
	out := map[string][]string{}
	for i := range cfg.Cache.Sites {
		s := &cfg.Cache.Sites[i]
		if !s.Steer.Redirect && !s.Steer.MoveSlow {
			continue
		}
		for _, t := range s.Steer.Cheaper(string(cfg.POP)) {
			for scheme, on := range map[string]bool{"http": len(cfg.Cache.Listen) > 0, "https": len(cfg.Cache.TLS.Listen) > 0} {
				if url := scheme + "://" + t.Host; on && (len(s.Schemes) == 0 || slices.Contains(s.Schemes, scheme)) && !slices.Contains(out[t.POP], url) {
					out[t.POP] = append(out[t.POP], url)
				}
			}
		}
	}
	return out
}

// stopped says whether too much harm was done.
func (r *redirects) stopped() (bool, string) { return r.d.cost.stopped() }

// slow says whether a client's network is slow.
func (r *redirects) slow(a netip.Addr) bool {
	_, slow := r.d.slow.Slow(a)
	return slow
}
