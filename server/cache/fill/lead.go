package fill

import (
	"context"
	"fmt"
	"time"

	"github.com/catchment/catchment/server/cache/origin"
)

// Fetch is what the leader of a key does.
type Fetch struct {
	Source Source
	// Range asks for the chunks of a part of an object of which nothing is known;
	// nil asks for all. ChunkSize is the store's; 0 means 1 MiB.
	Range     *Span
	ChunkSize int64
	// Found, if not nil, is asked by the leader before the upstream is: between the
	// caller's look into the store and its becoming the leader, another fill of the
	// key may have put the object there. If it tells true, all who wait get Found.
	Found func() bool
	// Judge decides what the response is, once, on the fill's own goroutine: the
	// leader may be gone by then. It must not touch the body.
	Judge func(*Head) Verdict
}

// Kind is what became of a call.
type Kind uint8

const (
	// Failed: there is no response; Outcome.Err says why.
	Failed Kind = iota
	// Stored: the body comes into an object that all may read.
	Stored
	// Shared: there is no body to wait for; Outcome.Value is for all.
	Shared
	// Passed: the response is the caller's own.
	Passed
	// Released: the response was for another only; ask by yourself.
	Released
	// Found: the object is there by now; look into the store again.
	Found
)

func (k Kind) String() string {
	return [...]string{"failed", "stored", "shared", "passed", "released", "found"}[k]
}

// Verdict is what Judge says; Store, Share and Pass make one.
type Verdict struct {
	kind   Kind
	object Object
	value  any
	reason string
	// WaitWhole lets nobody go on before an object of at most so many bytes is
	// whole: its digest is known then, and a broken body is an error and not a
	// broken response. Objects longer, or of unknown length, do not wait.
	WaitWhole int64
	// Publish, if not nil, lets others find the object. It is called when the fill
	// covers the object and nobody but the fill knows of it: who found it earlier
	// would ask the upstream for what is on its way. After an error nothing is
	// stored, and the verdict is Pass with the error as its reason.
	Publish func() error
}

// Store puts the body into obj, of which it takes over one reference. All get
// value.
func Store(obj Object, value any) Verdict { return Verdict{kind: Stored, object: obj, value: value} }

// Share wants no body: all get value at once.
func Share(value any) Verdict { return Verdict{kind: Shared, value: value} }

// Pass gives the response to the leader alone; the others are let go with reason
// and value.
func Pass(reason string, value any) Verdict {
	return Verdict{kind: Passed, reason: reason, value: value}
}

// Outcome is what became of a call. Close must be called when it is used no more.
type Outcome struct {
	Kind Kind
	// Leader tells that the call asked the upstream itself.
	Leader bool
	// Value and Reason are the verdict's.
	Value  any
	Reason string
	// Response is the head, with its body if Passed; the header must not be changed
	// but by the leader that was Passed it. Nil if Released or Failed.
	Response *origin.Response
	// Flight is for reading the object, if Stored. Sum is known if it was waited for.
	Flight *Flight
	Sum    *Sum
	From   origin.From
	Err    error
	// Waited is how long the head took.
	Waited time.Duration
}

// Close gives up what the outcome holds.
func (o *Outcome) Close() {
	if o.Kind == Passed && o.Response != nil && o.Response.Body != nil {
		o.Response.Body.Close()
	}
	if o.Flight != nil {
		o.Flight.Release()
	}
}

// lead is one upstream request for a key until its head is judged.
type lead struct {
	done    chan struct{}
	callers int // who wait, the leader too
	gone    bool
	over    bool
	leader  Outcome // the leader's; others get it with other's kind
}

// Lead answers one request for key: it asks the upstream by f, or waits for the
// head of who asks already. The error is ctx's, ErrBusy or ErrClosed; everything
// else is in the outcome. What Lead starts goes on without its caller.
//
// Those who join get the object of another request: they must see for themselves
// that its variant (Vary) fits theirs.
func (g *Group) Lead(ctx context.Context, key Key, f Fetch) (*Outcome, error) {
	g.mu.Lock()
	l := g.leads[key]
	leader := l == nil
	switch {
	case leader:
		l = &lead{done: make(chan struct{})}
		if !g.spawn(func() { g.lead(key, l, f) }) {
			g.mu.Unlock()
			return nil, ErrClosed
		}
		g.leads[key] = l
		g.stats.leads.Add(1)
	case l.callers >= g.opt.Waiters:
		g.mu.Unlock()
		g.stats.busy.Add(1)
		return nil, ErrBusy
	default:
		g.stats.joined.Add(1)
	}
	l.callers++
	g.mu.Unlock()

	g.stats.waiting.Add(1)
	defer g.stats.waiting.Add(-1)
	start := time.Now()
	select {
	case <-l.done:
	case <-ctx.Done():
		g.mu.Lock()
		over := l.over
		if !over {
			l.callers--
			l.gone = l.gone || leader
		}
		g.mu.Unlock()
		if over {
			l.outcome(leader).Close()
		}
		return nil, context.Cause(ctx)
	}
	out := l.outcome(leader)
	out.Waited = time.Since(start)
	if out.Kind == Released {
		g.stats.released.Add(1)
	}
	return out, nil
}

// outcome is the leader's or another's.
func (l *lead) outcome(leader bool) *Outcome {
	out := l.leader
	out.Leader = leader
	if out.Kind == Passed && !leader {
		out.Kind, out.Response = Released, nil
	}
	return &out
}

// publish ends the wait. Each caller gets a reference of its own to the flight.
func (g *Group) publish(key Key, l *lead, out Outcome) {
	g.mu.Lock()
	if l.over {
		g.mu.Unlock()
		return
	}
	l.over = true
	l.leader = out
	if g.leads[key] == l {
		delete(g.leads, key)
	}
	if out.Flight != nil {
		out.Flight.hold(l.callers)
	}
	gone := l.gone
	close(l.done)
	g.mu.Unlock()
	if gone && out.Kind == Passed {
		out.Response.Body.Close()
	}
}

// lead asks the upstream, has the head judged, and brings the body in.
func (g *Group) lead(key Key, l *lead, f Fetch) {
	ctx, cancel := context.WithCancelCause(g.ctx)
	var head *Head
	defer func() {
		if p := recover(); p != nil {
			if head != nil {
				head.release()
			}
			cancel(fmt.Errorf("panic: %v", p))
			g.publish(key, l, Outcome{Err: fmt.Errorf("fill: panic: %v", p)})
			panic(p)
		}
	}()
	deadline := time.AfterFunc(g.opt.Deadline, func() { cancel(ErrDeadline) })
	def(&f.ChunkSize, 1<<20)
	if f.Found != nil && f.Found() {
		deadline.Stop()
		cancel(nil)
		g.publish(key, l, Outcome{Kind: Found})
		return
	}
	req := f.Source.Request
	if f.Range != nil {
		req = withRange(req, f.Range.field(f.ChunkSize), Validator{})
	}
	resp, give, err := g.ask(ctx, f.Source, req)
	if err != nil {
		deadline.Stop()
		cancel(nil)
		g.publish(key, l, Outcome{Err: err, From: fromOf(err)})
		return
	}
	head = headOf(resp, give)
	v := f.Judge(head)
	var fl *Flight
	var x *fetch
	if v.kind == Stored {
		fl, x, v, err = g.begun(cancel, f.Source, head, v)
	}
	out := Outcome{Kind: v.kind, Value: v.value, Reason: v.reason, Response: resp, From: resp.From, Err: err}
	switch v.kind {
	case Passed:
		deadline.Stop()
		resp.Body = &passed{body: resp.Body, done: func() { give(); cancel(nil) }}
		g.publish(key, l, out)
		return
	case Stored:
		g.store(ctx, key, l, fl, x, head, v, out)
	default:
		head.release()
		g.publish(key, l, out)
	}
	head.release()
	deadline.Stop()
	cancel(nil)
}

// begun makes the flight of a body that is to be stored, and has the object
// published then. If that fails the verdict becomes Pass; a head that cannot be
// believed is an error.
func (g *Group) begun(cancel context.CancelCauseFunc, src Source, head *Head, v Verdict) (*Flight, *fetch, Verdict, error) {
	if head.Bad != nil {
		v.object.Fail(head.Bad)
		v.object.Release()
		return nil, nil, Verdict{}, head.Bad
	}
	src.Validator = ValidatorOf(head.Header)
	fl := g.flight(v.object, src)
	v.object.Release() // the flight has its own
	x := fl.first(cancel, head)
	if v.Publish == nil {
		return fl, x, v, nil
	}
	if err := v.Publish(); err != nil {
		fl.settle(func() { fl.refs, fl.fetches = 0, nil })
		return nil, nil, Pass(err.Error(), nil), nil
	}
	return fl, x, v, nil
}

// store brings the body into the verdict's object.
func (g *Group) store(ctx context.Context, key Key, l *lead, fl *Flight, x *fetch, head *Head, v Verdict, out Outcome) {
	out.Flight = fl
	public := *head.Response
	public.Body = nil
	out.Response = &public
	if head.Total < 0 || head.Total > v.WaitWhole || head.Total != head.Last-head.First+1 {
		g.publish(key, l, out)
		fl.Release()
		fl.run(ctx, x, head)
		return
	}
	err := fl.run(ctx, x, head)
	if err = fl.broken(err); err != nil {
		out = Outcome{Err: err, From: head.From}
	} else {
		out.Sum = fl.Sum()
	}
	g.publish(key, l, out)
	fl.Release()
}
