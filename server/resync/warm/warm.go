// Package warm has the cache server fetch what clients will ask for that are
// about to come from another POP: of each flow the bytes that come next.
//
// It decides what is fetched first and how much at once, and nothing else: what
// may be stored, and from where it comes, is the cache server's to say. It is
// bounded in everything: what does not fit is left to the client's own request.
package warm

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/catchment/catchment/server/resync/checkpoint"
)

// Options are what a Warmer needs. Zero fields mean the defaults.
type Options struct {
	Log *slog.Logger
	// Warm brings bytes of a URL into the store, first to last, both counted
	// (cache.Server.Warm).
	Warm  func(ctx context.Context, url string, first, last int64) error
	Ahead int64 // bytes of each flow; 4 MiB
	Fills int   // at once; 16
	Queue int   // that wait; 10,000
	// Again is after how long the same bytes may be fetched again; 60 s.
	Again time.Duration
	// Each bounds one fetch; 30 s.
	Each time.Duration
}

// Counts tell what became of what was wanted.
type Counts struct {
	Wanted uint64 // parts of objects
	Done   uint64
	Failed uint64
	Full   uint64 // left out for want of room
	Bytes  uint64 // of those done, if all were missing
}

// Warmer fetches. Its methods may be called from any goroutine.
type Warmer struct {
	opt  Options
	kick chan struct{}

	mu     sync.Mutex
	queue  []part
	done   map[part]time.Time // or in the queue: when it was wanted
	counts Counts
}

// part is one stretch of an object: Ahead bytes from a multiple of it on.
type part struct {
	url string
	n   int64
}

// New makes a Warmer; Run does the work.
func New(o Options) *Warmer {
	o.Ahead, o.Fills, o.Queue = cmp.Or(o.Ahead, 4<<20), cmp.Or(o.Fills, 16), cmp.Or(o.Queue, 10_000)
	o.Again, o.Each = cmp.Or(o.Again, time.Minute), cmp.Or(o.Each, 30*time.Second)
	return &Warmer{opt: o, kick: make(chan struct{}, 1), done: map[part]time.Time{}}
}

// Want asks for what comes next of flows; what most of them want is fetched
// first. It does not wait, and what was wanted lately is not wanted again.
func (w *Warmer) Want(flows []checkpoint.Known, now time.Time) {
	votes := map[part]int{}
	for i := range flows {
		if f := &flows[i]; f.Object.Link != "" {
			n := int64(min(f.Offset, 1<<62)) / w.opt.Ahead
			votes[part{f.Object.Link, n}]++
			votes[part{f.Object.Link, n + 1}]++
		}
	}
	parts := make([]part, 0, len(votes))
	for p := range votes {
		parts = append(parts, p)
	}
	slices.SortFunc(parts, func(a, b part) int {
		return cmp.Or(cmp.Compare(votes[b], votes[a]), cmp.Compare(a.url, b.url), cmp.Compare(a.n, b.n))
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.done) > 2*w.opt.Queue {
		for p, at := range w.done {
			if now.Sub(at) > w.opt.Again {
				delete(w.done, p)
			}
		}
	}
	for _, p := range parts {
		at, known := w.done[p]
		switch {
		case known && now.Sub(at) <= w.opt.Again:
		case len(w.queue) >= w.opt.Queue || len(w.done) > 4*w.opt.Queue:
			w.counts.Full++
		default:
			w.done[p] = now
			w.queue = append(w.queue, p)
			w.counts.Wanted++
		}
	}
	w.wake()
}

// wake lets one more worker look at the queue.
func (w *Warmer) wake() {
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// Counts tells what became of all so far.
func (w *Warmer) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// Run fetches until ctx ends, and joins its workers.
func (w *Warmer) Run(ctx context.Context) error {
	var life sync.WaitGroup
	for range w.opt.Fills {
		life.Go(func() { w.work(ctx) })
	}
	life.Wait()
	return nil
}

func (w *Warmer) work(ctx context.Context) {
	for {
		p, ok := w.next()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-w.kick:
			}
			continue
		}
		each, cancel := context.WithTimeout(ctx, w.opt.Each)
		err := w.opt.Warm(each, p.url, p.n*w.opt.Ahead, (p.n+1)*w.opt.Ahead-1)
		cancel()
		w.mu.Lock()
		if err == nil {
			w.counts.Done++
			w.counts.Bytes += uint64(w.opt.Ahead)
		} else {
			w.counts.Failed++
		}
		w.mu.Unlock()
		if err != nil {
			w.opt.Log.Debug("not fetched for clients that come", "err", err)
		}
	}
}

// next takes a part from the queue, and lets another worker go on where there
// is more.
func (w *Warmer) next() (part, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return part{}, false
	}
	p := w.queue[0]
	w.queue = w.queue[1:]
	if len(w.queue) > 0 {
		w.wake()
	}
	return p, true
}
