package relay

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/catchment/catchment/pop/relay/relayv1"
)

// version of the protocol.
const version = 1

// downstream is a child's stream as its parent sees it.
type downstream interface {
	Send(*pb.Down) error
	Recv() (*pb.Up, error)
	Context() context.Context
}

// child is one POP that follows us.
type child struct {
	n       *Node
	pop     string
	address string
	since   time.Time
	beside  bool // another top, for presence only
	stream  downstream
	cancel  context.CancelCauseFunc
	link    *link
	at      position // what it has been sent; the sender's
	bell    bell     // rung when it wants a snapshot
	resync  atomic.Bool
	asked   time.Time // last resync; the receiver's

	// Under the node's mu:
	applied, lowest int64
	below           uint32
}

// deaf is how long a child may say nothing.
const deaf = 10 * time.Second

// follow serves a child until it goes. who is the POP of its certificate.
func (n *Node) follow(who string, s downstream) error {
	up, err := first(s.Context(), n.opt.Silence, s.Recv)
	if err != nil {
		return err
	}
	hello := up.GetHello()
	if hello == nil || hello.Version != version {
		return status.Error(codes.InvalidArgument, "want a Hello of version 1 first")
	}
	ctx, cancel := context.WithCancelCause(s.Context())
	defer cancel(nil)
	c := &child{n: n, pop: who, address: hello.Address, since: time.Now(), stream: s, cancel: cancel, link: newLink(who, false), beside: hello.Beside}
	c.at = position{core: hello.Core, revision: hello.Revision}
	c.at.hash, _ = sumOf(hello.Hash)
	c.lowest, c.applied, c.below = hello.Revision, hello.Revision, 1
	c.link.timing.take(n.clock.now(), hello.Clock, 0)
	if refused := n.adopt(c); refused != nil {
		n.log.Info("relay: child refused", "pop", who, "why", refused.Reason)
		return s.Send(&pb.Down{Message: &pb.Down_Redirect{Redirect: refused}})
	}
	defer n.orphan(c)
	n.log.Info("relay: child", "pop", who, "revision", hello.Revision)
	n.guests.Go(func() { cancel(c.receive()) }) // ends with the stream, which ends when we return
	err = c.serve(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	n.log.Info("relay: child gone", "pop", who, "why", err)
	if err != nil {
		return status.Error(codes.Unavailable, err.Error())
	}
	return nil
}

// first waits for the first message of a stream.
func first[T any](ctx context.Context, limit time.Duration, recv func() (T, error)) (T, error) {
	type got struct {
		m   T
		err error
	}
	ch := make(chan got, 1)
	go func() { m, err := recv(); ch <- got{m, err} }() // ends with the stream
	t := time.NewTimer(limit)
	defer t.Stop()
	var none T
	select {
	case g := <-ch:
		return g.m, g.err
	case <-t.C:
		return none, errors.New("no first word")
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// adopt takes a child on, or says where else it can go. Who comes again takes
// the place of its former connection.
func (n *Node) adopt(c *child) *pb.Redirect {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch old := n.tree.children[c.pop]; {
	case !c.beside && slices.Contains(n.tree.path, c.pop):
		return &pb.Redirect{Reason: fmt.Sprintf("loop: %s is above %s", c.pop, n.opt.POP)}
	case !c.beside && len(n.tree.path) >= n.opt.Depth:
		return &pb.Redirect{Reason: fmt.Sprintf("%s is the last of %d levels", n.opt.POP, n.opt.Depth)}
	case old != nil:
		old.cancel(errors.New("it came again"))
	case len(n.tree.children) >= n.opt.Limits.Children:
		r := &pb.Redirect{Reason: fmt.Sprintf("%s has %d children", n.opt.POP, len(n.tree.children))}
		for _, other := range n.tree.children {
			if other.address != "" && len(r.Parents) < maxRedirect {
				r.Parents = append(r.Parents, &pb.Parent{Pop: other.pop, Address: other.address})
			}
		}
		return r
	}
	n.tree.children[c.pop] = c
	return nil
}

const maxRedirect = 16

func (n *Node) orphan(c *child) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.tree.children[c.pop] == c {
		delete(n.tree.children, c.pop)
	}
}

// receive takes what the child says until the stream ends.
func (c *child) receive() error {
	banned := func(pop string) bool {
		path, _ := c.n.above() // ourselves included
		return pop == c.n.opt.POP || !c.beside && slices.Contains(path, pop)
	}
	silence := time.AfterFunc(deaf, func() { c.cancel(fmt.Errorf("it said nothing for %v", deaf)) })
	defer silence.Stop()
	for {
		up, err := c.stream.Recv()
		if err != nil {
			return err
		}
		silence.Reset(deaf)
		switch m := up.Message.(type) {
		case *pb.Up_Beat:
			if err := c.n.hear(c.link, m.Beat, banned); err != nil {
				return err
			}
			c.note(m.Beat)
		case *pb.Up_Resync:
			c.n.log.Warn("relay: child wants a snapshot", "pop", c.pop, "why", printable(m.Resync.Reason))
			if time.Since(c.asked) < time.Second {
				return errors.New("it wants snapshots too often")
			}
			c.asked = time.Now()
			c.resync.Store(true)
			c.bell.ring()
		}
	}
}

func (c *child) note(b *pb.Beat) {
	c.n.mu.Lock()
	defer c.n.mu.Unlock()
	c.applied, c.lowest, c.below = b.Applied, min(b.Lowest, b.Applied), max(1, min(b.Below, uint32(c.n.opt.Limits.POPs)))
}

// printable keeps what others write from filling our log.
func printable(s string) string { return fmt.Sprintf("%.200q", s) }

// serve tells the child everything until ctx ends or it cannot be told.
func (c *child) serve(ctx context.Context) error {
	tick := time.NewTicker(c.n.opt.Beat)
	defer tick.Stop()
	err := c.beat(nil)
	if err != nil {
		return err
	}
	last := time.Now()
	for {
		state, table, tree, want := c.n.rep.bell.wait(), c.n.table.bell.wait(), c.n.bell.wait(), c.bell.wait()
		if !c.beside {
			if err := c.advance(ctx); err != nil {
				return err
			}
		}
		var gap <-chan time.Time
		if c.n.table.at() != c.link.cursor {
			gap, table = time.After(c.n.opt.Gap-time.Since(last)), nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-state:
			continue
		case <-want:
			continue
		case <-table:
			continue
		case <-gap:
			presences := c.n.table.collect(c.link)
			if last = time.Now(); len(presences) == 0 {
				continue
			}
			err = c.beat(presences)
		case <-tree:
			err = c.beat(nil)
		case <-tick.C:
			err = c.beat(nil)
		}
		if err != nil {
			return err
		}
	}
}

// beat tells the child that we live, where we are, and what is new of others.
func (c *child) beat(presences []*pb.Presence) error {
	b := &pb.Beat{Clock: uint64(c.n.clock.now()), Echo: c.link.timing.echo(), Head: c.n.head(), Presences: presences}
	b.Path, b.Standing = c.n.above()
	return c.stream.Send(&pb.Down{Message: &pb.Down_Beat{Beat: b}})
}

// advance sends all of the state that the child does not have.
func (c *child) advance(ctx context.Context) error {
	for ctx.Err() == nil {
		if c.resync.Swap(false) {
			c.at = position{}
		}
		steps, end, how := c.n.rep.after(c.at, mostChunk)
		switch {
		case how == behind:
			return nil // until we have got there
		case how == another:
			if sent, err := c.snapshot(ctx); err != nil || !sent {
				return err
			}
			continue
		case end.revision == c.at.revision:
			return nil
		}
		if err := c.stream.Send(&pb.Down{Message: &pb.Down_Deltas{Deltas: deltasOf(c.at, steps, end)}}); err != nil {
			return err
		}
		c.n.count.deltas.Add(uint64(len(steps)))
		c.at = end
	}
	return nil
}

// mostChunk is how many bytes go into one message.
const mostChunk = 256 << 10

func deltasOf(at position, steps []step, end position) *pb.Deltas {
	out := &pb.Deltas{}
	for _, s := range steps {
		d := &pb.Delta{From: at.revision, To: s.to, Hash: s.hash.bytes()}
		for _, ch := range s.list {
			if ch.Deleted {
				d.Deleted = append(d.Deleted, ch.Key)
			} else {
				d.Changed = append(d.Changed, itemOf(ch.RawPair))
			}
		}
		out.Deltas = append(out.Deltas, d)
		at.revision = s.to
	}
	if at.revision < end.revision {
		out.Deltas = append(out.Deltas, &pb.Delta{From: at.revision, To: end.revision, Hash: end.hash.bytes()})
	}
	return out
}

// snapshot sends the whole state, unless too many are being sent: then the
// child is told that we live, and waits for its turn.
func (c *child) snapshot(ctx context.Context) (sent bool, err error) {
	select {
	case c.n.sends <- struct{}{}:
		defer func() { <-c.n.sends }()
	case <-time.After(c.n.opt.Beat / 2):
		return false, nil // the next tick comes here again
	case <-ctx.Done():
		return false, nil
	}
	at, items := c.n.rep.snapshot()
	begin := &pb.Begin{Core: at.core, Revision: at.revision, Count: uint64(len(items))}
	for _, p := range items {
		begin.Bytes += uint64(sizeOf(p))
	}
	if err := c.stream.Send(&pb.Down{Message: &pb.Down_Begin{Begin: begin}}); err != nil {
		return false, err
	}
	chunk, size, last := &pb.Chunk{}, int64(0), time.Now()
	for i, p := range items {
		chunk.Items, size = append(chunk.Items, itemOf(p)), size+sizeOf(p)
		if size < mostChunk && i < len(items)-1 {
			continue
		}
		if err := c.stream.Send(&pb.Down{Message: &pb.Down_Chunk{Chunk: chunk}}); err != nil {
			return false, err
		}
		chunk, size = &pb.Chunk{}, 0
		if time.Since(last) > c.n.opt.Beat {
			if err := c.beat(nil); err != nil {
				return false, err
			}
			last = time.Now()
		}
	}
	c.n.count.sent.Add(1)
	c.at = at
	return true, c.stream.Send(&pb.Down{Message: &pb.Down_Done{Done: &pb.Done{Hash: at.hash.bytes()}}})
}
