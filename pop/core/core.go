package core

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"
)

// Options are common to all engines.
type Options struct {
	Root   string // prefix of all keys; default "/catchment/1/"
	Limits Limits
	Log    *slog.Logger // default: says nothing
	// Timeout bounds each single operation beside its context; default 10 s.
	Timeout time.Duration
}

func (o Options) withDefaults() Options {
	o.Root = cmp.Or(o.Root, "/catchment/1/")
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.Limits = o.Limits.withDefaults()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return o
}

// Core is the control core. It is made by NewEmbedded, NewExternal or
// NewMemory, and safe for use by many goroutines.
type Core struct {
	opt    Options
	engine engine
	rates  *throttle
	ready  chan struct{}
	once   sync.Once
	counts counts
	local  bool // the engine keeps a copy, which watches begin with
}

func newCore(e engine, o Options) *Core {
	return &Core{opt: o, engine: e, rates: newThrottle(o.Limits), ready: make(chan struct{})}
}

// Run starts the engine and returns when ctx has ended and everything is
// joined, with nil, or when the engine cannot go on.
func (c *Core) Run(ctx context.Context) error {
	return about(c.engine.run(ctx, func() { c.once.Do(func() { close(c.ready) }) }), "run", "")
}

// Ready is closed when the core has answered for the first time.
func (c *Core) Ready() <-chan struct{} { return c.ready }

// If is a condition on an object's revision.
type If int64

// Conditions besides a revision.
const (
	Absent If = 0  // there is no such object
	Any    If = -1 // whatever there is
)

// Cond is one condition of a Txn.
type Cond struct {
	Key Key
	If  If
}

// Op is one write of a Txn.
type Op struct {
	Key    Key
	Value  json.RawMessage // ignored by a delete
	Delete bool
	Lease  LeaseID // the object goes when the lease does; 0: none
}

// Read changes how something is read.
type Read func(*RawQuery)

// Stale reads what this member has, without asking the others: it can be old,
// and it is there without a quorum.
func Stale() Read { return func(q *RawQuery) { q.Stale = true } }

// At reads a former revision.
func At(revision int64) Read { return func(q *RawQuery) { q.Revision = revision } }

// Get returns one object, or NotFound.
func (c *Core) Get(ctx context.Context, k Key, reads ...Read) (Object, error) {
	if err := k.check(); err != nil {
		return Object{}, about(err, "get", k.String())
	}
	q := RawQuery{From: c.path(k), Limit: 1}
	for _, r := range reads {
		r(&q)
	}
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	p, err := c.engine.read(ctx, q)
	if err != nil {
		return Object{}, about(err, "get", k.String())
	}
	if len(p.Pairs) == 0 {
		return Object{}, &Error{Code: NotFound, Op: "get", Key: k.String(), Revision: p.Revision}
	}
	o, err := c.object(p.Pairs[0])
	return o, about(err, "get", k.String())
}

// Snapshot is what a selector picked at one revision, in the order of names.
type Snapshot struct {
	Revision int64
	Objects  []Object
	// Broken are the keys of objects that could not be decoded; they are not
	// in Objects, and hide nothing else.
	Broken []Key
}

const pageSize = 500

// List returns the objects a selector picks, all at one revision.
func (c *Core) List(ctx context.Context, s Selector, reads ...Read) (Snapshot, error) {
	prefix, err := c.prefix(s)
	if err != nil {
		return Snapshot{}, about(err, "list", s.String())
	}
	q := RawQuery{From: prefix, To: end(prefix), Limit: pageSize}
	for _, r := range reads {
		r(&q)
	}
	out := Snapshot{Revision: q.Revision}
	for {
		p, err := c.page(ctx, q)
		if err != nil {
			return Snapshot{}, about(err, "list", s.String())
		}
		if out.Revision == 0 {
			out.Revision, q.Revision = p.Revision, p.Revision
		}
		for _, kv := range p.Pairs {
			c.collect(&out, kv)
		}
		if !p.More || len(p.Pairs) == 0 {
			return out, nil
		}
		q.From = p.Pairs[len(p.Pairs)-1].Key + "\x00"
	}
}

func (c *Core) page(ctx context.Context, q RawQuery) (RawPage, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	return c.engine.read(ctx, q)
}

func (c *Core) collect(s *Snapshot, kv RawPair) {
	o, err := c.object(kv)
	if err != nil {
		k, _ := c.key(kv.Key)
		c.opt.Log.Warn("core: object cannot be read", "key", kv.Key, "err", err)
		s.Broken = append(s.Broken, k)
		return
	}
	s.Objects = append(s.Objects, o)
}

// Put stores one value under a condition and returns the object; its Created
// is known only if it was Absent.
func (c *Core) Put(ctx context.Context, w Write, k Key, value json.RawMessage, when If) (Object, error) {
	at := time.Now()
	rev, err := c.txn(ctx, w, at, []Cond{{k, when}}, []Op{{Key: k, Value: value}})
	if err != nil {
		return Object{}, about(err, "put", k.String())
	}
	o := Object{Key: k, Value: value, Write: w, At: at, Revision: rev}
	if when == Absent {
		o.Created = rev
	}
	return o, nil
}

// Delete removes one object under a condition; Absent makes no sense here.
// With Any, what is not there needs no removing.
func (c *Core) Delete(ctx context.Context, w Write, k Key, when If) (int64, error) {
	if when == Absent {
		return 0, about(fail(Invalid, "delete what is absent"), "delete", k.String())
	}
	rev, err := c.txn(ctx, w, time.Now(), []Cond{{k, when}}, []Op{{Key: k, Delete: true}})
	return rev, about(err, "delete", k.String())
}

// Txn makes all writes at one revision, which it returns, or none: Conflict
// names the first condition that did not hold.
func (c *Core) Txn(ctx context.Context, w Write, conds []Cond, ops []Op) (int64, error) {
	rev, err := c.txn(ctx, w, time.Now(), conds, ops)
	return rev, about(err, "txn", "")
}

// last is the value of the key that each transaction writes beside its own:
// the history of that one key is the list of who wrote what and why, deletes
// included.
type last struct {
	Keys []string `json:"keys"`
}

func (c *Core) lastPath() string { return c.opt.Root + string(kindLast) + "/write" }

func (c *Core) txn(ctx context.Context, w Write, at time.Time, conds []Cond, ops []Op) (int64, error) {
	rev, err := c.try(ctx, w, at, conds, ops)
	c.counts.add(err)
	return rev, err
}

func (c *Core) try(ctx context.Context, w Write, at time.Time, conds []Cond, ops []Op) (int64, error) {
	if err := c.checkTxn(w, conds, ops); err != nil {
		return 0, err
	}
	raw, err := c.encodeAll(w, at, ops)
	if err != nil {
		return 0, err
	}
	if wait, ok := c.rates.take(w.Who, len(ops), time.Now()); !ok {
		return 0, &Error{Code: Limited, Retry: wait, Err: errors.New("writer " + w.Who)}
	}
	var tests []RawCond
	for _, d := range conds {
		if d.If != Any {
			tests = append(tests, RawCond{c.path(d.Key), int64(d.If)})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	done, err := c.engine.commit(ctx, tests, raw)
	if err != nil {
		return 0, err
	}
	if done.Failed != nil {
		k, _ := c.key(done.Failed.Key)
		return 0, &Error{Code: Conflict, Key: k.String(), Revision: done.Failed.Revision}
	}
	return done.Revision, nil
}

func (c *Core) checkTxn(w Write, conds []Cond, ops []Op) error {
	if err := w.check(); err != nil {
		return err
	}
	if len(ops) == 0 {
		return fail(Invalid, "nothing to write")
	}
	if n := max(len(ops), len(conds)); n > c.opt.Limits.Ops {
		return fail(TooLarge, "%d writes or conditions, at most %d", n, c.opt.Limits.Ops)
	}
	seen := map[Key]bool{}
	for _, o := range ops {
		if err := o.Key.check(); err != nil {
			return about(err, "", o.Key.String())
		}
		if seen[o.Key] || o.Key.Kind == kindLast {
			return &Error{Code: Invalid, Key: o.Key.String(), Err: errors.New("written twice, or not for writing")}
		}
		seen[o.Key] = true
	}
	for _, d := range conds {
		if err := d.Key.check(); err != nil {
			return about(err, "", d.Key.String())
		}
		if d.If < Any {
			return &Error{Code: Invalid, Key: d.Key.String(), Err: errors.New("revisions are not negative")}
		}
	}
	return nil
}

func (c *Core) encodeAll(w Write, at time.Time, ops []Op) ([]RawOp, error) {
	out := make([]RawOp, 0, len(ops)+1)
	var keys []string
	total := 0
	for _, o := range ops {
		keys = append(keys, o.Key.String())
		if o.Delete {
			out = append(out, RawOp{Key: c.path(o.Key), Delete: true})
			continue
		}
		b, err := encode(w, at, o.Value)
		if err != nil {
			return nil, about(err, "", o.Key.String())
		}
		if len(b) > c.opt.Limits.Value {
			return nil, about(fail(TooLarge, "%d bytes, at most %d", len(b), c.opt.Limits.Value), "", o.Key.String())
		}
		total += len(b)
		out = append(out, RawOp{Key: c.path(o.Key), Value: b, Lease: o.Lease})
	}
	if total > c.opt.Limits.Txn {
		return nil, fail(TooLarge, "%d bytes in one transaction, at most %d", total, c.opt.Limits.Txn)
	}
	value, err := Marshal(last{keys})
	if err != nil {
		return nil, err
	}
	b, err := encode(w, at, value)
	if err != nil {
		return nil, err
	}
	return append(out, RawOp{Key: c.lastPath(), Value: b}), nil
}

// Blame says who made the change of a revision and why, deletes included.
// NotFound: nobody, a lease ran out. Compacted: too long ago.
func (c *Core) Blame(ctx context.Context, revision int64, reads ...Read) (Write, error) {
	q := RawQuery{From: c.lastPath(), Limit: 1}
	for _, r := range append(reads, At(revision)) {
		r(&q)
	}
	p, err := c.page(ctx, q)
	if err != nil {
		return Write{}, about(err, "blame", "")
	}
	if len(p.Pairs) == 0 || p.Pairs[0].Revision != revision {
		return Write{}, &Error{Code: NotFound, Op: "blame", Revision: revision}
	}
	e, err := decode(p.Pairs[0].Value)
	return Write{e.Who, e.Why}, about(err, "blame", "")
}

func (c *Core) path(k Key) string { return c.opt.Root + k.String() }

func (c *Core) prefix(s Selector) (string, error) {
	k := Key{s.Kind, cmp.Or(s.Prefix, "x")}
	if err := k.check(); err != nil {
		return "", err
	}
	return c.opt.Root + string(s.Kind) + "/" + s.Prefix, nil
}

// key is the reverse of path.
func (c *Core) key(path string) (Key, bool) {
	inside, ours := strings.CutPrefix(path, c.opt.Root)
	kind, name, cut := strings.Cut(inside, "/")
	return Key{Kind(kind), name}, ours && cut
}

func (c *Core) object(kv RawPair) (Object, error) {
	k, ok := c.key(kv.Key)
	if !ok {
		return Object{}, fail(Corrupt, "key %q is not ours", kv.Key)
	}
	e, err := decode(kv.Value)
	if err != nil {
		return Object{}, err
	}
	return Object{
		Key: k, Value: slices.Clone(e.Value), Write: Write{e.Who, e.Why}, At: e.At,
		Revision: kv.Revision, Created: kv.Created, Lease: kv.Lease,
	}, nil
}
