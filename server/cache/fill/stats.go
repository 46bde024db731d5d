package fill

import "sync/atomic"

type stats struct {
	running, waiting, relaying                                      atomic.Int64
	leads, joined, fetches, bytes, resumed, released                atomic.Uint64
	failed, abandoned, changed, wrong, whole, busy, panics, relayed atomic.Uint64
}

// Stats counts what the group has done since the start.
type Stats struct {
	// Running and Waiting are now: requests to upstreams, and callers of Lead.
	Running, Waiting int64
	// Flights is the number of objects with a reader or a fill now.
	Flights int
	// Leads counts fills begun by Lead, Joined the calls that found one under way,
	// Released those of them that were let go.
	Leads, Joined, Released uint64
	// Fetches counts requests to upstreams, Bytes what they brought into objects,
	// Resumed those that went on where another broke.
	Fetches, Bytes, Resumed uint64
	// Failed fetches; of them Abandoned for want of readers. Changed versions, wrong
	// digests, objects made whole, calls refused by limits, panics.
	Failed, Abandoned, Changed, Wrong, Whole, Busy, Panics uint64
	// Relayed bodies, that the store took no more of; Relaying is now.
	Relayed  uint64
	Relaying int64
}

// Stats is a snapshot.
func (g *Group) Stats() Stats {
	g.mu.Lock()
	n := len(g.flights)
	g.mu.Unlock()
	s := &g.stats
	return Stats{
		Running: s.running.Load(), Waiting: s.waiting.Load(), Flights: n, Leads: s.leads.Load(), Joined: s.joined.Load(),
		Released: s.released.Load(), Fetches: s.fetches.Load(), Bytes: s.bytes.Load(), Resumed: s.resumed.Load(),
		Failed: s.failed.Load(), Abandoned: s.abandoned.Load(), Changed: s.changed.Load(), Wrong: s.wrong.Load(),
		Whole: s.whole.Load(), Busy: s.busy.Load(), Panics: s.panics.Load(), Relayed: s.relayed.Load(), Relaying: s.relaying.Load(),
	}
}
