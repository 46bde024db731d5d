package fill

import (
	"context"
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/catchment/catchment/server/cache/origin"
)

// Key is what requests that may be answered alike have in common.
type Key [32]byte

// Group is all fills of a cache.
type Group struct {
	opt    Options
	limit  *limiter
	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup
	stats  stats
	bufs   sync.Pool

	life   sync.Mutex // after all other locks
	closed bool

	mu      sync.Mutex // before Flight.mu
	leads   map[Key]*lead
	flights map[uint64]*Flight
}

// New makes a group. It starts nothing; fills run under the group, and end at the
// latest when Run returns.
func New(o Options) *Group {
	o = o.withDefaults()
	g := &Group{opt: o, limit: newLimiter(o), leads: map[Key]*lead{}, flights: map[uint64]*Flight{}}
	g.ctx, g.cancel = context.WithCancelCause(context.Background())
	g.bufs.New = func() any { return new([bufferSize]byte) }
	return g
}

// SetLimits changes how many requests may be under way, for all and for one
// upstream (Options.Fills, Options.PerUpstream; 0: the default). Those that are
// go on.
func (g *Group) SetLimits(fills, perUpstream int) {
	o := Options{Fills: fills, PerUpstream: perUpstream}.withDefaults()
	g.limit.set(o.Fills, o.PerUpstream)
}

// Run waits for the end of ctx, ends all fills then and waits for them.
func (g *Group) Run(ctx context.Context) error {
	<-ctx.Done()
	g.Close()
	return nil
}

// Close ends all fills and waits for them; nothing can be begun afterwards.
func (g *Group) Close() {
	g.life.Lock()
	g.closed = true
	g.life.Unlock()
	g.cancel(ErrClosed)
	g.wg.Wait()
}

// spawn runs f on a goroutine that Close waits for; a panic in it, which can only
// be a caller's Judge or Whole or a defect, is logged and counted.
func (g *Group) spawn(f func()) bool {
	g.life.Lock()
	defer g.life.Unlock()
	if g.closed {
		return false
	}
	g.wg.Go(func() {
		defer g.recover()
		f()
	})
	return true
}

func (g *Group) recover() {
	if p := recover(); p != nil {
		g.stats.panics.Add(1)
		g.opt.Log.Error("fill: panic", "panic", p, "stack", string(debug.Stack()))
	}
}

// Pass asks for one caller alone, within the limits: for those who were Released,
// keys known as not storable, and methods that are not stored. The response ends
// with ctx.
func (g *Group) Pass(ctx context.Context, src Source) (*Outcome, error) {
	start := time.Now()
	resp, give, err := g.ask(ctx, src, src.Request)
	if err != nil {
		if errors.Is(err, ErrBusy) || ctx.Err() != nil {
			return nil, err
		}
		return &Outcome{Err: err, From: fromOf(err), Leader: true, Waited: time.Since(start)}, nil
	}
	resp.Body = &passed{body: resp.Body, done: give}
	return &Outcome{Kind: Passed, Leader: true, Response: resp, From: resp.From, Waited: time.Since(start)}, nil
}

// ask sends one request when it is its turn. give must be called when its body is
// done with.
func (g *Group) ask(ctx context.Context, src Source, req *origin.Request) (*origin.Response, func(), error) {
	give, err := g.limit.take(ctx, src.Name)
	if err != nil {
		if errors.Is(err, ErrBusy) {
			g.stats.busy.Add(1)
		}
		return nil, nil, err
	}
	g.stats.fetches.Add(1)
	g.stats.running.Add(1)
	done := sync.OnceFunc(func() { g.stats.running.Add(-1); give() })
	resp, err := src.Upstream.Do(ctx, req)
	if err != nil {
		g.stats.failed.Add(1)
		done()
		return nil, nil, err
	}
	return resp, done, nil
}

func fromOf(err error) origin.From {
	var e *origin.Error
	if errors.As(err, &e) {
		return e.From
	}
	return origin.From{}
}
