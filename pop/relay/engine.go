package relay

import (
	"context"
	"errors"
	"time"

	"github.com/catchment/catchment/pop/core"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// Engine is the follower for core.NewFollower: stale reads and watches by our
// own copy, all else by a member at the top of the tree.
func (n *Node) Engine() core.Engine { return follower{n} }

type follower struct{ n *Node }

// Run does nothing: the node has its own Run. The core is ready when there is
// something to read.
func (f follower) Run(ctx context.Context, ready func()) error {
	for {
		rung := f.n.rep.bell.wait()
		if f.n.rep.position().core != "" {
			break
		}
		select {
		case <-ctx.Done():
			return nil
		case <-rung:
		}
	}
	ready()
	<-ctx.Done()
	return nil
}

func (f follower) Read(ctx context.Context, q core.RawQuery) (core.RawPage, error) {
	if q.Stale {
		return f.n.rep.read(q)
	}
	req := &pb.ReadRequest{Origin: f.n.origin(), From: q.From, To: q.To, Revision: q.Revision, Limit: int64(q.Limit)}
	r, err := f.n.passRead(ctx, req)
	if err != nil {
		return core.RawPage{}, err
	}
	p := core.RawPage{More: r.More, Revision: r.Revision}
	for _, i := range r.Items {
		kv, err := pairOf(i)
		if err != nil {
			return core.RawPage{}, &core.Error{Code: core.Corrupt, Err: err}
		}
		p.Pairs = append(p.Pairs, kv)
	}
	return p, nil
}

func (f follower) Commit(ctx context.Context, conds []core.RawCond, ops []core.RawOp) (core.RawCommit, error) {
	req := &pb.CommitRequest{Origin: f.n.origin()}
	for _, c := range conds {
		req.Conditions = append(req.Conditions, &pb.Condition{Key: c.Key, Revision: c.Revision})
	}
	for _, o := range ops {
		req.Writes = append(req.Writes, &pb.Write{Key: o.Key, Value: o.Value, Delete: o.Delete, Lease: int64(o.Lease)})
	}
	r, err := f.n.passCommit(ctx, req)
	if err != nil {
		return core.RawCommit{}, err
	}
	done := core.RawCommit{Revision: r.Revision}
	if r.Failed != nil {
		done.Failed = &core.RawCond{Key: r.Failed.Key, Revision: r.Failed.Revision}
	}
	return done, nil
}

func (f follower) Watch(ctx context.Context, prefix string, from int64, yield func(core.RawChanges) error) error {
	return f.n.rep.watch(ctx, prefix, from, yield)
}

func (f follower) Grant(ctx context.Context, ttl time.Duration) (core.LeaseID, time.Duration, error) {
	r, err := f.n.passLease(ctx, &pb.LeaseRequest{Origin: f.n.origin(), Ttl: int64(ttl)})
	if err != nil {
		return 0, 0, sure(err) // a lease nobody knows of holds nothing
	}
	return core.LeaseID(r.Lease), time.Duration(r.Ttl), nil
}

func (f follower) Renew(ctx context.Context, id core.LeaseID) error {
	_, err := f.n.passLease(ctx, &pb.LeaseRequest{Origin: f.n.origin(), Lease: int64(id)})
	return sure(err)
}

func (f follower) Revoke(ctx context.Context, id core.LeaseID) error {
	_, err := f.n.passLease(ctx, &pb.LeaseRequest{Origin: f.n.origin(), Lease: int64(id), Revoke: true})
	return err
}

func (f follower) Compact(context.Context, int64) error {
	return &core.Error{Code: core.Invalid, Err: errors.New("members forget history, this POP only follows them")}
}

// sure is for what changes nothing, or nothing that matters.
func sure(err error) error {
	var e *core.Error
	if errors.As(err, &e) && e.Uncertain {
		certain := *e
		certain.Uncertain = false
		return &certain
	}
	return err
}

// Status is the tree's: a quorum is expected while its top hears the core.
func (f follower) Status(context.Context) (core.Status, error) {
	st := f.n.Status()
	s := core.Status{
		Engine: "relay", Name: f.n.opt.POP, Revision: st.Revision, Quorum: st.Standing == Rooted, Size: st.Size, InUse: st.Size,
	}
	if len(st.Path) > 1 {
		s.Leader = st.Path[0]
	}
	if st.Parent == "" {
		s.Failed = "no parent in the relay tree"
	}
	return s, nil
}

// Running is Engine with a Run that runs the node as well, for a core that
// nobody but it needs the node for.
func (n *Node) Running() core.Engine { return running{follower{n}} }

type running struct{ follower }

func (r running) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer cancel()
		done <- r.n.Run(ctx)
	}()
	err := r.follower.Run(ctx, ready)
	cancel()
	return errors.Join(<-done, err)
}
