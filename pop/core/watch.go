package core

import (
	"context"
	"errors"
	"time"

	"github.com/catchment/catchment/pop/lapse"
)

// Event is one change of one object.
type Event struct {
	Key     Key
	Object  Object // as it is now; with Deleted only Key, Write and Revision
	Deleted bool
}

// Batch is everything a selector picked of one revision, or a snapshot.
type Batch struct {
	// Revision of the core up to which the watcher now knows everything.
	Revision int64
	// Snapshot: Events are all objects there are. What the watcher knew and
	// is not among them is gone.
	Snapshot bool
	Events   []Event
}

// Pauses between attempts to watch again.
const (
	firstPause = 50 * time.Millisecond
	mostPause  = 5 * time.Second
)

// Watch calls yield with what changes after revision from, each revision once,
// in order and whole; from 0 begins with a snapshot. It goes on over lost
// engines, leaders and connections. Where the history after from is gone
// (compaction, or the core was restored from an older backup) it yields a
// snapshot instead. It ends with the context's error or with yield's.
//
// yield is called by one goroutine. Who is slow delays only itself, but what it
// has not taken yet waits in this process's memory: take it and go.
func (c *Core) Watch(ctx context.Context, s Selector, from int64, yield func(Batch) error) error {
	prefix, err := c.prefix(s)
	if err != nil {
		return about(err, "watch", s.String())
	}
	w := watcher{core: c, selector: s, prefix: prefix, known: from, yield: yield}
	pause := firstPause
	for {
		before := w.known
		err := w.once(ctx)
		var stop *stopped
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &stop):
			return stop.err
		case errors.Is(err, Compacted):
			c.opt.Log.Info("core: watch starts again from a snapshot", "of", s.String(), "known", w.known, "err", err)
			w.known = 0
			if before == 0 {
				break // compacted between the snapshot and the watch: not in a tight loop
			}
			continue
		}
		if w.known != before {
			pause = firstPause
		}
		if !lapse.Of(ctx, pause) {
			return ctx.Err()
		}
		pause = min(2*pause, mostPause)
	}
}

// stopped carries an error of yield out of the engine.
type stopped struct{ err error }

func (s *stopped) Error() string { return s.err.Error() }

type watcher struct {
	core     *Core
	selector Selector
	prefix   string
	known    int64
	yield    func(Batch) error
}

// once watches until something breaks.
func (w *watcher) once(ctx context.Context) error {
	if w.known == 0 {
		if err := w.snapshot(ctx); err != nil {
			return err
		}
	}
	return w.core.engine.watch(ctx, w.prefix, w.known+1, func(ch RawChanges) error {
		return w.pass(ctx, ch)
	})
}

func (w *watcher) snapshot(ctx context.Context) error {
	var reads []Read
	if w.core.local {
		reads = append(reads, Stale()) // of the copy that is watched
	}
	s, err := w.core.List(ctx, w.selector, reads...)
	if err != nil {
		return err
	}
	b := Batch{Revision: s.Revision, Snapshot: true}
	for _, o := range s.Objects {
		b.Events = append(b.Events, Event{Key: o.Key, Object: o})
	}
	return w.deliver(b)
}

func (w *watcher) deliver(b Batch) error {
	if err := w.yield(b); err != nil {
		return &stopped{err}
	}
	w.known = b.Revision
	return nil
}

func (w *watcher) pass(ctx context.Context, ch RawChanges) error {
	if ch.Revision <= w.known {
		return nil // heard already, before the connection was lost
	}
	if len(ch.List) == 0 {
		w.known = ch.Revision
		return nil
	}
	b := Batch{Revision: ch.Revision}
	for _, change := range ch.List {
		if e, ok := w.event(ctx, change); ok {
			b.Events = append(b.Events, e)
		}
	}
	if len(b.Events) == 0 {
		w.known = ch.Revision
		return nil
	}
	return w.deliver(b)
}

func (w *watcher) event(ctx context.Context, ch RawChange) (Event, bool) {
	k, ok := w.core.key(ch.Key)
	if !ok {
		return Event{}, false
	}
	if ch.Deleted {
		e := Event{Key: k, Deleted: true, Object: Object{Key: k, Revision: ch.Revision}}
		e.Object.Write = w.core.blame(ctx, ch.Revision)
		return e, true
	}
	o, err := w.core.object(ch.RawPair)
	if err != nil {
		w.core.opt.Log.Warn("core: object cannot be read", "key", ch.Key, "err", err)
		return Event{}, false
	}
	return Event{Key: k, Object: o}, true
}

// Names that stand for nobody in Event.Write of deletes.
const (
	WhoLease   = "lease"   // it ran out
	WhoUnknown = "unknown" // the history is gone, or the engine
)

// blame asks the member that told of the change, which knows it also without a
// quorum, and only then the others.
func (c *Core) blame(ctx context.Context, revision int64) Write {
	w, err := c.Blame(ctx, revision, Stale())
	if err != nil && !errors.Is(err, NotFound) {
		w, err = c.Blame(ctx, revision)
	}
	switch {
	case err == nil:
		return w
	case errors.Is(err, NotFound):
		return Write{WhoLease, "its lease has ended"}
	}
	return Write{WhoUnknown, err.Error()}
}
