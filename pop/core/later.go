package core

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// NewLater makes a core whose engine is known only once it runs: open is
// called by Run, may wait (for an answer to a token, for a file), and returns
// a core that nobody else uses. Until then every operation is Unavailable.
func NewLater(open func(context.Context) (*Core, error), o Options) *Core {
	return newCore(&later{open: open}, o.withDefaults())
}

// later is an engine in the place of one that is not there yet.
type later struct {
	open func(context.Context) (*Core, error)
	now  atomic.Pointer[Core]
}

var errNotOpen = errors.New("the core has not been reached yet")

// run opens the engine and is it from then on.
func (l *later) run(ctx context.Context, ready func()) error {
	c, err := l.open(ctx)
	if err != nil {
		return err
	}
	l.now.Store(c)
	return c.engine.run(ctx, ready)
}

func (l *later) get() (engine, error) {
	if c := l.now.Load(); c != nil {
		return c.engine, nil
	}
	return nil, &Error{Code: Unavailable, Err: errNotOpen}
}

// under is the engine that does the work; nil: not there yet.
func (c *Core) under() engine {
	if l, ok := c.engine.(*later); ok {
		e, _ := l.get()
		return e
	}
	return c.engine
}

func (l *later) read(ctx context.Context, q RawQuery) (RawPage, error) {
	e, err := l.get()
	if err != nil {
		return RawPage{}, err
	}
	return e.read(ctx, q)
}

func (l *later) commit(ctx context.Context, conds []RawCond, ops []RawOp) (RawCommit, error) {
	e, err := l.get()
	if err != nil {
		return RawCommit{}, err
	}
	return e.commit(ctx, conds, ops)
}

func (l *later) watch(ctx context.Context, prefix string, from int64, yield func(RawChanges) error) error {
	e, err := l.get()
	if err != nil {
		return err
	}
	return e.watch(ctx, prefix, from, yield)
}

func (l *later) grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	e, err := l.get()
	if err != nil {
		return 0, 0, err
	}
	return e.grant(ctx, ttl)
}

func (l *later) renew(ctx context.Context, id LeaseID) error {
	e, err := l.get()
	if err != nil {
		return err
	}
	return e.renew(ctx, id)
}

func (l *later) revoke(ctx context.Context, id LeaseID) error {
	e, err := l.get()
	if err != nil {
		return err
	}
	return e.revoke(ctx, id)
}

func (l *later) compact(ctx context.Context, revision int64) error {
	e, err := l.get()
	if err != nil {
		return err
	}
	return e.compact(ctx, revision)
}

func (l *later) status(ctx context.Context) (Status, error) {
	e, err := l.get()
	if err != nil {
		return Status{Failed: errNotOpen.Error()}, err
	}
	return e.status(ctx)
}
