package core

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// etcd does an engine's operations through a client, in this process or over
// the network.
type etcd struct {
	// use gives the client of now. The function it returns is called with what
	// is to be done with it; it adds what the place needs (see embedded.use).
	use func() (*clientv3.Client, error)
}

func (k *etcd) client() (*clientv3.Client, error) { return k.use() }

func (k *etcd) read(ctx context.Context, q RawQuery) (RawPage, error) {
	cli, err := k.client()
	if err != nil {
		return RawPage{}, err
	}
	opts := []clientv3.OpOption{clientv3.WithLimit(int64(q.Limit)), clientv3.WithRev(q.Revision)}
	if q.To != "" {
		opts = append(opts, clientv3.WithRange(q.To))
	}
	if q.Stale {
		opts = append(opts, clientv3.WithSerializable())
	}
	r, err := cli.Get(ctx, q.From, opts...)
	if err != nil {
		return RawPage{}, certain(translate(err))
	}
	p := RawPage{Revision: r.Header.Revision, More: r.More}
	for _, kv := range r.Kvs {
		p.Pairs = append(p.Pairs, RawPair{string(kv.Key), kv.Value, kv.CreateRevision, kv.ModRevision, LeaseID(kv.Lease)})
	}
	return p, nil
}

func (k *etcd) commit(ctx context.Context, conds []RawCond, ops []RawOp) (RawCommit, error) {
	cli, err := k.client()
	if err != nil {
		return RawCommit{}, err
	}
	var tests []clientv3.Cmp
	var then, otherwise []clientv3.Op
	for _, c := range conds {
		tests = append(tests, clientv3.Compare(clientv3.ModRevision(c.Key), "=", c.Revision))
		otherwise = append(otherwise, clientv3.OpGet(c.Key, clientv3.WithKeysOnly()))
	}
	for _, o := range ops {
		if o.Delete {
			then = append(then, clientv3.OpDelete(o.Key))
		} else {
			then = append(then, clientv3.OpPut(o.Key, string(o.Value), clientv3.WithLease(clientv3.LeaseID(o.Lease))))
		}
	}
	r, err := cli.Txn(ctx).If(tests...).Then(then...).Else(otherwise...).Commit()
	if err != nil {
		return RawCommit{}, translate(err)
	}
	out := RawCommit{Revision: r.Header.Revision}
	if !r.Succeeded {
		out.Failed = failedOf(conds, r)
	}
	return out, nil
}

// failedOf finds the first condition that did not hold.
func failedOf(conds []RawCond, r *clientv3.TxnResponse) *RawCond {
	for i, c := range conds {
		found := int64(0)
		if i < len(r.Responses) {
			if kvs := r.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
				found = kvs[0].ModRevision
			}
		}
		if found != c.Revision {
			return &RawCond{c.Key, found}
		}
	}
	return &RawCond{}
}

func (k *etcd) watch(ctx context.Context, prefix string, from int64, yield func(RawChanges) error) error {
	cli, err := k.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	opts := []clientv3.OpOption{
		clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify(),
	}
	for r := range cli.Watch(ctx, prefix, opts...) {
		if r.CompactRevision != 0 {
			return &Error{Code: Compacted, Revision: r.CompactRevision}
		}
		if err := r.Err(); err != nil {
			return translate(err)
		}
		if r.Created && r.Header.Revision < from-1 {
			// The core is younger than what we know: restored, or a member that
			// is far behind. A snapshot is right for both.
			return &Error{Code: Compacted, Revision: r.Header.Revision}
		}
		if err := deliver(r, yield); err != nil {
			return err
		}
	}
	return fail(Unavailable, "the watch has ended")
}

// deliver splits a response into its revisions.
func deliver(r clientv3.WatchResponse, yield func(RawChanges) error) error {
	if r.IsProgressNotify() {
		return yield(RawChanges{Revision: r.Header.Revision})
	}
	var one RawChanges
	for _, e := range r.Events {
		kv := e.Kv
		if kv.ModRevision != one.Revision && len(one.List) > 0 {
			if err := yield(one); err != nil {
				return err
			}
			one.List = nil
		}
		one.Revision = kv.ModRevision
		one.List = append(one.List, RawChange{
			RawPair: RawPair{string(kv.Key), kv.Value, kv.CreateRevision, kv.ModRevision, LeaseID(kv.Lease)},
			Deleted: e.Type == clientv3.EventTypeDelete,
		})
	}
	if len(one.List) == 0 {
		return nil
	}
	return yield(one)
}

func (k *etcd) grant(ctx context.Context, ttl time.Duration) (LeaseID, time.Duration, error) {
	cli, err := k.client()
	if err != nil {
		return 0, 0, err
	}
	r, err := cli.Grant(ctx, int64((ttl+time.Second-1)/time.Second))
	if err != nil {
		return 0, 0, certain(translate(err)) // a lease nobody knows of holds nothing
	}
	return LeaseID(r.ID), time.Duration(r.TTL) * time.Second, nil
}

func (k *etcd) renew(ctx context.Context, id LeaseID) error {
	cli, err := k.client()
	if err != nil {
		return err
	}
	_, err = cli.KeepAliveOnce(ctx, clientv3.LeaseID(id))
	return certain(translate(err))
}

func (k *etcd) revoke(ctx context.Context, id LeaseID) error {
	cli, err := k.client()
	if err != nil {
		return err
	}
	_, err = cli.Revoke(ctx, clientv3.LeaseID(id))
	return translate(err)
}

func (k *etcd) compact(ctx context.Context, revision int64) error {
	cli, err := k.client()
	if err != nil {
		return err
	}
	_, err = cli.Compact(ctx, revision, clientv3.WithCompactPhysical())
	return certain(translate(err))
}

// status fills in what the network tells; the embedded engine adds its own.
func (k *etcd) status(ctx context.Context) (Status, error) {
	cli, err := k.client()
	if err != nil {
		return Status{Failed: err.Error()}, nil
	}
	endpoint := ""
	if e := cli.Endpoints(); len(e) > 0 {
		endpoint = e[0]
	}
	st, err := cli.Status(ctx, endpoint)
	if err != nil {
		return Status{Failed: err.Error()}, nil
	}
	s := Status{
		Revision: st.Header.Revision, Quorum: st.Leader != 0, Learner: st.IsLearner,
		Size: st.DbSize, InUse: st.DbSizeInUse, Quota: st.DbSizeQuota, Alarms: st.Errors, Version: st.Version,
	}
	s.Members, err = k.members(ctx, cli)
	for _, m := range s.Members {
		if m.ID == st.Leader {
			s.Leader = m.Name
		}
		if m.ID == st.Header.MemberId {
			s.Name = m.Name
		}
	}
	return s, err
}

func (k *etcd) members(ctx context.Context, cli *clientv3.Client) ([]Voter, error) {
	r, err := cli.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		return nil, certain(translate(err))
	}
	var out []Voter
	for _, m := range r.Members {
		out = append(out, Voter{m.ID, m.Name, m.PeerURLs, m.IsLearner})
	}
	return out, nil
}

// translate makes an *Error of what the client says.
func translate(err error) error {
	if err == nil {
		return nil
	}
	var own *Error
	if errors.As(err, &own) {
		return own
	}
	out := &Error{Code: codeOf(err), Err: err}
	if out.Code == Unavailable {
		// What was refused before it was proposed did not happen; of all else
		// nobody knows.
		out.Uncertain = !slices.ContainsFunc(refused, func(r error) bool { return errors.Is(err, r) })
	}
	return out
}

var refused = []error{rpctypes.ErrNoLeader, rpctypes.ErrTooManyRequests, rpctypes.ErrUnhealthy}

// certain is for what changes nothing, or nothing that matters.
func certain(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Uncertain {
		sure := *e
		sure.Uncertain = false
		return &sure
	}
	return err
}

var codes = []struct {
	err  error
	code Code
}{
	{rpctypes.ErrCompacted, Compacted},
	{rpctypes.ErrFutureRev, Invalid},
	{rpctypes.ErrDuplicateKey, Invalid},
	{rpctypes.ErrEmptyKey, Invalid},
	{rpctypes.ErrNoSpace, Full},
	{rpctypes.ErrLeaseNotFound, NotFound},
	{rpctypes.ErrMemberNotFound, NotFound},
	{rpctypes.ErrMemberExist, Conflict},
	{rpctypes.ErrPeerURLExist, Conflict},
	{rpctypes.ErrMemberNotEnoughStarted, Denied},
	{rpctypes.ErrTooManyLearners, Conflict},
	{rpctypes.ErrMemberLearnerNotReady, Conflict},
	{rpctypes.ErrRequestTooLarge, TooLarge},
	{rpctypes.ErrTooManyOps, TooLarge},
	{rpctypes.ErrCorrupt, Corrupt},
	{rpctypes.ErrPermissionDenied, Denied},
	{rpctypes.ErrUserEmpty, Denied},
	{rpctypes.ErrAuthFailed, Denied},
	{rpctypes.ErrInvalidAuthToken, Denied},
}

func codeOf(err error) Code {
	for _, c := range codes {
		if errors.Is(err, c.err) {
			return c.code
		}
	}
	return Unavailable
}

func errNotRunning(why string) error {
	return &Error{Code: Unavailable, Err: fmt.Errorf("the engine is not running%s", why)}
}
