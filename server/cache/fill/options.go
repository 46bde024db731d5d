package fill

import (
	"log/slog"
	"time"
)

// Options are the limits of a Group; zero values take the defaults named.
type Options struct {
	Log *slog.Logger
	// Fills limits the requests to upstreams under way, all together, and with it
	// memory: each holds one buffer of 64 KiB; 1024.
	Fills int
	// PerUpstream limits those to one upstream (Source.Name); 256.
	PerUpstream int
	// Queue is how many may wait for their turn at one upstream, QueueWait how
	// long; more, or longer, is ErrBusy; 1024 and 10 s.
	Queue     int
	QueueWait time.Duration
	// Waiters limits those who wait for the head of one key; more is ErrBusy; 16384.
	Waiters int
	// Deadline ends any fill, however well it goes; 6 h. A response that is passed
	// to one client has no deadline.
	Deadline time.Duration
	// Resume is how often in a row a broken fill is asked for again without a
	// byte of progress; 3, negative: never. Backoff is waited before, doubled
	// each time; 100 ms.
	Resume  int
	Backoff time.Duration
	// Join is how many neighbouring missing chunks one request asks for; 16.
	Join int
	// Ahead is how many chunks before its reader a fetch is begun; 2, negative: 0.
	Ahead int
	// Jump is how many chunks a reader may be before a fill that comes its way, and
	// still waits for it; farther, its chunks are asked for by themselves. 8,
	// negative: always waits.
	Jump int
	// Abandon gives up the fill of a whole body when no reader has been left for
	// Linger (2 s) and less than this share is there; 0: never. A body of unknown
	// length has share 0.
	Abandon float64
	Linger  time.Duration
	// Relay is the window in bytes through which a body goes on to its readers when
	// the store takes no more of it; 1 MiB, negative: its readers get ErrStore.
	// Relays limits how many do so at once (64), RelayWait how long one reader can
	// hold up the others (30 s).
	Relay, Relays int
	RelayWait     time.Duration
	// NoTree leaves out the digest tree (Sum.Root is zero then), which costs as much
	// as the digest; NoDigest computes no digests but those that the origin gives to
	// check.
	NoTree, NoDigest bool
}

func def[T int | int64 | float64 | time.Duration](p *T, v T) {
	if *p == 0 {
		*p = v
	}
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	def(&o.Fills, 1024)
	def(&o.PerUpstream, 256)
	def(&o.Queue, 1024)
	def(&o.QueueWait, 10*time.Second)
	def(&o.Waiters, 16384)
	def(&o.Deadline, 6*time.Hour)
	def(&o.Resume, 3)
	def(&o.Backoff, 100*time.Millisecond)
	def(&o.Join, 16)
	def(&o.Ahead, 2)
	o.Ahead = max(o.Ahead, 0)
	def(&o.Jump, 8)
	def(&o.Linger, 2*time.Second)
	def(&o.Relay, 1<<20)
	def(&o.Relays, 64)
	def(&o.RelayWait, 30*time.Second)
	return o
}

// bufferSize is the unit of reading from an upstream, in bytes.
const bufferSize = 64 << 10
