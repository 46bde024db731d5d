package core

import (
	"context"
)

// Table is the objects of one kind as values of one type. Check, where given,
// judges what is written and what is read: an object in the core that does
// not pass is Corrupt, and hides none of the others.
type Table[T any] struct {
	core  *Core
	kind  Kind
	check func(name string, v T) error
}

// Item is a value with the object it came from.
type Item[T any] struct {
	Object
	V T
}

// NewTable is a view on a core's objects of a kind. check may be nil.
func NewTable[T any](c *Core, k Kind, check func(name string, v T) error) Table[T] {
	return Table[T]{c, k, check}
}

// Item decodes and checks an object.
func (t Table[T]) Item(o Object) (Item[T], error) {
	it := Item[T]{Object: o}
	if err := o.Into(&it.V); err != nil {
		return it, err
	}
	if t.check != nil {
		if err := t.check(o.Key.Name, it.V); err != nil {
			return it, &Error{Code: Corrupt, Op: "check", Key: o.Key.String(), Err: err}
		}
	}
	return it, nil
}

// Get reads one.
func (t Table[T]) Get(ctx context.Context, name string, reads ...Read) (Item[T], error) {
	o, err := t.core.Get(ctx, Key{t.kind, name}, reads...)
	if err != nil {
		return Item[T]{}, err
	}
	return t.Item(o)
}

// List reads those whose names begin with a prefix, all at one revision;
// broken are those that could not be read.
func (t Table[T]) List(ctx context.Context, prefix string, reads ...Read) (items []Item[T], revision int64, broken []Key, err error) {
	s, err := t.core.List(ctx, Selector{t.kind, prefix}, reads...)
	if err != nil {
		return nil, 0, nil, err
	}
	broken = s.Broken
	for _, o := range s.Objects {
		it, err := t.Item(o)
		if err != nil {
			t.core.opt.Log.Warn("core: object is not used", "err", err)
			broken = append(broken, o.Key)
			continue
		}
		items = append(items, it)
	}
	return items, s.Revision, broken, nil
}

// Op is a write of a value, for Txn together with others.
func (t Table[T]) Op(name string, v T, lease LeaseID) (Op, error) {
	k := Key{t.kind, name}
	if t.check != nil {
		if err := t.check(name, v); err != nil {
			return Op{}, &Error{Code: Invalid, Op: "check", Key: k.String(), Err: err}
		}
	}
	b, err := Marshal(v)
	return Op{Key: k, Value: b, Lease: lease}, about(err, "encode", k.String())
}

// Put writes one.
func (t Table[T]) Put(ctx context.Context, w Write, name string, v T, when If) (Item[T], error) {
	op, err := t.Op(name, v, 0)
	if err != nil {
		return Item[T]{}, err
	}
	o, err := t.core.Put(ctx, w, op.Key, op.Value, when)
	return Item[T]{o, v}, err
}

// Delete removes one.
func (t Table[T]) Delete(ctx context.Context, w Write, name string, when If) (int64, error) {
	return t.core.Delete(ctx, w, Key{t.kind, name}, when)
}

// Follow keeps a caller's whole set current: it calls yield with all items by
// name at first and after each change, with the revision they are those of.
// The map is the caller's to keep; each call brings a new one.
func (t Table[T]) Follow(ctx context.Context, prefix string, yield func(items map[string]Item[T], revision int64) error) error {
	now := map[string]Item[T]{}
	return t.core.Watch(ctx, Selector{t.kind, prefix}, 0, func(b Batch) error {
		next := make(map[string]Item[T], len(now)+len(b.Events))
		if !b.Snapshot {
			for k, v := range now {
				next[k] = v
			}
		}
		for _, e := range b.Events {
			if e.Deleted {
				delete(next, e.Key.Name)
				continue
			}
			it, err := t.Item(e.Object)
			if err != nil {
				t.core.opt.Log.Warn("core: object is not used", "err", err)
				delete(next, e.Key.Name)
				continue
			}
			next[e.Key.Name] = it
		}
		now = next
		return yield(next, b.Revision)
	})
}
