package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/catchment/catchment/policy"
	"github.com/catchment/catchment/pop/config"
	"github.com/catchment/catchment/pop/fleet"
	"github.com/catchment/catchment/pop/journal"
	"github.com/catchment/catchment/pop/moves"
	"github.com/catchment/catchment/server/cache"
	"github.com/catchment/catchment/server/resync"
	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/flow"
	"github.com/catchment/catchment/server/resync/gather"
	"github.com/catchment/catchment/server/resync/jump"
	"github.com/catchment/catchment/server/resync/mutual"
	"github.com/catchment/catchment/server/resync/probe"
	"github.com/catchment/catchment/server/resync/vacate"
	"github.com/catchment/catchment/server/resync/warm"
)

// flows lets downloads go on at other POPs, and theirs here: it ties the parts
// of server/resync to the cache server, to the fleet and to what is decided
// about routes. Nothing that goes wrong in it ends the daemon: what the kernel
// or our rights do not give is left out, and the status says so.
type flows struct {
	d     *parts
	cfg   config.Resync
	log   *slog.Logger
	jour  *journal.Journal
	ready chan struct{}

	book     *checkpoint.Book
	exchange *checkpoint.Exchange // nil before Run
	gather   *gather.Gatherer
	table    *flow.Table
	warmer   *warm.Warmer    // nil: nothing is fetched ahead
	prober   *probe.Prober   // nil: nobody is woken
	jumper   *jump.Jumper    // nil: nothing jumps
	routes   *jump.Routes    // nil: none are made
	vacater  *vacate.Vacater // nil in a dry run
	core     *resync.Resync
	moves    *moves.Moves
	vips     map[netip.Addr]policy.ServiceID // whose flows count
	lacks    []string                        // what does not work here, and why
	reset    atomic.Uint64                   // connections
	hurried  atomic.Int64                    // when, in nanoseconds
	likely   atomic.Pointer[map[string]bool] // who would get our clients; nil, or empty: it is not known

	announced atomic.Pointer[map[netip.Addr]bool] // addresses that a neighbor hears us announce
	step      atomic.Pointer[moves.Step]          // the last one

	mu    sync.Mutex
	taken []takeover // the last ones, oldest first
}

// takeover is one of another POP's clients.
type takeover struct {
	resync.Takeover
	at   time.Time
	came int64 // requests since that went on with a flow of it
}

// buildResync makes the parts; none where resync.listen is not set.
func (d *parts) buildResync(j *journal.Journal) error {
	c := d.cfg.Resync
	if !c.On() {
		return nil
	}
	f := &flows{
		d: d, cfg: c, log: d.log.With("part", "resync"), jour: j, ready: make(chan struct{}), moves: moves.New(c.ResetAfter), vips: map[netip.Addr]policy.ServiceID{},
	}
	f.announced.Store(new(map[netip.Addr]bool))
	f.step.Store(new(moves.Step))
	f.likely.Store(new(map[string]bool))
	for i := range d.cfg.Services {
		for _, a := range d.cfg.Services[i].VIPs.Addresses {
			f.vips[a] = d.cfg.Services[i].ID
		}
	}
	ours := make(map[netip.Addr]bool, len(c.VIPs))
	for _, a := range c.VIPs {
		ours[a] = true
	}
	counts := func(a netip.Addr) bool { return ours[a] }
	book := checkpoint.Options{VIP: counts, Flows: c.Flows, Keep: c.Keep}
	if !d.dry {
		f.vacater = vacate.New()
		book.Told = f.vacater.Told
	}
	f.book = checkpoint.NewBook(book)
	f.open()
	f.table = d.newTable()
	f.gather = gather.New(gather.Options{Cache: f.cache, Table: larger{f.table, uint64(c.Least)}, VIP: counts, Least: c.Least, Max: c.Flows, Every: c.Interval / 2})
	if c.Warm.Ahead > 0 && d.cfg.Cache.On() {
		f.warmer = warm.New(warm.Options{Log: f.log, Warm: f.warm, Ahead: c.Warm.Ahead, Fills: c.Warm.Fills})
	}
	o := resync.Options{
		POP: string(d.cfg.POP), Log: f.log, Book: f.book, Gone: f.gone, Jumps: f.mayJump, Initial: f.window, OnTakeover: f.onTakeover, OnJump: f.onJump,
		Limits: careful.Limits{Window: uint64(c.Jump.Window), Rate: uint64(c.Jump.Rate), Stated: uint64(c.Jump.Stated)}, Hear: c.Jump.Stated > 0, Pairs: f.earnedBefore(),
	}
	if f.prober != nil {
		o.Waker = f.prober
	}
	if f.jumper != nil {
		o.Jumper = f.jumper
	}
	f.core = resync.New(o)
	d.flows = f
	if err := f.certificate(time.Now()); err != nil {
		f.log.Warn("no POP hears of our flows, or tells us of its own, until that is mended", "err", err)
	}
	return nil
}

// open opens what takes rights that this process may not have.
func (f *flows) open() {
	var err error
	if f.cfg.Probes > 0 && !f.d.dry {
		if f.prober, err = probe.New(probe.Options{VIP: f.announces, Age: f.cfg.Keep, Rate: f.cfg.Probes}); err != nil {
			f.lack("clients of a POP that is gone are not woken: CAP_NET_RAW", err)
		}
	}
	if len(f.cfg.Jump.Services) > 0 {
		if f.jumper, err = openJumper(f.cfg.Jump.Pin); err != nil {
			f.lack("flows from other POPs do not jump: CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, or a pin", err)
			if f.cfg.Jump.InitCWND > 0 && !f.d.dry {
				if f.routes, err = jump.NewRoutes(jump.RouteOptions{Segments: f.cfg.Jump.InitCWND}); err != nil {
					f.lack("routes to client networks get no larger window: CAP_NET_ADMIN", err)
				}
			}
		}
	}
}

func (f *flows) lack(what string, err error) {
	f.lacks = append(f.lacks, fmt.Sprintf("%s: %v", what, err))
	f.log.Warn(what, "err", err)
}

// openJumper opens the congestion control that somebody has pinned, or loads
// and pins it. Without a directory it is there as long as this process.
func openJumper(dir string) (*jump.Jumper, error) {
	if dir != "" {
		if j, err := jump.Open(dir); err == nil {
			return j, nil
		}
	}
	j, err := jump.Load()
	if err != nil || dir == "" {
		return j, err
	}
	if err := j.Pin(dir, -1); err != nil {
		if other, e := jump.Open(dir); e == nil { // another daemon was faster
			return other, errors.Join(j.Close())
		}
	}
	return j, nil // it ends with us
}

// larger are the flows of a table that others look at as well which are large
// enough to be told.
type larger struct {
	*flow.Table
	least uint64
}

// Flows implements gather.Table.
func (l larger) Flows() []flow.Flow {
	return slices.DeleteFunc(l.Table.Flows(), func(f flow.Flow) bool { return f.Acked < l.least })
}

// cache is the cache server that serves now, as far as flows are concerned.
func (f *flows) cache() gather.Cache {
	if f.d.cache == nil {
		return nil
	}
	return f.d.cache.server()
}

func (f *flows) warm(ctx context.Context, url string, first, last int64) error {
	return f.d.cache.server().Warm(ctx, url, first, last)
}

// announces reports whether an address is one whose flows count and that we
// announce now.
func (f *flows) announces(a netip.Addr) bool { return (*f.announced.Load())[a] }

// mayJump reports whether flows of an address may jump now: a reload switches
// that off and on.
func (f *flows) mayJump(vip netip.Addr) bool { return f.d.inForce.Load().Resync.Jumps(f.vips[vip]) }

// gone reports whether the fleet takes a POP for gone.
func (f *flows) gone(pop string) bool { return f.d.fleet.Gone(policy.POPID(pop), time.Now()) }

// resume is called by the cache server before the head of an answer that
// begins in the middle.
func (f *flows) resume(r cache.Resuming) {
	ask := checkpoint.Ask{
		Client: r.Conn.Remote().Addr().Unmap().WithZone(""), VIP: r.Conn.Local().Addr().Unmap().WithZone(""), Offset: uint64(r.First),
		Object: checkpoint.Object{URL: [16]byte(r.Digest[:16]), ETag: r.ETag},
	}
	known, ok := f.core.Resume(r.Conn, ask, careful.ParseStated(r.Field))
	if !ok {
		return
	}
	if f.prober != nil {
		f.prober.Done(known.Client, known.VIP)
		f.hurry(hurrySeldom)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := len(f.taken) - 1; i >= 0; i-- {
		if f.taken[i].POP == known.POP {
			f.taken[i].came++
			return
		}
	}
}

// How often at most clients that wait are woken at once: because a route has
// changed, and because a client has come. When a thousand come they must not
// have the others, whose resets are on their way, woken fifty times a second.
const (
	hurryEvery  = 20 * time.Millisecond
	hurrySeldom = 500 * time.Millisecond
)

// hurry has those clients woken now that wait for their next probe, if that was
// not done within a time. It does not block.
func (f *flows) hurry(every time.Duration) {
	now := time.Now()
	if last := f.hurried.Load(); f.prober == nil || now.UnixNano()-last < int64(every) || !f.hurried.CompareAndSwap(last, now.UnixNano()) {
		return
	}
	if f.prober.Waiting() > 0 {
		f.prober.Hurry(now)
	}
}

// onPath hears of each route that another POP's announcement makes or loses.
func (f *flows) onPath() {
	if f != nil {
		f.core.Look()
		f.hurry(hurryEvery)
	}
}

// peers are the POPs to tell of our flows.
func (f *flows) peers() (out []checkpoint.Peer) {
	for _, p := range f.cfg.Peers {
		out = append(out, checkpoint.Peer{POP: p.POP, Addr: p.Address})
	}
	if len(out) > 0 {
		return wanted(out, *f.likely.Load())
	}
	for _, p := range f.d.fleet.Peers(time.Now()) {
		if p.About != nil && p.About.Resync != "" {
			out = append(out, checkpoint.Peer{POP: string(p.POP), Addr: p.About.Resync})
		}
	}
	return wanted(out, *f.likely.Load())
}

// known reports whether a POP may tell us of its flows: one that is named in
// resync.peers or is of the fleet; where neither names any, each with a
// certificate. Nobody else speaks in our own name.
func (f *flows) known(pop string) bool {
	if pop == string(f.d.cfg.POP) {
		return false
	}
	peers := f.d.fleet.Peers(time.Now())
	return len(f.cfg.Peers)+len(peers) == 0 || slices.ContainsFunc(f.cfg.Peers, func(p config.ResyncPeer) bool { return p.POP == pop }) ||
		slices.ContainsFunc(peers, func(p fleet.PeerReport) bool { return string(p.POP) == pop })
}

// files are those of our certificate.
func (f *flows) files() mutual.Files {
	if t := f.cfg.TLS; t != nil {
		return mutual.Files{Certificate: t.Certificate, Key: t.Key, CA: t.CA, Revoked: t.Revoked}
	}
	c := f.d.core.Files()
	return mutual.Files{Certificate: c.Cert, Key: c.Key, CA: c.CA, Revoked: c.CRL}
}

// certificate says what is wrong with the files that are named for it; those of
// the core are its own to judge.
func (f *flows) certificate(now time.Time) error {
	if f.cfg.TLS == nil {
		return nil
	}
	return f.files().Of(string(f.d.cfg.POP), now)
}

func (f *flows) String() string { return "resync" }

// Ready is closed when other POPs can connect.
func (f *flows) Ready() <-chan struct{} { return f.ready }

// Run runs the parts until ctx ends. Only a listener that cannot be opened is
// an error.
func (f *flows) Run(ctx context.Context) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", f.cfg.Listen)
	if err != nil {
		return fmt.Errorf("resync.listen: %w", err)
	}
	f.exchange = checkpoint.NewExchange(checkpoint.ExchangeOptions{
		Book: f.book, Log: f.log, Listener: l, Server: f.files().Server, Client: f.files().Client, Name: mutual.Name,
		Known: f.known, Flows: f.gather.Flows, Peers: f.peers, Every: f.cfg.Interval,
	})
	close(f.ready)
	var life sync.WaitGroup
	defer life.Wait()
	run := func(what string, r interface{ Run(context.Context) error }) {
		life.Go(func() {
			if err := r.Run(ctx); err != nil && ctx.Err() == nil {
				f.log.Error("a part of it has ended; the rest goes on", "what", what, "err", err)
			}
		})
	}
	run("flow table", f.table)
	run("exchange", f.exchange)
	run("takeover", f.core)
	if f.warmer != nil {
		run("warmer", f.warmer)
	}
	if f.prober != nil {
		run("prober", f.prober)
		defer f.prober.Close()
	}
	if f.jumper != nil {
		defer f.jumper.Close()
	}
	defer f.d.closeTap()
	if f.routes != nil {
		run("routes", f.routes)
	}
	if f.vacater != nil {
		run("vacater", f.vacater)
	}
	life.Go(func() { f.keepEarned(ctx) })
	life.Go(func() { f.welcome(ctx) })
	life.Go(func() { f.foresee(ctx) })
	f.follow(ctx)
	life.Wait()
	return nil
}

// tasks are it, before BGP: a listener that cannot be opened ends the daemon
// before any neighbor has heard of it.
func (f *flows) tasks() []task {
	if f == nil {
		return nil
	}
	return []task{f}
}
