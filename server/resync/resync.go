// Package resync lets downloads go on at another POP.
//
// It joins what its subpackages do: flow and the cache server know this POP's
// flows, checkpoint brings them to the POPs that would get their clients and
// keeps what those say, probe wakes clients whose POP has died, careful says
// how far a flow that comes from another POP may jump over slow start, and
// jump makes it so.
//
// It decides two things. Takeover: the clients of a POP are woken once that
// POP has stopped to speak and the fleet agrees that it is gone, never by its
// silence alone; of silence alone those are asked for a sign of life, for a
// while, whom that cannot harm. Resume: a range request that fits a checkpoint uses it up and
// may jump. Neither changes a route, and without it everything still works,
// only slower.
package resync

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/catchment/catchment/server/resync/careful"
	"github.com/catchment/catchment/server/resync/checkpoint"
	"github.com/catchment/catchment/server/resync/probe"
)

// Options are what a Resync needs.
type Options struct {
	POP  string
	Log  *slog.Logger
	Book *checkpoint.Book
	// Gone reports whether the fleet takes a POP for gone: it is not heard of
	// any more and nothing shows that it announces. It must not block.
	Gone func(pop string) bool
	// Waker wakes clients; nil: nobody is woken.
	Waker Waker
	// Silent is how long nothing was heard of a POP that may be gone, where its
	// connection has not ended; 350 ms.
	Silent time.Duration
	// Jumper lets flows jump; nil: all begin with slow start.
	Jumper Jumper
	// Jumps reports whether flows of one of our addresses may jump; nil: all.
	Jumps  func(vip netip.Addr) bool
	Limits careful.Limits
	// Pairs is what pairs of POPs had earned before (Resync.Pairs).
	Pairs []careful.LearnedPair
	// Initial is the window, in segments, that flows to a client begin with where
	// that is by a route and not by Jumper; 0, or nil: as usual.
	Initial func(client netip.Addr) int
	// Hear: what clients state of their connections counts, within Limits.
	Hear bool
	// Networks is of how many (pair of POPs, client network) is kept what was
	// learned; 100,000.
	Networks int
	// OnTakeover and OnJump, if not nil, hear what was done, for the journal.
	OnTakeover func(Takeover)
	OnJump     func(Jump)
	// Every is how often POPs are looked at; 50 ms.
	Every time.Duration
}

// Waker is what wakes clients (probe.Prober).
type Waker interface {
	// Wake is for flows of a POP that is gone, Doubt for those of one that is
	// silent.
	Wake([]probe.Flow, time.Time) int
	Doubt([]probe.Flow, time.Time) int
}

// Takeover is one of a POP's clients by this POP.
type Takeover struct {
	POP   string
	Flows int // that were told of
	Woken int // of them, those for which probes go out
	// Silent is how long before that the POP's last word was.
	Silent time.Duration
	// Round counts how often they have been woken, from 1: routes need time
	// to come here, and until then a client's answer is lost.
	Round int
}

// Jump is one flow that began, or could have begun, where another ended.
type Jump struct {
	At      time.Time
	From    string // POP
	Client  netip.Addr
	Ticket  careful.Ticket
	Path    careful.Path
	Part    float64 // of the former rate that was earned
	Jump    careful.Jump
	Refused careful.Reason // why it did not jump; "": it did
	Ended   careful.Phase  // how the jump ended
	Err     error          // of the socket
	Took    time.Duration  // from the jump to its end
	// Route: the window of Jump is by a route, and nothing holds it back.
	Route bool
}

// Resync is the whole of it. Its methods may be called from any goroutine.
type Resync struct {
	opt  Options
	life sync.WaitGroup

	mu      sync.Mutex
	ctx     context.Context // of Run; nil: it does not run
	earned  *careful.Earned
	watched int
	taken   map[string]takeover  // POPs that are gone
	doubted map[string]time.Time // POPs that were silent: their last word before
	counts  Counts

	kick chan struct{} // size one: look now
}

// takeover is where the wakening of a POP's clients is.
type takeover struct {
	heard time.Time // the POP's last word
	round int
	next  time.Time // when they are woken again
}

// The time between two rounds: it doubles.
const (
	roundFirst = 500 * time.Millisecond
	roundMost  = 8 * time.Second
)

// maxWatched is how many jumps are followed at once; a flow beyond it does not
// jump, for a jump that nobody follows would not retreat.
const maxWatched = 4096

// New makes a Resync; Run does the work.
func New(o Options) *Resync {
	o.Networks, o.Every = cmp.Or(o.Networks, 100_000), cmp.Or(o.Every, 50*time.Millisecond)
	o.Silent = cmp.Or(o.Silent, 350*time.Millisecond)
	earned := careful.NewEarned(o.Networks)
	earned.Restore(o.Pairs, time.Now())
	return &Resync{opt: o, earned: earned, taken: map[string]takeover{}, doubted: map[string]time.Time{}, kick: make(chan struct{}, 1)}
}

// Run looks after POPs that fall silent until ctx ends, and then waits for the
// jumps that it follows.
func (r *Resync) Run(ctx context.Context) error {
	r.mu.Lock()
	r.ctx = ctx
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.ctx = nil
		r.mu.Unlock()
		r.life.Wait()
	}()
	tick := time.NewTicker(r.opt.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.kick:
		}
		r.look(time.Now())
	}
}

// Look has Run look at the POPs now, such as when a route of one was lost.
func (r *Resync) Look() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

// Again has the clients of POPs that are gone woken at once, such as when a
// route of this POP has just been announced.
func (r *Resync) Again() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for pop, t := range r.taken {
		t.next = time.Time{}
		r.taken[pop] = t
	}
	r.Look()
}

// look wakes the clients of POPs that are gone, again and again until what is
// known of them has expired.
func (r *Resync) look(now time.Time) {
	if r.opt.Waker == nil {
		return
	}
	for _, p := range r.opt.Book.POPs() {
		silent := now.Sub(p.Heard)
		if p.Talking && silent <= r.opt.Silent {
			r.mu.Lock()
			delete(r.taken, p.POP)
			delete(r.doubted, p.POP)
			r.mu.Unlock()
			continue
		}
		if p.Flows == 0 || !r.due(p, now) {
			continue
		}
		if r.opt.Gone(p.POP) {
			r.takeOver(p, now)
		} else if p.Talking { // else it has said goodbye, or its kernel has: that one resets its clients itself
			r.doubt(p, now)
		}
	}
}

// doubt asks the clients of a silent POP for signs of life, once after each of
// its words: routes of one that has died are often still there, and come here a
// round trip before its clients would hear of it.
func (r *Resync) doubt(p checkpoint.Report, now time.Time) {
	r.mu.Lock()
	asked := r.doubted[p.POP].Equal(p.Heard)
	r.doubted[p.POP] = p.Heard
	r.mu.Unlock()
	if asked {
		return
	}
	known := r.opt.Book.Flows(p.POP, now)
	if n := r.opt.Waker.Doubt(wakened(known, p.Heard), now); n > 0 {
		r.count(func(c *Counts) { c.Doubts++ })
		r.opt.Log.Debug("the clients of a POP that may be gone are asked for signs of life", "pop", p.POP, "flows", len(known), "asked", n, "silent", now.Sub(p.Heard))
	}
}

// wakened are the connections of flows.
func wakened(known []checkpoint.Known, heard time.Time) []probe.Flow {
	flows := make([]probe.Flow, 0, len(known))
	type connection struct{ client, vip netip.AddrPort }
	shared := map[connection]int{}
	for i := range known {
		k := &known[i]
		if k.Streams > 1 {
			at, again := shared[connection{k.Client, k.VIP}]
			if again {
				flows[at].Stamp = cmp.Or(flows[at].Stamp, k.Stamp)
				continue
			}
			shared[connection{k.Client, k.VIP}] = len(flows)
		}
		flows = append(flows, probe.Flow{Client: k.Client, VIP: k.VIP, At: heard, RTT: k.RTT, Stamp: k.Stamp})
	}
	return flows
}

// due reports whether a silent POP's clients may be woken now.
func (r *Resync) due(p checkpoint.Report, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.taken[p.POP]
	return !t.heard.Equal(p.Heard) || !now.Before(t.next)
}

// takeOver wakes the clients of a POP that is gone.
func (r *Resync) takeOver(p checkpoint.Report, now time.Time) {
	known := r.opt.Book.Flows(p.POP, now)
	if len(known) == 0 {
		return
	}
	flows := wakened(known, p.Heard)
	woken := r.opt.Waker.Wake(flows, now)
	r.mu.Lock()
	t := r.taken[p.POP]
	if !t.heard.Equal(p.Heard) {
		t = takeover{heard: p.Heard}
		r.counts.Takeovers++
	}
	t.round++
	t.next = now.Add(min(roundFirst<<min(t.round-1, 10), roundMost))
	r.taken[p.POP] = t
	r.counts.Woken += uint64(woken)
	r.mu.Unlock()
	did := Takeover{POP: p.POP, Flows: len(flows), Woken: woken, Silent: now.Sub(p.Heard), Round: t.round}
	if t.round == 1 {
		r.opt.Log.Info("the clients of a POP that is gone are woken", "pop", did.POP, "flows", did.Flows, "woken", did.Woken, "silent", did.Silent)
	}
	if r.opt.OnTakeover != nil {
		r.opt.OnTakeover(did)
	}
}

// ErrNotRunning: Run has not been called, or has ended.
var ErrNotRunning = errors.New("resync: it does not run")
