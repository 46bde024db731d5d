package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/catchment/catchment/pop/core"
	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// origin is of our own requests.
func (n *Node) origin() *pb.Origin { return &pb.Origin{Pop: n.opt.POP} }

// maxHops bounds how often a request is passed on while the tree changes.
const maxHops = 16

// Limits on one request, a little above those of core.Limits.
const (
	maxOps  = 128
	maxTxn  = 2 << 20
	maxPage = 1 << 20
)

// refusal is an error that is certain: nothing happened.
func refusal(code core.Code, format string, args ...any) error {
	return &core.Error{Code: code, Err: fmt.Errorf(format, args...)}
}

// vouched holds if a child may ask for the origin of a request, and not too
// often. It counts the hop.
func (n *Node) vouched(child string, o *pb.Origin) error {
	if o == nil || o.Hops >= maxHops {
		return refusal(core.Unavailable, "passed on too often, or for nobody")
	}
	n.mu.Lock()
	c := n.tree.children[child]
	n.mu.Unlock()
	if c == nil || o.Pop != child && !n.table.below(c.link)[o.Pop] {
		return refusal(core.Unavailable, "%s is not known below %s at %s", printable(o.Pop), child, n.opt.POP)
	}
	if wait, ok := n.rates.take(o.Pop); !ok {
		return &core.Error{Code: core.Limited, Retry: wait, Err: fmt.Errorf("requests of POP %s through %s", o.Pop, n.opt.POP)}
	}
	o.Hops++
	return nil
}

// pass has a request answered by the parent. What comes back as an error of
// the connection leaves open what happened.
func pass[Q, R any](ctx context.Context, n *Node, req Q, call func(upstream, context.Context, Q) (R, error), failure func(R) *pb.Failure) (R, error) {
	s := n.session()
	var none R
	if s == nil {
		return none, errNoParent
	}
	r, err := call(s.up, ctx, req)
	if err != nil {
		return none, &core.Error{Code: core.Unavailable, Uncertain: true, Err: fmt.Errorf("parent %s: %w", s.parent.POP, err)}
	}
	return r, errorOf(failure(r))
}

func (n *Node) passRead(ctx context.Context, req *pb.ReadRequest) (*pb.ReadResponse, error) {
	r, err := pass(ctx, n, req, upstream.Read, (*pb.ReadResponse).GetFailure)
	return r, sure(err)
}

func (n *Node) passCommit(ctx context.Context, req *pb.CommitRequest) (*pb.CommitResponse, error) {
	return pass(ctx, n, req, upstream.Commit, (*pb.CommitResponse).GetFailure)
}

func (n *Node) passLease(ctx context.Context, req *pb.LeaseRequest) (*pb.LeaseResponse, error) {
	return pass(ctx, n, req, upstream.Lease, (*pb.LeaseResponse).GetFailure)
}

// read answers a child's read.
func (n *Node) read(ctx context.Context, child string, req *pb.ReadRequest) *pb.ReadResponse {
	if err := n.vouched(child, req.Origin); err != nil {
		return &pb.ReadResponse{Failure: failureOf(err)}
	}
	if n.opt.Core == nil {
		r, err := n.passRead(ctx, req)
		if err != nil {
			return &pb.ReadResponse{Failure: failureOf(err)}
		}
		return r
	}
	if !n.inside(req.From) || req.Limit < 0 || req.Limit > 1000 || req.To != "" && (!n.inside(req.To) && req.To != upTo(n.opt.Root)) {
		return &pb.ReadResponse{Failure: failureOf(refusal(core.Denied, "a read of %s to %s", printable(req.From), printable(req.To)))}
	}
	p, err := n.opt.Core.Engine().Read(ctx, core.RawQuery{From: req.From, To: req.To, Revision: req.Revision, Limit: max(1, int(req.Limit))})
	if err != nil {
		return &pb.ReadResponse{Failure: failureOf(err)}
	}
	out, size := &pb.ReadResponse{More: p.More, Revision: p.Revision}, int64(0)
	for i, kv := range p.Pairs {
		if size += sizeOf(kv); size > maxPage && i > 0 {
			out.More = true
			break
		}
		out.Items = append(out.Items, itemOf(kv))
	}
	return out
}

func (n *Node) inside(key string) bool {
	return strings.HasPrefix(key, n.opt.Root) && len(key) < 2048
}

// upTo is the end of all keys with a prefix, which ends in no 0xff.
func upTo(prefix string) string {
	last := len(prefix) - 1
	return prefix[:last] + string(prefix[last]+1)
}

// commit answers a child's write.
func (n *Node) commit(ctx context.Context, child string, req *pb.CommitRequest) *pb.CommitResponse {
	failed := func(err error) *pb.CommitResponse { return &pb.CommitResponse{Failure: failureOf(err)} }
	if err := n.vouched(child, req.Origin); err != nil {
		return failed(err)
	}
	if n.opt.Core == nil {
		r, err := n.passCommit(ctx, req)
		if err != nil {
			return failed(err)
		}
		return r
	}
	if err := n.permitted(req); err != nil {
		n.log.Warn("relay: write refused", "pop", req.Origin.Pop, "through", child, "err", err)
		return failed(err)
	}
	var conds []core.RawCond
	for _, c := range req.Conditions {
		conds = append(conds, core.RawCond{Key: c.Key, Revision: c.Revision})
	}
	var ops []core.RawOp
	for _, w := range req.Writes {
		ops = append(ops, core.RawOp{Key: w.Key, Value: w.Value, Delete: w.Delete, Lease: core.LeaseID(w.Lease)})
	}
	done, err := n.opt.Core.Engine().Commit(ctx, conds, ops)
	if err != nil {
		return failed(err)
	}
	out := &pb.CommitResponse{Revision: done.Revision}
	if done.Failed != nil {
		out.Failed = &pb.Condition{Key: done.Failed.Key, Revision: done.Failed.Revision}
	}
	return out
}

// lastWrite is the object that each transaction writes beside its own: who
// wrote what and why (see core.Core.Blame).
const lastWrite = "last/write"

// permitted holds for what core.Txn would make and what the tree may carry. It
// is judged where it is done, by a member.
func (n *Node) permitted(req *pb.CommitRequest) error {
	size, told := 0, false
	if len(req.Writes) > maxOps || len(req.Conditions) > maxOps {
		return refusal(core.TooLarge, "%d writes, %d conditions, at most %d", len(req.Writes), len(req.Conditions), maxOps)
	}
	for _, c := range req.Conditions {
		if !n.inside(c.Key) || c.Revision < 0 {
			return refusal(core.Invalid, "condition on %s", printable(c.Key))
		}
	}
	for _, w := range req.Writes {
		if size += len(w.Key) + len(w.Value); size > maxTxn {
			return refusal(core.TooLarge, "more than %d bytes in one transaction", maxTxn)
		}
		name, ok := strings.CutPrefix(w.Key, n.opt.Root)
		if !ok || !n.inside(w.Key) {
			return refusal(core.Denied, "key %s is not of this core", printable(w.Key))
		}
		if closed(name) {
			return refusal(core.Denied, "%s is written at members only", name)
		}
		if w.Delete {
			continue
		}
		o, err := n.opt.Core.Decode(core.RawPair{Key: w.Key, Value: w.Value})
		if err != nil {
			return err
		}
		if pop, ok := strings.CutPrefix(o.Who, "pop "); ok && pop != req.Origin.Pop {
			return refusal(core.Denied, "%s writes as %s", req.Origin.Pop, printable(o.Who))
		}
		told = told || name == lastWrite
	}
	if !told {
		return refusal(core.Invalid, "a write that does not say who and why")
	}
	return nil
}

// closed are the objects by which a POP could make itself more than it is.
func closed(name string) bool {
	for _, prefix := range []string{string(core.KindToken) + "/", string(core.KindTrust) + "/", string(core.KindMember) + "/voter/", coreID} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// lease answers a child's lease.
func (n *Node) lease(ctx context.Context, child string, req *pb.LeaseRequest) *pb.LeaseResponse {
	failed := func(err error) *pb.LeaseResponse { return &pb.LeaseResponse{Failure: failureOf(err)} }
	if err := n.vouched(child, req.Origin); err != nil {
		return failed(err)
	}
	if n.opt.Core == nil {
		r, err := n.passLease(ctx, req)
		if err != nil {
			return failed(err)
		}
		return r
	}
	e, id := n.opt.Core.Engine(), core.LeaseID(req.Lease)
	switch ttl := time.Duration(req.Ttl); {
	case req.Ttl != 0 && ttl < core.MinTTL, ttl > core.MaxTokenLife, req.Ttl == 0 && id == 0:
		return failed(&core.Error{Code: core.Invalid, Err: errors.New("no lease, or of no sensible length")})
	case req.Ttl != 0:
		got, ttl, err := e.Grant(ctx, ttl)
		return &pb.LeaseResponse{Failure: failureOf(err), Lease: int64(got), Ttl: int64(ttl)}
	case req.Revoke:
		return failed(e.Revoke(ctx, id))
	}
	return failed(e.Renew(ctx, id))
}
