package fill

import (
	"context"
	"sync"
	"time"
)

// limiter hands out the right to have a request under way, first come first
// served for each upstream.
type limiter struct {
	queue int
	wait  time.Duration

	mu          sync.Mutex
	total, each int
	used        int
	names       map[string]*turns
	// order holds upstreams that wait because of total, oldest first.
	order []*turns
}

type turns struct {
	used    int
	waiting []chan struct{}
	queued  bool // in order
}

func newLimiter(o Options) *limiter {
	return &limiter{total: o.Fills, each: o.PerUpstream, queue: o.Queue, wait: o.QueueWait, names: map[string]*turns{}}
}

// take waits for a turn; give must be called afterwards.
func (l *limiter) take(ctx context.Context, name string) (give func(), err error) {
	l.mu.Lock()
	t := l.names[name]
	if t == nil {
		t = &turns{}
		l.names[name] = t
	}
	give = sync.OnceFunc(func() { l.give(name, t) })
	if len(t.waiting) == 0 && t.used < l.each && l.used < l.total {
		t.used++
		l.used++
		l.mu.Unlock()
		return give, nil
	}
	if len(t.waiting) >= l.queue {
		l.mu.Unlock()
		return nil, ErrBusy
	}
	turn := make(chan struct{})
	t.waiting = append(t.waiting, turn)
	l.enqueue(t)
	l.mu.Unlock()

	timer := time.NewTimer(l.wait)
	defer timer.Stop()
	select {
	case <-turn:
		return give, nil
	case <-timer.C:
		err = ErrBusy
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if l.leave(name, t, turn) {
		return nil, err
	}
	give() // the turn came at the same time
	return nil, err
}

func (l *limiter) enqueue(t *turns) {
	if !t.queued {
		t.queued = true
		l.order = append(l.order, t)
	}
}

// leave takes a waiter out; false if it has its turn already.
func (l *limiter) leave(name string, t *turns, turn chan struct{}) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, w := range t.waiting {
		if w == turn {
			t.waiting = append(t.waiting[:i:i], t.waiting[i+1:]...)
			l.forget(name, t)
			return true
		}
	}
	return false
}

func (l *limiter) forget(name string, t *turns) {
	if t.used == 0 && len(t.waiting) == 0 && l.names[name] == t {
		delete(l.names, name)
	}
}

func (l *limiter) give(name string, t *turns) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.used--
	l.used--
	l.forget(name, t)
	l.next()
}

// set changes how many may be under way; those that are go on.
func (l *limiter) set(total, each int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total, l.each = total, each
	l.next()
}

// next gives turns to those who wait, as far as the limits allow: the upstreams
// take turns. l.mu is held.
func (l *limiter) next() {
	for i := 0; i < len(l.order) && l.used < l.total; {
		w := l.order[i]
		if len(w.waiting) == 0 {
			w.queued = false
			l.order = append(l.order[:i:i], l.order[i+1:]...)
			continue
		}
		if w.used >= l.each {
			i++
			continue
		}
		w.used++
		l.used++
		close(w.waiting[0])
		w.waiting = w.waiting[1:]
		l.order = append(l.order[:i:i], l.order[i+1:]...)
		w.queued = false
		if len(w.waiting) > 0 {
			l.enqueue(w)
		}
	}
}
