package main

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/api"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/moves"
	"github.com/catchment/catchment/server/resync"
	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/flow"
)

// follow carries out what package moves makes of each decision, until ctx
// ends.
func (f *flows) follow(ctx context.Context) {
	if f.d.dry {
		<-ctx.Done()
		return
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		changed := f.d.controller.Changed()
		if st, err := f.d.controller.Status(ctx); err == nil {
			timer.Reset(f.look(ctx, st, time.Now()))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-timer.C:
		}
	}
}

// look carries out one step and returns when the next one is due at the
// latest.
func (f *flows) look(ctx context.Context, st api.Status, now time.Time) time.Duration {
	s := f.moves.Look(f.addresses(f.d.inForce.Load(), st.Slices(), now), now)
	on := make(map[netip.Addr]bool, len(s.Announced))
	for _, a := range s.Announced {
		on[a] = true
	}
	f.announced.Store(&on)
	if s.Came {
		f.core.Again()
		f.hurry(hurryEvery)
	}
	if s.Moved || s.Kick {
		f.gather.Forget()
	}
	switch {
	case s.Moved:
		f.handOver(s.Moving)
	case s.Kick:
		f.exchange.Kick()
	}
	f.step.Store(&s)
	if len(s.Reset) > 0 {
		f.resetAll(ctx, s.Reset)
	}
	if s.Next.IsZero() {
		return time.Hour
	}
	return max(s.Next.Sub(now), time.Millisecond)
}

// addresses are ours as they were decided about last.
func (f *flows) addresses(cfg *config.Config, all []api.SliceStatus, now time.Time) (out []moves.Address) {
	slicesBy := make(map[policy.SliceID]*api.SliceStatus, len(all))
	for i := range all {
		slicesBy[all[i].Slice] = &all[i]
	}
	view := f.d.fleet.View(now)
	for i := range cfg.Services {
		svc := &cfg.Services[i]
		for _, a := range svc.VIPs.Addresses {
			id, ok := svc.SliceOf(a)
			s := slicesBy[id]
			if !ok || s == nil || !slices.Contains(f.cfg.VIPs, a) {
				continue
			}
			covered := slices.ContainsFunc(svc.Cover, func(c policy.SliceID) bool { return c.Prefix().Contains(a) })
			out = append(out, moves.Address{
				Addr: a, Stance: s.Stance, Heard: s.Announced != nil && s.Note == "", Held: covered && !elsewhere(view, id, cfg.Limits, now),
			})
		}
	}
	return out
}

// elsewhere reports whether a POP that is heard announces a slice.
func elsewhere(v policy.Fleet, id policy.SliceID, l policy.Limits, now time.Time) bool {
	return slices.ContainsFunc(v.Peers, func(p policy.Peer) bool { return p.Fresh(l, now) && p.Slices[id].Stance.Announced() })
}

// handOver tells the other POPs whose clients are about to come to them.
func (f *flows) handOver(moving []netip.Addr) {
	f.exchange.Moving(moving)
	all, _ := f.gather.All()
	n := 0
	for i := range all {
		if slices.Contains(moving, all[i].VIP.Addr()) {
			n++
		}
	}
	var to []string
	for _, l := range f.exchange.Lines() {
		if l.Up {
			to = append(to, l.POP)
		}
	}
	switch {
	case len(moving) == 0:
		f.note("flows stay: no address of this POP moves any more")
	case n > 0 && len(to) == 0:
		f.note("%d flows of %s move, and no other POP can be told", n, join(moving))
	case n > 0:
		f.note("%d flows of %s are handed over to %s", n, join(moving), strings.Join(to, ", "))
	}
}

func join(addrs []netip.Addr) string {
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return strings.Join(out, ", ")
}

// resetAll resets what is still connected to addresses that were withdrawn a
// while ago: what still works goes on by another route, and what does not ends
// where the client can see it.
func (f *flows) resetAll(ctx context.Context, addrs []netip.Addr) {
	own := 0
	if f.d.cache != nil {
		own = f.d.cache.server().Reset(addrs)
	}
	others, err := f.destroy(ctx, addrs)
	if err != nil {
		f.log.Warn("connections of other servers are not reset", "addresses", addrs, "err", err)
	}
	f.reset.Add(uint64(own + others))
	if own+others > 0 {
		f.note("%d connections to %s are reset, %v after the withdraw: %d of the cache server, %d of others", own+others, join(addrs), f.cfg.ResetAfter, own, others)
	}
}

// destroy ends what other servers have: every connection, however small.
func (f *flows) destroy(ctx context.Context, addrs []netip.Addr) (int, error) {
	t := flow.New(flow.Options{Least: 1, Max: 1 << 20})
	t.SetVIPs(addrs)
	if err := t.Pass(ctx); err != nil {
		return 0, err
	}
	return t.Destroy(t.Flows())
}

// welcomeEvery is how often POPs are asked whether their clients are coming.
const welcomeEvery = 250 * time.Millisecond

// welcome makes ready for clients that other POPs say are about to come.
func (f *flows) welcome(ctx context.Context) {
	if f.warmer == nil && f.routes == nil {
		return
	}
	tick := time.NewTicker(welcomeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		for _, p := range f.book.POPs() {
			if p.Drain.IsZero() || p.Flows == 0 {
				continue
			}
			coming := f.book.Flows(p.POP, now)
			if len(p.Moving) > 0 {
				coming = slices.DeleteFunc(coming, func(k checkpoint.Known) bool { return !slices.Contains(p.Moving, k.VIP.Addr()) })
			}
			f.prepare(coming, now)
		}
	}
}

// prepare has the cache server fetch what clients will ask for, and gives their
// networks routes where that is the means.
func (f *flows) prepare(coming []checkpoint.Known, now time.Time) {
	if f.warmer != nil {
		f.warmer.Want(coming, now)
	}
	if f.routes == nil {
		return
	}
	may := slices.DeleteFunc(slices.Clone(coming), func(k checkpoint.Known) bool { return !f.mayJump(k.VIP.Addr()) })
	for network, n := range windows(may, f.cfg.Jump.InitCWND) {
		if err := f.routes.Raise(network, n, now); err != nil {
			f.log.Debug("a client network begins with the usual window", "network", network, "err", err)
		}
	}
}

// onTakeover journals the first round of a takeover, and has fetched what its
// clients will ask for.
func (f *flows) onTakeover(t resync.Takeover) {
	f.prepare(f.book.Flows(t.POP, time.Now()), time.Now())
	if t.Round > 1 {
		return
	}
	f.note("the clients of %s, which is gone, are woken: %d of the %d flows that it told of; silent for %v", t.POP, t.Woken, t.Flows, t.Silent.Round(time.Millisecond))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken = append(f.taken, takeover{Takeover: t, at: time.Now()})
	if len(f.taken) > maxTaken {
		f.taken = f.taken[1:]
	}
}

// maxTaken is how many takeovers are shown.
const maxTaken = 32

// onJump journals how a flow from another POP began here.
func (f *flows) onJump(j resync.Jump) {
	from := fmt.Sprintf("%v goes on from %s", j.Client, j.From)
	switch {
	case j.Err != nil:
		f.note("%s with slow start: the jump failed: %v", from, j.Err)
	case j.Refused == resync.Shared:
		f.note("%s beside another stream of its connection", from)
	case j.Route:
		f.note("%s with an initial window of %d bytes, by the route to its network, at %v: %v after %v",
			from, j.Jump.Window, j.Path.RTT.Round(100*time.Microsecond), j.Ended, j.Took.Round(time.Millisecond))
	case j.Refused != careful.Allowed:
		f.note("%s with slow start: %s", from, j.Refused)
	default:
		f.note("%s with a jump to %d bytes at %d bytes/s, %.0f %% of its former rate, at %v: %v after %v",
			from, j.Jump.Window, j.Jump.Rate, 100*j.Part, j.Path.RTT.Round(100*time.Microsecond), j.Ended, j.Took.Round(time.Millisecond))
	}
}

// window is what flows to a client begin with where that is by a route; 0: as
// usual.
func (f *flows) window(client netip.Addr) int {
	if f.routes == nil {
		return 0
	}
	return f.routes.Window(careful.NetOf(client))
}

// note puts a line into the journal.
func (f *flows) note(format string, args ...any) {
	f.jour.Append(journal.Entry{POP: f.d.cfg.POP, Kind: journal.Resync, Text: fmt.Sprintf(format, args...)})
}
