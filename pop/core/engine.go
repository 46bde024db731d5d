package core

import (
	"context"
	"time"
)

// engine is what keeps keys and revisions: etcd, or the model in memory. It
// knows bytes only; objects, limits and names are Core's. Errors are *Error
// with a code; Core adds the operation and the key.
type engine interface {
	// run starts the engine, calls ready once it can serve, and returns when
	// ctx has ended and everything it started is gone, or when it failed.
	run(ctx context.Context, ready func()) error
	// read returns the keys of [from, to) in order, or the one key if to is
	// empty, at one revision (0: now). Stale reads need no quorum.
	read(ctx context.Context, q query) (page, error)
	// commit writes all ops at one revision if all conds hold.
	commit(ctx context.Context, conds []cond, ops []op) (committed, error)
	// watch calls yield with the changes of each revision from the given one
	// on, under a prefix. It ends with an error always: Compacted where the
	// history is gone, Unavailable where it broke off.
	watch(ctx context.Context, prefix string, from int64, yield func(changes) error) error
	grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error)
	renew(ctx context.Context, id LeaseID) error
	revoke(ctx context.Context, id LeaseID) error
	// compact forgets the history before a revision.
	compact(ctx context.Context, revision int64) error
	status(ctx context.Context) (Status, error)
}

type query struct {
	from, to string
	revision int64
	stale    bool
	limit    int
}

type pair struct {
	key               string
	value             []byte
	created, revision int64
	lease             LeaseID
}

type page struct {
	pairs    []pair
	more     bool
	revision int64 // of the whole core when it was read
}

// cond holds while the key's last change is at that revision; 0: while there
// is no such key.
type cond struct {
	key      string
	revision int64
}

type op struct {
	key    string
	value  []byte
	delete bool
	lease  LeaseID
}

type committed struct {
	revision int64
	failed   *cond // the condition that did not hold, with the revision found
}

// changes are those of one revision, or none: word that nothing happened
// before it.
type changes struct {
	revision int64
	list     []change
}

type change struct {
	pair
	deleted bool
}

// end is the end of the range of all keys with a prefix.
func end(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return "\x00"
}
