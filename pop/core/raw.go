package core

import (
	"context"
	"time"
)

// Engine is what keeps keys and revisions, for packages that carry them
// further (pop/relay) or bring them from elsewhere (NewFollower). It knows
// whole keys and stored bytes. Errors are *Error with a code; a commit's says
// Uncertain where nobody knows whether it happened.
type Engine interface {
	// Run starts the engine, calls ready once it can serve, and returns when
	// ctx has ended and everything it started is gone, or when it failed.
	Run(ctx context.Context, ready func()) error
	// Read returns the keys of [From, To) in order, or the one key if To is
	// empty, at one revision (0: now).
	Read(ctx context.Context, q RawQuery) (RawPage, error)
	// Commit makes all writes at one revision if all conditions hold.
	Commit(ctx context.Context, conds []RawCond, ops []RawOp) (RawCommit, error)
	// Watch calls yield with the changes of each revision from the given one
	// on, under a prefix; one without changes says that nothing happened before
	// it. It always ends with an error: Compacted where the history is gone,
	// Unavailable where it broke off, or yield's.
	Watch(ctx context.Context, prefix string, from int64, yield func(RawChanges) error) error
	Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error)
	Renew(ctx context.Context, id LeaseID) error
	Revoke(ctx context.Context, id LeaseID) error
	Compact(ctx context.Context, revision int64) error
	Status(ctx context.Context) (Status, error)
}

// RawQuery is a read. Stale reads need nobody else.
type RawQuery struct {
	From, To string
	Revision int64
	Stale    bool
	Limit    int
}

// RawPair is a key as it is stored.
type RawPair struct {
	Key               string
	Value             []byte // not to be changed
	Created, Revision int64
	Lease             LeaseID
}

// RawPage is an answer to a read; Revision is that of the whole core.
type RawPage struct {
	Pairs    []RawPair
	More     bool
	Revision int64
}

// RawCond holds while the key's last change is at that revision; 0: while
// there is no such key.
type RawCond struct {
	Key      string
	Revision int64
}

// RawOp is one write.
type RawOp struct {
	Key    string
	Value  []byte
	Delete bool
	Lease  LeaseID
}

// RawCommit is where a commit happened, or the condition that did not hold,
// with the revision found.
type RawCommit struct {
	Revision int64
	Failed   *RawCond
}

// RawChanges are those of one revision.
type RawChanges struct {
	Revision int64
	List     []RawChange
}

// RawChange is one key's; with Deleted only key and revision count.
type RawChange struct {
	RawPair
	Deleted bool
}

// NewFollower makes a core over an engine of another package that keeps a
// copy of its own. Stale reads and Watch go by that copy, all else by what the
// engine can reach.
func NewFollower(e Engine, o Options) *Core {
	c := newCore(follower{e}, o.withDefaults())
	c.local = true
	return c
}

// Engine is what is beneath the core, without its limits and checks. Run it
// by Core.Run only.
func (c *Core) Engine() Engine {
	if f, ok := c.engine.(follower); ok {
		return f.e
	}
	return bare{c.engine}
}

// Root is the prefix of all its keys.
func (c *Core) Root() string { return c.opt.Root }

// Decode reads an object as it is stored: the key without Root, and who wrote
// it and why.
func (c *Core) Decode(p RawPair) (Object, error) { return c.object(p) }

// bare shows an engine to others.
type bare struct{ e engine }

func (r bare) Run(context.Context, func()) error {
	return fail(Invalid, "run the core, not its engine")
}

func (r bare) Read(ctx context.Context, q RawQuery) (RawPage, error) { return r.e.read(ctx, q) }
func (r bare) Commit(ctx context.Context, conds []RawCond, ops []RawOp) (RawCommit, error) {
	return r.e.commit(ctx, conds, ops)
}
func (r bare) Watch(ctx context.Context, prefix string, from int64, yield func(RawChanges) error) error {
	return r.e.watch(ctx, prefix, from, yield)
}
func (r bare) Grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	return r.e.grant(ctx, ttl)
}
func (r bare) Renew(ctx context.Context, id LeaseID) error      { return r.e.renew(ctx, id) }
func (r bare) Revoke(ctx context.Context, id LeaseID) error     { return r.e.revoke(ctx, id) }
func (r bare) Compact(ctx context.Context, rev int64) error     { return r.e.compact(ctx, rev) }
func (r bare) Status(ctx context.Context) (s Status, err error) { return r.e.status(ctx) }

// follower is an engine of another package.
type follower struct{ e Engine }

func (f follower) run(ctx context.Context, ready func()) error { return f.e.Run(ctx, ready) }

func (f follower) read(ctx context.Context, q RawQuery) (RawPage, error) { return f.e.Read(ctx, q) }

func (f follower) commit(ctx context.Context, conds []RawCond, ops []RawOp) (RawCommit, error) {
	return f.e.Commit(ctx, conds, ops)
}

func (f follower) watch(ctx context.Context, prefix string, from int64, yield func(RawChanges) error) error {
	return f.e.Watch(ctx, prefix, from, yield)
}

func (f follower) grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	return f.e.Grant(ctx, ttl)
}
func (f follower) renew(ctx context.Context, id LeaseID) error  { return f.e.Renew(ctx, id) }
func (f follower) revoke(ctx context.Context, id LeaseID) error { return f.e.Revoke(ctx, id) }
func (f follower) compact(ctx context.Context, rev int64) error { return f.e.Compact(ctx, rev) }
func (f follower) status(ctx context.Context) (Status, error)   { return f.e.Status(ctx) }
