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
	// read returns the keys of [From, To) in order, or the one key if To is
	// empty, at one revision (0: now). Stale reads need no quorum.
	read(ctx context.Context, q RawQuery) (RawPage, error)
	// commit writes all ops at one revision if all conds hold.
	commit(ctx context.Context, conds []RawCond, ops []RawOp) (RawCommit, error)
	// watch calls yield with the changes of each revision from the given one
	// on, under a prefix. It ends with an error always: Compacted where the
	// history is gone, Unavailable where it broke off.
	watch(ctx context.Context, prefix string, from int64, yield func(RawChanges) error) error
	grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error)
	renew(ctx context.Context, id LeaseID) error
	revoke(ctx context.Context, id LeaseID) error
	// compact forgets the history before a revision.
	compact(ctx context.Context, revision int64) error
	status(ctx context.Context) (Status, error)
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
